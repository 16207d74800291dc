"""Rank 1: one fair sign a row times one a column, which costs a read two products with vectors."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.circuits.patterns.base import Pattern
from mortalsim.kernels import Draw, sign_pattern
from mortalsim.kernels.counters import SIGN_COLUMNS, SIGN_ROWS, split_key


class RankOne(Pattern):
    """Rows have signs of a stream of their own, counted over all blocks, and so have columns."""

    @cached_property
    def factors(self) -> tuple[FloatArray, FloatArray]:
        """Signs of the rows (blocks, n_in) and of the columns (blocks, n_out)."""
        key, (place, _, blocks, n_in, n_out) = split_key(self.nudge.key), self.site
        rows, columns = (
            sign_pattern(Draw(key, purpose, self.nudge.index, place).address(), blocks * size).reshape(blocks, size)
            for purpose, size in ((SIGN_ROWS, n_in), (SIGN_COLUMNS, n_out))
        )
        return rows, columns

    def values(self, start: int, stop: int, first: int, last: int) -> FloatArray:
        rows, columns = self._some(start, stop)
        return rows * columns[first:last]

    def add(self, weights: FloatArray, amplitude: float, gain: FloatArray, start: int, first: int, out: FloatArray) -> None:
        rows, columns = self._some(start, start + len(out))
        some = slice(first, first + out.shape[1])
        np.add(weights[:, some], np.float32(amplitude) * rows * (columns * gain)[some], out=out)

    def _some(self, start: int, stop: int) -> tuple[FloatArray, FloatArray]:
        """Return the signs of rows ``start`` to ``stop`` - 1 of the array, (rows, 1), and of their block's columns."""
        rows, columns = self.factors
        return rows.reshape(-1, 1)[start:stop], columns[start // self.site.n_in]
