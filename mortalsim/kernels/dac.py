"""What drives an array's input lines: length normaliser and digital-to-analog converter."""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import LINES, MATRIX, OUT_MATRIX, OUT_VECTOR, VECTOR, f8, flag, kernel, law, loop
from mortalsim.kernels.vectors import copy, fill

BIAS = np.float32(1)  # hardware.BIAS, which stands above this room

#: Running sums kept side by side when squares are added, element i in sum i % LANES, and halved again and again at the end:
#: a fixed order, in loops long enough for vector instructions to pay.
LANES = 128


@law
def clip(y, limit):
    """Return ``y`` held within +-limit; NaN stays NaN."""
    y = -limit if y < -limit else y
    return limit if y > limit else y


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
def round_to(y, step):
    """Return ``y`` rounded to a whole number of steps, halves to even; a step of 0 rounds nothing."""
    return np.rint(y / step) * step if step > 0 else y


@loop
def convert_all(row, factor, limit, step, gain, offset, out):
    """Write row * factor (n,), clipped and rounded, through each line's gain and offset to ``out``."""
    for i in range(row.size):
        out[i] = round_to(clip(row[i] * factor, limit), step) * gain[i] + offset[i]


@kernel(MATRIX, LINES, flag, f8, f8, f8, f8, VECTOR, VECTOR, OUT_MATRIX, OUT_VECTOR)
def drive_lines(v, lines, normalise, eps, norm_gain, step, limit, gain, offset, pre, power):
    """Turn digital inputs into what the input lines carry: normalise, clip, round, then each line's own mismatch.

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
    step
        Distance between two converter levels; 0 means no rounding.
    limit
        Largest level; 0 means no clipping.
    gain, offset
        float32 (n,): the converters' mismatch, line by line.
    pre
        float32 (B, n + 1), written; its last column is the bias line.
    power
        float32 (B,), written: sum of squares of each row of ``pre``.
    """
    n = v.shape[1]
    lanes, plain = np.empty(LANES, np.float32), np.empty(n, np.float32)
    bound = np.float32(limit if limit > 0 else np.inf)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if normalise:
            total = sum_with_overlay(v[b], lines, plain, lanes)
            factor = np.float32(norm_gain) / (np.float32(eps) + np.sqrt(total / np.float32(n)))
        convert_all(v[b], factor, bound, np.float32(step), gain, offset, pre[b, :n])
        pre[b, n] = BIAS
        power[b] = sum_of_squares(pre[b], lanes)
