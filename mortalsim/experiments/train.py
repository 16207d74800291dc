"""Train one learner on one chip and watch it.

Any hyper-parameter of the learner can be set, and training can be kept in a checkpoint and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mortalsim import build
from mortalsim.checks import DesignError, OutputError
from mortalsim.chips import Meter, SimulatedChip
from mortalsim.experiments import _trial
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, LearnerName, Outcome
from mortalsim.experiments.base import Experiment
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.report.table import engineering
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Record

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="chip", heading="chip"),
    Column(key="test_error", heading="test error", unit="percent"),
    Column(key="copied_error", heading="copied", unit="percent"),
    *COST_COLUMNS,
)
NOTES = (
    "Copied: the same weights programmed onto a different chip of the same design, if it has the port `program`. Costs are "
    "those of training alone.",
)


class Train(Experiment):
    """One learner, one chip."""

    expected: ClassVar[str] = (
        "Nothing in particular: this is the bench on which a learner, a design or a hyper-parameter is tried."
    )

    learner: LearnerName = Field("ff", description="learner, or oracle for true backprop")
    design: DesignName = Field("mild", description="design, or path of a design file")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    chip: int = Field(0, ge=0, description="number of the chip: which individual of the run is trained")
    hidden: Hidden = ()
    epochs: int = Field(0, ge=0, description="passes through the training data; 0: the learner's own number")
    set: tuple[str, ...] = Field((), description="hyper-parameters of the learner, such as rate=0.01,batch_size=20")
    checkpoint: Path | None = Field(
        None, description="file ending in .safetensors that keeps the training's state after every epoch"
    )
    resume: bool = Field(False, description="go on from the checkpoint")

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

    @field_validator("resume")
    @classmethod
    def _check_resume(cls, resume: bool, info: ValidationInfo) -> bool:
        path = info.data.get("checkpoint")
        if resume and (path is None or not path.is_file()):
            raise ValueError(f"there is no checkpoint to go on from at {path}; name an existing file by --checkpoint")
        return resume

    def run(self) -> Results:
        streams = Streams(self.seed)
        design, dataset = build.fitted(self.design, build.load_data(self.dataset, streams), self.hidden)
        chip, other = (build.make_chip(design, streams, number) for number in (self.chip, self.chip + 1))
        settings: dict[str, Any] = dict(setting.split("=", 1) for setting in self.set)
        if self.epochs:
            settings["epochs"] = self.epochs
        learner = _trial.make_learner(self.learner, settings=settings)
        build.check_served(design, dataset, [learner])
        own = streams.child("train", self.learner, self.dataset, self.chip)
        with _watch(self, learner.epochs) as on_epoch:
            found = _trial.trial(chip, other, learner, dataset, own, on_epoch, self._checkpoint(chip))
        notes = (*NOTES, *_trial.assumed(design, [self.learner]))
        return Results(columns=COLUMNS, rows=(self._row(found),), figures=self._figures(found), notes=notes)

    def _checkpoint(self, chip: SimulatedChip) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        if self.checkpoint.suffix != ".safetensors":
            raise DesignError(f"checkpoint: expected a file name that ends in .safetensors, found {self.checkpoint}.")
        if self.checkpoint.exists() and not self.resume:
            raise OutputError(
                f"checkpoint: {self.checkpoint} exists already. Add --resume to go on from it, or name another file."
            )

        def load(state: dict[str, np.ndarray]) -> None:
            try:
                chip.restore(state)
            except DesignError as error:
                raise DesignError(
                    f"checkpoint {self.checkpoint}: it is of another run: {error} "
                    "Give this run another path, or delete the file."
                ) from error

        return Checkpoint(self.checkpoint, chip.snapshot, load)

    def what_remains(self) -> str:
        """Say that the checkpoint remains, if there is one."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return super().what_remains()
        return f"no run folder was written; {self.checkpoint} holds what was learned, add --resume to go on from it"

    def _row(self, found: Outcome) -> dict[str, Any]:
        costs = {key: getattr(found, key) for key in ("test_error", "copied_error", "reads", "pulses", "joules", "seconds")}
        return {
            "design": self.design,
            "learner": self.learner,
            "chip": self.chip,
            "chips": 1,
            "test_error_sd": None,
            **costs,
        }

    def _figures(self, found: Outcome) -> tuple[Figure, ...]:
        epochs = tuple(float(epoch) for epoch in range(1, len(found.losses) + 1))
        loss = Panel(
            title="loss",
            x_label="epoch",
            x_unit="count",
            y_label="loss of the learner, nats",
            series=(Series(name=self.learner, x=epochs, y=found.losses),),
        )
        x, y = tuple(float(point.reads) for point in found.curve), tuple(point.error for point in found.curve)
        axes: dict[str, Any] = {"x_unit": "count", "y_unit": "percent", "y_scale": "root"}
        line = Series(name=self.learner, x=x, y=y)
        error = Panel(title="error", x_label="samples read for training", y_label="validation error", series=(line,), **axes)
        caption = "The learner's own loss on training data by epoch, and the validation error by samples read for training."
        return (Figure(name="training", caption=caption, panels=(loss, error), share=False),)


@contextmanager
def _watch(train: Train, epochs: int) -> Iterator[Callable[[Record, Meter], None]]:
    """Give a function to be called after each epoch, which shows where training stands, on a terminal only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[standing]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(escape(f"{train.learner} on {train.design}"), total=epochs, standing="")
        standing = {"error": "-"}

        def on_epoch(record: Record, meter: Meter) -> None:
            if record.valid_error is not None:
                standing["error"] = f"{100 * record.valid_error:.1f} %"
            text = f"epochs, loss {record.info['loss']:.3g}, error {standing['error']}, reads {engineering(meter.reads)}"
            bar.update(line, completed=record.epoch, standing=text)

        yield on_epoch
