"""What happens between an array's product and its digital output: noise, nudge, transfer curve, saturation, converter."""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.dac import clip, round_to
from mortalsim.kernels.jit import KEY, MATRIX, OUT_MATRIX, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, new_scratch, normal_rows
from mortalsim.kernels.vectors import copy

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


@law
def rectify(v, leak):
    """Return v where positive, leak * v elsewhere."""
    return v if v > ZERO else leak * v


@law
def knot_before(place, last):
    """Return the knot to the left of ``place``, a number of steps from knot 0, but no other than 0 to ``last``."""
    # Bounded before it becomes an integer; a NaN looks at knot 0 and comes back through what is left of its place.
    return np.uint32(min(place if place > ZERO else ZERO, last))


@law
def between_knots(u, step, value, slope, next_slope):
    """Return `hardware.TransferCurve` ``u`` steps right of a knot with this value and slope, in float32."""
    inside = min(u, ONE) if u > ZERO else ZERO
    beyond = u - inside  # outside the table: end slopes
    bend = HALF * (next_slope - slope) * (inside * inside)
    end = slope if u < ZERO else next_slope
    return value + step * (slope * inside + bend + end * beyond)


@loop
def add_noise(z, sigma, normals, row):
    """Write z + sigma * normals (n,) to ``row``."""
    for j in range(row.size):
        row[j] = z[j] + sigma * normals[j]


@loop
def add_own_noise(z, variance, common, normals, row):
    """Write z plus noise of variance ``variance`` (n,) + ``common`` to ``row`` (n,)."""
    for j in range(row.size):
        row[j] = z[j] + np.sqrt(variance[j] + common) * normals[j]


@loop
def add_nudge(row, nudge, nudge_gain):
    """Add the nudge currents (n,), each through its own port's gain (n,), to ``row`` (n,)."""
    for j in range(row.size):
        row[j] += nudge[j] * nudge_gain[j]


@loop
def rectify_all(row, gain, offset, leak, out):
    """Write the rectified gain * row + offset (n,) to ``out``."""
    for j in range(row.size):
        out[j] = rectify(row[j] * gain[j] + offset[j], leak)


@loop
def locate_all(row, gain, offset, start, step, last, knots):
    """Write knots (n,) of gain * row + offset (n,); leave in ``row`` how many steps right of them it lies."""
    for j in range(row.size):
        place = (row[j] * gain[j] + offset[j] - start) / step
        knots[j] = knot_before(place, last)
        row[j] = place - np.float32(knots[j])


@loop
def look_up_all(knots, values, slopes, value, slope, next_slope):
    """Write what stands at ``knots`` (n,) and one further, in the only table or in each neuron's own, each (n,)."""
    each = np.uint64(1 if values.shape[0] > 1 else 0)
    for j in range(knots.size):
        t, k = each * np.uint64(j), np.uint64(knots[j])
        value[j], slope[j], next_slope[j] = values[t, k], slopes[t, k], slopes[t, k + np.uint64(1)]


@loop
def bend_all(u, step, value, slope, next_slope, out):
    """Write the curve ``u`` steps right of knots, all (n,), to ``out``."""
    for j in range(u.size):
        out[j] = between_knots(u[j], step, value[j], slope[j], next_slope[j])


@loop
def follow_tables(row, gain, offset, start, step, values, slopes, knots, found, out):
    """Write the curve at gain * row + offset (n,) to ``out``; uses up ``row``, scratch knots (n,) and found (3, n)."""
    # Three loops: one that looks up cannot use vector instructions, and the arithmetic around it is most of the work.
    locate_all(row, gain, offset, start, step, np.float32(values.shape[1] - 2), knots)
    look_up_all(knots, values, slopes, found[0], found[1], found[2])
    bend_all(row, step, found[0], found[1], found[2], out)


@loop
def answer_all(row, saturation, gain, offset, low, high, step, level):
    """Hold each neuron of ``row`` (n,) within its own +-saturation (n,), then pass it through its own converter."""
    for j in range(row.size):
        held = clip(row[j], -saturation[j], saturation[j])
        row[j] = round_to(clip(held * gain[j] + offset[j], low, high), step, level)


@kernel(
    MATRIX, MATRIX, VECTOR, f8, f8, MATRIX, VECTOR, VECTOR, VECTOR, VECTOR,
    f8, f8, f8, MATRIX, MATRIX, f8, f8, f8, f8, VECTOR, VECTOR, KEY, i8, i8, i8, i8, OUT_MATRIX,
)  # fmt: skip
def read_epilogue(
    z, variance, power, line_var, neuron_var, nudge, nudge_gain, gain, offset, saturation,
    leak, table_start, table_step, values, slopes, adc_low, adc_high, adc_step, adc_level, adc_gain, adc_offset,
    key, turn, where, first, last, out,
):  # fmt: skip
    """Turn a population's summed products into its new state, for neurons ``first`` to ``last`` - 1.

    Parameters
    ----------
    z
        float32 (B, n): products.
    variance
        float32 (B, n), noise variance of each product; (0, 0) if there is none.
    power
        float32 (B,): sum of squares that the rows carry, from `drive_lines`.
    line_var, neuron_var
        Noise variance at a neuron's input: variance[b, j] + line_var * power[b] + neuron_var; all zero: no noise is drawn.
    nudge
        float32 (B, n), currents added at the neurons' inputs; (0, 0) if there are none.
    nudge_gain
        float32 (n,): what each neuron's nudge port really adds per unit.
    gain, offset, saturation
        float32 (n,): neuron j gives clip(curve(gain_j z + offset_j), -saturation_j, saturation_j); infinity means no limit.
    leak
        Slope below 0 of the rectifier that serves as curve if the table has no knots: 0 rectified, 1 linear.
    table_start, table_step, values, slopes
        The curve as `hardware.TransferCurve`, values and slopes float32 (T, knots), knots 0 or at least 2; T is 1 or n.
    adc_low, adc_high, adc_step, adc_level, adc_gain, adc_offset
        Converter: own gain and offset float32 (n,), then clipped to low..high (infinite: not), then rounded to a whole
        number of steps (0: not) from a level.
    key, turn, where
        Noise of sample b, as `counters` says: counter (q, b, turn, where) gives neurons 4q to 4q + 3; key uint32 (2,).
    first, last
        The neurons to do; ``first`` is a multiple of 4.
    out
        float32 (B, n), written in the columns of these neurons.
    """
    own = variance.shape[0] > 0
    noisy = own or line_var != 0 or neuron_var != 0
    width = last - first
    scratch, together = new_scratch(CHUNK), max(1, CHUNK // ((width + 3) // 4))
    normals, row = np.empty((together, width), np.float32), np.empty(width, np.float32)
    knots, found = np.empty(width, np.uint32), np.empty((3, width), np.float32)
    gain, offset, saturation = gain[first:last], offset[first:last], saturation[first:last]
    adc_gain, adc_offset, nudge_gain = adc_gain[first:last], adc_offset[first:last], nudge_gain[first:last]
    if values.shape[0] > 1:
        values, slopes = values[first:last], slopes[first:last]
    low, high, width_of_step, level = np.float32(adc_low), np.float32(adc_high), np.float32(adc_step), np.float32(adc_level)
    for b in range(z.shape[0]):
        y = out[b, first:last]
        if noisy:
            if b % together == 0:
                normal_rows(key, b, turn, where, first // 4, normals[: min(together, z.shape[0] - b)], scratch)
            xi = normals[b % together]
            common = np.float32(line_var) * power[b] + np.float32(neuron_var)
            if own:
                add_own_noise(z[b, first:last], variance[b, first:last], common, xi, row)
            else:
                add_noise(z[b, first:last], np.sqrt(common), xi, row)
        else:
            copy(z[b, first:last], row)
        if nudge.shape[0] > 0:
            add_nudge(row, nudge[b, first:last], nudge_gain)
        if values.shape[1] == 0:
            rectify_all(row, gain, offset, np.float32(leak), y)
        else:
            start, step = np.float32(table_start), np.float32(table_step)
            follow_tables(row, gain, offset, start, step, values, slopes, knots, found, y)
        answer_all(y, saturation, adc_gain, adc_offset, low, high, width_of_step, level)
