"""What drives an array's input lines: length normaliser and digital-to-analog converter.

Shapes: B samples of n inputs; an array of K blocks of n_in rows each. Running sums of squares are `LANES` side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.jit import (
    LINES,
    MATRIX,
    OUT_CUBE,
    OUT_MATRIX,
    OUT_VECTOR,
    ROWS,
    VECTOR,
    f8,
    i8,
    kernel,
    law,
    loop,
)
from mortalsim.kernels.vectors import copy, fill

BIAS = np.float32(1)  # hardware.BIAS, which stands above this room

NOT_NORMALISED, BY_SOURCE, BY_BLOCK = 0, 1, 2

#: Running sums of squares: element i is added to sum i % LANES, and the right half of the sums is added to the left half
#: until one is left. The order is fixed, and the loops are long enough for vector instructions to pay.
LANES = 128

Vector = npt.NDArray[np.float32]


class Normaliser(NamedTuple):
    """A length normaliser: it gives gain / (epsilon + root mean square) times what it is given.

    Parameters
    ----------
    place
        `NOT_NORMALISED`, `BY_SOURCE` (the length of all inputs) or `BY_BLOCK` (the length of what each block sees).
    epsilon
        Above 0, so that a row of zeros stays zero.
    gain
        What this one really gives per unit.
    """

    place: int
    epsilon: float
    gain: float


class Converter(NamedTuple):
    """A bank of converters: levels that all share, and a gain and an offset of each.

    Parameters
    ----------
    low, high
        Ends of the range; infinite where there is none.
    step, level
        Distance between two levels, 0 without rounding; and one of the levels.
    gain, offset
        float32, one a line: (n,) at inputs or outputs, (K, n_in) at the rows of blocks.
    """

    low: float
    high: float
    step: float
    level: float
    gain: Vector
    offset: Vector

    def of_blocks(self, first: int, last: int) -> Converter:
        """Return the bank of blocks ``first`` to ``last`` - 1."""
        return self._replace(gain=self.gain[first:last], offset=self.offset[first:last])


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
    """Return the sum of row^2 (n,), the squares of ``lines`` (k,) added last; ``plain`` (n,) and ``lanes`` are scratch.

    Equal values on other lines then give the same bits.
    """
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


@law
def single(low, high, step, level):
    """Return a converter's levels in float32."""
    return np.float32(low), np.float32(high), np.float32(step), np.float32(level)


@loop
def convert_all(row, factor, levels, gain, offset, out):
    """Write row * factor (n,), clipped and rounded to ``levels``, through each line's gain and offset to ``out``."""
    low, high, step, level = levels
    for i in range(row.size):
        out[i] = round_to(clip(row[i] * factor, low, high), step, level) * gain[i] + offset[i]


@loop
def take_lines(v, rows, out):
    """Write the inputs ``v`` (n,) that the ``rows`` (n_in,) of a block see to ``out``; 0 for the bias and for ground."""
    for i in range(rows.size):
        out[i] = v[rows[i]] if rows[i] < v.size else np.float32(0)


@loop
def set_ends(rows, n, pre):
    """Write what no converter drives to ``pre`` (n_in,): the bias where ``rows`` are ``n``, ground where they are more."""
    for i in range(rows.size):
        pre[i] = BIAS if rows[i] == n else np.float32(0) if rows[i] > n else pre[i]


@loop
def count_below(rows, n):
    """Return how many ``rows`` (n_in,) carry an input, and not the bias or ground."""
    total = 0
    for i in range(rows.size):
        total += rows[i] < n
    return total


@law
def normalising(total, n, epsilon, gain):
    """Return the normaliser's factor for ``n`` numbers whose squares add up to ``total``."""
    return np.float32(gain) / (np.float32(epsilon) + np.sqrt(total / np.float32(n)))


def drive_lines(
    v: Vector, lines: npt.NDArray[np.int64], normaliser: Normaliser, converter: Converter, pre: Vector, power: Vector
) -> None:
    """Turn digital inputs into what the rows of an array carry: normalise, clip, round, then each row's own mismatch.

    Parameters
    ----------
    v
        float32 (B, n).
    lines
        int64 (k,): lines that are written over an image; their squares are added after all others.
    normaliser
        Used unless its place is `NOT_NORMALISED`.
    converter
        One for each input, (n,).
    pre
        float32 (B, n + 1) or (B, n), written; a column beyond the inputs is the bias line.
    power
        float32 (B,), written: sum of squares of each row of ``pre``.
    """
    compiled_drive_lines(v, lines, *normaliser, *converter, pre, power)


@kernel(MATRIX, LINES, i8, f8, f8, f8, f8, f8, f8, VECTOR, VECTOR, OUT_MATRIX, OUT_VECTOR)
def compiled_drive_lines(v, lines, place, epsilon, norm_gain, low, high, step, level, gain, offset, pre, power):
    """Do `drive_lines`, the records taken apart in the order of their fields."""
    n = v.shape[1]
    lanes, plain = np.empty(LANES, np.float32), np.empty(n, np.float32)
    levels = single(low, high, step, level)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if place != NOT_NORMALISED:
            factor = normalising(sum_with_overlay(v[b], lines, plain, lanes), n, epsilon, norm_gain)
        convert_all(v[b], factor, levels, gain, offset, pre[b, :n])
        for i in range(n, pre.shape[1]):
            pre[b, i] = BIAS
        power[b] = sum_of_squares(pre[b], lanes)


def drive_blocks(
    v: Vector, lines: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], normaliser: Normaliser, converter: Converter,
    pre: Vector, power: Vector,
) -> None:  # fmt: skip
    """Turn digital inputs into what the rows of an array of blocks carry; each block sees some of the inputs.

    Parameters
    ----------
    v, lines
        As in `drive_lines`; lines matter for the length of all inputs alone.
    rows
        int64 (K, n_in): which input each row carries; n stands for the bias, n + 1 for ground.
    normaliser
        Of the array.
    converter
        One for each row, (K, n_in); those of bias and ground are not used.
    pre
        float32 (K, B, n_in), written.
    power
        float32 (K, B), written: sum of squares of each row of ``pre``.
    """
    compiled_drive_blocks(v, lines, rows, *normaliser, *converter, pre, power)


@kernel(MATRIX, LINES, ROWS, i8, f8, f8, f8, f8, f8, f8, MATRIX, MATRIX, OUT_CUBE, OUT_MATRIX)
def compiled_drive_blocks(v, lines, rows, place, epsilon, norm_gain, low, high, step, level, gain, offset, pre, power):
    """Do `drive_blocks`, the records taken apart in the order of their fields."""
    n, n_in = v.shape[1], rows.shape[1]
    lanes, plain, seen = np.empty(LANES, np.float32), np.empty(n, np.float32), np.empty(n_in, np.float32)
    levels = single(low, high, step, level)
    for b in range(v.shape[0]):
        factor = np.float32(1)
        if place == BY_SOURCE:
            factor = normalising(sum_with_overlay(v[b], lines, plain, lanes), n, epsilon, norm_gain)
        for k in range(rows.shape[0]):
            take_lines(v[b], rows[k], seen)
            if place == BY_BLOCK:
                factor = normalising(sum_of_squares(seen, lanes), max(1, count_below(rows[k], n)), epsilon, norm_gain)
            convert_all(seen, factor, levels, gain[k], offset[k], pre[k, b])
            set_ends(rows[k], n, pre[k, b])
            power[k, b] = sum_of_squares(pre[k, b], lanes)
