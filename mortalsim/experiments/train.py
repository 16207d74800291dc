"""Train one learner on one chip and watch it.

Any hyper-parameter of the learner can be set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from mortalsim import build
from mortalsim.chips import Design
from mortalsim.data import suited
from mortalsim.experiments import _trial
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._needs import table_of_needs
from mortalsim.experiments._start import FABRICATED, START_HELP, HeadStart, Start, check_start, label_of
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, LearnerName, Outcome
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training.shifting import check_shift

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="start", heading="start"),
    Column(key="chip", heading="chip"),
    Column(key="test_error", heading="test error", unit="percent"),
    Column(key="copied_error", heading="copied", unit="percent"),
    *COST_COLUMNS,
)
NOTES = (
    "Copied: the same weights programmed onto a different chip of the same design, if it has the port `program`. Costs are "
    "those of training alone, and of programming a head start.",
)


class Train(Experiment):
    """One learner, one chip."""

    expected: ClassVar[str] = (
        "Nothing in particular: this is the bench on which a learner, a design or a hyper-parameter is tried."
    )

    learner: LearnerName = Field("ff", description="learner, or oracle for true backprop")
    design: DesignName = Field("mild", description="design, or path of a design file")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    chip: int = Field(0, ge=0, lt=2**63, description="number of the chip: which individual of the run is trained")
    start: Start = Field("fabricated", description=f"what the chip holds before the learner begins: {START_HELP}")
    hidden: Hidden = ()
    shift: int = Field(
        0, ge=0, le=1000, description="pixels by which the learner's training images are moved at most, anew in every epoch"
    )
    epochs: int = Field(
        0, ge=0, le=1_000_000_000, description="passes through the training data; 0: the learner's own number"
    )
    set: tuple[str, ...] = Field((), description="hyper-parameters of the learner, such as rate=0.01,batch_size=20")

    @field_validator("set")
    @classmethod
    def _check_set(cls, settings: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for setting in settings:
            if not setting.partition("=")[2]:
                raise ValueError(f"expected NAME=VALUE, found {setting!r}; write --set rate=0.01, for example")
        names = [setting.partition("=")[0] for setting in settings]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is set {names.count(twice[0])} times; give it one value")
        if "epochs" in names and info.data.get("epochs"):
            raise ValueError("epochs is also given by --epochs; leave one of the two out")
        return settings

    row: ClassVar[type] = Outcome

    def used_learners(self) -> dict[str, Learner]:
        settings: dict[str, Any] = dict(setting.split("=", 1) for setting in self.set)
        if self.epochs:
            settings["epochs"] = self.epochs
        found = {} if self.start == FABRICATED else {self.start: _trial.make_learner(self.start)}
        return found | {self.learner: _trial.make_learner(self.learner, settings=settings)}

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {self.design: (inputs.fitted(self.design, self.hidden), (self.chip, self.chip + 1))}

    def tasks(self, inputs: Inputs) -> list[Training]:
        design, learner = inputs.fitted(self.design, self.hidden), inputs.learners[self.learner]
        data = suited(inputs.dataset, design.datasheet())
        build.check_served(design, data, [learner])
        giver = None if self.start == FABRICATED else inputs.learners[self.start]
        if giver is not None:
            check_start(giver, learner, design, data)
        if self.shift:
            check_shift(data.task, design.datasheet().n_inputs, self.shift)
        return [Training(design, learner, self.learner, self.chip, inputs.checked_data, giver, self.shift)]

    @staticmethod
    def work(task: Training, keeper: Keeper) -> Outcome:
        run = Streams(task.data.seed)
        chip, other = (build.make_chip(task.design, run, number) for number in (task.chip, task.chip + 1))

        def own(learner: str) -> Streams:
            return run.child("train", learner, task.data.name, task.chip)

        dataset = suited(task.data.load(), task.design.datasheet())
        # The giver draws as it does when it trains this chip alone, so the weights are those that it would program.
        start = None if task.giver is None else HeadStart(task.giver, own(task.giver.name))
        return _trial.trial(chip, other, task.learner, dataset, own(task.learner_name), keeper, start, task.shift)

    def results(self, inputs: Inputs, found: Sequence[tuple[Training, Outcome]]) -> Results:
        notes = (*NOTES, *_trial.assumed(inputs.fitted(self.design, self.hidden), [self.learner, self.start]))
        outcomes = [outcome for _, outcome in found]
        return Results(
            columns=COLUMNS,
            rows=tuple(self._row(outcome) for outcome in outcomes),
            figures=tuple(figure for outcome in outcomes for figure in self._figures(outcome)),
            notes=notes,
            tables=(table_of_needs({self.learner: outcomes[0].needs if outcomes else None}),),
            warnings=tuple(sentence for outcome in outcomes for sentence in outcome.warnings),
        )

    def _row(self, found: Outcome) -> dict[str, Any]:
        return {
            "design": self.design,
            "learner": self.learner,
            "start": self.start,
            "chip": self.chip,
            "chips": 1,
            "test_error": found.test_error,
            "test_error_sd": None,
            "copied_error": found.copied_error,
            "recall": found.recall,
            **found.costs,
        }

    def _figures(self, found: Outcome) -> tuple[Figure, ...]:
        epochs = tuple(float(epoch) for epoch in range(1, len(found.losses) + 1))
        loss = Panel(
            title="loss",
            x_label="epoch",
            x_unit="count",
            y_label="loss of the learner, nats",
            series=(Series(name=label_of(self.learner, self.start), x=epochs, y=found.losses),),
        )
        x, y = tuple(float(point.reads) for point in found.curve), tuple(point.error for point in found.curve)
        axes: dict[str, Any] = {"x_unit": "count", "y_unit": "percent", "y_scale": "root"}
        line = Series(name=label_of(self.learner, self.start), x=x, y=y)
        error = Panel(title="error", x_label="samples read for training", y_label="validation error", series=(line,), **axes)
        caption = "The learner's own loss on training data by epoch, and the validation error by samples read for training."
        return (Figure(name="training", caption=caption, panels=(loss, error), share=False),)


@dataclass(frozen=True)
class Training:
    """The one piece of work.

    Parameters
    ----------
    design
        Made to fit the data.
    learner, learner_name
        The rule with its hyper-parameters, and what the field calls it.
    chip
        Number of the chip.
    data
        The data set.
    giver
        Who gives the weights that the chip is programmed with; None: the chip stays as it was fabricated.
    shift
        Pixels by which training images are moved at most.
    """

    design: Design
    learner: Learner
    learner_name: str
    chip: int
    data: Data
    giver: Learner | None = None
    shift: int = 0

    @property
    def name(self) -> str:
        """Design, learner, whether it was given a head start, and chip."""
        return f"{self.design.name}-{self.learner_name}{'' if self.giver is None else '-started'}-{self.chip}"
