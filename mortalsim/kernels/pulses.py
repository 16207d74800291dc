"""How devices answer to write pulses, and what weights their conductances make.

State: ``cells`` float32 (2, 8, n_in, n_out), see `cells`. Random numbers, e = i * n_out + j being a pair's place in its array:

- stochastic rounding: `fill_uniform` over row i with counter words (i, write, 4 array + device), device 0 = G+, 1 = G-;
- cycle-to-cycle noise: pulse p of a device takes normal p % 4 of counter (e, p // 4, write, 4 array + 2 + device).
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.cells import DOWN, ERROR, G, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN
from mortalsim.kernels.jit import CELLS, KEY, MATRIX, OUT_CELLS, OUT_COUNTS, OUT_MATRIX, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, draw_normals, new_scratch, uniform_row

ZERO, ONE = np.float32(0), np.float32(1)
WORD = 0xFFFFFFFF

#: Most pulses that one request can send to one device, so that a count always fits.
MOST = 2.0**30


@law
def drifted(g, nu, written, now, t0):  # type: ignore[no-untyped-def]
    """Return what a conductance ``g`` of time ``written`` has become: g (1 + age / t0)^-nu, age never below 0."""
    if nu == ZERO:
        return g
    return np.float32(g * (1.0 + max(now - written, 0.0) / t0) ** -np.float64(nu))


@law
def pulses_sent(q, landing, limit):  # type: ignore[no-untyped-def]
    """Return |q| rounded up with probability equal to its fraction (``landing`` uniform in (0, 1)), at most ``limit``."""
    size = abs(q)
    whole = np.floor(size)
    count = whole + ONE if landing < size - whole else whole
    return np.int32(min(count, limit))


@law
def response(u, tables, direction):  # type: ignore[no-untyped-def]
    """Return the relative step at place u (0 to 1) of a device's range, from the table of this direction."""
    place = u * np.float32(tables.shape[1] - 1)
    k = min(int(place), tables.shape[1] - 2)
    return tables[direction, k] + (tables[direction, k + 1] - tables[direction, k]) * (place - np.float32(k))


@law
def pulsed(g, low, high, step, direction, tables, wobble):  # type: ignore[no-untyped-def]
    """Return conductance ``g`` after one pulse of nominal size ``step`` (signed), held within the device's bounds."""
    u = (g - low) / (high - low) if high > low else ZERO
    moved = g + step * response(min(max(u, ZERO), ONE), tables, direction) * wobble
    return min(max(moved, low), high)


@law
def device_now(cells, device, i, j, now, t0):  # type: ignore[no-untyped-def]
    """Return a device's conductance with its drift."""
    return drifted(cells[device, G, i, j], cells[device, NU, i, j], cells[device, WRITTEN, i, j], now, t0)


@law
def weigh(cells, i, j, now, t0, unit, read_rel, weights, variance):  # type: ignore[no-untyped-def]
    """Write the weight of one pair, and its read-noise variance where asked for."""
    plus = device_now(cells, PLUS, i, j, now, t0) * (ONE + cells[PLUS, ERROR, i, j]) / unit
    minus = device_now(cells, MINUS, i, j, now, t0) * (ONE + cells[MINUS, ERROR, i, j]) / unit
    weights[i, j] = plus - minus
    if variance.shape[0] > 0:
        variance[i, j] = read_rel * read_rel * (plus * plus + minus * minus)


@loop
def pulse_device(cells, device, i, j, count, rising, tables, ctoc, now, t0, key, write, array, scratch):  # type: ignore[no-untyped-def]
    """Send ``count`` pulses to one device; a stuck one does not move."""
    up, down = cells[device, UP, i, j], cells[device, DOWN, i, j]
    if up == ZERO and down == ZERO:
        return
    words, normals = scratch
    g = device_now(cells, device, i, j, now, t0)
    low, high = cells[device, LOW, i, j], cells[device, HIGH, i, j]
    step, direction = (up, 0) if rising else (-down, 1)
    for p in range(count):
        wobble = ONE
        if ctoc > ZERO:
            if p % 4 == 0:
                words[0, 0] = i * cells.shape[3] + j
                draw_normals(1, p // 4, write & WORD, 4 * array + 2 + device, key, words, normals)
            wobble = ONE + ctoc * normals[p % 4, 0]
        g = pulsed(g, low, high, step, direction, tables, wobble)
    cells[device, G, i, j] = g
    cells[device, WRITTEN, i, j] = now


@loop
def count_row(change, per_weight, landing, limit, counts):  # type: ignore[no-untyped-def]
    """Fill ``counts`` int32 (n,) with the pulses that each device of a row is sent."""
    for j in range(change.size):
        counts[j] = pulses_sent(change[j] * per_weight, landing[j], limit)


@kernel(
    OUT_CELLS, MATRIX, f8, i8, VECTOR, VECTOR, f8, f8, f8, f8, f8, KEY, i8, i8, OUT_MATRIX, OUT_MATRIX, OUT_COUNTS, returns=i8
)
def apply_pulses(  # type: ignore[no-untyped-def]
    cells, change, per_weight, cap, up_table, down_table, ctoc, now, t0, unit, read_rel, key, write, array,
    weights, variance, row_pulses,
):  # fmt: skip
    """Send the pulses that a change of weights asks for; return how many there were on all devices together.

    A positive change potentiates G+ and depresses G-, each device being sent |change| * per_weight pulses, rounded
    stochastically. Each pulse moves G by UP (or -DOWN) times the table at the device's place in its range, times
    1 + ctoc * normal, and never beyond LOW and HIGH. A device is first set to its drifted value. Stuck devices (UP = DOWN = 0)
    are sent their pulses but do not move.

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
    weights
        float32 (n_in, n_out), written where a pair was sent a pulse: (G+ (1 + E+) - G- (1 + E-)) / unit at time ``now``.
    variance
        float32 (n_in, n_out), written likewise: read_rel^2 ((G+ (1 + E+))^2 + (G- (1 + E-))^2) / unit^2; (0, 0) if not wanted.
    row_pulses
        int64 (n_in,), written: the largest number of pulses that one device of the row was sent.
    """
    n_in, n_out = change.shape
    tables = np.empty((2, up_table.size), np.float32)
    for k in range(up_table.size):
        tables[0, k] = up_table[k]
        tables[1, k] = down_table[k]
    limit = np.float32(min(cap, MOST) if cap > 0 else MOST)
    scratch, landing, counts = new_scratch(CHUNK), np.empty(n_out, np.float32), np.empty((2, n_out), np.int32)
    total = 0
    for i in range(n_in):
        row_pulses[i] = 0
        for device in range(2):
            uniform_row(key, i, write & WORD, 4 * array + device, landing, scratch)
            count_row(change[i], np.float32(per_weight), landing, limit, counts[device])
            for j in range(n_out):
                count = counts[device, j]
                if count > 0:
                    rising = (change[i, j] > ZERO) == (device == PLUS)
                    pulse_device(
                        cells, device, i, j, count, rising, tables, np.float32(ctoc), now, t0, key, write, array, scratch
                    )
                    total += count
                    row_pulses[i] = max(row_pulses[i], count)
        for j in range(n_out):
            if counts[PLUS, j] + counts[MINUS, j] > 0:
                weigh(cells, i, j, now, t0, np.float32(unit), np.float32(read_rel), weights, variance)
    return total


@kernel(CELLS, f8, f8, f8, f8, OUT_MATRIX, OUT_MATRIX)
def fold(cells, now, t0, unit, read_rel, weights, variance):  # type: ignore[no-untyped-def]
    """Make all weights, and their read-noise variances where asked for, from the devices' state; parameters as in `apply_pulses`."""
    for i in range(cells.shape[2]):
        for j in range(cells.shape[3]):
            weigh(cells, i, j, now, t0, np.float32(unit), np.float32(read_rel), weights, variance)
