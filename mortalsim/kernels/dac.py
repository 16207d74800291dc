"""What drives an array's input lines: length normaliser and digital-to-analog converter."""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import MATRIX, OUT_MATRIX, OUT_VECTOR, VECTOR, f8, flag, kernel, law, loop

BIAS = np.float32(1)  # hardware.BIAS, which stands above this room

#: Running sums kept side by side when squares are added, element i in sum i % LANES: a fixed order that is still fast.
LANES = 16


@law
def clip(y, limit):
    """Return ``y`` held within +-limit; NaN stays NaN."""
    y = -limit if y < -limit else y
    return limit if y > limit else y


@loop
def sum_of_squares(row, lanes):
    """Return the sum of row^2 (n,); ``lanes`` (LANES,) is scratch."""
    for k in range(LANES):
        lanes[k] = np.float32(0)
    whole = row.size - row.size % LANES
    for i in range(0, whole, LANES):
        for k in range(LANES):
            lanes[k] += row[i + k] * row[i + k]
    for i in range(whole, row.size):
        lanes[i - whole] += row[i] * row[i]
    total = np.float32(0)
    for k in range(LANES):
        total += lanes[k]
    return total


@loop
def scale(row, factor, out):
    """Write row * factor (n,) to ``out``."""
    for i in range(row.size):
        out[i] = row[i] * factor


@loop
def clip_all(row, limit):
    """Hold every element of ``row`` (n,) within +-limit."""
    for i in range(row.size):
        row[i] = clip(row[i], limit)


@loop
def round_all(row, step):
    """Round every element of ``row`` (n,) to a whole number of steps, halves to even."""
    for i in range(row.size):
        row[i] = np.rint(row[i] / step) * step


@loop
def mismatch_all(row, gain, offset):
    """Give every line of ``row`` (n,) its own gain and offset."""
    for i in range(row.size):
        row[i] = row[i] * gain[i] + offset[i]


@kernel(MATRIX, flag, f8, f8, f8, f8, VECTOR, VECTOR, OUT_MATRIX, OUT_VECTOR)
def drive_lines(v, normalise, eps, norm_gain, step, limit, gain, offset, pre, power):
    """Turn digital inputs into what the input lines carry: normalise, clip, round, then each line's own mismatch.

    Parameters
    ----------
    v
        float32 (B, n).
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
    lanes = np.empty(LANES, np.float32)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if normalise:
            factor = np.float32(norm_gain) / (np.float32(eps) + np.sqrt(sum_of_squares(v[b], lanes) / np.float32(n)))
        row = pre[b, :n]
        scale(v[b], factor, row)
        if limit > 0:
            clip_all(row, np.float32(limit))
        if step > 0:
            round_all(row, np.float32(step))
        mismatch_all(row, gain, offset)
        pre[b, n] = BIAS
        power[b] = sum_of_squares(pre[b], lanes)
