"""Linear: y = v, the usual read-out of the last array."""

from __future__ import annotations

import numpy as np

from mortalsim.circuits.curves.base import Curve, CurveTables


class Straight(Curve):
    """y = v: a transimpedance amplifier."""

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        return CurveTables.lines(1.0)
