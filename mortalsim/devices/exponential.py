"""Step with exponential saturation, different up and down, fitted to resistive RAM."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device


class Exponential(Device):
    """dG_up = D max(1 - A_up e^(gamma_up z), 0), dG_down = D max(1 - A_down e^(-gamma_down z), 0), z = a v + b, v = 2u - 1.

    Here D is the mean of the steps that the fit calls dw_min, not the step at mid range; the two differ by the response at
    v = 0. With its defaults this is the fit: on the range -1 to 1 steps of 0.00135 up and 0.00135 (1 - 0.259359) down, so
    D = 0.00135 (1 - 0.259359 / 2), the pulses are 2 / D and the asymmetry is 0.259359 / (2 - 0.259359).
    """

    source: ClassVar[str] = (
        "fit to resistive RAM: Gong et al., Nature Communications 2018; voltages and times are assumptions"
    )

    pulses: float = Field(1702.0, ge=0, le=2**20, description="steps D that span g_min to g_max; 0: continuous, no pulses")
    asymmetry: float = Field(0.149, gt=-1, lt=1, description="(up - down) / (up + down) of the fit's dw_min")
    a_up: float = Field(-1.18445, ge=-1e3, le=1e3, description="A_up")
    a_down: float = Field(-0.081404, ge=-1e3, le=1e3, description="A_down")
    gamma_up: float = Field(5.0, ge=-20, le=20, description="gamma_up")
    gamma_down: float = Field(5.0, ge=-20, le=20, description="gamma_down")
    scale: float = Field(-0.5, ge=-2, le=2, description="a")
    shift: float = Field(-0.5, ge=-2, le=2, description="b")

    @model_validator(mode="after")
    def _check_steps(self) -> Exponential:
        self.tables()  # an exponent may lead anywhere
        return self

    def up(self, u: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(1 - self.a_up * np.exp(self.gamma_up * self._z(u)), 0))

    def down(self, u: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(1 - self.a_down * np.exp(-self.gamma_down * self._z(u)), 0))

    def _z(self, u: FloatArray) -> FloatArray:
        return self.scale * (2 * u - 1) + self.shift
