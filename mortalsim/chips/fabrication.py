"""Fabrication: the devices of one array, drawn from named streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mortalsim.checks import DesignError, FloatArray, all_finite
from mortalsim.chips.netlist import ArrayParts
from mortalsim.devices import Device
from mortalsim.devices.base import STATE
from mortalsim.kernels.devices import DOWN, ERROR, HIGH, LOW, NU, UP, Devices, G
from mortalsim.streams import Streams

#: Parameters that every technology's devices have, by the names that its laws know; `NU` only where they drift.
FROZEN = {"low": LOW, "high": HIGH, "up": UP, "down": DOWN, "error": ERROR, "nu": NU}


def initial_weights(parts: ArrayParts, rng: np.random.Generator) -> FloatArray:
    """Return the weights that fabrication happens to leave, (rows, n_out), zero mean: spread / sqrt(lines to the neuron)."""
    blocks, n_in = parts.lines.shape
    normals = rng.standard_normal((blocks * n_in, parts.spec.n_out)).reshape(blocks, n_in, -1)
    weights = parts.technology.initial_spread / np.sqrt(parts.fan_in)[:, None, :] * normals
    return np.asarray(weights.reshape(blocks * n_in, -1))


def fabricate_devices(parts: ArrayParts, streams: Streams) -> Devices:
    """Draw one array's devices.

    Each property comes from a stream of its own, so switching one on leaves the others as they were.
    """
    technology, device, rows, n_out = parts.technology, parts.technology.device, parts.lines.size, parts.spec.n_out
    devices = Devices.blank(rows, n_out, drift=device.drifts, timed="written" in device.state)
    normal = normals_of(streams, (2, rows, n_out))
    devices.fix(LOW, np.maximum(device.g_min * (1 + device.bound_dtod * normal("low")), 0))
    high = device.g_max * (1 + device.bound_dtod * normal("high"))
    # A device whose bounds cross would have no range at all. It is left a tenth of the nominal one, an assumption.
    devices.fix(HIGH, np.maximum(high, devices.values(LOW) + (device.g_max - device.g_min) / 10))
    step = (device.step or device.g_max) * np.abs(1 + device.step_dtod * normal("step"))
    asymmetry = device.asymmetry + device.asymmetry_dtod * normal("asymmetry")
    # Counted from 0, which is what stuck devices have.
    devices.fix(UP, step * np.maximum(1 + asymmetry, 0), base=0.0)
    devices.fix(DOWN, step * np.maximum(1 - asymmetry, 0), base=0.0)
    devices.fix(ERROR, np.maximum(device.conductance_dtod * normal("error"), -1))  # nothing conducts less than nothing
    if device.drifts:
        devices.fix(NU, np.maximum(device.drift + device.drift_dtod * normal("drift"), 0))
    weights = initial_weights(parts, streams.generator("weights")) * np.float32(technology.unit)
    g = technology.rest + np.stack(technology.pair.share(weights))
    _stick(devices, g, device, streams)
    devices.levels(G)[...] = np.clip(g, devices.values(LOW), devices.values(HIGH))
    return devices


def own_parameters(device: Device, shape: tuple[int, int, int], streams: Streams) -> dict[str, FloatArray]:
    """Return the frozen parameters that a technology adds, float32 (2, rows, n_out) each.

    Raises
    ------
    DesignError
        One is of another shape, or not finite, or bears the name of what every device has.
    """
    normal, own = normals_of(streams.child("own"), shape), {}
    for name, values in device.parameters(normal).items():
        if name in (*FROZEN, *STATE):
            raise DesignError(f"{type(device).__name__}.parameters: {name!r} is what every device has. Choose another name.")
        values = np.asarray(values, np.float32)
        if values.shape != shape or not all_finite(values):
            raise DesignError(
                f"{type(device).__name__}.parameters: expected finite {name} of shape (2, rows, n_out) = {shape}, "
                f"found shape {values.shape}. Make it of `normal({name!r})`."
            )
        own[name] = values
    return own


def normals_of(streams: Streams, shape: tuple[int, int, int]) -> Callable[[str], FloatArray]:
    """Return what gives standard normal numbers of this shape from the stream of a name."""
    return lambda name: streams.generator(name).standard_normal(shape, dtype=np.float32)


def _stick(devices: Devices, g: FloatArray, device: Device, streams: Streams) -> None:
    # A stuck device sits anywhere between its bounds and answers no pulse. Drawn for all, so that the fraction can change.
    rng = streams.generator("stuck")
    stuck = rng.random(g.shape) < device.stuck
    low, high = devices.values(LOW), devices.values(HIGH)
    g[stuck] = (low + rng.random(g.shape) * (high - low))[stuck]
    devices.codes(UP)[stuck] = 0
    devices.codes(DOWN)[stuck] = 0
