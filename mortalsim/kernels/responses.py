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
def pulse_straight(p, w, asked, counts, low, high, up, down, tables, ctoc, normals, g):
    """Send pulse ``p`` to all (n,) that have it to come, by a response that is straight between two knots."""
    up_0, up_rise = tables[0, 0], tables[0, 1] - tables[0, 0]
    down_0, down_rise = tables[1, 0], tables[1, 1] - tables[1, 0]
    for k in range(w):
        u = place_in(g[k], low[k], high[k])
        rising = asked[k] > ZERO
        size = up_0 + up_rise * u if rising else down_0 + down_rise * u
        step = up[k] if rising else -down[k]
        after = moved(g[k], step, size, ONE + ctoc * normals[k], low[k], high[k])
        g[k] = after if counts[k] > p else g[k]


@loop
def place_all(w, g, low, high, knots, place):
    """Fill ``place`` (n,) with where devices lie in their range, 0 to ``knots`` - 1."""
    for k in range(w):
        place[k] = place_in(g[k], low[k], high[k]) * np.float32(knots - 1)


@loop
def part_places(w, place, asked, knots, knot):
    """Split ``place`` (n,) into the knot before it, counted through both tables, and what is left of it."""
    for k in range(w):
        before = min(np.int32(place[k]), np.int32(knots - 2))
        place[k] -= np.float32(before)
        knot[k] = before if asked[k] > ZERO else before + np.int32(knots)


@loop
def follow(w, flat, knot, beyond, size):
    """Fill ``size`` (n,) with the responses between two knots; ``flat`` holds both tables one after the other."""
    for k in range(w):
        size[k] = flat[knot[k]] + (flat[knot[k] + 1] - flat[knot[k]]) * beyond[k]


@loop
def pulse_sized(p, w, asked, counts, low, high, up, down, size, ctoc, normals, g):
    """Do `pulse_straight` with responses ``size`` (n,) worked out before."""
    for k in range(w):
        step = up[k] if asked[k] > ZERO else -down[k]
        after = moved(g[k], step, size[k], ONE + ctoc * normals[k], low[k], high[k])
        g[k] = after if counts[k] > p else g[k]


@loop
def pulse_once(p, w, asked, counts, low, high, up, down, tables, ctoc, normals, g, knot, bent):
    """Send pulse ``p`` by the shorter way; ``knot`` int32 (n,) and ``bent`` (2, n or more) are scratch."""
    if tables.shape[1] == 2:
        pulse_straight(p, w, asked, counts, low, high, up, down, tables, ctoc, normals, g)
    else:
        place, size = bent[0], bent[1]
        place_all(w, g, low, high, tables.shape[1], place)
        part_places(w, place, asked, tables.shape[1], knot)
        follow(w, tables.reshape(-1), knot, place, size)
        pulse_sized(p, w, asked, counts, low, high, up, down, size, ctoc, normals, g)
