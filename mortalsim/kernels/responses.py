"""What one pulse does to a device: its technology's step, cycle-to-cycle noise, clipping at the device's bounds.

G' = clip(G + D h(u) (1 + ctoc xi), LOW, HIGH) with u = (G - LOW) / (HIGH - LOW). D is the device's own step at mid range, UP
or -DOWN; h is the technology's response up or down; xi is a standard normal number.

Responses come as tables, relative steps at equal distances from LOW to HIGH. Tables of two knots are straight lines and are
worked out directly. Longer tables take three loops, since looking up is no work for vector instructions.

Shapes: d devices side by side, K knots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.kernels.devices import DOWN, HIGH, LOW, UP
from mortalsim.kernels.effective import F4
from mortalsim.kernels.jit import law, loop

ZERO, ONE = np.float32(0), np.float32(1)


class PulseLaw(NamedTuple):
    """How devices of one technology answer a pulse.

    Parameters
    ----------
    responses
        float32 (2, K), K at least 2: steps up and down relative to mid range, at equal distances from LOW to HIGH.
    ctoc
        Standard deviation of a step from cycle to cycle, relative.
    """

    responses: F4
    ctoc: float | np.float32


@law
def place_in(g, low, high):
    """Return where ``g`` lies between its bounds, 0 to 1."""
    width = high - low
    per_width = ONE / width if width > ZERO else ZERO
    return min(max((g - low) * per_width, ZERO), ONE)


@law
def moved(g, step, response, wobble, low, high):
    """Return a conductance after one pulse: step at mid range, times response, times wobble, clipped at the bounds."""
    return min(max(g + step * response * wobble, low), high)


@loop
def pulse_straight(p, d, devices, batch, pulse_law, g):
    """Send pulses ``p`` and ``p`` + 1 to those of d devices that are due them; responses are straight lines."""
    asked, due, even, odd, ctoc = batch.asked, batch.due, batch.even, batch.odd, pulse_law.ctoc
    low, high, up, down = (
        devices.parameters[LOW],
        devices.parameters[HIGH],
        devices.parameters[UP],
        devices.parameters[DOWN],
    )
    up_0, up_rise = pulse_law.responses[0, 0], pulse_law.responses[0, 1] - pulse_law.responses[0, 0]
    down_0, down_rise = pulse_law.responses[1, 0], pulse_law.responses[1, 1] - pulse_law.responses[1, 0]
    for k in range(d):
        rising = asked[k] > ZERO
        start, rise = (up_0, up_rise) if rising else (down_0, down_rise)
        step = up[k] if rising else -down[k]
        old = g[k]
        new = moved(old, step, start + rise * place_in(old, low[k], high[k]), ONE + ctoc * even[k], low[k], high[k])
        old = new if due[k] > p else old
        new = moved(old, step, start + rise * place_in(old, low[k], high[k]), ONE + ctoc * odd[k], low[k], high[k])
        g[k] = new if due[k] > p + 1 else old


@loop
def place_all(d, devices, g, knots, place):
    """Fill ``place`` (d,) with where devices lie in their range, 0 to ``knots`` - 1."""
    low, high = devices.parameters[LOW], devices.parameters[HIGH]
    for k in range(d):
        place[k] = place_in(g[k], low[k], high[k]) * np.float32(knots - 1)


@loop
def split_places(d, place, asked, knots, knot):
    """Split ``place`` (d,) into the knot before it, counted through both tables, and the distance beyond that knot."""
    for k in range(d):
        before = max(min(np.int32(place[k]), np.int32(knots - 2)), np.int32(0))  # 0 for NaN as well
        place[k] -= np.float32(before)
        knot[k] = before if asked[k] > ZERO else before + np.int32(knots)


@loop
def look_up_responses(d, flat, knot, beyond, response):
    """Fill ``response`` (d,) by linear interpolation; ``flat`` (2 K,) holds both tables one after the other."""
    for k in range(d):
        response[k] = flat[knot[k]] + (flat[knot[k] + 1] - flat[knot[k]]) * beyond[k]


@loop
def pulse_tabulated(p, d, devices, batch, response, ctoc, normals, g):
    """Send pulse ``p`` to those of d devices that are due it, with responses (d,) that were looked up before."""
    asked, due = batch.asked, batch.due
    low, high, up, down = (
        devices.parameters[LOW],
        devices.parameters[HIGH],
        devices.parameters[UP],
        devices.parameters[DOWN],
    )
    for k in range(d):
        step = up[k] if asked[k] > ZERO else -down[k]
        after = moved(g[k], step, response[k], ONE + ctoc * normals[k], low[k], high[k])
        g[k] = after if due[k] > p else g[k]


@loop
def send_two_pulses(p, d, most, devices, batch, pulse_law, g):
    """Send pulses ``p`` and ``p`` + 1 to d devices conducting ``g``; none of them is due more than ``most``."""
    knots = pulse_law.responses.shape[1]
    if knots == 2:
        pulse_straight(p, d, devices, batch, pulse_law, g)
        return
    place, response = batch.responses[0], batch.responses[1]
    for pulse in range(p, min(p + 2, most)):
        place_all(d, devices, g, knots, place)
        split_places(d, place, batch.asked, knots, batch.knots)
        look_up_responses(d, pulse_law.responses.reshape(-1), batch.knots, place, response)
        pulse_tabulated(pulse, d, devices, batch, response, pulse_law.ctoc, batch.odd if pulse > p else batch.even, g)
