"""Devices only move up: G+ for a rising weight, G- for a falling one; pairs that have come high are refreshed."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device
from mortalsim.devices.pairs.base import Maintained, Pair, Upkeep


class OneSided(Pair):
    """A rising weight moves G+ up, a falling one G- (phase-change memory: Burr et al. 2015; Rasch et al. 2021).

    Pulses up alone fill both devices in time. After every so many write requests, pairs are refreshed whose higher device
    has come above ``upper`` and whose lower one above ``lower``, places in the nominal range. The weight of such a pair is
    read, both devices are reset to their lowest conductance, and the weight is written anew with verification. A look at the
    pairs costs a read of all rows. A `Program` request resets all pairs before it writes them. Corrections of a verified
    write only add up, so many rounds with noisy reads fill a pair.
    """

    upper: float = Field(0.75, gt=0, le=1, description="place of the higher device above which a pair is refreshed")
    lower: float = Field(0.25, ge=0, lt=1, description="place of the lower device above which a pair is refreshed")

    every: int = Field(10, ge=1, le=10**9, description="write requests from one look at the pairs to the next")

    @model_validator(mode="after")
    def _check_places(self) -> OneSided:
        if self.lower >= self.upper:
            raise ValueError(f"lower must be below upper, found {self.lower:g} and {self.upper:g}")
        return self

    def share(self, change: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.maximum(change, 0), np.maximum(-change, 0)

    def rest(self, device: Device) -> float:
        return device.g_min

    def typical(self, device: Device) -> float:
        # Half-way to where pairs are refreshed, an assumption: devices fill up from one refresh to the next.
        return device.g_min + self.upper / 2 * (device.g_max - device.g_min)

    def prepare(self, array: Maintained) -> Upkeep:
        return array.reset()

    def maintain(self, array: Maintained, device: Device, unit: float) -> Upkeep:
        if array.writes % self.every:
            return Upkeep()
        g = array.measured()
        place = device.place(g)
        full = (place.max(axis=0) > self.upper) & (place.min(axis=0) > self.lower)
        if not full.any():
            return Upkeep(verified=1)
        weights = (g[0] - g[1]) / unit
        reset, written = array.reset(full), array.program(weights, full)
        return Upkeep(reset.pulses + written.pulses, reset.by_row + written.by_row, 1 + written.verified)
