"""What rules need beside a chip: signals from outside, reads, and what the host multiplies and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mortalsim.hardware import Datasheet, Task
from mortalsim.learners import Learner, State
from mortalsim.report.results import Column, Table

COLUMNS = (
    Column(key="learner", heading="learner"),
    Column(key="signals", heading="signals"),
    Column(key="step_reads", heading="reads a step", unit="number"),
    Column(key="prediction_reads", heading="reads a prediction", unit="count"),
    Column(key="host_work", heading="host multiply-adds", unit="count"),
    Column(key="kept", heading="host numbers", unit="count"),
)

CAPTION = (
    "What each rule needs beside the chip. Signals: what must reach the arrays from outside for a sample, beside what is "
    "measured around them. Reads: of a sample, in a step and for a prediction. Host: multiply-adds in products of matrices "
    "for a sample of a step, and numbers that are kept between steps"
)


@dataclass(frozen=True)
class Needs:
    """What one rule needed on one chip; the table's columns.

    Parameters
    ----------
    step_reads
        Reads of a training sample in an epoch; the mean.
    prediction_reads
        Reads of a sample for a prediction.
    kept
        Numbers in the learner's state.
    signals, host_work
        As the learner says; None: not said.
    """

    step_reads: float
    prediction_reads: int
    kept: int
    signals: str
    host_work: int | None

    @classmethod
    def of(cls, learner: Learner, sheet: Datasheet, task: Task, state: State, step_reads: float, prediction: int) -> Needs:
        """Return what ``learner`` needed on a chip of this data sheet."""
        kept = sum(int(array.size) for array in state.values())
        return cls(step_reads, prediction, kept, learner.signals, learner.host_work(sheet, task))


def table_of_needs(needs: Mapping[str, Needs | None]) -> Table:
    """Return the table, one row a learner of which it is known."""
    rows: tuple[dict[str, Any], ...] = tuple({"learner": name, **vars(own)} for name, own in needs.items() if own)
    return Table(name="what-rules-need", caption=CAPTION, columns=COLUMNS, rows=rows)
