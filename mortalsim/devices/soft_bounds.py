"""Step that shrinks to nothing at the bound it moves towards (filamentary resistive RAM)."""

from __future__ import annotations

from typing import ClassVar

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device


class SoftBounds(Device):
    """dG_up = 2 D (1 - u), dG_down = 2 D u: n equal pulses approach the bound as r^n, r = 1 - 2 D / (high - low).

    The closed form is that of Chen, Peng and Yu 2018 (NeuroSim), G(n) = high - (high - G_0) r^n.
    """

    source: ClassVar[str] = "law: Fusi and Abbott 2007; range, voltages and times are assumptions of common size"

    def up(self, u: FloatArray) -> FloatArray:
        return 2 * (1 - u)

    def down(self, u: FloatArray) -> FloatArray:
        return 2 * u
