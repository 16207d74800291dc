"""What one pulse does to a device: its technology's step, cycle-to-cycle noise, clipping at the device's bounds.

G' = clip(G + D h(u) (1 + ctoc xi), LOW, HIGH) with u = (G - LOW) / (HIGH - LOW). D is the device's own step at mid range, UP
or -DOWN; h is the technology's response up or down, 1 at u = 1/2; xi is a standard normal number.

So bounds act three times: they say where u lies, u is held between 0 and 1, and the result is clipped. A device that has
drifted out of its range comes back to the bound with its next pulse, whatever the direction. Where ctoc is large, 1 + ctoc
xi may be negative: such a pulse goes the wrong way, as measured devices' pulses do.

Responses come as tables: h at equal distances from LOW to HIGH, the first row up, the second down. Soft bounds, a step that
falls linearly to 0 at the bound it moves to, are ((2, 0), (0, 2)); constant steps are ((1, 1), (1, 1)). Tables of two knots
are straight lines and are worked out directly. Longer tables take four loops: looking up is no work for vector instructions,
and a loop of its own leaves them to all the rest.

Shapes: d devices side by side, K knots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.devices import DOWN, HIGH, LOW, UP
from mortalsim.kernels.fetching import Float32s
from mortalsim.kernels.jit import law, loop

ZERO, ONE = np.float32(0), np.float32(1)


class PulseLaw(NamedTuple):
    """How devices of one technology answer a pulse.

    Parameters
    ----------
    responses
        float32 (2, K), K at least 2: h up and down, at equal distances from LOW to HIGH.
    ctoc
        Standard deviation of a step from cycle to cycle, relative to the step.
    """

    responses: Float32s
    ctoc: float | np.float32


@law
def place_in(g, low, high):
    """Return u, where ``g`` lies between its bounds, 0 to 1."""
    width = high - low
    per_width = ONE / width if width > ZERO else ZERO
    return min(max((g - low) * per_width, ZERO), ONE)


@law
def after_pulse(g, step, response, wobble, low, high):
    """Return a conductance after one pulse: step D, times response h(u), times wobble 1 + ctoc xi, clipped at the bounds."""
    return min(max(g + step * response * wobble, low), high)


@loop
def pulse_straight(p, d, fetched, work, pulse_law, g):
    """Send pulses ``p`` and ``p`` + 1 to those of d devices that are to get them; responses are straight lines."""
    asked, pulses, even, odd, ctoc = work.asked, work.pulses, work.even, work.odd, pulse_law.ctoc  # of asked, signs alone
    low, high = fetched.parameters[LOW], fetched.parameters[HIGH]
    up, down = fetched.parameters[UP], fetched.parameters[DOWN]
    up_at_low, up_rise = pulse_law.responses[0, 0], pulse_law.responses[0, 1] - pulse_law.responses[0, 0]
    down_at_low, down_rise = pulse_law.responses[1, 0], pulse_law.responses[1, 1] - pulse_law.responses[1, 0]
    for e in range(d):
        rising = asked[e] > ZERO
        at_low, rise = (up_at_low, up_rise) if rising else (down_at_low, down_rise)
        step = up[e] if rising else -down[e]
        old = g[e]
        new = after_pulse(old, step, at_low + rise * place_in(old, low[e], high[e]), ONE + ctoc * even[e], low[e], high[e])
        old = new if pulses[e] > p else old
        new = after_pulse(old, step, at_low + rise * place_in(old, low[e], high[e]), ONE + ctoc * odd[e], low[e], high[e])
        g[e] = new if pulses[e] > p + 1 else old


@loop
def place_all(d, fetched, g, n_knots, place):
    """Fill ``place`` (d,) with u (K - 1): where devices lie, counted in knots."""
    low, high = fetched.parameters[LOW], fetched.parameters[HIGH]
    for e in range(d):
        place[e] = place_in(g[e], low[e], high[e]) * np.float32(n_knots - 1)


@loop
def split_places(d, place, asked, n_knots, knot_of):
    """Write the knot before each ``place`` (d,) to ``knot_of``, K further on for the table down; leave what is beyond it."""
    for e in range(d):
        before = max(min(np.int32(place[e]), np.int32(n_knots - 2)), np.int32(0))
        place[e] -= np.float32(before)
        knot_of[e] = before if asked[e] > ZERO else before + np.int32(n_knots)


@loop
def look_up_responses(d, flat, knot_of, beyond, response):
    """Fill ``response`` (d,) by linear interpolation; ``flat`` (2 K,) holds both tables one after the other."""
    for e in range(d):
        response[e] = flat[knot_of[e]] + (flat[knot_of[e] + 1] - flat[knot_of[e]]) * beyond[e]


@loop
def pulse_tabulated(p, d, fetched, work, response, ctoc, normals, g):
    """Send pulse ``p`` to those of d devices that are to get it, with responses (d,) that were looked up before."""
    asked, pulses = work.asked, work.pulses
    low, high = fetched.parameters[LOW], fetched.parameters[HIGH]
    up, down = fetched.parameters[UP], fetched.parameters[DOWN]
    for e in range(d):
        step = up[e] if asked[e] > ZERO else -down[e]
        after = after_pulse(g[e], step, response[e], ONE + ctoc * normals[e], low[e], high[e])
        g[e] = after if pulses[e] > p else g[e]


@loop
def send_two_pulses(p, d, longest, fetched, work, pulse_law, g):
    """Send pulses ``p`` and ``p`` + 1 to d devices conducting ``g`` (d,) [S]; none of them gets more than ``longest``."""
    n_knots = pulse_law.responses.shape[1]
    if n_knots == 2:
        pulse_straight(p, d, fetched, work, pulse_law, g)
        return
    place, response = work.interpolation[0], work.interpolation[1]
    for pulse in range(p, min(p + 2, longest)):
        place_all(d, fetched, g, n_knots, place)
        split_places(d, place, work.asked, n_knots, work.knot_of)  # from here on `place` is what lies beyond the knot
        look_up_responses(d, pulse_law.responses.reshape(-1), work.knot_of, place, response)
        pulse_tabulated(pulse, d, fetched, work, response, pulse_law.ctoc, work.odd if pulse > p else work.even, g)
