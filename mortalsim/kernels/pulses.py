"""How devices answer to write pulses.

Device number 2 (i n_out + j) + k of an array is the one of row i and column j that counts positively (k = 0) or negatively
(k = 1). An array may consist of array blocks stacked as rows; n_in counts the rows of all of them.

A write asks each device for q pulses, a fraction with a sign. What then happens, stretch by stretch:

====  ================================================================================  ==============================
step  what                                                                              where
====  ================================================================================  ==============================
1     q = change * pulses_per_unit * share                                              `pulses_asked`
2     |q|, cut to the limit, is rounded at random to a whole number: the pulses sent    `rounding.round_stretch`
3     devices are fetched; what each conducts now is worked out                         `fetching`, `decode_and_age`
4     the pulses of stuck devices are struck out; what remains is taken                 `skip_stuck`
5     pulses are applied two at a time                                                  `batches.send_pulses`
6     one pulse: step, cycle-to-cycle noise, clipping at the device's own bounds        `responses.after_pulse`
7     devices that took a pulse get a new conductance and time of writing               `store_moved`, `set_write_time`
8     effective weights of their pairs are computed anew, both devices as they are now  `weigh_moved`, `weigh_listed`
====  ================================================================================  ==============================

What one device consumes of chance, all of it Philox under the write's address:

==========  ====  ==========================================================================
purpose     bits  when
==========  ====  ==========================================================================
ROUND       8     always, in step 2
ROUND_REST  23    where those eight leave the last pulse undecided, once in 256
CYCLE       32    for each two pulses, in step 5; none if there is no cycle-to-cycle noise
==========  ====  ==========================================================================

The request is open-loop: q takes every step as the nominal one at mid range. A device's own step and its response h(u) come
in with the pulses alone.

A stretch is `STRETCH` pairs in memory order; it may begin and end inside a row. If at least one pair in `DENSE_ONE_IN` is
sent pulses, all pairs of the stretch are fetched, otherwise only those. Both give the same bits.

Shapes: n pairs of a stretch, m of them fetched (all n, or those that are sent pulses), d = 2 n or 2 m devices; e counts
within the vectors at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.batches import GROUP, Int32s, Int64s, new_pulse_work, send_pulses
from mortalsim.kernels.counters import Address
from mortalsim.kernels.devices import DOWN, UP, Devices
from mortalsim.kernels.effective import Effective, Present, decode_and_age, pair_weight, read_all, single_noise, vary_all
from mortalsim.kernels.fetching import (
    STRETCH,
    Float32s,
    StatePairs,
    new_fetched,
    take_listed,
    take_stretch,
    write_back_listed,
    write_back_stretch,
)
from mortalsim.kernels.jit import (
    KEY,
    MATRIX,
    OUT_COUNTS,
    OUT_MATRIX,
    OUT_SENT,
    PARAMETERS,
    STATE,
    VECTOR,
    f8,
    i8,
    kernel,
    loop,
    part,
)
from mortalsim.kernels.responses import PulseLaw
from mortalsim.kernels.rounding import round_stretch
from mortalsim.kernels.vectors import compact, copy, fill, flag_above, largest, list_flagged

ZERO = np.float32(0)

#: A stretch is fetched as a whole where at least one of its pairs in four is sent pulses.
DENSE_ONE_IN = 4

#: Most pulses that one request can send to one device: 2 x count + 1 must fit an int32, see `rounding.round_by_bytes`.
MOST_PULSES = 2.0**29


class Asked(NamedTuple):
    """A change of weights as pulses.

    Parameters
    ----------
    change
        float32 (rows, n_out), finite, for rows ``first``, ``first`` + 1, ...; units as the caller likes.
    pulses_per_unit
        Nominal mid-range pulses on one device that make up one unit of ``change``; negative turns the change round.
    shares
        float32 (2, 2), factors of the signed change: shares[0] those of G+ and G- where the weight shall rise, shares[1]
        where it shall fall. Two-sided pairs: ((1/2, -1/2), (1/2, -1/2)). One-sided ones, whose devices only move up:
        ((1, 0), (0, -1)), a falling change times -1 being positive for G-.
    limit
        Most pulses for one device, a whole number; 0: only `MOST_PULSES`.
    first
        The first row; a multiple of 16. Its first device then begins a Philox block, so rows written by themselves get the
        bits that they get when the whole array is written. The caller sees to it.
    """

    change: Float32s
    pulses_per_unit: float
    shares: Float32s
    limit: int
    first: int


class Sent(NamedTuple):
    """What a write has sent.

    Parameters
    ----------
    row_pulses
        int64 (n_in,), written in the rows asked for: the largest number of pulses that one device of the row was sent, which
        is the time that the row takes, in pulses.
    by_device
        int32 (n_in, n_out, 2), written in the rows asked for: pulses of each device; (0, 0, 2): not wanted.
    """

    row_pulses: Int64s
    by_device: Int32s


@loop
def pulses_asked(change, per_unit, shares, asked):
    """Fill ``asked`` (2 n,) with the pulses for both devices of each pair, negative ones down; ``change`` is (n,)."""
    plus_rising, minus_rising = per_unit * shares[0, 0], per_unit * shares[0, 1]
    plus_falling, minus_falling = per_unit * shares[1, 0], per_unit * shares[1, 1]
    if plus_rising == plus_falling and minus_rising == minus_falling:
        # Both directions share alike, so nothing has to be chosen. This loop runs over all pairs, even where few are sent
        # pulses, so its time matters.
        for k in range(change.size):
            asked[2 * k] = change[k] * plus_rising
            asked[2 * k + 1] = change[k] * minus_rising
        return
    inverted = per_unit < ZERO
    for k in range(change.size):
        rising = (change[k] > ZERO) ^ inverted
        asked[2 * k] = change[k] * (plus_rising if rising else plus_falling)
        asked[2 * k + 1] = change[k] * (minus_rising if rising else minus_falling)


@part
def record_row_maxima(counts, first_device, row_devices, row_pulses):
    """Raise each row's largest count by those of devices first_device, first_device + 1, ...; a row has ``row_devices``."""
    e = 0
    while e < counts.size:
        row = (first_device + e) // row_devices
        segment = counts[e : min(counts.size, (row + 1) * row_devices - first_device)]
        row_pulses[row] = max(row_pulses[row], largest(segment.size, segment))
        e += segment.size


@loop
def record_by_device(counts, first_device, by_device):
    """Copy the counts of devices first_device, first_device + 1, ... to ``by_device``, of all devices or (0,)."""
    if by_device.size > 0:
        copy(counts, by_device[first_device : first_device + counts.size])


@loop
def number_listed(m, places, stretch_place):
    """Write to ``stretch_place`` (2 m,) where the devices of m listed pairs stand in their stretch: noise goes by that."""
    for k in range(m):
        stretch_place[2 * k] = 2 * places[k]
        stretch_place[2 * k + 1] = 2 * places[k] + 1


@loop
def skip_stuck(d, fetched, counts):
    """Set the counts of stuck devices, or how far they shall move, to 0: nothing moves them."""
    up, down = fetched.parameters[UP], fetched.parameters[DOWN]
    for e in range(d):
        counts[e] = 0 if (up[e] == ZERO) & (down[e] == ZERO) else counts[e]


@loop
def store_moved(d, counts, fetched):
    """Store the conductance of devices that took a pulse; the others keep what is stored."""
    stored, g_now = fetched.stored, fetched.g_now
    for e in range(d):
        old, new = stored[e], g_now[e]
        stored[e] = new if counts[e] > 0 else old


@loop
def set_write_time(d, counts, now, written):
    """Set the time of writing of devices that took a pulse to ``now``; the others keep theirs."""
    for e in range(d):
        old = written[e]
        written[e] = now if counts[e] > 0 else old


@loop
def weigh_moved(pair_counts, readings, varied, weights, variance):
    """Update ``weights`` (n,), and ``variance`` (n,) from ``varied`` if not empty, of pairs that took a pulse."""
    for k in range(weights.size):
        new, old = pair_weight(readings[2 * k], readings[2 * k + 1]), weights[k]
        weights[k] = new if pair_counts[k] > 0 else old
    for k in range(variance.size):
        new, old = varied[k], variance[k]
        variance[k] = new if pair_counts[k] > 0 else old


@loop
def weigh_listed(pair_counts, readings, varied, places, m, weights, variance):
    """Update the pairs at m ``places`` of ``weights`` (n,) and ``variance`` that took a pulse."""
    for k in range(m):
        if pair_counts[k] > 0:
            weights[places[k]] = pair_weight(readings[2 * k], readings[2 * k + 1])
            if variance.size > 0:
                variance[places[k]] = varied[k]


def apply_pulses(
    devices: Devices, asked: Asked, pulse_law: PulseLaw, present: Present, effective: Effective, address: Address, sent: Sent
) -> int:
    """Send the pulses that a change of weights asks for; return how many there were.

    q = change * pulses_per_unit * share. A device is sent |q| pulses, at most the limit, rounded at random with that mean:
    potentiating ones where q > 0, depressing ones where q < 0. A device that takes at least one starts from what it conducts
    at ``present.now``, which becomes its time of writing. A device that takes none keeps its stored conductance and its
    time. Stuck devices (UP = DOWN = 0) are sent pulses but take none.

    The effective weight of a pair is computed anew where one of its devices took a pulse, from what both conduct now. All
    other weights stay as of when they were last computed; `compute_weights` renews them.

    Parameters
    ----------
    devices
        The devices; their state is changed in place.
    asked
        The change.
    pulse_law
        The technology's law.
    present
        Time of writing, and what devices conduct then.
    effective
        The effective weights, changed in place.
    address
        Of the random numbers; each purpose puts itself into the last word.
    sent
        Where the numbers of pulses go.
    """
    request = asked.change, asked.pulses_per_unit, asked.shares, asked.limit
    weights, variance, unit, noise = effective
    into = weights, variance, *sent
    return int(
        compiled_apply_pulses(*devices.arrays, *request, *pulse_law, *present, unit, *noise, *address, asked.first, *into)
    )


@kernel(
    STATE, PARAMETERS, MATRIX,  # devices
    MATRIX, f8, MATRIX, i8,  # asked
    MATRIX, f8,  # pulse law
    f8, f8, STATE,  # present
    f8, f8, VECTOR, f8, f8,  # unit, noise
    KEY, i8, i8,  # address
    i8, OUT_MATRIX, OUT_MATRIX, OUT_COUNTS, OUT_SENT,
    returns=i8,
)  # fmt: skip
def compiled_apply_pulses(
    state, parameters, scales, change, pulses_per_unit, shares, limit, responses, ctoc, now, t0, aged,
    unit, relative, table, first_reading, width, key, turn, where,
    first, weights, variance, row_pulses, by_device,
):  # fmt: skip
    """Do `apply_pulses`, the records taken apart."""
    n_out, fields = change.shape[1], scales.shape[0]
    state_pairs = StatePairs(state.reshape(-1).view(np.uint64), state.shape[2] > 1)
    code_pairs, aged_pairs = parameters.reshape(-1).view(np.uint32), aged.reshape(-1).view(np.uint64)
    flat_change, flat_weights, flat_variance = change.reshape(-1), weights.reshape(-1), variance.reshape(-1)
    # Enough for one stretch, or for the whole request rounded up beyond a multiple of GROUP.
    room = min(2 * STRETCH, 2 * change.size // GROUP * GROUP + GROUP)
    fetched, work, varied = new_fetched(room), new_pulse_work(room), np.empty(room // 2 if variance.size else 0, np.float32)
    pulse_law, noise = PulseLaw(responses, np.float32(ctoc)), single_noise(relative, table, first_reading, width)
    address, most = Address(key, turn, where), np.float32(min(limit, MOST_PULSES) if limit > 0 else MOST_PULSES)
    total = 0
    fill(row_pulses[first : first + change.shape[0]], 0)
    for begin in range(0, flat_change.size, STRETCH):
        stretch, first_pair = flat_change[begin : begin + STRETCH], first * n_out + begin
        n = stretch.size
        asked, counts = work.asked[: 2 * n], work.counts[: 2 * n]
        pulses_asked(stretch, np.float32(pulses_per_unit), shares, asked)
        total += round_stretch(asked, most, 2 * first_pair, address, counts, work.flags, work.listed, work.words)
        record_row_maxima(counts, 2 * first_pair, 2 * n_out, row_pulses)
        record_by_device(counts, 2 * first_pair, by_device.reshape(-1))
        # Both counts of a pair, which are never negative, as one number: above 0 where one of them is. One test a pair
        # instead of two.
        pair_counts = work.counts.view(np.int64)
        m = flag_above(n, pair_counts, 0, work.flags)
        if m == 0:
            continue
        whole, places = m * DENSE_ONE_IN >= n, work.pairs
        if whole:
            m = n
            take_stretch(state_pairs, code_pairs, aged_pairs, fields, first_pair, n, fetched)
        else:
            list_flagged(n, work.flags, places)
            take_listed(state_pairs, code_pairs, aged_pairs, fields, first_pair, places, m, fetched)
            compact(m, work.asked.view(np.uint64), places)  # a pair's two float32 as one uint64
            compact(m, pair_counts, places)
            number_listed(m, places, work.stretch_place)
        decode_and_age(2 * m, scales, now, t0, aged_pairs, fetched)
        # `pair_counts` shares its memory: from here on it is above 0 only where a device that is not stuck takes a pulse.
        skip_stuck(2 * m, fetched, work.counts)
        send_pulses(2 * m, whole, 2 * first_pair, pulse_law, address, fetched, work)
        store_moved(2 * m, work.counts, fetched)
        if state_pairs.timed:
            set_write_time(2 * m, work.counts, np.float32(now), fetched.written)
        read_all(2 * m, fetched, np.float32(unit))
        vary_all(fetched.readings, noise, varied[:m])
        weight, its_variance = flat_weights[first_pair : first_pair + n], flat_variance[first_pair : first_pair + n]
        if whole:
            write_back_stretch(state_pairs, first_pair, n, fetched)
            weigh_moved(pair_counts, fetched.readings, varied, weight, its_variance)
        else:
            write_back_listed(state_pairs, first_pair, places, m, fetched)
            weigh_listed(pair_counts, fetched.readings, varied, places, m, weight, its_variance)
    return total
