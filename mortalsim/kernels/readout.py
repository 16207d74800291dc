"""The readout of a population: from the products at its neurons' inputs to their digital outputs.

Noise, nudge, transfer curve, saturation and analog-to-digital converter, in this order.

Shapes: B samples, n neurons; T curve tables of some knots, T being 1 (all neurons share a curve) or n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.counters import Key
from mortalsim.kernels.dac import Converter, Vector, clip, round_to, single
from mortalsim.kernels.jit import KEY, MATRIX, OUT_MATRIX, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import CHUNK, new_scratch, normal_rows
from mortalsim.kernels.vectors import copy

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


class Noise(NamedTuple):
    """The noise at the neurons' inputs: its variance is own[b, j] + line * power[b] + neuron; all zero: none is drawn.

    Parameters
    ----------
    own
        float32 (B, n): variance of each product; (0, 0) if there is none.
    power
        float32 (B,): sum of squares that the rows carry, from `drive_lines`.
    line
        Variance that each squared unit of input adds at every neuron.
    neuron
        Variance that every neuron adds.
    """

    own: Vector
    power: Vector
    line: float
    neuron: float


class NeuronCircuits(NamedTuple):
    """The neurons of a population: neuron j gives clip(curve(gain_j z + offset_j), -saturation_j, saturation_j).

    Parameters
    ----------
    port
        float32 (n,): what each neuron's current port really adds per unit.
    gain, offset, saturation
        float32 (n,); a saturation of infinity is no limit.
    leak
        Slope below 0 of the rectifier that serves as curve if the tables have no knots: 0 rectified, 1 linear.
    start, step, values, slopes
        The curves as `hardware.TransferCurve`; values and slopes float32 (T, knots), knots 0 or at least 2.
    """

    port: Vector
    gain: Vector
    offset: Vector
    saturation: Vector
    leak: float
    start: float
    step: float
    values: Vector
    slopes: Vector

    @classmethod
    def plain(cls, n: int) -> NeuronCircuits:
        """Return ``n`` neurons that give what they are given: columns whose partial sums are converted."""
        one, none = np.ones(n, np.float32), np.zeros((1, 0), np.float32)
        return cls(one, one, np.zeros(n, np.float32), np.full(n, np.inf, np.float32), 1.0, 0.0, 1.0, none, none)


@law
def rectify(v, leak):
    """Return v where positive, leak * v elsewhere."""
    return v if v > ZERO else leak * v


@law
def knot_before(place, last):
    """Return the knot to the left of ``place``, a number of steps from knot 0, held between 0 and ``last``."""
    # Clipped before it becomes an integer. A NaN takes knot 0; the output is NaN all the same, since its distance is NaN.
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
def add_nudge(row, nudge, port):
    """Add the nudge currents (n,), each through its own port's gain (n,), to ``row`` (n,)."""
    for j in range(row.size):
        row[j] += nudge[j] * port[j]


@loop
def rectify_all(row, gain, offset, leak, out):
    """Write the rectified gain * row + offset (n,) to ``out``."""
    for j in range(row.size):
        out[j] = rectify(row[j] * gain[j] + offset[j], leak)


@loop
def locate_all(row, gain, offset, start, step, last, knots):
    """Write the ``knots`` (n,) to the left of gain * row + offset (n,); ``row`` becomes the distance from them, in steps."""
    for j in range(row.size):
        place = (row[j] * gain[j] + offset[j] - start) / step
        knots[j] = knot_before(place, last)
        row[j] = place - np.float32(knots[j])


@loop
def look_up_all(knots, values, slopes, value, slope, next_slope):
    """Write values at ``knots`` (n,) and slopes there and at the next knots, each (n,), from tables (T, knots)."""
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
def follow_tables(row, gain, offset, tables, scratch, out):
    """Write the curve at gain * row + offset (n,) to ``out``, by ``tables`` (start, step, values, slopes).

    ``row`` and the ``scratch``, knots (n,) and found (3, n), are overwritten.
    """
    # Three loops: looking up cannot use vector instructions, and the arithmetic before and after it is most of the work.
    (start, step, values, slopes), (knots, found) = tables, scratch
    locate_all(row, gain, offset, start, step, np.float32(values.shape[1] - 2), knots)
    look_up_all(knots, values, slopes, found[0], found[1], found[2])
    bend_all(row, step, found[0], found[1], found[2], out)


@loop
def answer_all(row, saturation, gain, offset, levels):
    """Clip each neuron of ``row`` (n,) at its own +-saturation (n,), then pass it through its own converter."""
    low, high, step, level = levels
    for j in range(row.size):
        held = clip(row[j], -saturation[j], saturation[j])
        row[j] = round_to(clip(held * gain[j] + offset[j], low, high), step, level)


def read_out(
    products: Vector, noise: Noise, nudge: Vector, neurons: NeuronCircuits, converter: Converter,
    address: tuple[Key, int, int], span: tuple[int, int], out: Vector,
) -> None:  # fmt: skip
    """Turn a population's summed products into its new state, for some of its neurons.

    Parameters
    ----------
    products
        float32 (B, n).
    noise
        Of the population and all arrays that feed it.
    nudge
        float32 (B, n), currents added at the neurons' inputs; (0, 0) if there are none.
    neurons
        All n of them.
    converter
        One for each neuron, (n,): gain and offset, then clipped, then rounded.
    address
        Fields of a `counters.Address`, of the noise: the block of the first two words q and b gives neurons 4q to 4q + 3 of
        sample b.
    span
        The first neuron to do, a multiple of 4 since four share a block, and the one after the last.
    out
        float32 (B, n), written in the columns of these neurons; may be ``products``.
    """
    compiled_read_out(products, *noise, nudge, *neurons, *converter, *address, *span, out)


@kernel(
    MATRIX, MATRIX, VECTOR, f8, f8, MATRIX, VECTOR, VECTOR, VECTOR, VECTOR,
    f8, f8, f8, MATRIX, MATRIX, f8, f8, f8, f8, VECTOR, VECTOR, KEY, i8, i8, i8, i8, OUT_MATRIX,
)  # fmt: skip
def compiled_read_out(
    z, own, power, line, neuron, nudge, port, gain, offset, saturation, leak, start, step, values, slopes,
    low, high, adc_step, level, adc_gain, adc_offset, key, turn, where, first, last, out,
):  # fmt: skip
    """Do `read_out`, the records taken apart in the order of their fields."""
    has_own = own.shape[0] > 0
    noisy = has_own or line != 0 or neuron != 0
    width = last - first
    scratch, together = new_scratch(CHUNK), max(1, CHUNK // ((width + 3) // 4))
    normals, row = np.empty((together, width), np.float32), np.empty(width, np.float32)
    knots, found = np.empty(width, np.uint32), np.empty((3, width), np.float32)
    port, gain, offset, saturation = port[first:last], gain[first:last], offset[first:last], saturation[first:last]
    adc_gain, adc_offset = adc_gain[first:last], adc_offset[first:last]
    if values.shape[0] > 1:
        values, slopes = values[first:last], slopes[first:last]
    tables, levels = (np.float32(start), np.float32(step), values, slopes), single(low, high, adc_step, level)
    for b in range(z.shape[0]):
        y = out[b, first:last]
        if noisy:
            if b % together == 0:
                normal_rows(key, b, turn, where, first // 4, normals[: min(together, z.shape[0] - b)], scratch)
            xi = normals[b % together]
            common = np.float32(line) * power[b] + np.float32(neuron)
            if has_own:
                add_own_noise(z[b, first:last], own[b, first:last], common, xi, row)
            else:
                add_noise(z[b, first:last], np.sqrt(common), xi, row)
        else:
            copy(z[b, first:last], row)
        if nudge.shape[0] > 0:
            add_nudge(row, nudge[b, first:last], port)
        if values.shape[1] == 0:
            rectify_all(row, gain, offset, np.float32(leak), y)
        else:
            follow_tables(row, gain, offset, tables, (knots, found), y)
        answer_all(y, saturation, adc_gain, adc_offset, levels)
