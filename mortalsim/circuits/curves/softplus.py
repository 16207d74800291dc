"""Softplus: a transistor that passes from subthreshold conduction to strong inversion."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.special import expit

from mortalsim.circuits.curves.base import Curve, CurveTables


class Softplus(Curve):
    """y = s log(1 + exp(v / s)): exponential below threshold, linear above (the form of the EKV model, Enz et al. 1995)."""

    softness: float = Field(0.25, ge=1e-6, le=1e6, description="s, input over which the transistor turns on")

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        v = np.linspace(-16, 16, 1025)
        slopes = expit(v)[None, :]
        first = np.full(1, self.softness * np.log1p(np.exp(v[0])))
        return CurveTables.integrate(v[0] * self.softness, (v[1] - v[0]) * self.softness, first, slopes)
