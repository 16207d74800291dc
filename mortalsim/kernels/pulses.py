"""How devices answer to write pulses.

Device 2 (i n_out + j) + k of an array is the one of row i and column j that counts positively (k = 0) or negatively (k = 1).
The blocks of an array stand one below the other. One write of a stretch of devices takes these steps, in this order:

1. `ask` works out how many pulses each device of a pair is asked to take, a fraction with a sign.
2. `rounding.round_stretch` rounds each to a whole number, at random. This is the first random number of a write.
3. `take_stretch` or `take_listed` fetches the devices; `decode_and_age` works out what they conduct now.
4. `batches.send_pulses` sends the pulses two at a time. `responses.moved` is the law of one pulse: cycle-to-cycle noise, the
   second random number of a write, acts there, and so do the device's own bounds.
5. `store_moved` and `set_write_time` keep the new conductances, `give_stretch` or `give_listed` write them back.
6. `weigh_moved` or `weigh_listed` update the effective weights of the pairs that were sent pulses.

A stretch is `STRETCH` pairs, rows ignored. Where many of its pairs are sent pulses all are taken side by side, else those
alone: memory is then waited for once a stretch, not once a device. Both give the same bits.

Shapes: n pairs of a stretch, m pairs that are sent pulses, d = 2 n or 2 m devices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.batches import I8, TOGETHER, compact, largest, new_pulse_batch, send_pulses
from mortalsim.kernels.counters import Address
from mortalsim.kernels.devices import DOWN, NU, UP, Devices
from mortalsim.kernels.effective import (
    F4,
    STRETCH,
    Effective,
    Present,
    StatePairs,
    decode_and_age,
    new_batch,
    pair_weight,
    read_all,
    single_noise,
    take_stretch,
    vary_all,
)
from mortalsim.kernels.jit import (
    KEY,
    MATRIX,
    OUT_COUNTS,
    OUT_MATRIX,
    OUT_SENT,
    PARAMETERS,
    SCALES,
    STATE,
    VECTOR,
    f8,
    i8,
    kernel,
    loop,
    part,
)
from mortalsim.kernels.responses import PulseLaw
from mortalsim.kernels.rounding import flag_above, list_flagged, round_stretch
from mortalsim.kernels.vectors import copy, fill

ZERO = np.float32(0)

#: A stretch is taken as a whole where at least one pair in so many is sent pulses.
DENSE = 4

#: Most pulses that one request can send to one device: twice as many still fit.
MOST = 2.0**29


class Asked(NamedTuple):
    """A change of weights as pulses.

    Parameters
    ----------
    change
        float32 (rows, n_out), finite, for rows ``first``, ``first`` + 1, ...
    pulses_per_unit
        Mid-range pulses that make up one unit of ``change``; negative turns the change round.
    shares
        float32 (2, 2): what G+ and G- take of a rising weight's change, and of a falling one's. ((1/2, -1/2), (1/2, -1/2)):
        both take half, in opposite directions.
    limit
        Most pulses for one device; 0 means no limit.
    first
        The first row; a multiple of 16.
    """

    change: F4
    pulses_per_unit: float
    shares: F4
    limit: float
    first: int


class Sent(NamedTuple):
    """What a write has sent.

    Parameters
    ----------
    row_pulses
        int64 (n_in,), written in the rows asked for: the largest number of pulses that one device of the row was sent.
    by_device
        int32 (n_in, n_out, 2), written in the rows asked for: pulses of each device; (0, 0, 2): not wanted.
    """

    row_pulses: I8
    by_device: npt.NDArray[np.int32]


def apply_pulses(
    devices: Devices, asked: Asked, pulse_law: PulseLaw, present: Present, effective: Effective, address: Address, sent: Sent
) -> int:
    """Send the pulses that a change of weights asks for; return how many there were.

    Each device is sent |change * pulses_per_unit * share| pulses, rounded stochastically, upwards where the product is
    positive. A pulse moves G as `responses` says. A device is first set to what it conducts at time ``present.now``. Stuck
    devices (UP = DOWN = 0) are sent their pulses but do not move. Effective weights are updated where a device of the pair
    was sent pulses.

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
    scale = asked.pulses_per_unit, asked.shares, asked.limit
    law = pulse_law.responses, pulse_law.ctoc
    into = effective.weights, effective.variance, *sent
    noise = effective.noise
    return int(
        compiled_apply_pulses(
            *devices.arrays, asked.change, *scale, *law, *present, effective.unit, *noise, *address, asked.first, *into
        )
    )


@loop
def ask(change, per_unit, shares, asked):
    """Fill ``asked`` (2 n,) with the pulses for both devices of each pair, negative ones down."""
    plus_rising, minus_rising = per_unit * shares[0, 0], per_unit * shares[0, 1]
    plus_falling, minus_falling = per_unit * shares[1, 0], per_unit * shares[1, 1]
    if plus_rising == plus_falling and minus_rising == minus_falling:  # a two-sided pair; most writes move few devices
        for k in range(change.size):
            asked[2 * k] = change[k] * plus_rising
            asked[2 * k + 1] = change[k] * minus_rising
        return
    turned = per_unit < ZERO
    for k in range(change.size):
        rising = (change[k] > ZERO) ^ turned
        asked[2 * k] = change[k] * (plus_rising if rising else plus_falling)
        asked[2 * k + 1] = change[k] * (minus_rising if rising else minus_falling)


@part
def record_row_maxima(counts, first, row_devices, row_pulses):
    """Raise each row's largest count by those of devices first, first + 1, ...; a row has ``row_devices``."""
    e = 0
    while e < counts.size:
        row = (first + e) // row_devices
        segment = counts[e : min(counts.size, (row + 1) * row_devices - first)]
        row_pulses[row] = max(row_pulses[row], largest(segment.size, segment))
        e += segment.size


def gather(fields):
    """Return a loop that gathers ``fields`` fields of the pairs at m ``places`` of a stretch into rows (fields, m)."""

    @loop
    def gathered(m, flat, start, places, rows):
        for k in range(m):
            pair = start + places[k]
            for field in range(fields):
                rows[field, k] = flat[fields * pair + field]

    return gathered


gather_five, gather_six = gather(5), gather(6)


@loop
def take_listed(state, parameters, aged, fields, start, places, m, batch):
    """Do `take_stretch` for the pairs at m ``places`` of the stretch alone."""
    stored, written, present = batch.stored.view(np.uint64), batch.written.view(np.uint64), batch.present.view(np.uint64)
    for k in range(m):
        pair = start + places[k]
        if state.timed:
            stored[k], written[k] = state.pairs[2 * pair], state.pairs[2 * pair + 1]
        else:
            stored[k] = state.pairs[pair]
        if aged.size > 0:
            present[k] = aged[pair]
    if fields > NU:
        gather_six(m, parameters, start, places, batch.codes.view(np.uint32))
    else:
        gather_five(m, parameters, start, places, batch.codes.view(np.uint32))


@loop
def number_listed(m, places, stretch_place):
    """Write to ``stretch_place`` (2 m,) where the devices of the pairs at m ``places`` stand in their stretch."""
    for k in range(m):
        stretch_place[2 * k] = 2 * places[k]
        stretch_place[2 * k + 1] = 2 * places[k] + 1


@loop
def give_stretch(state, start, n, batch):
    """Write the state of n neighbouring pairs back."""
    stored, written = batch.stored.view(np.uint64), batch.written.view(np.uint64)
    if state.timed:
        out = state.pairs[2 * start :]
        for k in range(n):
            out[2 * k] = stored[k]
            out[2 * k + 1] = written[k]
    else:
        copy(stored[:n], state.pairs[start:])


@loop
def give_listed(state, start, places, m, batch):
    """Write the state of the pairs at m ``places`` back."""
    stored, written = batch.stored.view(np.uint64), batch.written.view(np.uint64)
    for k in range(m):
        pair = start + places[k]
        if state.timed:
            state.pairs[2 * pair], state.pairs[2 * pair + 1] = stored[k], written[k]
        else:
            state.pairs[pair] = stored[k]


@loop
def skip_stuck(d, devices, counts):
    """Set the counts of stuck devices to 0: no pulse moves them."""
    up, down = devices.parameters[UP], devices.parameters[DOWN]
    for k in range(d):
        counts[k] = 0 if (up[k] == ZERO) & (down[k] == ZERO) else counts[k]


@loop
def store_moved(d, counts, devices):
    """Keep the present conductance of devices that were moved."""
    stored, present = devices.stored, devices.present
    for k in range(d):
        old, new = stored[k], present[k]
        stored[k] = new if counts[k] > 0 else old


@loop
def set_write_time(d, counts, now, written):
    """Keep the time of writing of devices that were moved."""
    for k in range(d):
        old = written[k]
        written[k] = now if counts[k] > 0 else old


@loop
def weigh_moved(moved, readings, varied, weights, variance):
    """Update ``weights`` (n,), and ``variance`` (n,) from ``varied`` if not empty, where ``moved`` (n,) is not 0."""
    for k in range(weights.size):
        new, old = pair_weight(readings[2 * k], readings[2 * k + 1]), weights[k]
        weights[k] = new if moved[k] > 0 else old
    for k in range(variance.size):
        new, old = varied[k], variance[k]
        variance[k] = new if moved[k] > 0 else old


@loop
def weigh_listed(moved, readings, varied, places, m, weights, variance):
    """Update the pairs at m ``places`` of a stretch in the same way."""
    for k in range(m):
        if moved[k] > 0:
            weights[places[k]] = pair_weight(readings[2 * k], readings[2 * k + 1])
            if variance.size > 0:
                variance[places[k]] = varied[k]


@loop
def record_by_device(counts, start, by_device):
    """Keep the counts of a stretch that begins at device ``start``; ``by_device`` (n_in n_out 2,) or empty."""
    if by_device.size > 0:
        copy(counts, by_device[start : start + counts.size])


@kernel(
    STATE, PARAMETERS, SCALES, MATRIX, f8, MATRIX, f8, MATRIX, f8, f8, f8, STATE, f8, f8, VECTOR, f8, f8, KEY, i8, i8, i8,
    OUT_MATRIX, OUT_MATRIX, OUT_COUNTS, OUT_SENT, returns=i8,
)  # fmt: skip
def compiled_apply_pulses(
    state, parameters, scales, change, pulses_per_unit, shares, limit, responses, ctoc, now, t0, aged, unit,
    relative, table, noise_start, noise_width, key, turn, where, first, weights, variance, row_pulses, by_device,
):  # fmt: skip
    """Do `apply_pulses`, the records taken apart."""
    n_out, fields = change.shape[1], scales.shape[0]
    pairs = StatePairs(state.reshape(-1).view(np.uint64), state.shape[2] > 1)
    codes, aged_pairs = parameters.reshape(-1).view(np.uint32), aged.reshape(-1).view(np.uint64)
    flat_change, flat_weights, flat_variance = change.reshape(-1), weights.reshape(-1), variance.reshape(-1)
    room = min(2 * STRETCH, 2 * change.size // TOGETHER * TOGETHER + TOGETHER)
    devices, batch, varied = new_batch(room), new_pulse_batch(room), np.empty(room // 2 if variance.size else 0, np.float32)
    pulse_law, noise = PulseLaw(responses, np.float32(ctoc)), single_noise(relative, table, noise_start, noise_width)
    address = Address(key, turn, where)
    most, total = np.float32(min(limit, MOST) if limit > 0 else MOST), 0
    fill(row_pulses[first : first + change.shape[0]], 0)
    for begin in range(0, flat_change.size, STRETCH):
        stretch, start = flat_change[begin : begin + STRETCH], first * n_out + begin
        n = stretch.size
        asked, counts = batch.asked[: 2 * n], batch.counts[: 2 * n]
        ask(stretch, np.float32(pulses_per_unit), shares, asked)
        total += round_stretch(asked, most, 2 * start, address, batch)
        record_row_maxima(counts, 2 * start, 2 * n_out, row_pulses)
        record_by_device(counts, 2 * start, by_device.reshape(-1))
        # Both counts of a pair, which are never negative, as one number: above 0 where one of them is. One test a pair
        # instead of two.
        moved = batch.counts.view(np.int64)
        m = flag_above(n, moved, 0, batch.flags)
        if m == 0:
            continue
        whole, places = m * DENSE >= n, batch.pairs
        if whole:
            m = n
            take_stretch(pairs, codes, aged_pairs, fields, start, n, devices)
        else:
            list_flagged(n, batch.flags, places)
            take_listed(pairs, codes, aged_pairs, fields, start, places, m, devices)
            compact(m, batch.asked.view(np.uint64), places)
            compact(m, moved, places)
            number_listed(m, places, batch.stretch_place)
        decode_and_age(2 * m, scales, now, t0, aged_pairs, devices)
        skip_stuck(2 * m, devices, batch.counts)
        send_pulses(2 * m, whole, 2 * start, pulse_law, address, devices, batch)
        store_moved(2 * m, batch.counts, devices)
        if pairs.timed:
            set_write_time(2 * m, batch.counts, np.float32(now), devices.written)
        read_all(2 * m, devices, np.float32(unit))
        vary_all(devices.readings, noise, varied[:m])
        weight, its_variance = flat_weights[start : start + n], flat_variance[start : start + n]
        if whole:
            give_stretch(pairs, start, n, devices)
            weigh_moved(moved, devices.readings, varied, weight, its_variance)
        else:
            give_listed(pairs, start, places, m, devices)
            weigh_listed(moved, devices.readings, varied, places, m, weight, its_variance)
    return total
