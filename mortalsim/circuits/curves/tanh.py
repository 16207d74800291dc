"""Saturating tanh: a differential pair."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mortalsim.circuits.curves.base import Curve, CurveTables


class Tanh(Curve):
    """y = a tanh(v / a): a differential pair in weak inversion, unit slope at zero."""

    amplitude: float = Field(2.0, ge=1e-6, le=1e6, description="a, output at full saturation")

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        v = np.linspace(-9, 9, 1025)
        slopes = (1 / np.cosh(v) ** 2)[None, :]
        first = np.full(1, self.amplitude * np.tanh(v[0]))
        return CurveTables.integrate(v[0] * self.amplitude, (v[1] - v[0]) * self.amplitude, first, slopes)
