"""How devices answer to write pulses.

Device 2 (i n_out + j) + k of an array is the one of row i and column j that counts positively (k = 0) or negatively (k = 1);
the blocks of an array stand one below the other. Stochastic rounding takes random numbers as `rounding` says, cycle-to-cycle
noise as `trains` says.

An array is taken in stretches of `LENGTH` pairs, rows ignored. Where many pairs of a stretch are sent pulses, all are laid
side by side, else those alone: memory is then waited for once a stretch, not once a device. Both give the same bits.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.cells import DOWN, ERROR, NU, UP
from mortalsim.kernels.folding import LENGTH, make_out, new_bench, read_all, take_all, variance_of, weight_of
from mortalsim.kernels.jit import (
    KEY,
    MATRIX,
    OUT_COUNTS,
    OUT_MATRIX,
    SCALES,
    STATE,
    TRAITS,
    VECTOR,
    f8,
    i8,
    kernel,
    loop,
    part,
)
from mortalsim.kernels.rounding import flag_above, list_flagged, round_stretch
from mortalsim.kernels.trains import TOGETHER, keep, largest, new_train, send_train
from mortalsim.kernels.vectors import copy, fill

ZERO = np.float32(0)

#: A stretch is taken as a whole where at least one pair in so many is sent pulses.
DENSE = 4

#: Most pulses that one request can send to one device: twice as many still fit.
MOST = 2.0**29


@loop
def ask(change, size, asked):
    """Fill ``asked`` (2 n,) with the pulses for both devices of each pair: what one is to gain the other loses."""
    for k in range(change.size):
        asked[2 * k] = change[k] * size
        asked[2 * k + 1] = -(change[k] * size)


@part
def note_rows(counts, first, line, row_pulses):
    """Raise each row's largest count by those of devices first, first + 1, ..., ``line`` of them a row."""
    e = 0
    while e < counts.size:
        row = (first + e) // line
        segment = counts[e : min(counts.size, (row + 1) * line - first)]
        row_pulses[row] = max(row_pulses[row], largest(segment.size, segment))
        e += segment.size


@loop
def take_listed(state, traits, drifts, start, m, places, bench):
    """Do `take_all` for the pairs at m ``places`` alone."""
    g, written, codes = bench.g.view(np.uint64), bench.written.view(np.uint64), bench.codes.view(np.uint32)
    for k in range(m):
        pair = start + places[k]
        if drifts:
            g[k], written[k] = state[2 * pair], state[2 * pair + 1]
            for field in range(NU + 1):
                codes[field, k] = traits[(NU + 1) * pair + field]
        else:
            g[k] = state[pair]
            for field in range(NU):
                codes[field, k] = traits[NU * pair + field]


@loop
def number_listed(m, places, local):
    """Write to ``local`` where the devices of the pairs at m ``places`` lie in their stretch."""
    for k in range(m):
        local[2 * k] = 2 * places[k]
        local[2 * k + 1] = 2 * places[k] + 1


@loop
def give_all(n, bench, start, drifts, state):
    """Write pairs back as `take_all` took them."""
    g, written = bench.g.view(np.uint64), bench.written.view(np.uint64)
    if drifts:
        out = state[2 * start :]
        for k in range(n):
            out[2 * k] = g[k]
            out[2 * k + 1] = written[k]
    else:
        copy(g[:n], state[start:])


@loop
def give_listed(m, bench, start, places, drifts, state):
    """Write pairs back as `take_listed` took them."""
    g, written = bench.g.view(np.uint64), bench.written.view(np.uint64)
    for k in range(m):
        pair = start + places[k]
        if drifts:
            state[2 * pair], state[2 * pair + 1] = g[k], written[k]
        else:
            state[pair] = g[k]


@loop
def skip_stuck(w, up, down, counts):
    """Send nothing to devices that do not move anyway."""
    for k in range(w):
        counts[k] = 0 if (up[k] == ZERO) & (down[k] == ZERO) else counts[k]


@loop
def settle(w, counts, new, values):
    """Set the first w ``values`` to ``new`` ones where pulses were sent."""
    for k in range(w):
        old, other = values[k], new[k]
        values[k] = other if counts[k] > 0 else old


@loop
def stamp(w, counts, now, written):
    """Note when pulses were sent."""
    for k in range(w):
        old = written[k]
        written[k] = now if counts[k] > 0 else old


@loop
def weigh_moved(sent, readings, read_rel, weights, variance):
    """Fill ``weights`` (n,), and ``variance`` (n,) if not empty, where ``sent`` (n,), both counts of a pair, is not 0."""
    for e in range(weights.size):
        new, old = weight_of(readings[2 * e], readings[2 * e + 1]), weights[e]
        weights[e] = new if sent[e] > 0 else old
    for e in range(variance.size):
        new, old = variance_of(readings[2 * e], readings[2 * e + 1], read_rel), variance[e]
        variance[e] = new if sent[e] > 0 else old


@loop
def weigh_listed(m, sent, readings, read_rel, places, weights, variance):
    """Do the same for the pairs at m ``places`` of a stretch."""
    for k in range(m):
        plus, minus = readings[2 * k], readings[2 * k + 1]
        if sent[k] > 0:
            weights[places[k]] = weight_of(plus, minus)
            if variance.size > 0:
                variance[places[k]] = variance_of(plus, minus, read_rel)


@part
def side_by_side(up_table, down_table):
    """Return both tables as one, (2, K)."""
    tables = np.empty((2, up_table.size), np.float32)
    for k in range(up_table.size):
        tables[0, k], tables[1, k] = up_table[k], down_table[k]
    return tables


@kernel(
    STATE, TRAITS, SCALES, MATRIX, f8, i8, VECTOR, VECTOR, f8, f8, f8, f8, f8, KEY, i8, i8, i8,
    OUT_MATRIX, OUT_MATRIX, OUT_COUNTS, returns=i8,
)  # fmt: skip
def apply_pulses(
    state, traits, scales, change, per_weight, cap, up_table, down_table, ctoc, now, t0, unit, read_rel, key, turn, where,
    first, weights, variance, row_pulses,
):  # fmt: skip
    """Send the pulses that a change of weights asks for; return how many there were.

    A positive change potentiates G+ and depresses G-, each device being sent |change * per_weight| pulses, rounded
    stochastically. Each pulse moves G by UP (or -DOWN) times the table at the device's place in its range, times
    1 + ctoc * normal, and never beyond LOW and HIGH. A device is first set to its drifted value. Stuck devices
    (UP = DOWN = 0) are sent their pulses but do not move.

    Parameters
    ----------
    state, traits, scales
        The devices, as `Cells` says; ``state`` is changed in place.
    change
        float32 (rows, n_out), finite, for rows ``first``, ``first`` + 1, ...
    per_weight
        Pulses on each device of a pair per unit of ``change``; negative turns the change round.
    cap
        Most pulses for one device; 0 means no limit.
    up_table, down_table
        float32 (K,), K at least 2: relative steps at equal distances from LOW to HIGH, both of the same length.
    ctoc
        Standard deviation of a step from cycle to cycle, relative.
    now, t0
        Time of writing and the drift law's reference time [s].
    unit
        Siemens per unit of weight.
    read_rel
        Standard deviation of a read, relative to the conductance.
    key, turn, where
        Key uint32 (2,) and counter words of the write's address, see `counters`; each purpose puts itself into the last.
    first
        The first row to do; a multiple of 16.
    weights
        float32 (n_in, n_out), written where a device of the pair moves: (G+ (1 + E+) - G- (1 + E-)) / unit at time ``now``.
    variance
        float32 (n_in, n_out), written likewise: read_rel^2 ((G+ (1 + E+))^2 + (G- (1 + E-))^2) / unit^2; (0, 0): not wanted.
    row_pulses
        int64 (n_in,), written in these rows: the largest number of pulses that one device of the row was sent.
    """
    n_out, drifts = change.shape[1], scales.shape[0] > NU
    pairs, codes = state.reshape(-1).view(np.uint64), traits.reshape(-1).view(np.uint32)
    flat_change, flat_weights, flat_variance = change.reshape(-1), weights.reshape(-1), variance.reshape(-1)
    room = min(2 * LENGTH, 2 * change.size // TOGETHER * TOGETHER + TOGETHER)
    tables, bench, train = side_by_side(up_table, down_table), new_bench(room), new_train(room)
    limit, total = np.float32(min(cap, MOST) if cap > 0 else MOST), 0
    fill(row_pulses[first : first + change.shape[0]], 0)
    for begin in range(0, flat_change.size, LENGTH):
        chunk, start = flat_change[begin : begin + LENGTH], first * n_out + begin
        n, w = chunk.size, 2 * chunk.size
        asked, counts = train.asked[:w], train.counts[:w]
        ask(chunk, np.float32(per_weight), asked)
        total += round_stretch(asked, limit, 2 * start, turn, where, key, counts, train.flags, train.listed, train.words)
        note_rows(counts, 2 * start, 2 * n_out, row_pulses)
        sent = train.counts.view(np.int64)  # both counts of a pair as one number, above 0 where one of them is
        m = flag_above(n, sent, 0, train.flags)
        if m == 0:
            continue
        whole, places = m * DENSE >= n, train.pairs
        if whole:
            m = n
            take_all(pairs, codes, drifts, start, n, bench)
        else:
            list_flagged(n, train.flags, places)
            take_listed(pairs, codes, drifts, start, m, places, bench)
            keep(m, train.asked.view(np.uint64), places)
            keep(m, sent, places)
            number_listed(m, places, train.local)
        w = 2 * m
        make_out(w, scales, now, t0, bench)
        skip_stuck(w, bench.traits[UP], bench.traits[DOWN], train.counts)
        send_train(w, whole, 2 * start, tables, np.float32(ctoc), key, turn, where, bench, train)
        settle(w, train.counts, bench.after, bench.g)
        if drifts:
            stamp(w, train.counts, np.float32(now), bench.written)
        read_all(w, bench.after, bench.traits[ERROR], np.float32(unit), bench.readings)
        weight, its_variance = flat_weights[start : start + n], flat_variance[start : start + n]
        if whole:
            give_all(n, bench, start, drifts, pairs)
            weigh_moved(sent, bench.readings, np.float32(read_rel), weight, its_variance)
        else:
            give_listed(m, bench, start, places, drifts, pairs)
            weigh_listed(m, sent, bench.readings, np.float32(read_rel), places, weight, its_variance)
    return total
