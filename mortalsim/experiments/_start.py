"""What a chip holds before its learner begins: what it was fabricated with, or a head start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mortalsim import build
from mortalsim.checks import DesignError, FloatArray, MortalsimError
from mortalsim.chips import Design
from mortalsim.data import Dataset
from mortalsim.hardware import Datasheet
from mortalsim.learners import Learner
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training import Hooks, Session, head_start

#: ``"fabricated"``: what it was fabricated with. Else the learner that gives the weights that it is programmed with.
Start: TypeAlias = Literal["fabricated", "insilico"]

FABRICATED: Start = "fabricated"

START_HELP = "fabricated, as it was made; insilico, the weights of the data sheet's model, trained first and programmed"


@dataclass(frozen=True)
class HeadStart:
    """Where the weights come from that a chip is programmed with.

    Parameters
    ----------
    learner
        Who learns them on the data sheet's model.
    streams
        Source of its draws.
    """

    learner: Learner
    streams: Streams

    def weights(
        self, sheet: Datasheet, data: Dataset, keeper: Keeper | None, hear: Callable[[Session], None] | None
    ) -> tuple[list[FloatArray], tuple[str, ...]]:
        """Return the weights, and what looks as if the model had learned nothing; the work is kept while it goes on."""
        doubts: list[str] = []
        found = head_start(
            sheet,
            data,
            self.streams,
            self.learner,
            hooks=Hooks(hear, on_warning=doubts.append),
            keep=None if keeper is None else lambda chip: keeper.checkpoint("head-start", chip),
        )
        return found, tuple(doubts)


def label_of(learner: str, start: str) -> str:
    """Return what a learner is called that begins with this start, where several are shown together."""
    return learner if start == FABRICATED else f"{learner}, started"


def goes_on(learner: Learner, design: Design, data: Dataset) -> bool:
    """Return whether a learner goes on from weights that a chip of the design has just been programmed with."""
    sheet = design.datasheet()
    state = learner.init(sheet, data.task, np.random.Generator(np.random.Philox(0)))
    weights: list[FloatArray] = [np.zeros(spec.shape, np.float32) for spec in sheet.arrays]
    return learner.started(sheet, state, weights) is not None


def check_start(giver: Learner, learner: Learner, design: Design, data: Dataset) -> None:
    """Raise unless chips of the design can be given a head start, and the learner goes on from there.

    Raises
    ------
    MissingPort, ShapeError
        They cannot be programmed, or the data sheet's model cannot be made.
    DesignError
        The learner does not go on from weights.
    """
    if not goes_on(learner, design, data):
        raise DesignError(
            f"start: expected a learner that trains on the chip and goes on from the weights there, found {learner.name}. "
            f"Write --start {FABRICATED}, or choose another learner."
        )
    try:
        build.check_served(design, data, [giver])
    except MortalsimError as error:
        error.add_note(f"That is for the head start; write --start {FABRICATED} to begin without one.")
        raise


def refusal(giver: Learner, design: Design, data: Dataset) -> str | None:
    """Return why chips of the design cannot be given a head start, in a sentence; None if they can."""
    try:
        build.check_served(design, data, [giver])
    except MortalsimError as error:
        return str(error)
    return None
