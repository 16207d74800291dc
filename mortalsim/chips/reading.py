"""One read: the timetable walked from top to bottom, with the states that it leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.chips.array import Array, Overlay, Signal
from mortalsim.chips.population import Population
from mortalsim.circuits.stages import Box
from mortalsim.hardware import CurrentNudge, Datasheet, Nudge, Overlaid, Tap, Trace, Want
from mortalsim.kernels.counters import READ, Key, key_of_turn, where


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
    size
        Neurons, or numbers that the stage gives.
    box, stands_on
        The stage, and the state (population, tick) that it is given.
    where
        Counter word of the noise.
    converted
        Whether an array's partial sums go through converters of their own.
    """

    name: str
    tick: int
    keep: float
    old: int
    population: Population | None
    feeds: tuple[Feed, ...]
    size: int
    box: Box | None
    stands_on: tuple[str, int]
    where: int
    converted: bool


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
        converted = any(feed.array.parts.digital for feed in feeds)
        size, mixed = sheet.populations[name].size, (answer.keep, answer.old)
        lines.append(Line(name, answer.tick, *mixed, population, feeds, size, box, stands_on, word, converted))
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
    want
        What is asked for.

    Attributes
    ----------
    states
        By population and tick, of those that answer.
    taps
        In the order of the timetable; empty unless they are asked for.
    """

    def __init__(self, sheet: Datasheet, v: FloatArray, overlaid: Overlaid | None, nudge: Nudge | None, want: Want) -> None:
        self._nudge, self._samples, self._tapped = nudge, len(v), want == "taps"
        self._added: Mapping[str, FloatArray] = nudge.currents if isinstance(nudge, CurrentNudge) else {}
        self._overlays: dict[str, Overlay] = {}
        self._signals: dict[tuple[int, int], Signal] = {}
        self.states: dict[str, dict[int, FloatArray]] = {}
        self.taps: list[Tap] = []
        plain = len(sheet.inputs) == 1 and overlaid is None
        self._inputs = {sheet.inputs[0]: v} if plain else self._parted(sheet, v, overlaid)

    def _parted(self, sheet: Datasheet, v: FloatArray, overlaid: Overlaid | None) -> dict[str, FloatArray]:
        """Split the samples among the inputs; where nothing is written over, the images stand for all samples."""
        parts = {}
        for name in sheet.inputs:
            first, last = sheet.span(name)
            part = v[:, first:last]
            if overlaid is not None:
                lines = overlaid.lines[(overlaid.lines >= first) & (overlaid.lines < last)] - first
                self._overlays[name] = Overlay(lines, len(overlaid.values))
                part = part if len(lines) else part[: len(overlaid.images)]
            parts[name] = np.ascontiguousarray(part)
        return parts

    def walk(self, lines: Sequence[Line], key: Key, turn: int) -> None:
        """Let every population answer in its turn."""
        turn_key, low = key_of_turn(key, turn)
        samples, tapped, added = self._samples, self._tapped, self._added
        for line in lines:
            states = self.states.setdefault(line.name, {})
            signals: list[Signal] = []
            if line.population is None:
                new = self._through(line)
            else:
                signals = [self._signal(*feed) for feed in line.feeds]
                if line.converted:
                    signals = self._converted(line, signals, (key, turn, line.tick))
                cuts = line.feeds[0].array.columns(samples)
                new = line.population.answer(signals, added.get(line.name), samples, cuts, (turn_key, low, line.where))
            if line.keep:
                keep = np.float32(line.keep)
                new = keep * states[line.old] + (1 - keep) * new
            states[line.tick] = new
            if tapped:
                for feed, signal in zip(line.feeds, signals):  # noqa: B905 - one signal a feed, by construction
                    self.taps.append(Tap(feed.array.place, line.tick, feed.at, signal.rows(), new))

    def _through(self, line: Line) -> FloatArray:
        assert line.box is not None  # noqa: S101 - what is no population is a box
        name, tick = line.stands_on
        state, overlay = self._inputs[name] if name in self._inputs else self.states[name][tick], self._overlays.get(name)
        if overlay is not None and not len(overlay.lines):
            state = np.tile(state, (overlay.times, 1))
        answer = np.ascontiguousarray(line.box.answer(state), np.float32)
        if answer.shape != (len(state), line.size):
            raise ShapeError(
                f"stage {line.name!r}: expected an answer of shape (B, size) = {(len(state), line.size)}, found "
                f"{answer.shape}. Let `fabricate` make a box of the sizes that it is given."
            )
        return answer

    def _signal(self, array: Array, source: str, at: int, again: bool) -> Signal:
        """Return what an array carries, worked out once for all ticks that use the same state of its source."""
        known = self._signals.get((array.place, at)) if again else None
        if known is None:
            state = self._inputs[source] if source in self._inputs else self.states[source][at]
            known = array.signal(state, self._overlays.get(source), self._nudge)
            if again:
                known = self._signals[array.place, at] = array.settled(known, self._samples)
        return known

    def _converted(self, line: Line, signals: Sequence[Signal], when: tuple[Key, int, int]) -> list[Signal]:
        """Return the signals with partial sums that have converters of their own converted; when: key, turn, tick."""
        found = []
        for feed, signal in zip(line.feeds, signals, strict=True):
            blocks = feed.array.blocks
            own = blocks is not None and signal.products is None
            found.append(signal._replace(products=blocks.converted(*signal.partial, when)) if blocks and own else signal)
        return found

    def last(self, population: str) -> FloatArray:
        """Return the last state of a population."""
        states = self.states[population]
        return states[max(states)]

    def trace(self, output: str | None, want: Want) -> Trace:
        """Return what was asked for; ``output`` names the output population."""
        last = None if output is None else self.last(output)
        return Trace(last) if want == "output" else Trace(last, self.states, tuple(self.taps))
