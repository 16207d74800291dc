"""Fetching devices from an array and writing them back: from one record a pair to one vector a field.

In memory all fields of a pair stand together. Work is done on vectors, one a field, the two devices of a pair next to each
other: device e of a `Fetched` belongs to pair e // 2. Fetching comes before any arithmetic, so that cache misses overlap.

Both devices of a pair move as one whole number: two float32 as one uint64, two uint16 codes as one uint32. That halves the
loads and stores.

How to add something to devices. A parameter: a constant in `devices`, one more `make_take` and `make_gather` here, and its
row in `compact_batch` of `batches` if `responses` reads it. A state variable: a constant in `devices`, and a line each in
the four loops here that know `WRITTEN`; if pulses change it, it must be carried along wherever `batches` carries ``g_now``.

Shapes: n neighbouring pairs, or n listed pairs of a stretch; d = 2 n devices.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.devices import NU
from mortalsim.kernels.jit import loop
from mortalsim.kernels.vectors import copy

Float32s: TypeAlias = npt.NDArray[np.float32]

#: Pairs of one stretch: what is known of them stays in the nearer caches.
STRETCH = 4096


class StatePairs(NamedTuple):
    """The state of a whole array: uint64, one a pair, or where devices are ``timed`` two, conductance and time in turn."""

    pairs: npt.NDArray[np.uint64]
    timed: bool


class Fetched(NamedTuple):
    """Devices side by side; (d,) where nothing else is said.

    Parameters
    ----------
    stored, written
        Conductance as last written [S], and when [s since the array's epoch].
    g_now
        Conductance now [S]; pulses act on it.
    readings
        What each counts for in a read, in units of weight.
    codes, parameters
        uint16 and float32 (6, d): a row for each parameter, as codes and as numbers.
    """

    stored: Float32s
    written: Float32s
    g_now: Float32s
    readings: Float32s
    codes: npt.NDArray[np.uint16]
    parameters: Float32s


@loop
def new_row(n_devices):
    """Return float32 (n_devices,), contents undefined."""
    return np.empty(n_devices, np.float32)


@loop
def new_fetched(n_devices):
    """Return a `Fetched` for so many devices."""
    codes, parameters = np.empty((6, n_devices), np.uint16), np.empty((6, n_devices), np.float32)
    return Fetched(new_row(n_devices), new_row(n_devices), new_row(n_devices), new_row(n_devices), codes, parameters)


def make_take(fields):
    """Return a loop that takes ``fields`` fields of n neighbouring pairs, flat (fields n,), into rows (fields, n).

    The number of fields is known to the compiler, which takes pair by pair at less than half the time of a loop over a
    number that it does not know (0.8 against 1.7 ns a device with six fields).
    """

    @loop
    def take(n, flat, rows):
        for k in range(n):
            for field in range(fields):
                rows[field, k] = flat[fields * k + field]

    return take


def make_gather(fields):
    """Return a loop that takes the fields of n pairs at ``places`` from ``first_pair`` on; else as `make_take`."""

    @loop
    def gather(n, flat, first_pair, places, rows):
        for k in range(n):
            pair = first_pair + places[k]
            for field in range(fields):
                rows[field, k] = flat[fields * pair + field]

    return gather


take_five, take_six = make_take(5), make_take(6)
gather_five, gather_six = make_gather(5), make_gather(6)


@loop
def take_timed(n, flat, stored, written):
    """Take conductance and time of n neighbouring pairs, flat (2 n,)."""
    for k in range(n):
        stored[k] = flat[2 * k]
        written[k] = flat[2 * k + 1]


@loop
def take_stretch(state, code_pairs, aged, fields, first_pair, n, fetched):
    """Fetch the n pairs from ``first_pair`` on.

    ``state`` is a `StatePairs`; ``code_pairs`` uint32 (pairs of the array * fields,); ``aged`` uint64 (pairs of the array,),
    what they conduct now, or (0,).
    """
    if state.timed:
        take_timed(n, state.pairs[2 * first_pair :], fetched.stored.view(np.uint64), fetched.written.view(np.uint64))
    else:
        copy(state.pairs[first_pair : first_pair + n], fetched.stored.view(np.uint64))
    if aged.size > 0:
        copy(aged[first_pair : first_pair + n], fetched.g_now.view(np.uint64))
    if fields > NU:
        take_six(n, code_pairs[6 * first_pair :], fetched.codes.view(np.uint32))
    else:
        take_five(n, code_pairs[5 * first_pair :], fetched.codes.view(np.uint32))


@loop
def take_listed(state, code_pairs, aged, fields, first_pair, places, n, fetched):
    """Fetch the pairs at n ``places`` of the stretch that begins at ``first_pair``; else as `take_stretch`."""
    stored, written = fetched.stored.view(np.uint64), fetched.written.view(np.uint64)
    g_now = fetched.g_now.view(np.uint64)
    for k in range(n):
        pair = first_pair + places[k]
        if state.timed:
            stored[k], written[k] = state.pairs[2 * pair], state.pairs[2 * pair + 1]
        else:
            stored[k] = state.pairs[pair]
        if aged.size > 0:
            g_now[k] = aged[pair]
    if fields > NU:
        gather_six(n, code_pairs, first_pair, places, fetched.codes.view(np.uint32))
    else:
        gather_five(n, code_pairs, first_pair, places, fetched.codes.view(np.uint32))


@loop
def write_back_stretch(state, first_pair, n, fetched):
    """Write the state of n neighbouring pairs back."""
    stored, written = fetched.stored.view(np.uint64), fetched.written.view(np.uint64)
    if state.timed:
        out = state.pairs[2 * first_pair :]
        for k in range(n):
            out[2 * k] = stored[k]
            out[2 * k + 1] = written[k]
    else:
        copy(stored[:n], state.pairs[first_pair:])


@loop
def write_back_listed(state, first_pair, places, n, fetched):
    """Write the state of the pairs at n ``places`` of a stretch back."""
    stored, written = fetched.stored.view(np.uint64), fetched.written.view(np.uint64)
    for k in range(n):
        pair = first_pair + places[k]
        if state.timed:
            state.pairs[2 * pair], state.pairs[2 * pair + 1] = stored[k], written[k]
        else:
            state.pairs[pair] = stored[k]
