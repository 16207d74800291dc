"""What every memory technology must keep to."""

from __future__ import annotations

import math

import numpy as np

from mortalsim.devices.base import KNOTS, Device
from mortalsim.testing.proxies import expect


def check_device(device: Device) -> None:
    """Check one technology.

    Both steps are finite, never negative and not zero everywhere; the tables have the length that the kernel wants; repeated
    pulses move monotonically and stop within the range; numbers have a stated source.

    Raises
    ------
    NotConforming
        Something of this is not so.
    """
    name = type(device).__name__
    expect(bool(getattr(type(device), "source", "")), f"{name}: state in `source` where the default numbers come from")
    u = np.linspace(0, 1, KNOTS)
    for side, law in (("up", device.up), ("down", device.down)):
        table = np.asarray(law(u))
        expect(table.shape == (KNOTS,), f"{name}.{side}: expected an array like u, shape ({KNOTS},), found {table.shape}")
        expect(bool(np.isfinite(table).all()), f"{name}.{side}: gives NaN or infinity between u = 0 and 1")
        expect(bool((table >= 0).all()), f"{name}.{side}: gives negative steps; return sizes, the direction is known")
        expect(bool(table.max() > 0), f"{name}.{side}: no pulse moves the device anywhere")
    if device.pulses:
        for side in ("up", "down"):
            _check_walk(device, side)


def _check_walk(device: Device, side: str) -> None:
    steps = math.ceil(device.pulses)
    span, sign = device.g_max - device.g_min, 1 if side == "up" else -1
    law = device.up if side == "up" else device.down
    u, places = 0.5, [0.5]
    for _ in range(4 * steps):
        step = float(law(np.array([u]))[0]) * device.step / span
        u = min(max(u + sign * step, 0.0), 1.0)
        places.append(u)
    moved = np.diff(places) * sign
    expect(bool((moved >= 0).all()), f"{type(device).__name__}.{side}: repeated pulses turn back on their way")
    expect(
        abs(places[-1] - 0.5) > 0.1,
        f"{type(device).__name__}.{side}: {4 * steps} pulses move less than a tenth of the range",
    )
