"""What weights the conductances of pairs make, drift included; how devices are taken from an array and laid side by side.

An array is worked on in stretches of `LENGTH` pairs, rows ignored. What is known of a stretch's devices lies in vectors of
a `Bench`, one for each property, the two devices of a pair next to each other. State and traits are as `cells` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mortalsim.kernels.cells import ERROR, NU
from mortalsim.kernels.jit import OUT_MATRIX, SCALES, STATE, TRAITS, f8, i8, kernel, law, loop, part
from mortalsim.kernels.philox import natural_exp, natural_log
from mortalsim.kernels.vectors import copy

ZERO, ONE = np.float32(0), np.float32(1)

#: Pairs of one stretch: what is known of them stays in the nearer caches.
LENGTH = 4096


class Bench(NamedTuple):
    """Room for the devices of a stretch: float32 (devices,), ``codes`` uint16 (6, devices), ``traits`` float32 likewise."""

    g: Any
    written: Any
    after: Any
    readings: Any
    codes: Any
    traits: Any


@loop
def new_row(devices):
    """Return room for a property of each."""
    return np.empty(devices, np.float32)


@loop
def new_bench(devices):
    """Return a `Bench`."""
    codes, traits = np.empty((6, devices), np.uint16), np.empty((6, devices), np.float32)
    return Bench(new_row(devices), new_row(devices), new_row(devices), new_row(devices), codes, traits)


@law
def decoded(code, base, unit):
    """Return what a trait's code means."""
    return base + unit * np.float32(code)


@law
def drifted(g, nu, written, now, t0):
    """Return what a conductance ``g`` of time ``written`` has become: g (1 + age / t0)^-nu, age never below 0."""
    ages = ONE + max(now - written, ZERO) / t0
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
def decode_all(w, codes, scales, traits):
    """Work out what the ``codes`` of w devices mean."""
    for trait in range(scales.shape[0]):
        base, unit = scales[trait, 0], scales[trait, 1]
        for e in range(w):
            traits[trait, e] = decoded(codes[trait, e], base, unit)


@loop
def drift_all(w, g, nu, written, now, t0, out):
    """Work out what w devices conduct at time ``now``."""
    for e in range(w):
        out[e] = drifted(g[e], nu[e], written[e], now, t0)


@loop
def read_all(w, g, error, unit, out):
    """Work out the readings of w devices."""
    for e in range(w):
        out[e] = reading(g[e], error[e], unit)


@loop
def weigh_all(readings, read_rel, weights, variance):
    """Fill ``weights`` (n,), and ``variance`` (n,) if not empty, from readings (2 n,)."""
    for e in range(weights.size):
        weights[e] = weight_of(readings[2 * e], readings[2 * e + 1])
    for e in range(variance.size):
        variance[e] = variance_of(readings[2 * e], readings[2 * e + 1], read_rel)


@loop
def take_two(n, state, g, written):
    """Part a state of two fields, (2 n,) pairs of float32 taken as uint64."""
    for k in range(n):
        g[k] = state[2 * k]
        written[k] = state[2 * k + 1]


@loop
def take_five(n, traits, a, b, c, d, e):
    """Part five traits, (5 n,) pairs of uint16 taken as uint32."""
    for k in range(n):
        a[k], b[k], c[k] = traits[5 * k], traits[5 * k + 1], traits[5 * k + 2]
        d[k], e[k] = traits[5 * k + 3], traits[5 * k + 4]


@loop
def take_six(n, traits, a, b, c, d, e, f):
    """Part six traits likewise."""
    for k in range(n):
        a[k], b[k], c[k] = traits[6 * k], traits[6 * k + 1], traits[6 * k + 2]
        d[k], e[k], f[k] = traits[6 * k + 3], traits[6 * k + 4], traits[6 * k + 5]


@loop
def take_all(state, traits, drifts, start, n, bench):
    """Take the n pairs from ``start`` on, traits as codes; ``state`` uint64 and ``traits`` uint32 of the whole array."""
    g, written, codes = bench.g.view(np.uint64), bench.written.view(np.uint64), bench.codes.view(np.uint32)
    a, b, c, d, e, f = codes[0], codes[1], codes[2], codes[3], codes[4], codes[5]
    if drifts:
        take_two(n, state[2 * start :], g, written)
        take_six(n, traits[6 * start :], a, b, c, d, e, f)
    else:
        copy(state[start : start + n], g)
        take_five(n, traits[5 * start :], a, b, c, d, e)


@part
def make_out(w, scales, now, t0, bench):
    """Work out the traits of the w devices taken, and what they conduct at time ``now``."""
    decode_all(w, bench.codes, scales, bench.traits)
    if scales.shape[0] > NU:
        drift_all(w, bench.g, bench.traits[NU], bench.written, np.float32(now), np.float32(t0), bench.after)
    else:
        copy(bench.g[:w], bench.after)


@kernel(STATE, TRAITS, SCALES, f8, f8, f8, f8, i8, i8, OUT_MATRIX, OUT_MATRIX)
def fold(state, traits, scales, now, t0, unit, read_rel, first, last, weights, variance):
    """Make weights, and read-noise variances if asked for, from the devices' state; parameters as in `apply_pulses`."""
    n_out = weights.shape[1]
    flat_weights, flat_variance = weights.reshape(-1), variance.reshape(-1)
    pairs, codes, bench = state.reshape(-1).view(np.uint64), traits.reshape(-1).view(np.uint32), new_bench(2 * LENGTH)
    for start in range(first * n_out, last * n_out, LENGTH):
        stop = min(start + LENGTH, last * n_out)
        take_all(pairs, codes, scales.shape[0] > NU, start, stop - start, bench)
        make_out(2 * (stop - start), scales, now, t0, bench)
        read_all(2 * (stop - start), bench.after, bench.traits[ERROR], np.float32(unit), bench.readings)
        weigh_all(bench.readings, np.float32(read_rel), flat_weights[start:stop], flat_variance[start:stop])
