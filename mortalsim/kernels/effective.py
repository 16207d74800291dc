"""Effective weights: what pairs of devices count for in a read, ageing and static errors included.

An array is worked on in stretches of `STRETCH` pairs, rows ignored. A `DeviceBatch` holds what is known of a stretch's
devices, one vector a field, the two devices of a pair next to each other: device d of a batch belongs to pair d // 2.

Shapes: n pairs, d = 2 n devices, K knots of a table.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.devices import ERROR, NU, Devices
from mortalsim.kernels.jit import OUT_MATRIX, PARAMETERS, SCALES, STATE, VECTOR, f8, i8, kernel, law, loop, part
from mortalsim.kernels.philox import natural_exp, natural_log
from mortalsim.kernels.vectors import copy

F4: TypeAlias = npt.NDArray[np.float32]
U2: TypeAlias = npt.NDArray[np.uint16]

ZERO, ONE = np.float32(0), np.float32(1)

#: Pairs of one stretch: what is known of them stays in the nearer caches.
STRETCH = 4096


class Present(NamedTuple):
    """When devices are looked at, and what they conduct then.

    Parameters
    ----------
    now, t0
        Seconds since the array's epoch, and the power law's reference time.
    conductance
        float32 (n_in, n_out, 1, 2), siemens: what a technology that ages by a law of its own says; (0, 0, 1, 2) where
        devices drift by the power law or not at all.
    """

    now: float
    t0: float
    conductance: F4


class ReadNoise(NamedTuple):
    """Read noise that depends on a device's conductance, in units of weight.

    Parameters
    ----------
    relative
        Standard deviation relative to the reading.
    table
        float32 (K,): standard deviations at equal distances, interpolated between and held beyond; (0,) where the noise is
        ``relative``.
    start, width
        Readings of the first knot, and from the first to the last.
    """

    relative: float | np.float32 = 0.0
    table: F4 = np.zeros(0, np.float32)
    start: float | np.float32 = 0.0
    width: float | np.float32 = 1.0


class Effective(NamedTuple):
    """Where effective weights go.

    Parameters
    ----------
    weights
        float32 (n_in, n_out): (G+ (1 + E+) - G- (1 + E-)) / unit, E the static error.
    variance
        float32 (n_in, n_out): variance of each weight by ``noise``, the sum over both devices; (0, 0): not wanted.
    unit
        Siemens per unit of weight.
    noise
        The law of the read noise.
    """

    weights: F4
    variance: F4
    unit: float
    noise: ReadNoise


def compute_weights(devices: Devices, present: Present, effective: Effective, first: int, last: int) -> None:
    """Compute the effective weights of rows ``first`` to ``last`` - 1, and their variances if wanted."""
    into = effective.weights, effective.variance
    compiled_compute_weights(*devices.arrays, *present, effective.unit, *effective.noise, first, last, *into)


class DeviceBatch(NamedTuple):
    """Devices side by side; (d,) where nothing else is said.

    Parameters
    ----------
    stored, written
        Conductance as last written [S], and when [s].
    present
        Conductance now [S].
    readings
        What each counts for in a read, in units of weight.
    codes, parameters
        (6, d): a row for each parameter, as codes and as numbers.
    """

    stored: F4
    written: F4
    present: F4
    readings: F4
    codes: U2
    parameters: F4


@loop
def new_row(devices):
    """Return float32 room for one field."""
    return np.empty(devices, np.float32)


@loop
def new_batch(devices):
    """Return a `DeviceBatch`."""
    codes, parameters = np.empty((6, devices), np.uint16), np.empty((6, devices), np.float32)
    return DeviceBatch(new_row(devices), new_row(devices), new_row(devices), new_row(devices), codes, parameters)


@law
def decoded(code, base, unit):
    """Return the number that a parameter's code stands for."""
    return base + unit * np.float32(code)


@law
def drifted(g, nu, written, now, t0):
    """Return a conductance at time ``now``: g (1 + age / t0)^-nu, the age never below 0."""
    ages = ONE + max(now - written, ZERO) / t0
    return g if nu == ZERO else g * natural_exp(-nu * natural_log(ages))


@law
def reading(g, error, unit):
    """Return what a conductance counts for in a read: g (1 + error) / unit."""
    return g * (ONE + error) / unit


@law
def pair_weight(plus, minus):
    """Return the weight of a pair with these readings."""
    return plus - minus


@law
def relative_variance(plus, minus, relative):
    """Return the variance of a pair's weight by noise in proportion to each reading."""
    return relative * relative * (plus * plus + minus * minus)


@law
def looked_up(value, table, start, knots_per_unit):
    """Return the table (K,) at ``value``: linear between knots, held beyond the ends."""
    last = np.float32(table.size - 1)
    place = (value - start) * knots_per_unit
    place = min(place if place > ZERO else ZERO, last)
    knot = min(np.int32(place), np.int32(table.size - 2))
    return table[knot] + (table[knot + 1] - table[knot]) * (place - np.float32(knot))


def take(fields):
    """Return a loop that takes ``fields`` fields of n neighbouring pairs, flat (fields * n,), into rows (fields, n).

    The number of fields is known to the compiler, which takes pair by pair at less than half the time of a loop over a
    number that it does not know (0.8 against 1.7 ns a device with six fields).
    """

    @loop
    def taken(n, flat, rows):
        for k in range(n):
            for field in range(fields):
                rows[field, k] = flat[fields * k + field]

    return taken


take_five, take_six = take(5), take(6)


@loop
def take_timed(n, flat, stored, written):
    """Take conductance and time of n neighbouring pairs, flat (2 n,)."""
    for k in range(n):
        stored[k] = flat[2 * k]
        written[k] = flat[2 * k + 1]


@loop
def take_stretch(state, parameters, aged, fields, start, n, batch):
    """Take the n pairs from ``start`` on. ``state``, ``parameters`` and ``aged`` hold one whole number a pair and field.

    Both devices of a pair move as one number: two float32 as a uint64, two uint16 codes as a uint32. That halves the loads.
    """
    codes = batch.codes.view(np.uint32)
    if state.timed:
        take_timed(n, state.pairs[2 * start :], batch.stored.view(np.uint64), batch.written.view(np.uint64))
    else:
        copy(state.pairs[start : start + n], batch.stored.view(np.uint64))
    if aged.size > 0:
        copy(aged[start : start + n], batch.present.view(np.uint64))
    if fields > NU:
        take_six(n, parameters[6 * start :], codes)
    else:
        take_five(n, parameters[5 * start :], codes)


class StatePairs(NamedTuple):
    """The state of an array: uint64 (n,) or, where devices are ``timed``, (2 n,), conductance and time in turn."""

    pairs: npt.NDArray[np.uint64]
    timed: bool


@loop
def decode_all(d, codes, scales, parameters):
    """Turn the codes of d devices into numbers."""
    for parameter in range(scales.shape[0]):
        base, unit = scales[parameter, 0], scales[parameter, 1]
        for k in range(d):
            parameters[parameter, k] = decoded(codes[parameter, k], base, unit)


@loop
def drift_all(d, batch, now, t0):
    """Let d devices drift from when they were written to ``now``."""
    stored, written, present, nu = batch.stored, batch.written, batch.present, batch.parameters[NU]
    for k in range(d):
        present[k] = drifted(stored[k], nu[k], written[k], now, t0)


@part
def decode_and_age(d, scales, now, t0, aged, batch):
    """Turn the codes of d devices into numbers, and work out what they conduct now unless ``aged`` has said so."""
    decode_all(d, batch.codes, scales, batch.parameters)
    if aged.size == 0:
        if scales.shape[0] > NU:
            drift_all(d, batch, np.float32(now), np.float32(t0))
        else:
            copy(batch.stored[:d], batch.present)


@loop
def read_all(d, batch, unit):
    """Work out the readings of d devices."""
    present, error, readings = batch.present, batch.parameters[ERROR], batch.readings
    for k in range(d):
        readings[k] = reading(present[k], error[k], unit)


@loop
def vary_all(readings, noise, variance):
    """Fill ``variance`` (n,) from readings (2 n,)."""
    if noise.table.size > 0:
        per_unit = np.float32(noise.table.size - 1) / noise.width
        for k in range(variance.size):
            plus = looked_up(readings[2 * k], noise.table, noise.start, per_unit)
            minus = looked_up(readings[2 * k + 1], noise.table, noise.start, per_unit)
            variance[k] = plus * plus + minus * minus
    else:
        relative = noise.relative
        for k in range(variance.size):
            variance[k] = relative_variance(readings[2 * k], readings[2 * k + 1], relative)


@loop
def weigh_all(readings, weights):
    """Fill ``weights`` (n,) from readings (2 n,)."""
    for k in range(weights.size):
        weights[k] = pair_weight(readings[2 * k], readings[2 * k + 1])


@loop
def single_noise(relative, table, start, width):
    """Return a `ReadNoise` with numbers of single precision."""
    return ReadNoise(np.float32(relative), table, np.float32(start), np.float32(width))


@kernel(STATE, PARAMETERS, SCALES, f8, f8, STATE, f8, f8, VECTOR, f8, f8, i8, i8, OUT_MATRIX, OUT_MATRIX)
def compiled_compute_weights(
    state, parameters, scales, now, t0, aged, unit, relative, table, start, width, first, last, weights, variance
):  # fmt: skip
    """Do `compute_weights`, the records taken apart."""
    n_out, batch = weights.shape[1], new_batch(2 * STRETCH)
    pairs = StatePairs(state.reshape(-1).view(np.uint64), state.shape[2] > 1)
    codes, aged_pairs = parameters.reshape(-1).view(np.uint32), aged.reshape(-1).view(np.uint64)
    flat_weights, flat_variance = weights.reshape(-1), variance.reshape(-1)
    noise = single_noise(relative, table, start, width)
    for begin in range(first * n_out, last * n_out, STRETCH):
        end = min(begin + STRETCH, last * n_out)
        take_stretch(pairs, codes, aged_pairs, scales.shape[0], begin, end - begin, batch)
        decode_and_age(2 * (end - begin), scales, now, t0, aged_pairs, batch)
        read_all(2 * (end - begin), batch, np.float32(unit))
        weigh_all(batch.readings, flat_weights[begin:end])
        vary_all(batch.readings, noise, flat_variance[begin:end])
