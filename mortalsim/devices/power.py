"""Step that falls as a power of the distance to the bound; power 0 is constant, 1 is soft bounds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device


class Power(Device):
    """dG_up = D (2 (1 - u))^gamma_up, dG_down = D (2 u)^gamma_down."""

    source: ClassVar[str] = "law of the power-step model in aihwkit (Rasch et al. 2021); all numbers are assumptions"

    gamma_up: float = Field(1.0, ge=0, le=20, description="exponent of the up step")
    gamma_down: float = Field(1.0, ge=0, le=20, description="exponent of the down step")

    def up(self, u: FloatArray) -> FloatArray:
        return (2 * (1 - u)) ** self.gamma_up

    def down(self, u: FloatArray) -> FloatArray:
        return (2 * u) ** self.gamma_down
