"""How continuous devices answer to a write: they take a change exactly, as far as their own bounds let them.

Shapes: n pairs of a stretch, d = 2 n devices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.devices import HIGH, LOW, Devices
from mortalsim.kernels.effective import Effective, Present, decode_and_age, read_all, single_noise, vary_all, weigh_all
from mortalsim.kernels.fetching import STRETCH, Float32s, StatePairs, new_fetched, take_stretch, write_back_stretch
from mortalsim.kernels.jit import MATRIX, OUT_MATRIX, PARAMETERS, STATE, VECTOR, f8, i8, kernel, loop
from mortalsim.kernels.pulses import pulses_asked, skip_stuck

ZERO = np.float32(0)


class Wanted(NamedTuple):
    """A change of weights as changes of conductance.

    Parameters
    ----------
    change
        float32 (rows, n_out), finite, for rows ``first``, ``first`` + 1, ...; units as the caller likes.
    siemens_per_unit
        Change of G+ less G- that makes up one unit of ``change``; negative turns the change round.
    shares
        As in `pulses.Asked`.
    first
        The first row.
    """

    change: Float32s
    siemens_per_unit: float
    shares: Float32s
    first: int


@loop
def move_all(d, wanted, fetched):
    """Move d devices by ``wanted`` (d,), siemens, within their bounds; those that shall not move stay."""
    low, high = fetched.parameters[LOW], fetched.parameters[HIGH]
    stored, g_now = fetched.stored, fetched.g_now
    for e in range(d):
        after = min(max(g_now[e] + wanted[e], low[e]), high[e])
        stored[e] = stored[e] if wanted[e] == ZERO else after
        g_now[e] = g_now[e] if wanted[e] == ZERO else after


@loop
def time_moved(d, wanted, now, fetched):
    """Set the time of writing of devices that were to move to ``now``."""
    written = fetched.written
    for e in range(d):
        written[e] = written[e] if wanted[e] == ZERO else now


def move_devices(devices: Devices, wanted: Wanted, present: Present, effective: Effective) -> None:
    """Change the conductances of some rows, and compute all their effective weights and variances anew.

    A device that moves starts from what it conducts at ``present.now``, which becomes its time of writing. All others, stuck
    ones (UP = DOWN = 0) among them, go on ageing.

    Parameters
    ----------
    devices
        The devices; their state is changed in place.
    wanted
        The change.
    present
        Time of writing, and what devices conduct then.
    effective
        The effective weights, changed in place.
    """
    weights, variance, unit, noise = effective
    compiled_move_devices(*devices.arrays, *wanted, *present, unit, *noise, weights, variance)


@kernel(
    STATE, PARAMETERS, MATRIX,  # devices
    MATRIX, f8, MATRIX, i8,  # wanted
    f8, f8, STATE,  # present
    f8, f8, VECTOR, f8, f8,  # unit, noise
    OUT_MATRIX, OUT_MATRIX,
)  # fmt: skip
def compiled_move_devices(
    state, parameters, scales, change, siemens_per_unit, shares, first, now, t0, aged,
    unit, relative, table, first_reading, width, weights, variance,
):  # fmt: skip
    """Do `move_devices`, the records taken apart."""
    n_out, fields, fetched = change.shape[1], scales.shape[0], new_fetched(2 * STRETCH)
    room, noise = np.empty(2 * STRETCH, np.float32), single_noise(relative, table, first_reading, width)
    pairs = StatePairs(state.reshape(-1).view(np.uint64), state.shape[2] > 1)
    code_pairs, aged_pairs = parameters.reshape(-1).view(np.uint32), aged.reshape(-1).view(np.uint64)
    flat_change, flat_weights, flat_variance = change.reshape(-1), weights.reshape(-1), variance.reshape(-1)
    for begin in range(0, flat_change.size, STRETCH):
        stretch, first_pair = flat_change[begin : begin + STRETCH], first * n_out + begin
        n = stretch.size
        wanted = room[: 2 * n]
        pulses_asked(stretch, np.float32(siemens_per_unit), shares, wanted)
        take_stretch(pairs, code_pairs, aged_pairs, fields, first_pair, n, fetched)
        decode_and_age(2 * n, scales, now, t0, aged_pairs, fetched)
        skip_stuck(2 * n, fetched, wanted)
        move_all(2 * n, wanted, fetched)
        if pairs.timed:
            time_moved(2 * n, wanted, np.float32(now), fetched)
        write_back_stretch(pairs, first_pair, n, fetched)
        read_all(2 * n, fetched, np.float32(unit))
        weigh_all(fetched.readings, flat_weights[first_pair : first_pair + n])
        vary_all(fetched.readings, noise, flat_variance[first_pair : first_pair + n])
