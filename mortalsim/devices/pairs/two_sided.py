"""Both devices move, in opposite directions, and rest at mid range."""

from __future__ import annotations

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device
from mortalsim.devices.pairs.base import Pair


class TwoSided(Pair):
    """A change is shared equally: G+ takes half of it, G- the other half in the opposite direction."""

    def share(self, change: FloatArray) -> tuple[FloatArray, FloatArray]:
        return change / 2, -change / 2

    def rest(self, device: Device) -> float:
        return device.g_mid
