"""Mixing: a fixed random nonlinear medium, such as a scattering film, that no data sheet describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray
from mortalsim.circuits.stages.base import Box, Stage


class Mixing(Stage):
    """y = tanh(gain * (share * M v + (1 - share) * v)), M random: every output depends on every input.

    M has entries N(0, 1) / sqrt(n_in), drawn once a chip; where the sizes differ, ``v`` is repeated or cut.
    """

    share: float = Field(0.5, ge=0, le=1, description="share of the signal that is mixed; the rest passes straight")
    gain: float = Field(1.0, ge=1e-6, le=1e6, description="gain before the saturation")

    def fabricate(self, n_in: int, n_out: int, rng: np.random.Generator) -> Box:
        straight, place = np.zeros((n_in, n_out)), np.arange(n_out)
        straight[place % n_in, place] = 1
        mixed = rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)
        return Medium((self.gain * (self.share * mixed + (1 - self.share) * straight)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Medium:
    """One medium: y = tanh(v @ matrix), matrix (n_in, n_out)."""

    matrix: FloatArray

    def answer(self, v: FloatArray) -> FloatArray:
        return np.asarray(np.tanh(v @ self.matrix.astype(v.dtype)))

    def vjp(self, v: FloatArray, slope: FloatArray) -> FloatArray:
        matrix = self.matrix.astype(v.dtype)
        return np.asarray((slope * (1 - np.tanh(v @ matrix) ** 2)) @ matrix.T)
