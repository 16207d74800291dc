"""What every memory technology must keep to."""

from __future__ import annotations

import math

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.devices.base import KNOTS, Device, Moment
from mortalsim.testing.proxies import expect


def check_device(device: Device) -> None:
    """Check one technology.

    Both steps are finite, never negative and not zero everywhere; the tables have the length that the kernel wants; repeated
    pulses move monotonically and stop within the range; numbers have a stated source. Read noise is finite and never
    negative at 0, 300 and 600 kelvin. A device that was written just now conducts what was written, and later something
    finite.

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
    _check_noise(device, u)
    _check_ageing(device)
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


def _check_noise(device: Device, u: FloatArray) -> None:
    for kelvin in (0.0, 300.0, 600.0):
        sd = np.asarray(device.noise_at(u, Moment(0.0, kelvin)))
        name = f"{type(device).__name__}.noise at {kelvin:g} K"
        expect(sd.shape in ((), (KNOTS,)), f"{name}: expected an array like u, shape ({KNOTS},), found {sd.shape}")
        expect(bool(np.isfinite(sd).all() and (sd >= 0).all()), f"{name}: gives NaN, infinity or less than 0")


def _check_ageing(device: Device) -> None:
    name, shape = f"{type(device).__name__}.aged", (2, 3, 4)
    normal = np.random.Generator(np.random.Philox(0)).standard_normal
    g = np.linspace(device.g_min, device.g_max, math.prod(shape)).reshape(shape)
    fields = {"low": np.full(shape, device.g_min), "high": np.full(shape, device.g_max), "error": np.zeros(shape)}
    fields |= {"up": np.full(shape, device.step), "down": np.full(shape, device.step), "nu": np.full(shape, device.drift)}
    fields |= {"written": np.full(shape, 5.0), "taken": np.zeros(shape), "dead": np.zeros(shape)}
    fields |= device.parameters(lambda _: normal(shape))
    young = np.asarray(device.aged(g, fields, Moment(5.0)))
    expect(young.shape == shape, f"{name}: expected an array like g, shape {shape}, found {young.shape}")
    expect(bool(np.allclose(young, g)), f"{name}: a device written at this moment does not conduct what was written")
    old = np.asarray(device.aged(g, fields, Moment(1e9)))
    expect(bool(np.isfinite(old).all()), f"{name}: gives NaN or infinity at a great age")
    if "dead" in device.state:
        dead = np.asarray(device.dead(fields))
        expect(dead.shape == shape and dead.dtype == bool, f"{type(device).__name__}.dead: expected truth values {shape}")
        expect(not dead.all(), f"{type(device).__name__}.dead: devices are dead before their first pulse")
