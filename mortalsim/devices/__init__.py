"""Memory technologies, one a file; a file put here is found by its name."""

from typing import Annotated, TypeAlias

from mortalsim.devices.base import Device
from mortalsim.registry import Registry
from mortalsim.settings import choice

__all__ = ["DEVICES", "AnyDevice", "Device"]

DEVICES = Registry("mortalsim.devices", Device)

#: A field that holds any technology: in a design file ``{technology = "soft_bounds", pulses = 500}``.
AnyDevice: TypeAlias = Annotated[Device, *choice(DEVICES, "technology")]
