"""What every memory technology has: a range, a step, spreads, read noise, drift and costs, all in SI units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mortalsim.checks import FloatArray

#: Knots of a tabulated pulse response over u = 0 .. 1.
KNOTS = 257


class Device(BaseModel, ABC):
    """One memory technology: how one device's conductance answers a pulse, and how devices differ.

    A subclass gives `up` and `down`: the size of one step at the relative place u = (G - low) / (high - low) between the
    device's own bounds, in units of its step at mid range. Everything else is data. Spreads are relative standard
    deviations, ``_dtod`` frozen from device to device, ``_ctoc`` fresh from pulse to pulse.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: ClassVar[str]
    """Where the default numbers come from."""

    g_min: float = Field(1e-6, ge=0, description="lowest nominal conductance, siemens")
    g_max: float = Field(25e-6, gt=0, description="highest nominal conductance, siemens")
    pulses: int = Field(1000, ge=0, description="mid-range steps that span g_min to g_max; 0: continuous, no pulses")
    max_train: int = Field(31, ge=0, description="most pulses on one device in one write request; 0: no limit")
    step_dtod: float = Field(0.0, ge=0, description="spread of step size, device to device, relative")
    step_ctoc: float = Field(0.0, ge=0, description="spread of one step, pulse to pulse, relative")
    asymmetry: float = Field(0.0, gt=-1, lt=1, description="(up - down) / (up + down) of the nominal steps at mid range")
    asymmetry_dtod: float = Field(0.0, ge=0, description="spread of the asymmetry, device to device, absolute")
    bound_dtod: float = Field(0.0, ge=0, description="spread of both bounds, device to device, relative")
    stuck: float = Field(0.0, ge=0, le=1, description="fraction of devices that no pulse moves")
    conductance_dtod: float = Field(0.0, ge=0, description="static error of what a device conducts, relative, not below -1")
    read_noise: float = Field(0.0, ge=0, description="read noise independent of conductance, siemens, fresh each read")
    read_noise_relative: float = Field(0.0, ge=0, description="read noise proportional to conductance, fresh each read")
    drift: float = Field(0.0, ge=0, description="mean drift exponent nu in G(t) = G (1 + t/t0)^-nu, t since the last write")
    drift_dtod: float = Field(0.0, ge=0, description="spread of the drift exponent, device to device, absolute")
    drift_t0: float = Field(20.0, gt=0, description="drift time constant t0, seconds")
    verify_steps: int = Field(20, ge=1, le=1000, description="most write-and-verify rounds of one Program request")
    read_volts: float = Field(0.2, gt=0, description="line voltage that stands for an input of 1, volts")
    pulse_volts: float = Field(2.0, gt=0, description="write pulse, volts")
    pulse_seconds: float = Field(100e-9, gt=0, description="write pulse, seconds")

    @model_validator(mode="after")
    def _check_range(self) -> Device:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min must be below g_max, found {self.g_min:g} and {self.g_max:g} siemens")
        return self

    @abstractmethod
    def up(self, u: FloatArray) -> FloatArray:
        """Return the step of a potentiating pulse at place ``u``, relative to mid range."""

    @abstractmethod
    def down(self, u: FloatArray) -> FloatArray:
        """Return the step of a depressing pulse at place ``u``, relative to mid range, as a positive number."""

    @property
    def step(self) -> float:
        """Nominal step at mid range, siemens; 0 for a continuous device."""
        return (self.g_max - self.g_min) / self.pulses if self.pulses else 0.0

    @property
    def drifts(self) -> bool:
        """Whether conductances change by themselves."""
        return self.drift > 0 or self.drift_dtod > 0

    @property
    def g_mid(self) -> float:
        """Middle of the nominal range, siemens."""
        return (self.g_min + self.g_max) / 2

    @property
    def pulse_joules(self) -> float:
        """Energy of one pulse at mid range, V^2 G t (Chen, Peng and Yu 2018, NeuroSim), without line capacitance."""
        return self.pulse_volts**2 * self.g_mid * self.pulse_seconds

    def tables(self) -> tuple[FloatArray, FloatArray]:
        """Return the pulse responses at equally spaced places from u = 0 to 1, up and down.

        `KNOTS` places, but only the two ends where straight lines between them are the law.
        """
        u = np.linspace(0, 1, KNOTS)
        up, down = np.asarray(self.up(u)), np.asarray(self.down(u))
        straight = all(np.allclose(law, law[0] + (law[-1] - law[0]) * u, rtol=0, atol=1e-12) for law in (up, down))
        places = [0, -1] if straight else slice(None)
        return up[places].astype(np.float32), down[places].astype(np.float32)
