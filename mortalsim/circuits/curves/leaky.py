"""Leaky rectifier: y = v above zero, leak * v below."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mortalsim.circuits.curves.base import Curve, CurveTables


class Leaky(Curve):
    """y = max(v, leak v): a rectifier that does not close fully."""

    leak: float = Field(0.1, ge=0, le=1, description="slope below zero")

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        return CurveTables.lines(self.leak)
