"""Signs: one fair sign a weight, independent of all others (simultaneous perturbation, Spall 1992)."""

from __future__ import annotations

from functools import cache

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.circuits.patterns.base import Pattern, Site
from mortalsim.hardware import WeightNudge
from mortalsim.kernels import add_signs
from mortalsim.kernels.counters import SIGNS, Address, split_key, where


class Signs(Pattern):
    """Row i and column j have the sign number ``i * n_out + j`` of the key's and the index's stream for this array."""

    def __init__(self, nudge: WeightNudge, site: Site) -> None:
        super().__init__(nudge, site)
        self._address = Address(split_key(nudge.key), nudge.index, _counter_word(site.place))

    def values(self, start: int, stop: int, first: int, last: int) -> FloatArray:
        out = np.empty((stop - start, last - first), np.float32)
        nothing, ones = np.zeros((1, self.site.n_out), np.float32), np.ones(self.site.n_out, np.float32)
        self.add(nothing, 1.0, ones, start, first, out)
        return out

    def add(self, weights: FloatArray, amplitude: float, gain: FloatArray, start: int, first: int, out: FloatArray) -> None:
        add_signs(weights, amplitude, gain, self._address, start, first, out)


@cache  # a step of a small chip lays so many patterns that working this out each time shows
def _counter_word(place: int) -> int:
    return where(SIGNS, place)
