"""How devices answer to write pulses.

State: float32 (2, 6 or 8, n_in, n_out), see `cells`. Random numbers, e = i * n_out + j a pair's place in its array:

- stochastic rounding: as `rounding` says, stream 4 array + device, device 0 = G+, 1 = G-;
- cycle-to-cycle noise: pulse p takes normal e % 4 of counter (e // 4, p, write, 4 array + 2 + device).

An array is taken in stretches of `LENGTH` pairs, rows ignored, and pulse after pulse. Where many devices of a stretch take
their pulse, all are worked on where they are, in vector registers; where few do, those are first laid side by side: memory
is then waited for once a stretch, not once a device. Both give the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mortalsim.kernels.cells import DOWN, ERROR, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN, G
from mortalsim.kernels.folding import LENGTH, drift_all, read_all, read_stretch, variance_of, vary_all, weigh_all, weight_of
from mortalsim.kernels.jit import KEY, MATRIX, OUT_CELLS, OUT_COUNTS, OUT_MATRIX, VECTOR, f8, i8, kernel, loop, part
from mortalsim.kernels.philox import CHUNK, draw_normals, new_scratch, normal_row
from mortalsim.kernels.responses import pulse_once
from mortalsim.kernels.rounding import flag_above, flag_either, list_flagged, round_stretch
from mortalsim.kernels.vectors import fill, scale

ZERO, ONE = np.float32(0), np.float32(1)
WORD = 0xFFFFFFFF

#: A stretch is worked on as a whole where at least one device in so many takes part; to work out what drift has done costs
#: more than to look devices up, so there it takes more of them.
DENSE, DENSE_DRIFT = 16, 4

#: Most pulses that one request can send to one device: twice as many still fit.
MOST = 2.0**29


@loop
def collect(values, places, row):
    """Lay values at ``places`` (m,) side by side in ``row`` (m,)."""
    for k in range(places.size):
        row[k] = values[places[k]]


@loop
def put_back(row, places, values):
    """Do the reverse of `collect`."""
    for k in range(places.size):
        values[places[k]] = row[k]


class Room(NamedTuple):
    """Scratch for one stretch: flags and places of devices, their counts and knots side by side, pulses asked for.

    ``rows`` (8, LENGTH) and ``bent`` (2, LENGTH) hold numbers, ``few`` and ``many`` blocks of random numbers.
    """

    flags: Any
    places: Any
    counts: Any
    knots: Any
    asked: Any
    rows: Any
    bent: Any
    few: Any
    many: Any


@part
def new_room():
    """Return a `Room`."""
    many = new_scratch(LENGTH)
    fill(many[1].reshape(-1), ZERO)  # without cycle-to-cycle noise nothing else is ever written there
    rows = np.empty((8, LENGTH), np.float32)
    fill(rows[7], ZERO)
    flags, places, counts = np.empty(LENGTH, np.uint8), np.empty(LENGTH, np.int64), np.empty(LENGTH, np.int32)
    knots, asked, bent = np.empty(LENGTH, np.int32), np.empty(LENGTH, np.float32), np.empty((2, LENGTH), np.float32)
    return Room(flags, places, counts, knots, asked, rows, bent, new_scratch(CHUNK), many)


@loop
def skip_stuck(places, up, down, counts):
    """Send nothing to devices that do not move anyway."""
    for k in range(places.size):
        if (up[places[k]] == ZERO) & (down[places[k]] == ZERO):
            counts[places[k]] = 0


@loop
def skip_all_stuck(up, down, counts):
    """Do the same for a whole stretch."""
    for k in range(counts.size):
        counts[k] = 0 if (up[k] == ZERO) & (down[k] == ZERO) else counts[k]


@loop
def drift_listed(cells, device, start, stop, places, now, t0, rows, after):
    """Fill ``after`` (m,) with what drift has made of listed devices; uses rows 0 to 2 of ``rows``."""
    g, nu, since = rows[0, : places.size], rows[1, : places.size], rows[2, : places.size]
    collect(cells[device, G, start:stop], places, g)
    collect(cells[device, NU, start:stop], places, nu)
    collect(cells[device, WRITTEN, start:stop], places, since)
    drift_all(g, nu, since, now, t0, after)


@part
def let_drift(cells, device, start, places, counts, now, t0, rows):
    """Set listed devices that will move to what drift has made of them."""
    stop, m = start + counts.size, places.size
    field, written, after = cells[device, G, start:stop], cells[device, WRITTEN, start:stop], rows[3, :m]
    drift_listed(cells, device, start, stop, places, now, t0, rows, after)
    for k in range(m):
        if counts[places[k]] > 0:
            field[places[k]] = after[k]
            written[places[k]] = now


@part
def let_all_drift(cells, device, start, counts, now, t0, after):
    """Do `let_drift` for a whole stretch."""
    stop = start + counts.size
    field, written = cells[device, G, start:stop], cells[device, WRITTEN, start:stop]
    drift_all(field, cells[device, NU, start:stop], written, now, t0, after)
    for e in range(counts.size):
        field[e] = after[e] if counts[e] > 0 else field[e]
    for e in range(counts.size):
        written[e] = np.float32(now) if counts[e] > 0 else written[e]


@part
def pulse_few(p, cells, device, start, asked, sign, counts, tables, ctoc, key, write, stream, room, m):
    """Send pulse ``p`` to the m devices listed."""
    places, side, rows, (words, quads) = room.places[:m], room.counts[:m], room.rows, room.many
    stop = start + counts.size
    side_asked, low, high, up, down, g = rows[0, :m], rows[1, :m], rows[2, :m], rows[3, :m], rows[4, :m], rows[5, :m]
    normals = rows[6, :m]
    collect(asked, places, side_asked)
    collect(counts, places, side)
    collect(cells[device, LOW, start:stop], places, low)
    collect(cells[device, HIGH, start:stop], places, high)
    collect(cells[device, UP, start:stop], places, up)
    collect(cells[device, DOWN, start:stop], places, down)
    collect(cells[device, G, start:stop], places, g)
    if ctoc > ZERO:
        for k in range(m):
            words[0, k] = (start + places[k]) // 4
        fill(words[1, :m], p)
        draw_normals(m, write & WORD, stream, key, words, quads)
    for k in range(m):
        normals[k] = quads[places[k] % 4, k]  # a stretch begins at a multiple of 4
    knots = room.knots[:m]
    pulse_once(p, side_asked, sign, side, low, high, up, down, tables, ctoc, normals, g, knots, room.bent)
    put_back(g, places, cells[device, G, start:stop])


@part
def pulse_all(p, cells, device, start, asked, sign, counts, tables, ctoc, key, write, stream, room):
    """Send pulse ``p`` to a whole stretch, where its devices are."""
    n = counts.size
    stop, normals = start + n, room.rows[7, :n]
    if ctoc > ZERO:
        normal_row(key, start // 4, p, write & WORD, stream, normals, room.few)
    pulse_once(
        p, asked, sign, counts, cells[device, LOW, start:stop], cells[device, HIGH, start:stop],
        cells[device, UP, start:stop], cells[device, DOWN, start:stop], tables, ctoc, normals, cells[device, G, start:stop],
        room.knots[:n], room.bent,
    )  # fmt: skip


@part
def pulse_stretch(most, cells, device, start, asked, sign, counts, now, t0, tables, ctoc, key, write, stream, room):
    """Send devices start, start + 1, ... their ``counts`` (n,), none above ``most``; counts of stuck ones become 0."""
    flags, places, rows = room.flags, room.places, room.rows
    n, stop = counts.size, start + counts.size
    drifts = cells.shape[1] > NU
    for p in range(most):
        m = flag_above(counts, p, flags)
        many, drift_many = m * DENSE >= n, drifts and m * DENSE_DRIFT >= n
        if not many or (p == 0 and drifts and not drift_many):
            m = list_flagged(n, flags, places)
        if p == 0:
            up, down = cells[device, UP, start:stop], cells[device, DOWN, start:stop]
            if many:
                skip_all_stuck(up, down, counts)
            else:
                skip_stuck(places[:m], up, down, counts)
            if drift_many:
                let_all_drift(cells, device, start, counts, now, t0, rows[0, :n])
            elif drifts:
                let_drift(cells, device, start, places[:m], counts, now, t0, rows)
        if many:
            pulse_all(p, cells, device, start, asked, sign, counts, tables, ctoc, key, write, stream, room)
        else:
            pulse_few(p, cells, device, start, asked, sign, counts, tables, ctoc, key, write, stream, room, m)


@loop
def weigh_moved(flags, plus, minus, read_rel, weights, variance):
    """Fill ``weights`` (n,), and ``variance`` (n,) if not empty, where flagged."""
    for e in range(weights.size):
        weights[e] = weight_of(plus[e], minus[e]) if flags[e] > 0 else weights[e]
    for e in range(variance.size):
        variance[e] = variance_of(plus[e], minus[e], read_rel) if flags[e] > 0 else variance[e]


@part
def read_listed(cells, device, start, stop, places, now, t0, unit, rows, out):
    """Fill ``out`` (m,) with the readings of listed devices."""
    g, error = rows[4, : places.size], rows[3, : places.size]
    collect(cells[device, ERROR, start:stop], places, error)
    if cells.shape[1] > NU:
        drift_listed(cells, device, start, stop, places, now, t0, rows, g)
    else:
        collect(cells[device, G, start:stop], places, g)
    read_all(g, error, unit, out)


@part
def weigh_stretch(counts, cells, start, now, t0, unit, read_rel, room, weights, variance):
    """Write the weights (n,) of pairs start, start + 1, ... of which a device has moved, by ``counts`` (2, n or more)."""
    flags, all_places, rows = room.flags, room.places, room.rows
    n = weights.size
    m = flag_either(counts[PLUS, :n], counts[MINUS, :n], flags)
    if m * (DENSE_DRIFT if cells.shape[1] > NU else DENSE) >= n:
        plus, minus = rows[5, :n], rows[6, :n]
        for device in range(2):
            read_stretch(cells, device, start, now, t0, unit, rows[0], rows[5 + device, :n])
        weigh_moved(flags[:n], plus, minus, read_rel, weights, variance)
        return
    places, plus, minus, row = all_places[:m], rows[5, :m], rows[6, :m], rows[0, :m]
    list_flagged(n, flags, all_places)
    for device in range(2):
        read_listed(cells, device, start, start + n, places, now, t0, unit, rows, rows[5 + device, :m])
    weigh_all(plus, minus, row)
    put_back(row, places, weights)
    if variance.size > 0:
        vary_all(plus, minus, read_rel, row)
        put_back(row, places, variance)


@part
def note_rows(counts, start, n_out, row_pulses):
    """Raise each row's largest count by those of elements start, start + 1, ...; return the largest of all."""
    most, e = 0, 0
    while e < counts.size:
        row = (start + e) // n_out
        segment = counts[e : min(counts.size, (row + 1) * n_out - start)]
        largest = segment[0]
        for k in range(segment.size):
            largest = max(largest, segment[k])
        row_pulses[row] = max(row_pulses[row], largest)
        most = max(most, largest)
        e += segment.size
    return most


@part
def side_by_side(up_table, down_table):
    """Return both tables as one, (2, K)."""
    tables = np.empty((2, up_table.size), np.float32)
    for k in range(up_table.size):
        tables[0, k], tables[1, k] = up_table[k], down_table[k]
    return tables


@kernel(
    OUT_CELLS, MATRIX, f8, i8, VECTOR, VECTOR, f8, f8, f8, f8, f8, KEY, i8, i8, i8, OUT_MATRIX, OUT_MATRIX, OUT_COUNTS,
    returns=i8,
)  # fmt: skip
def apply_pulses(
    cells, change, per_weight, cap, up_table, down_table, ctoc, now, t0, unit, read_rel, key, write, array, first,
    weights, variance, row_pulses,
):  # fmt: skip
    """Send the pulses that a change of weights asks for; return how many there were.

    A positive change potentiates G+ and depresses G-, each device being sent |change * per_weight| pulses, rounded
    stochastically. Each pulse moves G by UP (or -DOWN) times the table at the device's place in its range, times
    1 + ctoc * normal, and never beyond LOW and HIGH. A device is first set to its drifted value. Stuck devices
    (UP = DOWN = 0) are sent their pulses but do not move.

    Parameters
    ----------
    cells
        float32 (2, 6 or 8, n_in, n_out), changed in place.
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
    key, write, array
        Key uint32 (2,), the write's number and the array's place: counters as described above the kernels.
    first
        The first row to do; a multiple of 16.
    weights
        float32 (n_in, n_out), written where a device of the pair moves: (G+ (1 + E+) - G- (1 + E-)) / unit at time ``now``.
    variance
        float32 (n_in, n_out), written likewise: read_rel^2 ((G+ (1 + E+))^2 + (G- (1 + E-))^2) / unit^2; (0, 0): not wanted.
    row_pulses
        int64 (n_in,), written in these rows: the largest number of pulses that one device of the row was sent.
    """
    n_out = change.shape[1]
    flat, flat_change = cells.reshape(2, cells.shape[1], -1), change.reshape(-1)
    flat_weights, flat_variance = weights.reshape(-1), variance.reshape(-1)
    tables, room = side_by_side(up_table, down_table), new_room()
    limit, size = np.float32(min(cap, MOST) if cap > 0 else MOST), np.float32(per_weight)
    rough, both = np.empty((5, LENGTH // 4), np.uint32), np.empty((2, LENGTH), np.int32)
    fill(row_pulses[first : first + change.shape[0]], 0)
    total = 0
    for begin in range(0, flat_change.size, LENGTH):
        chunk = flat_change[begin : begin + LENGTH]
        start, asked = first * n_out + begin, room.asked[: chunk.size]
        scale(chunk, size, asked)
        before = total
        for device in range(2):
            stream, counts = 4 * array + device, both[device, : chunk.size]  # a slice of a slice would not be contiguous
            total += round_stretch(asked, limit, start, write, stream, key, counts, room.flags, room.places, rough)
            most = note_rows(counts, start, n_out, row_pulses)
            sign = ONE if device == PLUS else -ONE
            pulse_stretch(
                most, flat, device, start, asked, sign, counts, now, t0, tables, np.float32(ctoc),
                key, write, stream + 2, room,
            )  # fmt: skip
        if total > before:
            stop = start + chunk.size
            weigh_stretch(
                both, flat, start, now, t0, np.float32(unit), np.float32(read_rel), room,
                flat_weights[start:stop], flat_variance[start:stop],
            )  # fmt: skip
    return total
