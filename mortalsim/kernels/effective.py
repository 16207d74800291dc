"""Effective weights: what pairs of devices count for in a read, ageing and static errors included.

W = (G+ (1 + E+) - G- (1 + E-)) / unit, G being what a device conducts now and E its static error.

Shapes: n pairs of a stretch, d = 2 n devices, K knots of a table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.devices import ERROR, NU, Devices
from mortalsim.kernels.fetching import STRETCH, Float32s, StatePairs, new_fetched, take_stretch
from mortalsim.kernels.jit import MATRIX, OUT_MATRIX, PARAMETERS, STATE, VECTOR, f8, i8, kernel, law, loop, part
from mortalsim.kernels.philox import natural_exp, natural_log
from mortalsim.kernels.vectors import copy

ZERO, ONE = np.float32(0), np.float32(1)


class Present(NamedTuple):
    """When devices are looked at, and what they conduct then.

    Parameters
    ----------
    now, t0
        Seconds since the array's epoch, and the power law's reference time [s].
    aged
        float32 (n_in, n_out, 1, 2), siemens: conductance at ``now``, worked out outside by technologies whose ageing is not
        the power law; (0, 0, 1, 2) for all others.
    """

    now: float
    t0: float
    aged: Float32s


class ReadNoise(NamedTuple):
    """Read noise that depends on a device's conductance, in units of weight.

    Parameters
    ----------
    relative
        Standard deviation relative to the reading.
    table
        float32 (K,): standard deviations at equal distances, interpolated between and held beyond, K at least 2; (0,) where
        the noise is ``relative``.
    first_reading, width
        Readings of the first knot, and from the first to the last.
    """

    relative: float | np.float32 = 0.0
    table: Float32s = np.zeros(0, np.float32)
    first_reading: float | np.float32 = 0.0
    width: float | np.float32 = 1.0


class Effective(NamedTuple):
    """Where effective weights go.

    Parameters
    ----------
    weights
        float32 (n_in, n_out).
    variance
        float32 (n_in, n_out): variance of each weight by ``noise``, the sum over both devices; (0, 0): not wanted.
    unit
        Siemens per unit of weight.
    noise
        The law of the read noise. No noise is drawn here: a read draws it, by these variances.
    """

    weights: Float32s
    variance: Float32s
    unit: float
    noise: ReadNoise


@law
def decoded(code, base, per_code):
    """Return the number that a parameter's code stands for."""
    return base + per_code * np.float32(code)


@law
def drifted(g, nu, written, now, t0):
    """Return a conductance at time ``now``: g (1 + age / t0)^-nu, the age never below 0."""
    ratio = ONE + max(now - written, ZERO) / t0
    return g if nu == ZERO else g * natural_exp(-nu * natural_log(ratio))


@law
def reading(g, error, siemens_per_weight):
    """Return what a conductance counts for in a read, in units of weight: g (1 + error) / unit."""
    return g * (ONE + error) / siemens_per_weight


@law
def pair_weight(plus, minus):
    """Return the weight of a pair with these readings."""
    return plus - minus


@law
def relative_variance(plus, minus, relative):
    """Return the variance of a pair's weight by noise in proportion to each reading."""
    return relative * relative * (plus * plus + minus * minus)


@law
def looked_up(value, table, first, knots_per_unit):
    """Return the table (K,) at ``value``: linear between knots, held beyond the ends."""
    last = np.float32(table.size - 1)
    place = (value - first) * knots_per_unit
    place = min(place if place > ZERO else ZERO, last)
    knot = min(np.int32(place), np.int32(table.size - 2))
    return table[knot] + (table[knot + 1] - table[knot]) * (place - np.float32(knot))


@loop
def decode_all(d, codes, scales, parameters):
    """Turn the codes of d devices into numbers."""
    for parameter in range(scales.shape[0]):
        base, per_code = scales[parameter, 0], scales[parameter, 1]
        for e in range(d):
            parameters[parameter, e] = decoded(codes[parameter, e], base, per_code)


@loop
def drift_all(d, fetched, now, t0):
    """Let d devices drift from when they were written to ``now``."""
    stored, written, g_now, nu = fetched.stored, fetched.written, fetched.g_now, fetched.parameters[NU]
    for e in range(d):
        g_now[e] = drifted(stored[e], nu[e], written[e], now, t0)


@part
def decode_and_age(d, scales, now, t0, aged, fetched):
    """Turn the codes of d devices into numbers, and work out what they conduct now unless ``aged`` has said so."""
    decode_all(d, fetched.codes, scales, fetched.parameters)
    if aged.size == 0:
        if scales.shape[0] > NU:
            drift_all(d, fetched, np.float32(now), np.float32(t0))
        else:
            copy(fetched.stored[:d], fetched.g_now)


@loop
def read_all(d, fetched, siemens_per_weight):
    """Work out the readings of d devices."""
    g_now, error, readings = fetched.g_now, fetched.parameters[ERROR], fetched.readings
    for e in range(d):
        readings[e] = reading(g_now[e], error[e], siemens_per_weight)


@loop
def vary_all(readings, noise, variance):
    """Fill ``variance`` (n,) from readings (2 n,)."""
    if noise.table.size > 0:
        per_unit = np.float32(noise.table.size - 1) / noise.width
        for k in range(variance.size):
            plus = looked_up(readings[2 * k], noise.table, noise.first_reading, per_unit)
            minus = looked_up(readings[2 * k + 1], noise.table, noise.first_reading, per_unit)
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
def single_noise(relative, table, first_reading, width):
    """Return a `ReadNoise` with numbers of single precision."""
    return ReadNoise(np.float32(relative), table, np.float32(first_reading), np.float32(width))


def compute_weights(devices: Devices, present: Present, effective: Effective, first: int, last: int) -> None:
    """Compute the effective weights of rows ``first`` to ``last`` - 1, and their variances if wanted."""
    weights, variance, unit, noise = effective
    compiled_compute_weights(*devices.arrays, *present, unit, *noise, first, last, weights, variance)


@kernel(
    STATE, PARAMETERS, MATRIX,  # devices
    f8, f8, STATE,  # present
    f8, f8, VECTOR, f8, f8,  # unit, noise
    i8, i8, OUT_MATRIX, OUT_MATRIX,
)  # fmt: skip
def compiled_compute_weights(
    state, parameters, scales, now, t0, aged, unit, relative, table, first_reading, width, first, last, weights, variance
):  # fmt: skip
    """Do `compute_weights`, the records taken apart."""
    n_out, fetched = weights.shape[1], new_fetched(2 * STRETCH)
    pairs = StatePairs(state.reshape(-1).view(np.uint64), state.shape[2] > 1)
    code_pairs, aged_pairs = parameters.reshape(-1).view(np.uint32), aged.reshape(-1).view(np.uint64)
    flat_weights, flat_variance = weights.reshape(-1), variance.reshape(-1)
    noise = single_noise(relative, table, first_reading, width)
    for begin in range(first * n_out, last * n_out, STRETCH):
        end = min(begin + STRETCH, last * n_out)
        take_stretch(pairs, code_pairs, aged_pairs, scales.shape[0], begin, end - begin, fetched)
        decode_and_age(2 * (end - begin), scales, now, t0, aged_pairs, fetched)
        read_all(2 * (end - begin), fetched, np.float32(unit))
        weigh_all(fetched.readings, flat_weights[begin:end])
        vary_all(fetched.readings, noise, flat_variance[begin:end])
