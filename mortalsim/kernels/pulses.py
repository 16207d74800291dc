"""How devices answer to write pulses, and what weights their conductances make.

State: ``cells`` float32 (2, 8, n_in, n_out), see `cells`. Random numbers, e = i * n_out + j a pair's place in its array:

- stochastic rounding: as `rounding` says, stream 4 array + device, device 0 = G+, 1 = G-;
- cycle-to-cycle noise: pulse p takes normal e % 4 of counter (e // 4, p, write, 4 array + 2 + device).

An array is taken in stretches of `LENGTH` pairs, rows ignored. Where many devices of a stretch move, all are taken along in
step, in vector registers; where few do, those are gathered side by side, pulsed in step, and put back: memory is then waited
for once a stretch, not once a device. Both give the same bits.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.cells import DOWN, ERROR, FIELDS, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN, G
from mortalsim.kernels.jit import CELLS, KEY, MATRIX, OUT_CELLS, OUT_COUNTS, OUT_MATRIX, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, draw_normals, natural_exp, natural_log, new_scratch, normal_row
from mortalsim.kernels.rounding import GROUP, round_stretch

ZERO, ONE = np.float32(0), np.float32(1)
WORD = 0xFFFFFFFF

#: Pairs of one stretch.
LENGTH = 4 * CHUNK

#: A stretch is taken as a whole where that makes at least one step in so many a pulse.
DENSE = 4

#: Most pulses that one request can send to one device, so that a count always fits.
MOST = 2.0**30

# Rows of what is known of the devices on the move, float32 (5, m) and int32 (3, m).
NOW, FLOOR, CEILING, PER_RANGE, STEP = range(5)
PLACE, LEFT, TABLE = range(3)


@law
def drifted(g, nu, written, now, t0):
    """Return what a conductance ``g`` of time ``written`` has become: g (1 + age / t0)^-nu, age never below 0."""
    ages = np.float32(1.0 + max(now - written, 0.0) / t0)
    return g * natural_exp(-nu * natural_log(ages))


@law
def response(u, tables, direction):
    """Return the relative step at place u (0 to 1) of a device's range, from the table of this direction."""
    place = u * np.float32(tables.shape[1] - 1)
    k = min(int(place), tables.shape[1] - 2)
    return tables[direction, k] + (tables[direction, k + 1] - tables[direction, k]) * (place - np.float32(k))


@law
def pulsed(g, low, high, per_range, step, direction, tables, wobble):
    """Return conductance ``g`` after one pulse of nominal size ``step`` (signed), held within the device's bounds."""
    u = min(max((g - low) * per_range, ZERO), ONE)
    return min(max(g + step * response(u, tables, direction) * wobble, low), high)


@law
def device_now(cells, device, e, now, t0):
    """Return a device's conductance with its drift."""
    g, nu = cells[device, G, e], cells[device, NU, e]
    return g if nu == ZERO else drifted(g, nu, cells[device, WRITTEN, e], now, t0)


@law
def reading(g, error, unit):
    """Return what a conductance counts for, in units of weight, its frozen read error included."""
    return g * (ONE + error) / unit


@law
def weigh(plus, minus, read_rel):
    """Return a pair's weight and read-noise variance from the readings of its two devices."""
    return plus - minus, read_rel * read_rel * (plus * plus + minus * minus)


@loop
def list_sent(counts, others, groups, more, start, places):
    """List in ``places`` the elements sent a pulse by either vector (n,), which begin at ``start``; return how many."""
    m = 0
    for g in range(groups.size):
        if groups[g] + more[g] > 0:
            for k in range(g * GROUP, min((g + 1) * GROUP, counts.size)):  # no branch, so memory is asked for ahead
                places[m] = start + k
                m += 1 if counts[k] + others[k] > 0 else 0
    return m


@loop
def note_rows(m, places, start, counts, n_out, row_pulses):
    """Raise ``row_pulses`` to the largest count of each row among m places listed in rising order."""
    row = start // n_out
    for k in range(m):
        while places[k] >= (row + 1) * n_out:
            row += 1
        row_pulses[row] = max(row_pulses[row], counts[places[k] - start])


@loop
def gather(m, cells, device, start, change, counts, now, t0, reals, wholes):
    """Bring the state of the m devices listed side by side, stuck ones left out; return how many they are."""
    left = 0
    for k in range(m):
        e = wholes[PLACE, k]
        up, down = cells[device, UP, e], cells[device, DOWN, e]
        rising = (change[e - start] > ZERO) == (device == PLUS)
        low, high = cells[device, LOW, e], cells[device, HIGH, e]
        reals[NOW, left] = device_now(cells, device, e, now, t0)
        reals[FLOOR, left], reals[CEILING, left] = low, high
        reals[PER_RANGE, left] = ONE / (high - low) if high > low else ZERO
        reals[STEP, left] = up if rising else -down
        wholes[PLACE, left], wholes[LEFT, left], wholes[TABLE, left] = e, counts[e - start], 0 if rising else 1
        left += 1 if up != ZERO or down != ZERO else 0
    return left


@loop
def current_stretch(g, nu, written, now, t0, out):
    """Fill ``out`` (n,) with conductances at time ``now`` of devices whose fields are given (n,)."""
    drifting = 0
    for e in range(out.size):
        drifting += 1 if nu[e] != ZERO else 0
    if drifting == 0:  # the usual case
        for e in range(out.size):
            out[e] = g[e]
    else:
        for e in range(out.size):
            out[e] = g[e] if nu[e] == ZERO else drifted(g[e], nu[e], written[e], now, t0)


@loop
def bring_stretch(state, device, change, counts, ranges, steps, left):
    """Do the work of `gather` for a whole stretch, state (8, n); stuck devices are left no pulse."""
    sign = ONE if device == PLUS else -ONE
    low, high, up, down = state[LOW], state[HIGH], state[UP], state[DOWN]
    for k in range(left.size):
        ranges[k] = ONE / (high[k] - low[k]) if high[k] > low[k] else ZERO
        steps[k] = up[k] if change[k] * sign > ZERO else -down[k]
        left[k] = counts[k] if (up[k] != ZERO) | (down[k] != ZERO) else 0


@loop
def pulse_straight(p, g, low, high, ranges, steps, left, tables, ctoc, normals):
    """Send pulse ``p`` to all of a stretch that have it to come, by a response that is straight between two knots."""
    up, down, up_rise, down_rise = tables[0, 0], tables[1, 0], tables[0, 1] - tables[0, 0], tables[1, 1] - tables[1, 0]
    for k in range(g.size):
        u = min(max((g[k] - low[k]) * ranges[k], ZERO), ONE)
        rising = steps[k] > ZERO
        size = (up if rising else down) + (up_rise if rising else down_rise) * u
        after = min(max(g[k] + steps[k] * size * (ONE + ctoc * normals[k]), low[k]), high[k])
        g[k] = after if left[k] > p else g[k]


@loop
def pulse_bent(p, g, low, high, ranges, steps, left, tables, ctoc, normals):
    """Do `pulse_straight` by a table of any length."""
    for k in range(g.size):
        if left[k] > p:
            table = 0 if steps[k] > ZERO else 1
            g[k] = pulsed(g[k], low[k], high[k], ranges[k], steps[k], table, tables, ONE + ctoc * normals[k])


@loop
def put_stretch(g, left, now, state):
    """Write conductances (n,) and the time of those that moved to ``state`` (8, n)."""
    place, written = state[G], state[WRITTEN]
    for k in range(g.size):
        place[k] = g[k] if left[k] > 0 else place[k]
        written[k] = np.float32(now) if left[k] > 0 else written[k]


@loop
def pulse_whole(cells, device, start, change, counts, now, t0, reals, left, tables, ctoc, key, write, stream, scratch):
    """Send all their pulses to the devices of a stretch, all taken along in step."""
    n = change.size
    state = cells[device, :, start : start + n]
    g, ranges, steps, normals = reals[0, :n], reals[1, :n], reals[2, :n], reals[3, :n]
    left = left[:n]
    current_stretch(state[G], state[NU], state[WRITTEN], now, t0, g)
    bring_stretch(state, device, change, counts, ranges, steps, left)
    normals[:] = ZERO
    most = left.max()
    for p in range(most):
        if ctoc > ZERO:
            normal_row(key, start // 4, p, write & WORD, stream, normals, scratch)
        if tables.shape[1] == 2:
            pulse_straight(p, g, state[LOW], state[HIGH], ranges, steps, left, tables, ctoc, normals)
        else:
            pulse_bent(p, g, state[LOW], state[HIGH], ranges, steps, left, tables, ctoc, normals)
    put_stretch(g, left, now, state)


@loop
def pulse_once(m, reals, wholes, tables, ctoc, normals):
    """Send one pulse to each of the first m devices."""
    for k in range(m):
        reals[NOW, k] = pulsed(
            reals[NOW, k], reals[FLOOR, k], reals[CEILING, k], reals[PER_RANGE, k], reals[STEP, k],
            wholes[TABLE, k], tables, ONE + ctoc * normals[wholes[PLACE, k] % 4, k],
        )  # fmt: skip


@loop
def settle(m, p, cells, device, now, reals, wholes):
    """Put back what has taken its last pulse, number ``p``, move the others up; return how many are left."""
    left = 0
    for k in range(m):
        if wholes[LEFT, k] <= p + 1:
            cells[device, G, wholes[PLACE, k]] = reals[NOW, k]
            cells[device, WRITTEN, wholes[PLACE, k]] = now
        else:
            for row in range(5):
                reals[row, left] = reals[row, k]
            for row in range(3):
                wholes[row, left] = wholes[row, k]
            left += 1
    return left


@loop
def pulse_gathered(m, cells, device, now, reals, wholes, tables, ctoc, key, write, stream, scratch):
    """Send all their pulses to the m devices gathered."""
    words, normals = scratch
    p = 0
    while m > 0:
        if ctoc > ZERO:
            for k in range(m):
                words[0, k] = wholes[PLACE, k] // 4
            words[1, :m] = p
            draw_normals(m, write & WORD, stream, key, words, normals)
        pulse_once(m, reals, wholes, tables, ctoc, normals)
        m = settle(m, p, cells, device, now, reals, wholes)
        p += 1


@loop
def weigh_listed(m, places, cells, now, t0, unit, read_rel, weights, variance):
    """Write the weights of m listed pairs, and their variances where asked for."""
    for k in range(m):
        e = places[k]
        plus = reading(device_now(cells, PLUS, e, now, t0), cells[PLUS, ERROR, e], unit)
        minus = reading(device_now(cells, MINUS, e, now, t0), cells[MINUS, ERROR, e], unit)
        weights[e], noise = weigh(plus, minus, read_rel)
        if variance.size > 0:
            variance[e] = noise


@loop
def read_stretch(state, now, t0, unit, out):
    """Fill ``out`` (n,) with the readings of devices of ``state`` (8, n)."""
    current_stretch(state[G], state[NU], state[WRITTEN], now, t0, out)
    error = state[ERROR]
    for e in range(out.size):
        out[e] = reading(out[e], error[e], unit)


@loop
def weigh_moved(counts, others, plus, minus, read_rel, weights, variance):
    """Do `weigh_stretch` where either vector (n,) sent a pulse."""
    for e in range(weights.size):
        moved = counts[e] + others[e] > 0
        weights[e] = weigh(plus[e], minus[e], read_rel)[0] if moved else weights[e]
    for e in range(variance.size):
        moved = counts[e] + others[e] > 0
        variance[e] = weigh(plus[e], minus[e], read_rel)[1] if moved else variance[e]


@loop
def weigh_stretch(plus, minus, read_rel, weights, variance):
    """Write weights (n,), and variances (n,) where asked for, from readings (n,)."""
    for e in range(weights.size):
        weights[e] = weigh(plus[e], minus[e], read_rel)[0]
    for e in range(variance.size):
        variance[e] = weigh(plus[e], minus[e], read_rel)[1]


@law
def side_by_side(up_table, down_table):
    """Return both tables as one, (2, K)."""
    tables = np.empty((2, up_table.size), np.float32)
    for k in range(up_table.size):
        tables[0, k] = up_table[k]
        tables[1, k] = down_table[k]
    return tables


@kernel(
    OUT_CELLS, MATRIX, f8, i8, VECTOR, VECTOR, f8, f8, f8, f8, f8, KEY, i8, i8, i8, i8,
    OUT_MATRIX, OUT_MATRIX, OUT_COUNTS, returns=i8,
)  # fmt: skip
def apply_pulses(
    cells, change, per_weight, cap, up_table, down_table, ctoc, now, t0, unit, read_rel, key, write, array, first, last,
    weights, variance, row_pulses,
):  # fmt: skip
    """Send rows ``first`` to ``last`` - 1 the pulses that a change of weights asks for; return how many there were in all.

    A positive change potentiates G+ and depresses G-, each device being sent |change| * per_weight pulses, rounded
    stochastically. Each pulse moves G by UP (or -DOWN) times the table at the device's place in its range, times
    1 + ctoc * normal, and never beyond LOW and HIGH. A device is first set to its drifted value. Stuck devices
    (UP = DOWN = 0) are sent their pulses but do not move.

    Parameters
    ----------
    cells
        float32 (2, 8, n_in, n_out), changed in place.
    change
        float32 (n_in, n_out) in weight units, finite.
    per_weight
        Pulses on each device of a pair per unit of weight.
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
    key, write, array
        Key uint32 (2,), the write's number and the array's place: counters as described above the kernels.
    first, last
        The rows to do; ``first`` is a multiple of 16.
    weights
        float32 (n_in, n_out), written where a pair was sent a pulse: (G+ (1 + E+) - G- (1 + E-)) / unit at time ``now``.
    variance
        float32 (n_in, n_out), written likewise: read_rel^2 ((G+ (1 + E+))^2 + (G- (1 + E-))^2) / unit^2; (0, 0): not wanted.
    row_pulses
        int64 (n_in,), written: the largest number of pulses that one device of the row was sent.
    """
    n_out = change.shape[1]
    flat, flat_change = cells.reshape(2, FIELDS, -1), change.reshape(-1)
    flat_weights, flat_variance = weights.reshape(-1), variance.reshape(-1)
    tables = side_by_side(up_table, down_table)
    limit, size, rel = np.float32(min(cap, MOST) if cap > 0 else MOST), np.float32(per_weight), np.float32(read_rel)
    wobble, one_unit = np.float32(ctoc), np.float32(unit)
    few, many, rough = new_scratch(CHUNK), new_scratch(LENGTH), np.empty((5, LENGTH // 4), np.uint32)
    many[1][:] = 0  # without cycle-to-cycle noise nothing else is ever written there
    all_counts, open_, left = np.empty((2, LENGTH), np.int32), np.empty(LENGTH, np.int32), np.empty(LENGTH, np.int32)
    all_groups, readings = np.empty((2, LENGTH // GROUP), np.int32), np.empty((2, LENGTH), np.float32)
    reals, wholes = np.empty((5, LENGTH), np.float32), np.empty((3, LENGTH), np.int64)
    places, sent = wholes[PLACE], np.zeros(2, np.int64)
    row_pulses[first:last] = 0
    total, end = 0, last * n_out
    for start in range(first * n_out, end, LENGTH):
        stop = min(start + LENGTH, end)
        part, n = flat_change[start:stop], stop - start
        counts, groups = all_counts[:, :n], all_groups[:, : (n + GROUP - 1) // GROUP]
        for device in range(2):
            stream = 4 * array + device
            sent[device] = round_stretch(
                part, size, limit, start, write, stream, key, counts[device], open_[:n], groups[device], rough
            )
            if sent[device] > 0:
                m = list_sent(counts[device], counts[device], groups[device], groups[device], start, places)
                note_rows(m, places, start, counts[device], n_out, row_pulses)
                if sent[device] * DENSE >= n * counts[device].max():
                    pulse_whole(
                        flat, device, start, part, counts[device], now, t0, reals, left, tables, wobble,
                        key, write, stream + 2, few,
                    )  # fmt: skip
                else:
                    m = gather(m, flat, device, start, part, counts[device], now, t0, reals, wholes)
                    pulse_gathered(m, flat, device, now, reals, wholes, tables, wobble, key, write, stream + 2, many)
        if sent[PLUS] + sent[MINUS] > 0:
            total += sent[PLUS] + sent[MINUS]
            m = list_sent(counts[PLUS], counts[MINUS], groups[PLUS], groups[MINUS], start, places)
            if m * DENSE >= n:
                for device in range(2):
                    read_stretch(flat[device, :, start:stop], now, t0, one_unit, readings[device, :n])
                plus, minus = readings[PLUS, :n], readings[MINUS, :n]
                some_variance = flat_variance[start:stop]
                weigh_moved(counts[PLUS], counts[MINUS], plus, minus, rel, flat_weights[start:stop], some_variance)
            else:
                weigh_listed(m, places, flat, now, t0, one_unit, rel, flat_weights, flat_variance)
    return total


@kernel(CELLS, f8, f8, f8, f8, i8, i8, OUT_MATRIX, OUT_MATRIX)
def fold(cells, now, t0, unit, read_rel, first, last, weights, variance):
    """Make weights, and read-noise variances if asked for, from the devices' state; parameters as in `apply_pulses`."""
    n_out = weights.shape[1]
    flat, flat_weights, flat_variance = cells.reshape(2, FIELDS, -1), weights.reshape(-1), variance.reshape(-1)
    readings = np.empty((2, LENGTH), np.float32)
    end = last * n_out
    for start in range(first * n_out, end, LENGTH):
        stop = min(start + LENGTH, end)
        for device in range(2):
            read_stretch(flat[device, :, start:stop], now, t0, np.float32(unit), readings[device, : stop - start])
        plus, minus = readings[PLUS, : stop - start], readings[MINUS, : stop - start]
        weigh_stretch(plus, minus, np.float32(read_rel), flat_weights[start:stop], flat_variance[start:stop])
