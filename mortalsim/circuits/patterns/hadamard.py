"""Hadamard: rows of a Walsh-Hadamard matrix with randomly flipped columns, exactly orthogonal within one key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.circuits.patterns.base import Pattern
from mortalsim.circuits.patterns.signs import Signs


class Hadamard(Pattern):
    """Weight e of the chip has the sign (-1)^popcount(index & e) d_e, d_e being the sign that `Signs` gives it at index 0.

    All weights of the chip are counted in one row, array after array, so that two arrays never share a column of the matrix.
    Padding of blocks counts as weights.

    - The key chooses d, a fair sign a weight. It keeps all products of two indices, since d_e squared is 1, and makes the
      constant row of index 0 as good a probe as any other. Different keys are independent of each other.
    - Over n = 2^m consecutive weights, such as an array of that many, the patterns of indices 0 to n - 1 are orthogonal.
    - For N weights and 2^m at least N, the mean over the indices 0 to 2^m - 1 of (s . g) s is g itself, for any vector g.
      Index i + 2^m is index i again.

    A chip may have up to 2^32 weights; beyond that the rows repeat. Source: the randomised Hadamard transform H D of Ailon
    and Chazelle (2006), its rows in Sylvester's order.
    """

    family = True

    def values(self, start: int, stop: int, first: int, last: int) -> FloatArray:
        out = Signs(replace(self.nudge, index=0), self.site).values(start, stop, first, last)
        corner = self.site.before + start * self.site.n_out + first
        rows, columns = np.arange(stop - start, dtype=np.uint32)[:, None], np.arange(last - first, dtype=np.uint32)
        weight = np.uint32(corner % 2**32) + np.uint32(self.site.n_out) * rows + columns
        odd = np.bitwise_count(weight & np.uint32(self.nudge.index)) & 1
        out *= np.float32(1) - np.float32(2) * odd
        return out
