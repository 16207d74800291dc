"""What one pulse does to devices that lie side by side: the law of their technology, its own luck, and the bounds.

A law comes as a table for each direction, relative steps at equal distances from LOW to HIGH. Tables of two knots, straight
lines, are worked out directly; for longer ones places and steps take loops of their own, since only looking up is no work
for vector instructions.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import law, loop

ZERO, ONE = np.float32(0), np.float32(1)


@law
def place_in(g, low, high):
    """Return where ``g`` lies between its bounds, 0 to 1."""
    width = high - low
    per_width = ONE / width if width > ZERO else ZERO
    return min(max((g - low) * per_width, ZERO), ONE)


@law
def moved(g, step, size, wobble, low, high):
    """Return ``g`` after a pulse: a signed nominal step, times the response, times its own luck, within the bounds."""
    return min(max(g + step * size * wobble, low), high)


@loop
def two_straight(p, w, asked, counts, low, high, up, down, tables, ctoc, even, odd, g):
    """Send pulses ``p`` and ``p`` + 1 to those of w devices that have them to come, by straight lines between two knots."""
    up_0, up_rise = tables[0, 0], tables[0, 1] - tables[0, 0]
    down_0, down_rise = tables[1, 0], tables[1, 1] - tables[1, 0]
    for k in range(w):
        rising = asked[k] > ZERO
        size, rise = (up_0, up_rise) if rising else (down_0, down_rise)
        step = up[k] if rising else -down[k]
        old = g[k]
        new = moved(old, step, size + rise * place_in(old, low[k], high[k]), ONE + ctoc * even[k], low[k], high[k])
        old = new if counts[k] > p else old
        new = moved(old, step, size + rise * place_in(old, low[k], high[k]), ONE + ctoc * odd[k], low[k], high[k])
        g[k] = new if counts[k] > p + 1 else old


@loop
def place_all(w, g, low, high, knots, place):
    """Fill ``place`` (n,) with where devices lie in their range, 0 to ``knots`` - 1."""
    for k in range(w):
        place[k] = place_in(g[k], low[k], high[k]) * np.float32(knots - 1)


@loop
def part_places(w, place, asked, knots, knot):
    """Split ``place`` (n,) into the knot before it, counted through both tables, and what is left of it."""
    for k in range(w):
        before = max(min(np.int32(place[k]), np.int32(knots - 2)), np.int32(0))  # 0 also for what is no number
        place[k] -= np.float32(before)
        knot[k] = before if asked[k] > ZERO else before + np.int32(knots)


@loop
def follow(w, flat, knot, beyond, size):
    """Fill ``size`` (n,) with the responses between two knots; ``flat`` holds both tables one after the other."""
    for k in range(w):
        size[k] = flat[knot[k]] + (flat[knot[k] + 1] - flat[knot[k]]) * beyond[k]


@loop
def pulse_sized(p, w, asked, counts, low, high, up, down, size, ctoc, normals, g):
    """Send pulse ``p`` likewise, with responses ``size`` worked out before."""
    for k in range(w):
        step = up[k] if asked[k] > ZERO else -down[k]
        after = moved(g[k], step, size[k], ONE + ctoc * normals[k], low[k], high[k])
        g[k] = after if counts[k] > p else g[k]


@loop
def send_two(p, w, most, asked, counts, low, high, up, down, tables, ctoc, even, odd, g, knot, bent):
    """Send pulses ``p`` and ``p`` + 1 by the shorter way; no device has more than ``most`` to come.

    ``knot`` int32 (w or more,) and ``bent`` float32 (2, w or more) are scratch.
    """
    if tables.shape[1] == 2:
        two_straight(p, w, asked, counts, low, high, up, down, tables, ctoc, even, odd, g)
        return
    place, size = bent[0], bent[1]
    for pulse in range(p, min(p + 2, most)):
        place_all(w, g, low, high, tables.shape[1], place)
        part_places(w, place, asked, tables.shape[1], knot)
        follow(w, tables.reshape(-1), knot, place, size)
        pulse_sized(pulse, w, asked, counts, low, high, up, down, size, ctoc, odd if pulse > p else even, g)
