"""How devices answer to write pulses, and what weights their conductances make.

State: ``cells`` float32 (2, 8, n_in, n_out), see `cells`. Random numbers, e = i * n_out + j a pair's place in its array:

- stochastic rounding: element e of `fill_uniform` with counter words (0, write, 4 array + device), device 0 = G+, 1 = G-;
- cycle-to-cycle noise: pulse p of a device takes normal p % 4 of counter (e, p // 4, write, 4 array + 2 + device).

An array is taken in stretches of `CHUNK` blocks of four pairs, rows ignored. Of each stretch the few devices that move are
gathered side by side, pulsed in step, and put back: memory is then waited for once a stretch, not once a device.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.cells import DOWN, ERROR, FIELDS, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN, G
from mortalsim.kernels.jit import CELLS, KEY, MATRIX, OUT_CELLS, OUT_COUNTS, OUT_MATRIX, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, count_from, draw_normals, draw_uniforms, interleave, new_scratch

ZERO, ONE = np.float32(0), np.float32(1)
WORD = 0xFFFFFFFF

#: Most pulses that one request can send to one device, so that a count always fits.
MOST = 2.0**30

# Rows of what is known of the devices on the move, float32 (5, m) and int32 (3, m).
NOW, FLOOR, CEILING, PER_RANGE, STEP = range(5)
PLACE, LEFT, TABLE = range(3)


@law
def drifted(g, nu, written, now, t0):
    """Return what a conductance ``g`` of time ``written`` has become: g (1 + age / t0)^-nu, age never below 0."""
    if nu == ZERO:
        return g
    return np.float32(g * (1.0 + max(now - written, 0.0) / t0) ** -np.float64(nu))


@law
def pulses_sent(q, landing, limit):
    """Return |q| rounded up with probability equal to its fraction (``landing`` uniform in (0, 1)), at most ``limit``."""
    size = abs(q)
    whole = np.floor(size)
    count = whole + ONE if landing < size - whole else whole
    return np.int32(min(count, limit))


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
    return drifted(cells[device, G, e], cells[device, NU, e], cells[device, WRITTEN, e], now, t0)


@law
def reading(g, error, unit):
    """Return what a conductance counts for, in units of weight, its frozen read error included."""
    return g * (ONE + error) / unit


@law
def weigh(plus, minus, read_rel):
    """Return a pair's weight and read-noise variance from the readings of its two devices."""
    return plus - minus, read_rel * read_rel * (plus * plus + minus * minus)


@loop
def draw_landings(start, write, stream, key, landing, scratch):
    """Fill ``landing`` (n,) with the uniforms of elements start, start + 1, ...; ``start`` is a multiple of 4."""
    words, uniforms = scratch
    m = (landing.size + 3) // 4
    count_from(start // 4, words[0, :m])
    words[1, :m] = 0
    draw_uniforms(m, write & WORD, stream, key, words, uniforms)
    interleave(uniforms, m, landing)


@loop
def count_pulses(change, per_weight, landing, limit, counts):
    """Fill ``counts`` int32 (n,) with the pulses that each device is sent; return their sum."""
    total = 0
    for e in range(change.size):
        counts[e] = pulses_sent(change[e] * per_weight, landing[e], limit)
        total += counts[e]
    return total


@loop
def list_sent(counts, others, start, places):
    """List in ``places`` the elements sent a pulse by either vector (n,), which begin at ``start``; return how many."""
    m = 0
    for k in range(counts.size):  # no branch: the list is what lets memory be asked for ahead
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
def pulse_once(m, s, reals, wholes, tables, ctoc, normals):
    """Send one pulse, number ``s`` of this round, to those of the first m devices that still have one to come."""
    for k in range(m):
        if wholes[LEFT, k] > s:
            reals[NOW, k] = pulsed(
                reals[NOW, k], reals[FLOOR, k], reals[CEILING, k], reals[PER_RANGE, k], reals[STEP, k],
                wholes[TABLE, k], tables, ONE + ctoc * normals[s, k],
            )  # fmt: skip


@loop
def settle(m, cells, device, now, reals, wholes):
    """Put back what has taken its last pulse, move the others up after a round of four; return how many are left."""
    left = 0
    for k in range(m):
        if wholes[LEFT, k] <= 4:
            cells[device, G, wholes[PLACE, k]] = reals[NOW, k]
            cells[device, WRITTEN, wholes[PLACE, k]] = now
        else:
            for row in range(5):
                reals[row, left] = reals[row, k]
            for row in range(3):
                wholes[row, left] = wholes[row, k]
            wholes[LEFT, left] -= 4
            left += 1
    return left


@loop
def pulse_stretch(m, cells, device, now, reals, wholes, tables, ctoc, key, write, stream, scratch):
    """Send all their pulses to the m devices gathered."""
    words, normals = scratch
    block = 0
    while m > 0:
        if ctoc > ZERO:
            for k in range(m):
                words[0, k] = wholes[PLACE, k]
            words[1, :m] = block
            draw_normals(m, write & WORD, stream, key, words, normals)
        for s in range(4):
            pulse_once(m, s, reals, wholes, tables, ctoc, normals)
        m = settle(m, cells, device, now, reals, wholes)
        block += 1


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
def read_stretch(g, nu, written, error, now, t0, unit, out):
    """Fill ``out`` (n,) with the readings of devices whose fields are given (n,)."""
    drifting = 0
    for e in range(out.size):
        drifting += 1 if nu[e] != ZERO else 0
    if drifting == 0:  # the usual case, without a call to pow
        for e in range(out.size):
            out[e] = reading(g[e], error[e], unit)
    else:
        for e in range(out.size):
            out[e] = reading(drifted(g[e], nu[e], written[e], now, t0), error[e], unit)


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
        The rows to do; ``first`` is a multiple of 4.
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
    limit = np.float32(min(cap, MOST) if cap > 0 else MOST)
    length = 4 * CHUNK
    few, many = (
        new_scratch(CHUNK),
        new_scratch(length),
    )  # landings come four a block, cycle-to-cycle normals a block a device
    many[1][:] = 0  # without cycle-to-cycle noise nothing else is ever written there
    landings, all_counts = np.empty(length, np.float32), np.empty((2, length), np.int32)
    reals, wholes = np.empty((5, length), np.float32), np.empty((3, length), np.int64)
    places = wholes[PLACE]
    row_pulses[first:last] = 0
    total, end = 0, last * n_out
    for start in range(first * n_out, end, length):
        part = flat_change[start : min(start + length, end)]
        counts, landing = all_counts[:, : part.size], landings[: part.size]
        before = total
        for device in range(2):
            draw_landings(start, write, 4 * array + device, key, landing, few)
            sent = count_pulses(part, np.float32(per_weight), landing, limit, counts[device])
            if sent > 0:
                m = list_sent(counts[device], counts[device], start, places)
                note_rows(m, places, start, counts[device], n_out, row_pulses)
                m = gather(m, flat, device, start, part, counts[device], now, t0, reals, wholes)
                stream = 4 * array + 2 + device
                pulse_stretch(m, flat, device, now, reals, wholes, tables, np.float32(ctoc), key, write, stream, many)
            total += sent
        if total > before:
            m = list_sent(counts[PLUS], counts[MINUS], start, places)
            weigh_listed(m, places, flat, now, t0, np.float32(unit), np.float32(read_rel), flat_weights, flat_variance)
    return total


@kernel(CELLS, f8, f8, f8, f8, i8, i8, OUT_MATRIX, OUT_MATRIX)
def fold(cells, now, t0, unit, read_rel, first, last, weights, variance):
    """Make weights, and read-noise variances if asked for, from the devices' state; parameters as in `apply_pulses`."""
    n_out = weights.shape[1]
    flat, flat_weights, flat_variance = cells.reshape(2, FIELDS, -1), weights.reshape(-1), variance.reshape(-1)
    readings = np.empty((2, 4 * CHUNK), np.float32)
    end = last * n_out
    for start in range(first * n_out, end, 4 * CHUNK):
        stop = min(start + 4 * CHUNK, end)
        for device in range(2):
            state = flat[device, :, start:stop]
            out = readings[device, : stop - start]
            read_stretch(state[G], state[NU], state[WRITTEN], state[ERROR], now, t0, np.float32(unit), out)
        weigh_stretch(
            readings[PLUS], readings[MINUS], np.float32(read_rel), flat_weights[start:stop], flat_variance[start:stop]
        )
