"""One read: the timetable walked from top to bottom, with the states that it leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.array import Array, Overlay, Signal
from mortalsim.chips.population import Population
from mortalsim.circuits.stages import Box
from mortalsim.hardware import CurrentNudge, Datasheet, Nudge, Overlaid, Tap, Trace, Want
from mortalsim.kernels import Draw
from mortalsim.kernels.counters import READ, Key, turned, where


class Feed(NamedTuple):
    """An array that feeds a population, its source and that one's tick, and whether several ticks use it."""

    array: Array
    source: str
    at: int
    again: bool


@dataclass(frozen=True, eq=False)
class Line:
    """One line of the timetable with the parts that carry it out.

    Parameters
    ----------
    name, tick, keep, old
        As in `hardware.Answer`.
    population, feeds
        Who answers, and to what; None and nothing for a stage.
    box, stands_on
        The stage, and the state (population, tick) that it is given.
    where
        Counter word of the noise.
    """

    name: str
    tick: int
    keep: float
    old: int
    population: Population | None
    feeds: tuple[Feed, ...]
    box: Box | None
    stands_on: tuple[str, int]
    where: int


def lines_of(
    sheet: Datasheet, arrays: Sequence[Array], populations: Mapping[str, Population], boxes: Mapping[str, Box]
) -> tuple[Line, ...]:
    """Return the timetable of a chip, ready to be walked."""
    uses = Counter(via for answer in sheet.timetable for via in answer.via)
    lines = []
    for answer in sheet.timetable:
        name, via = answer.population, answer.via
        box, population = boxes.get(name), populations.get(name)
        feeds = () if population is None else tuple(
            Feed(arrays[int(array)], sheet.arrays[int(array)].source, at, uses[array, at] > 1) for array, at in via
        )  # fmt: skip
        stands_on = (str(via[0][0]), via[0][1])
        word = 0 if population is None else where(READ, population.place, answer.tick)
        lines.append(Line(name, answer.tick, answer.keep, answer.old, population, feeds, box, stands_on, word))
    return tuple(lines)


class Reading:
    """What one read works with.

    Parameters
    ----------
    sheet
        The chip's data sheet.
    v
        All samples (B, n_inputs).
    overlaid
        How they hang together, or None.
    nudge
        Checked.
    """

    def __init__(self, sheet: Datasheet, v: FloatArray, overlaid: Overlaid | None, nudge: Nudge | None) -> None:
        self._nudge, self._samples = nudge, len(v)
        self._currents: Mapping[str, FloatArray] = nudge.currents if isinstance(nudge, CurrentNudge) else {}
        self.states: dict[tuple[str, int], FloatArray] = {}
        self._overlays: dict[str, Overlay] = {}
        self._signals: dict[tuple[int, int], Signal] = {}
        self._used: list[tuple[Line, Feed, Signal]] = []
        if len(sheet.inputs) == 1 and overlaid is None:
            self.states[sheet.inputs[0], 0] = v
        else:
            self._part(sheet, v, overlaid)

    def _part(self, sheet: Datasheet, v: FloatArray, overlaid: Overlaid | None) -> None:
        """Split the samples among the input populations; where nothing is written over, the images stand for all samples."""
        for name in sheet.inputs:
            first, last = sheet.span(name)
            part = v[:, first:last]
            if overlaid is not None:
                lines = overlaid.lines[(overlaid.lines >= first) & (overlaid.lines < last)] - first
                self._overlays[name] = Overlay(lines, len(overlaid.values))
                part = part if len(lines) else part[: len(overlaid.images)]
            self.states[name, 0] = np.ascontiguousarray(part)

    def walk(self, lines: Sequence[Line], key: Key, turn: int) -> None:
        """Let every population answer in its turn."""
        turn_key, low = turned(key, turn)
        for line in lines:
            if line.population is None:
                new = self._through(line)
            else:
                new = self._answer(line, line.population, (turn_key, low, line.where), Draw(key, READ, turn, tick=line.tick))
            if line.keep:
                keep = np.float32(line.keep)
                new = keep * self.states[line.name, line.old] + (1 - keep) * new
            self.states[line.name, line.tick] = new

    def _through(self, line: Line) -> FloatArray:
        assert line.box is not None  # noqa: S101 - what is no population is a box
        state, overlay = self.states[line.stands_on], self._overlays.get(line.stands_on[0])
        if overlay is not None and not len(overlay.lines):
            state = np.tile(state, (overlay.times, 1))
        return np.ascontiguousarray(line.box.answer(state), np.float32)

    def _answer(self, line: Line, population: Population, address: tuple[Key, int, int], draw: Draw) -> FloatArray:
        currents = []
        for feed in line.feeds:
            signal = self._signal(feed)
            currents.append(signal.current(draw))
            self._used.append((line, feed, signal))
        cuts = line.feeds[0].array.columns(self._samples)
        return population.answer(currents, self._currents.get(line.name), self._samples, cuts, address)

    def _signal(self, feed: Feed) -> Signal:
        """Return what an array carries, worked out once for all ticks that use the same state of its source."""
        array, source, at, again = feed
        if not again:
            return array.signal(self.states[source, at], self._overlays.get(source), self._nudge)
        known = self._signals.get((array.place, at))
        if known is None:
            known = array.signal(self.states[source, at], self._overlays.get(source), self._nudge).settled(self._samples)
            self._signals[array.place, at] = known
        return known

    def last(self, population: str) -> FloatArray:
        """Return the last state of a population."""
        return self.states[population, max(tick for name, tick in self.states if name == population)]

    def trace(self, sheet: Datasheet, want: Want) -> Trace:
        """Return what was asked for of it."""
        output = None if sheet.output is None else self.last(sheet.output)
        if want == "output":
            return Trace(output)
        states: dict[str, dict[int, FloatArray]] = {}
        for (name, tick), state in self.states.items():
            if name not in sheet.inputs:
                states.setdefault(name, {})[tick] = state
        if want == "states":
            return Trace(output, states)
        taps = tuple(
            Tap(feed.array.place, line.tick, feed.at, signal.pre, self.states[line.name, line.tick])
            for line, feed, signal in self._used
        )
        return Trace(output, states, taps)
