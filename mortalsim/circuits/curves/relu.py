"""Rectified linear: y = max(v, 0)."""

from __future__ import annotations

import numpy as np

from mortalsim.circuits.curves.base import Curve, CurveTables


class Relu(Curve):
    """y = max(v, 0): an ideal rectifier."""

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        return CurveTables.lines(0.0)
