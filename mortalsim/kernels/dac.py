"""What drives an array's input lines: length normaliser and digital-to-analog converter."""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import (
    LINES,
    MATRIX,
    OUT_CUBE,
    OUT_MATRIX,
    OUT_VECTOR,
    ROWS,
    VECTOR,
    f8,
    flag,
    i8,
    kernel,
    law,
    loop,
)
from mortalsim.kernels.vectors import copy, fill

BIAS = np.float32(1)  # hardware.BIAS, which stands above this room

NOT_NORMALISED, BY_SOURCE, BY_BLOCK = 0, 1, 2

#: Running sums kept side by side when squares are added, element i in sum i % LANES, and halved again and again at the end:
#: a fixed order, in loops long enough for vector instructions to pay.
LANES = 128


@law
def clip(y, low, high):
    """Return ``y`` held between ``low`` and ``high``; NaN stays NaN."""
    y = low if y < low else y
    return high if y > high else y


@loop
def add_squares(row, lanes):
    """Add row^2 (n,) to the first n of ``lanes``."""
    for k in range(row.size):
        lanes[k] += row[k] * row[k]


@loop
def add_halves(lanes, others):
    """Add ``others`` to ``lanes``, both (m,)."""
    for k in range(others.size):
        lanes[k] += others[k]


@loop
def sum_of_squares(row, lanes):
    """Return the sum of row^2 (n,); ``lanes`` (LANES,) is scratch."""
    fill(lanes, np.float32(0))
    for start in range(0, row.size, LANES):
        add_squares(row[start : start + LANES], lanes)
    m = LANES
    while m > 1:
        m //= 2
        add_halves(lanes[:m], lanes[m : 2 * m])
    return lanes[0]


@loop
def sum_with_overlay(row, lines, plain, lanes):
    """Return the sum of row^2 (n,), that of ``lines`` added last: it then matters which values these hold, not on which."""
    copy(row, plain)
    for i in lines:
        plain[i] = np.float32(0)
    total = sum_of_squares(plain, lanes)
    for i in lines:
        total += row[i] * row[i]
    return total


@law
def round_to(y, step, level):
    """Return ``y`` rounded to a whole number of steps from ``level``, halves to even; a step of 0 rounds nothing."""
    return np.rint((y - level) / step) * step + level if step > 0 else y


@loop
def convert_all(row, factor, low, high, step, level, gain, offset, out):
    """Write row * factor (n,), clipped and rounded, through each line's gain and offset to ``out``."""
    for i in range(row.size):
        out[i] = round_to(clip(row[i] * factor, low, high), step, level) * gain[i] + offset[i]


@loop
def take_lines(v, rows, out):
    """Write what the rows of a block see of ``v`` (n,) to ``out`` (n_in,): 0 where they carry the bias or ground."""
    for i in range(rows.size):
        out[i] = v[rows[i]] if rows[i] < v.size else np.float32(0)


@loop
def set_ends(rows, n, pre):
    """Write what no converter drives: the bias where ``rows`` are ``n``, ground where they are more."""
    for i in range(rows.size):
        pre[i] = BIAS if rows[i] == n else np.float32(0) if rows[i] > n else pre[i]


@loop
def count_below(rows, n):
    """Return how many ``rows`` are below ``n``."""
    total = 0
    for i in range(rows.size):
        total += rows[i] < n
    return total


@law
def normalising(total, n, eps, norm_gain):
    """Return what brings n numbers whose squares add up to ``total`` to unit mean square."""
    return np.float32(norm_gain) / (np.float32(eps) + np.sqrt(total / np.float32(n)))


@kernel(MATRIX, LINES, flag, f8, f8, f8, f8, f8, f8, VECTOR, VECTOR, OUT_MATRIX, OUT_VECTOR)
def drive_lines(v, lines, normalise, eps, norm_gain, low, high, step, level, gain, offset, pre, power):
    """Turn digital inputs into what the rows of an array carry: normalise, clip, round, then each row's own mismatch.

    Parameters
    ----------
    v
        float32 (B, n).
    lines
        int64 (k,): lines that are written over an image; their squares are added after all others.
    normalise
        Whether each row is divided by ``eps`` plus its root mean square; a row of zeros stays zero.
    eps
        Above 0.
    norm_gain
        What the normaliser really gives per unit; used only if ``normalise``.
    low, high
        Ends of the converters' range; infinite means no clipping.
    step, level
        Distance between two converter levels, 0 meaning no rounding; and one of the levels.
    gain, offset
        float32 (n,): the converters' mismatch, row by row.
    pre
        float32 (B, n + 1) or (B, n), written; a column beyond the inputs is the bias line.
    power
        float32 (B,), written: sum of squares of each row of ``pre``.
    """
    n = v.shape[1]
    lanes, plain = np.empty(LANES, np.float32), np.empty(n, np.float32)
    least, most, width, start = np.float32(low), np.float32(high), np.float32(step), np.float32(level)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if normalise:
            factor = normalising(sum_with_overlay(v[b], lines, plain, lanes), n, eps, norm_gain)
        convert_all(v[b], factor, least, most, width, start, gain, offset, pre[b, :n])
        for i in range(n, pre.shape[1]):
            pre[b, i] = BIAS
        power[b] = sum_of_squares(pre[b], lanes)


@kernel(MATRIX, LINES, ROWS, i8, f8, f8, f8, f8, f8, f8, MATRIX, MATRIX, OUT_CUBE, OUT_MATRIX)
def drive_blocks(v, lines, rows, place, eps, norm_gain, low, high, step, level, gain, offset, pre, power):
    """Do `drive_lines` for an array of blocks, each of which sees some of the inputs.

    Parameters
    ----------
    v, lines, eps, norm_gain, low, high, step, level
        As in `drive_lines`; lines matter for the length of all inputs alone.
    rows
        int64 (blocks, n_in): which input each row carries; n stands for the bias, n + 1 for ground.
    place
        `NOT_NORMALISED`, `BY_SOURCE` (divided by the length of all inputs) or `BY_BLOCK` (by that of what the block sees).
    gain, offset
        float32 (blocks, n_in): the converters' mismatch.
    pre
        float32 (blocks, B, n_in), written.
    power
        float32 (blocks, B), written: sum of squares of each row of ``pre``.
    """
    n, n_in = v.shape[1], rows.shape[1]
    lanes, plain, seen = np.empty(LANES, np.float32), np.empty(n, np.float32), np.empty(n_in, np.float32)
    least, most, width, start = np.float32(low), np.float32(high), np.float32(step), np.float32(level)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if place == BY_SOURCE:
            factor = normalising(sum_with_overlay(v[b], lines, plain, lanes), n, eps, norm_gain)
        for k in range(rows.shape[0]):
            take_lines(v[b], rows[k], seen)
            if place == BY_BLOCK:
                factor = normalising(sum_of_squares(seen, lanes), max(1, count_below(rows[k], n)), eps, norm_gain)
            convert_all(seen, factor, least, most, width, start, gain[k], offset[k], pre[k, b])
            set_ends(rows[k], n, pre[k, b])
            power[k, b] = sum_of_squares(pre[k, b], lanes)
