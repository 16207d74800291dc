"""The chip itself: three members, and what a read gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from mortalsim.checks import FloatArray, check_name, check_whole
from mortalsim.hardware.datasheet import Datasheet
from mortalsim.hardware.nudges import Nudge
from mortalsim.hardware.requests import WriteRequest
from mortalsim.hardware.samples import Samples

#: How much of a read is asked for: all taps, the states of all populations, or the output alone.
Want: TypeAlias = Literal["taps", "states", "output"]

WANTS: Final[tuple[Want, ...]] = ("taps", "states", "output")


class Tap(NamedTuple):
    """What was measured around one array at one tick of a read.

    Parameters
    ----------
    array
        Place of the array on the data sheet.
    tick
        Of the target's state that the array helped to make.
    at
        Tick of the source's state that ``pre`` carries; taps of one array with equal ``at`` share ``pre``.
    pre
        What the array's rows carried, (B, n_in), or (blocks, B, n_in); a bias line is one of the rows.
    post
        State of the target population after it, (B, size): never of a block.
    """

    array: int
    tick: int
    at: int
    pre: FloatArray
    post: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """What one read gives.

    Parameters
    ----------
    output
        Last state of the output population, (B, size); None on a chip without one.
    states
        State of every population that answers, by its name and by tick, (B, size); inputs are not in it. Empty if only the
        output was asked for, or the chip lacks `Port.TAPS`.
    taps
        In the order of the timetable; empty unless they were asked for and the chip has `Port.TAPS`.
    """

    output: FloatArray | None
    states: Mapping[str, Mapping[int, FloatArray]] = field(default_factory=dict)
    taps: tuple[Tap, ...] = ()

    def of(self, array: int) -> tuple[Tap, ...]:
        """Return the taps of one array, by tick."""
        return tuple(tap for tap in self.taps if tap.array == array)

    def late(self, population: str, count: int = 0) -> dict[int, FloatArray]:
        """Return the last ``count`` states of a population by tick; 0: all that there are."""
        if population not in self.states:
            check_name("population", str(population), self.states)
        check_whole("count", count, 0)
        states = self.states[population]
        return dict(sorted(states.items())[-count:]) if len(states) > 1 else dict(states)


@runtime_checkable
class Chip(Protocol):
    """A piece of hardware that can be trained: three members, whatever is behind them."""

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        ...

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample of ``x`` (B, n_inputs) once, with fresh noise each.

        ``x`` holds the input populations side by side, in the order of `Datasheet.inputs`.
        """
        ...

    def write(self, request: WriteRequest) -> None:
        """Ask for a change; what was really taken cannot be read back."""
        ...
