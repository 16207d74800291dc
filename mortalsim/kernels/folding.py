"""What weights the conductances of pairs make, drift included. State: float32 (2, 6 or 8, n_in, n_out), see `cells`."""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.cells import ERROR, MINUS, NU, PLUS, WRITTEN, G
from mortalsim.kernels.jit import OUT_CELLS, OUT_MATRIX, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, natural_exp, natural_log

ZERO, ONE = np.float32(0), np.float32(1)

#: Pairs of one stretch: what is known of them stays in the nearest cache.
LENGTH = 32 * CHUNK


@law
def drifted(g, nu, written, now, t0):
    """Return what a conductance ``g`` of time ``written`` has become: g (1 + age / t0)^-nu, age never below 0."""
    ages = np.float32(1.0 + max(now - written, 0.0) * (1.0 / t0))
    return g if nu == ZERO else g * natural_exp(-nu * natural_log(ages))


@law
def reading(g, error, unit):
    """Return what a conductance counts for, in units of weight, its frozen read error included."""
    return g * (ONE + error) / unit


@law
def weight_of(plus, minus):
    """Return the weight of a pair's two readings."""
    return plus - minus


@law
def variance_of(plus, minus, read_rel):
    """Return the variance of a pair's weight by noise of ``read_rel`` times each reading."""
    return read_rel * read_rel * (plus * plus + minus * minus)


@loop
def drift_all(g, nu, written, now, t0, out):
    """Fill ``out`` (n,) with conductances at time ``now``."""
    for e in range(out.size):
        out[e] = drifted(g[e], nu[e], written[e], now, t0)


@loop
def read_all(g, error, unit, out):
    """Fill ``out`` (n,) with readings."""
    for e in range(out.size):
        out[e] = reading(g[e], error[e], unit)


@loop
def weigh_all(plus, minus, weights):
    """Fill ``weights`` (n,)."""
    for e in range(weights.size):
        weights[e] = weight_of(plus[e], minus[e])


@loop
def vary_all(plus, minus, read_rel, variance):
    """Fill ``variance`` (n,); nothing is done if it is empty."""
    for e in range(variance.size):
        variance[e] = variance_of(plus[e], minus[e], read_rel)


@loop
def read_stretch(cells, device, start, now, t0, unit, room, out):
    """Fill ``out`` (n,) with the readings of devices start, start + 1, ... of ``cells`` (2, fields, all)."""
    stop = start + out.size
    g, error = cells[device, G, start:stop], cells[device, ERROR, start:stop]
    if cells.shape[1] > NU:
        drift_all(g, cells[device, NU, start:stop], cells[device, WRITTEN, start:stop], now, t0, room[: out.size])
        read_all(room[: out.size], error, unit, out)
    else:
        read_all(g, error, unit, out)


@kernel(OUT_CELLS, f8, f8, f8, f8, i8, i8, OUT_MATRIX, OUT_MATRIX)
def fold(cells, now, t0, unit, read_rel, first, last, weights, variance):
    """Make weights, and read-noise variances if asked for, from the devices' state; parameters as in `apply_pulses`."""
    n_out = weights.shape[1]
    flat, flat_weights, flat_variance = cells.reshape(2, cells.shape[1], -1), weights.reshape(-1), variance.reshape(-1)
    rooms = np.empty((3, LENGTH), np.float32)
    end = last * n_out
    for start in range(first * n_out, end, LENGTH):
        stop = min(start + LENGTH, end)
        plus, minus = rooms[PLUS, : stop - start], rooms[MINUS, : stop - start]
        for device in range(2):
            read_stretch(flat, device, start, now, t0, np.float32(unit), rooms[2], rooms[device, : stop - start])
        weigh_all(plus, minus, flat_weights[start:stop])
        vary_all(plus, minus, np.float32(read_rel), flat_variance[start:stop])
