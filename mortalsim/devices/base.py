"""What every memory technology has: a range, a step, spreads, read noise, ageing, wear and costs, all in SI units."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mortalsim.checks import DesignError, FloatArray, check_name
from mortalsim.settings import FINITE, Group

#: Knots of what is tabulated over u = 0 .. 1: pulse responses and read noise.
KNOTS = 257

#: A step is at least so many times the distance between two conductances that a float32 can tell apart.
LEAST_STEP = 16

#: Drift is brought up to date once the clock has moved by this fraction of t0. The logarithm of a conductance then changes
#: by at most nu times as much, nu being the device's own exponent, however far out in its distribution.
DRIFT_TOLERANCE = 1e-3

#: Most pulses that one write request sends to one device: at two nanoseconds a pulse, a write of 64 x 64 pairs ends in
#: seconds.
MOST_PULSES = 2**17

#: Read noise is at most so many times the range of conductances, so that variances stay what a float32 can hold.
MOST_NOISE = 1e3

#: A step is nowhere more than so many times the one at mid range.
MOST_RESPONSE = 1e9

#: What may be kept of each device beside its conductance.
STATE = ("written", "taken", "dead")

#: Fields of an array's devices by name, (2, rows, n_out) each, the devices that count positively first.
Fields: TypeAlias = Mapping[str, FloatArray]


class Moment(NamedTuple):
    """When devices are looked at.

    Parameters
    ----------
    now
        Seconds on the chip's clock.
    temperature
        Of the chip, kelvin.
    """

    now: float = 0.0
    temperature: float = 300.0


class Device(Group, ABC):
    """One memory technology: how one device's conductance answers a pulse, how it ages, and how devices differ.

    A subclass gives `up` and `down`: the size of one step at the relative place u = (G - low) / (high - low) between the
    device's own bounds, in units of its step at mid range. It may also give `noise` or `noise_at`, `aged` and `stale`,
    `parameters`, and `dead`. Everything else is data. Spreads are relative standard deviations, ``_dtod`` frozen from device
    to device, ``_ctoc`` fresh from pulse to pulse.
    """

    source: ClassVar[str]
    """Where the default numbers come from."""

    keeps: ClassVar[tuple[str, ...]] = ()
    """Further state that the technology wants of each device: ``"written"``, ``"taken"``, ``"dead"``; see `state`."""

    g_min: float = Field(1e-6, ge=0, le=1e6, description="lowest nominal conductance, siemens")
    g_max: float = Field(25e-6, ge=1e-15, le=1e6, description="highest nominal conductance, siemens")
    pulses: float = Field(
        1000.0,
        ge=0,
        le=2**20,
        description="mid-range steps that span g_min to g_max, the mean of up and down; may be a fraction; 0: continuous; a "
        "float32 cannot tell finer steps apart",
    )
    max_pulses: int = Field(
        31,
        ge=0,
        le=MOST_PULSES,
        description=f"most pulses on one device in one write request, what is asked beyond is cut; 0: {MOST_PULSES}, so "
        "that "
        "every write ends",
    )
    step_dtod: float = Field(0.0, ge=0, le=10, description="spread of step size, device to device, relative")
    step_ctoc: float = Field(0.0, ge=0, le=100, description="spread of one step, pulse to pulse, relative")
    asymmetry: float = Field(0.0, gt=-1, lt=1, description="(up - down) / (up + down) of the nominal steps at mid range")
    asymmetry_dtod: float = Field(0.0, ge=0, le=10, description="spread of the asymmetry, device to device, absolute")
    bound_dtod: float = Field(0.0, ge=0, le=10, description="spread of both bounds, device to device, relative")
    stuck: float = Field(0.0, ge=0, le=1, description="fraction of devices that no pulse moves")
    conductance_dtod: float = Field(
        0.0, ge=0, le=10, description="static error of what a device conducts, relative, not below -1"
    )
    read_noise: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description=f"read noise independent of conductance, siemens, fresh each read; at most {MOST_NOISE:g} times the "
        "range",
    )
    read_noise_relative: float = Field(
        0.0, ge=0, le=10, description="read noise proportional to conductance, fresh each read"
    )
    drift: float = Field(
        0.0, ge=0, le=10, description="mean drift exponent nu in G(t) = G (1 + t/t0)^-nu, t since the last write"
    )
    drift_dtod: float = Field(0.0, ge=0, le=10, description="spread of the drift exponent, device to device, absolute")
    drift_t0: float = Field(20.0, ge=1e-12, le=1e14, description="drift time constant t0, seconds")
    endurance: float = Field(
        0.0, ge=0, le=1e18, description="pulses after which a median device moves no more; 0: it never wears out"
    )
    endurance_dtod: float = Field(0.0, ge=0, le=3, description="spread of the logarithm of the endurance, device to device")
    verify_steps: int = Field(20, ge=1, le=1000, description="most write-and-verify rounds of one Program request")
    read_volts: float = Field(0.2, gt=0, le=1e6, description="line voltage that stands for an input of 1, volts")
    pulse_volts: float = Field(2.0, gt=0, le=1e6, description="write pulse, volts")
    pulse_seconds: float = Field(100e-9, gt=0, le=FINITE, description="write pulse, seconds")

    @model_validator(mode="before")
    @classmethod
    def _of_older_files(cls, fields: Any) -> Any:
        # Design files of the first edition call it max_train.
        if isinstance(fields, dict) and "max_train" in fields:
            return {name: value for name, value in fields.items() if name != "max_train"} | {
                "max_pulses": fields["max_train"]
            }
        return fields

    @model_validator(mode="after")
    def _check_state(self) -> Device:
        for name in self.keeps:
            check_name("keeps", name, STATE)
        if "dead" in self.keeps and type(self).dead is Device.dead and not self.endurance:
            raise ValueError("keeps: 'dead' needs a method `dead` that says which devices are, or an endurance")
        if self.endurance and not self.pulses:
            raise ValueError("endurance: counts pulses, which a continuous device (pulses = 0) does not take; leave it at 0")
        return self

    @model_validator(mode="after")
    def _check_range(self) -> Device:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min must be below g_max, found {self.g_min:g} and {self.g_max:g} siemens")
        if self.read_noise > MOST_NOISE * (self.g_max - self.g_min):
            raise ValueError(
                f"read_noise: expected at most {MOST_NOISE:g} times the range of {self.g_max - self.g_min:g} S, "
                f"found {self.read_noise:g} S"
            )
        least = LEAST_STEP * float(np.spacing(np.float32(self.g_max)))
        if self.g_max - self.g_min < least:
            raise ValueError(
                f"g_min: expected at most {self.g_max - least:.9g} S, so that a float32 can tell it from g_max, found "
                f"{self.g_min:.9g} S"
            )
        span = (self.g_max - self.g_min) * (1 - abs(self.asymmetry))  # of the smaller of the steps up and down
        if self.pulses * least > span:
            raise ValueError(
                f"pulses: expected at most {span / least:.3g}, so that a step is at least {LEAST_STEP} times what a "
                f"conductance of {self.g_max:g} S can differ by as it is stored, found {self.pulses:g}; write 0 for a "
                "continuous device"
            )
        return self

    @abstractmethod
    def up(self, u: FloatArray) -> FloatArray:
        """Return the step of a potentiating pulse at place ``u``, relative to mid range."""

    @abstractmethod
    def down(self, u: FloatArray) -> FloatArray:
        """Return the step of a depressing pulse at place ``u``, relative to mid range, as a positive number."""

    def noise(self, u: FloatArray) -> FloatArray:
        """Return the standard deviation of a read at places ``u`` of the nominal range, siemens.

        The default is constant and proportional noise, independent of each other.
        """
        g = self.g_min + (self.g_max - self.g_min) * np.asarray(u)
        return np.asarray(np.hypot(self.read_noise, self.read_noise_relative * g))

    def noise_at(self, u: FloatArray, moment: Moment) -> FloatArray:
        """Return `noise` where it depends on time or temperature; the default does not. It is asked before every read."""
        return self.noise(u)

    def aged(self, g: FloatArray, parameters: Fields, moment: Moment) -> FloatArray:
        """Return what devices conduct at ``moment``, siemens.

        The default is power-law drift: G (1 + age / t0)^-nu.

        Parameters
        ----------
        g
            Conductances as last written, siemens, (2, rows, n_out).
        parameters
            The devices' own: ``low``, ``high``, ``up``, ``down`` and ``error``, ``nu`` where they drift, what `parameters`
            gives, and their state: ``written``, when each was last written, seconds on the chip's clock, and further
            `state`.
        moment
            When they are looked at.
        """
        if not self.drifts:
            return g
        age = np.maximum(moment.now - parameters["written"], 0)
        return np.asarray(g * (1 + age / self.drift_t0) ** -np.asarray(parameters["nu"], np.float64))

    def stale(self, then: Moment, now: Moment) -> bool:
        """Return whether effective weights that were computed at ``then`` must be computed anew.

        The default: the temperature has changed, or the clock has moved by `DRIFT_TOLERANCE` t0 where devices drift, or at
        all where `aged` is the technology's own.
        """
        if now.temperature != then.temperature:
            return True
        return abs(now.now - then.now) > self.patience  # a restored clock may have gone back

    def parameters(self, normal: Callable[[str], FloatArray]) -> dict[str, FloatArray]:
        """Return frozen parameters of the technology's own, drawn at fabrication; the default is the endurance, if any.

        Parameters
        ----------
        normal
            Gives standard normal numbers (2, rows, n_out) from the stream of a name.
        """
        if not self.endurance:
            return {}
        return {"endurance": self.endurance * np.exp(self.endurance_dtod * normal("endurance"))}

    def dead(self, parameters: Fields) -> npt.NDArray[np.bool_]:
        """Return which devices move no more, (2, rows, n_out); asked after every write where ``"dead"`` is kept.

        The default: those that have taken their endurance of pulses.
        """
        return np.asarray(parameters["taken"] >= parameters["endurance"])

    @property
    def state(self) -> tuple[str, ...]:
        """What is kept of each device beside its conductance.

        ``written``: when it was last written. ``taken``: pulses that it has been sent. ``dead``: whether it moves no more.
        """
        wanted = {*self.keeps}
        wanted |= {"written"} if self.drifts or self.ages_by_itself else set()
        wanted |= {"taken", "dead"} if self.endurance else set()
        return tuple(name for name in STATE if name in wanted)

    @property
    def ages_by_itself(self) -> bool:
        """Whether `aged` is the technology's own, not power-law drift."""
        return type(self).aged is not Device.aged

    @property
    def patience(self) -> float:
        """Seconds for which effective weights hold at one temperature, as `stale` tells by default."""
        return 0.0 if self.ages_by_itself else DRIFT_TOLERANCE * self.drift_t0 if self.drifts else math.inf

    @property
    def noise_depends_on_moment(self) -> bool:
        """Whether read noise changes with time or temperature."""
        return type(self).noise_at is not Device.noise_at

    def place(self, g: FloatArray) -> FloatArray:
        """Return where conductances, siemens, lie in the nominal range: 0 at ``g_min``, 1 at ``g_max``."""
        return np.asarray((g - self.g_min) / (self.g_max - self.g_min))

    @property
    def most_pulses(self) -> int:
        """Most pulses that one write request sends to one device."""
        return self.max_pulses or MOST_PULSES

    @property
    def step(self) -> float:
        """Nominal step at mid range, siemens; 0 for a continuous device."""
        return (self.g_max - self.g_min) / self.pulses if self.pulses else 0.0

    @property
    def drifts(self) -> bool:
        """Whether conductances drift by the power law."""
        return self.drift > 0 or self.drift_dtod > 0

    @property
    def g_mid(self) -> float:
        """Middle of the nominal range, siemens."""
        return (self.g_min + self.g_max) / 2

    @property
    def pulse_joules(self) -> float:
        """Energy of one pulse at mid range, V^2 G t (Chen, Peng and Yu 2018, NeuroSim), without line capacitance."""
        return self.pulse_volts**2 * self.g_mid * self.pulse_seconds

    def tables(self) -> FloatArray:
        """Return the pulse responses at equally spaced places from u = 0 to 1, float32 (2, K), up and down.

        `KNOTS` places, but only the two ends where straight lines between them are the law.

        Raises
        ------
        DesignError
            A law gives another shape than it was given, or something that is not finite.
        """
        u = np.linspace(0, 1, KNOTS)
        up, down = np.asarray(self.up(u)), np.asarray(self.down(u))
        for name, law in (("up", up), ("down", down)):
            if law.shape != u.shape or not (np.abs(law) <= MOST_RESPONSE).all():
                raise DesignError(
                    f"{type(self).__name__}.{name}: expected finite steps of the shape of u, ({KNOTS},), at most "
                    f"{MOST_RESPONSE:g} times that at mid range, found shape {law.shape}, {np.min(law):g} to "
                    f"{np.max(law):g}. Return the size of a step at every place."
                )
        straight = all(np.allclose(law, law[0] + (law[-1] - law[0]) * u, rtol=0, atol=1e-12) for law in (up, down))
        places = [0, -1] if straight else slice(None)
        return np.ascontiguousarray(np.stack([up[places], down[places]]), np.float32)
