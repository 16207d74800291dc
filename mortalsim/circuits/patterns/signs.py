"""Signs: one fair sign a weight, independent of all others (simultaneous perturbation, Spall 1992)."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.circuits.patterns.base import Pattern
from mortalsim.kernels import Draw, add_signs
from mortalsim.kernels.counters import SIGNS, Address, split_key


class Signs(Pattern):
    """Row i and column j have the sign number ``i * n_out + j`` of the key's and the index's stream for this array."""

    @cached_property
    def _address(self) -> Address:
        return Draw(split_key(self.nudge.key), SIGNS, self.nudge.index, self.site.place).address()

    def values(self, start: int, stop: int, first: int, last: int) -> FloatArray:
        out = np.empty((stop - start, last - first), np.float32)
        nothing, ones = np.zeros((1, self.site.n_out), np.float32), np.ones(self.site.n_out, np.float32)
        self.add(nothing, 1.0, ones, start, first, out)
        return out

    def add(self, weights: FloatArray, amplitude: float, gain: FloatArray, start: int, first: int, out: FloatArray) -> None:
        add_signs(weights, amplitude, gain, self._address, start, first, out)
