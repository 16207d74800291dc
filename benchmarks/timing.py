"""How anything here is timed, and what a row of the table is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeAlias

Work: TypeAlias = Callable[[], object]
Sense: TypeAlias = Literal["at most", "at least"]

#: Width that the bars are set for; at any other nothing is judged.
FULL_WIDTH = 2000

#: Works are timed in turn, in this many blocks each, so that a machine that slows down slows all of them.
BLOCKS = 5

#: Before each block, for a BLAS pool goes on spinning for some milliseconds after its last product.
PAUSE = 0.2

#: A run shorter than this is made of several calls, and counts as their mean: the clock is too coarse for one.
SHORTEST = 2e-3


@dataclass(frozen=True)
class Setting:
    """What the command line asked for.

    Parameters
    ----------
    runs
        Recorded runs of everything timed.
    threads
        Of BLAS, and of the streaming passes that stand for limits.
    width
        Neurons of a layer; `FULL_WIDTH` unless somebody tries out the harness.
    peers
        Interpreter of the environment that has the peers, or None.
    """

    runs: int = 9
    threads: int = 2
    width: int = FULL_WIDTH
    peers: Path | None = None


@dataclass(frozen=True)
class Times:
    """Seconds of one call, run by run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle of the runs."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    name
        What was measured.
    median_s, min_s, max_s, runs
        Seconds of one call of ours, over so many runs.
    against
        What it stands beside.
    against_median_s
        Seconds of one call of that, or None where it is no time.
    ratio
        What is held against ``reach``: ours over the other for "at most", the other over ours for "at least".
    reach
        The bar, or None where there is none.
    sense
        On which side of the bar the ratio should lie.
    note
        What exactly was measured.
    """

    name: str
    median_s: float
    min_s: float
    max_s: float
    runs: int
    against: str
    against_median_s: float | None
    ratio: float
    reach: float | None = None
    sense: Sense = "at most"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.reach is None:
            return None
        return self.ratio <= self.reach if self.sense == "at most" else self.ratio >= self.reach

    def as_dict(self) -> dict[str, Any]:
        """Return the row as it stands in ``results.json``: numbers to six digits."""
        fields = asdict(self) | {"met": None if self.met is None else bool(self.met)}  # numpy's own truth is no JSON
        return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in fields.items()}


@dataclass(frozen=True)
class Case:
    """One thing to run: the names of its rows, known before it runs, and what makes them."""

    names: tuple[str, ...]
    run: Callable[[Setting], Iterable[Row]]


def alternate(works: Sequence[Work], runs: int) -> list[Times]:
    """Time ``works`` in alternating blocks; each block begins with a pause and a call that is not recorded."""
    seconds: list[list[float]] = [[] for _ in works]
    calls = [_calls(work) for work in works]
    for block in range(BLOCKS):
        for place, work in enumerate(works):
            time.sleep(PAUSE)
            work()
            for _ in range(runs // BLOCKS + (block < runs % BLOCKS)):
                seconds[place].append(_timed(work, calls[place]))
    return [Times(tuple(found)) for found in seconds]


def after(*works: Work) -> Work:
    """Return one work after the other."""

    def all_of_them() -> None:
        for work in works:
            work()

    return all_of_them


def once(work: Work) -> Times:
    """Time a single call, for what takes too long to repeat."""
    return Times((_timed(work, 1),))


def _calls(work: Work) -> int:
    first = _timed(work, 1)  # memory is touched and caches are filled for the first time here
    if first > 100 * SHORTEST:
        return 1
    return max(1, ceil(SHORTEST / max(_timed(work, 1), 1e-9)))


def _timed(work: Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def row(
    name: str,
    ours: Times,
    other: Times,
    *,
    against: str,
    reach: float | None = None,
    sense: Sense = "at most",
    note: str = "",
) -> Row:
    """Return the row of two works that were timed together."""
    ratio = ours.median / other.median if sense == "at most" else other.median / ours.median
    return plain_row(
        name, ours, against=against, against_median_s=other.median, ratio=ratio, reach=reach, sense=sense, note=note
    )


def plain_row(
    name: str,
    ours: Times,
    *,
    against: str,
    ratio: float,
    against_median_s: float | None = None,
    reach: float | None = None,
    sense: Sense = "at most",
    note: str = "",
) -> Row:
    """Return a row whose ratio is not one of two times, or not simply."""
    low, high = min(ours.seconds), max(ours.seconds)
    runs = len(ours.seconds)
    return Row(name, ours.median, low, high, runs, against, against_median_s, ratio, reach, sense, note)


def compare(
    name: str,
    ours: Work,
    other: Work,
    setting: Setting,
    *,
    against: str,
    reach: float | None = None,
    sense: Sense = "at most",
    note: str = "",
) -> Row:
    """Time ``ours`` and ``other`` in turn and return their row."""
    mine, theirs = alternate([ours, other], setting.runs)
    return row(name, mine, theirs, against=against, reach=judged(reach, setting), sense=sense, note=note)


def judged(reach: float | None, setting: Setting) -> float | None:
    """Return ``reach``, or None at a width that the bars were not set for."""
    return reach if setting.width == FULL_WIDTH else None
