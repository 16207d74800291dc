"""Step that changes linearly with conductance; zero slopes give the constant-step device (electrochemical RAM)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device


class Linear(Device):
    """dG_up = D (1 - slope_up v), dG_down = D (1 + slope_down v), with v = 2u - 1 from -1 to 1."""

    source: ClassVar[str] = "slopes of Li-ECRAM: Tang et al., IEDM 2018; voltages and times are assumptions"

    slope_up: float = Field(0.1153, ge=0, le=1, description="loss of the up step from mid range to the upper bound")
    slope_down: float = Field(0.5085, ge=0, le=1, description="loss of the down step from mid range to the lower bound")

    def up(self, u: FloatArray) -> FloatArray:
        return 1 - self.slope_up * (2 * u - 1)

    def down(self, u: FloatArray) -> FloatArray:
        return 1 + self.slope_down * (2 * u - 1)
