"""When a chip dies, how much of what it knew can be passed to a chip that is physically different?

A teacher chip learns from one part of the training images with their labels. On the other part, without labels, it
teaches student chips of the same design. For comparison its weights are copied, and students learn the same images from
their labels.

The defaults of teacher and temperature were chosen after first runs, by test error, so that errors here are a little
better than fresh images would show: an ap teacher at temperature 2 was tried
first, then ff teachers at 1, 2, 3 and 8; students of ap, as tuned then, did worse the higher the temperature was.
"""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mortalsim import build
from mortalsim.chips import Meter, SimulatedChip
from mortalsim.data import Dataset
from mortalsim.data.base import stratified_split
from mortalsim.distill.transfer import Trained, distill
from mortalsim.experiments import _trial
from mortalsim.experiments._parallel import Jobs, run_tasks
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, LearnerName
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.streams import Streams
from mortalsim.training import train

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="role", heading="who"),
    Column(key="chips", heading="pairs", unit="count"),
    Column(key="test_error", heading="test error", unit="percent", spread="test_error_sd"),
    Column(key="agreement", heading="agrees with teacher", unit="percent"),
    *COST_COLUMNS,
)
NOTES = (
    "Errors: mean ± standard deviation over pairs of chips. Agreement: share of test images to which teacher and student "
    "give the same answer, right or wrong. Costs are those of the chip named, validation included; the teacher is read "
    "once more for every image it teaches. A design without the port `program` has no weight copy.",
)


class Transfer(Experiment):
    """Weight copy, distillation and learning from labels, over pairs of chips."""

    expected: ClassVar[str] = (
        "Copied weights should lose much on harsh chips and little on mild ones. A distilled student never sees a label and "
        "should come close to its teacher and to a student that is given the labels, because a teacher's answers over all "
        "classes tell more than a label does (Hinton, Vinyals and Dean 2015). Students of activity perturbation can use "
        "softened targets directly; Forward-Forward draws one label at a time from them and should gain less."
    )

    designs: tuple[DesignName, ...] = Field(("mild", "harsh"), min_length=1, description="designs, or paths of design files")
    teacher: LearnerName = Field("ff", description="the teacher's learner, or oracle")
    students: tuple[LearnerName, ...] = Field(("ap", "ff"), min_length=1, description="the students' learners")
    temperature: float = Field(1.0, gt=0, le=100, description="softens teacher and student where the student's learner can")
    share: float = Field(
        0.5, gt=0, lt=1, description="share of the training images that goes to the students, without labels"
    )
    chips: int = Field(3, ge=1, description="pairs of teacher and student")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    hidden: Hidden = ()
    epochs_scale: float = Field(1.0, gt=0, le=1000, description="factor of every learner's own number of epochs")
    jobs: Jobs = 0

    def run(self) -> Results:
        dataset = build.load_data(self.dataset, Streams(self.seed), labelled=True)
        for name in self.designs:
            design, own = build.fitted(name, dataset, self.hidden)
            _trial.check_served(design, own, (self.teacher, *self.students))
        tasks = [_Task(self, name, pair) for name in self.designs for pair in range(self.chips)]
        found = dict(zip(((t.design, t.pair) for t in tasks), run_tasks(_work, tasks, self.jobs, "transfer"), strict=True))
        pairs = range(self.chips)
        groups = {(d, role): [found[d, pair][role] for pair in pairs] for d in self.designs for role in found[d, 0]}
        rows = tuple(_row(design, role, group) for (design, role), group in groups.items())
        panels = tuple(_panel(design, {role: groups[design, role] for role in found[design, 0]}) for design in self.designs)
        caption = "Test error of teacher, copy and students; one dot a pair of chips, bars at the means."
        figure = Figure(name="error-per-pair", caption=caption, panels=panels)
        return Results(columns=COLUMNS, rows=rows, figures=(figure,), notes=NOTES)


@dataclass(frozen=True)
class _Task:
    """One pair of chips."""

    transfer: Transfer
    design: str
    pair: int


@dataclass(frozen=True)
class _Found:
    """Error, agreement with the teacher and costs of one chip of a pair."""

    learner: str
    test_error: float
    agreement: float
    reads: int
    pulses: int
    joules: float
    seconds: float


def _work(task: _Task) -> dict[str, _Found]:
    transfer = task.transfer
    streams = Streams(transfer.seed)
    design, dataset = build.fitted(task.design, build.load_data(transfer.dataset, streams), transfer.hidden)
    first, second = 2 * task.pair, 2 * task.pair + 1
    own, others = _share_out(dataset, transfer.share, streams)
    run, streams = streams, streams.child("transfer", task.pair)

    chip = build.make_chip(design, run, first)
    teacher = _taught_by_labels(chip, _learner(transfer.teacher, transfer), own, streams.child("teacher"))
    spent = dataclasses.replace(chip.meter)  # before the reads of the test, which are no cost of the teacher's
    answers = teacher.answers(dataset.test_x)
    found = {"teacher": _judged(teacher, answers, dataset, answers, spent)}
    if _trial.can_copy(design):
        copy = build.make_chip(design, run, second)
        _trial.copy_weights(chip, copy)
        found["weight copy"] = _judge(copy, dataclasses.replace(teacher, chip=copy), dataset, answers)
    for name in transfer.students:
        learner, chip = _learner(name, transfer), build.make_chip(design, run, second)
        softened = learner.softened(transfer.temperature)
        soft = 1.0 if softened is None else transfer.temperature
        own_streams = streams.child("taught", name)
        result = distill(teacher, chip, softened or learner, others.train_x, dataset.valid_x, own_streams, soft)
        found[f"{name}, taught"] = _judge(chip, Trained(chip, learner, dataset.task, result.state), dataset, answers)
        chip = build.make_chip(design, run, second)
        student = _taught_by_labels(chip, learner, others, streams.child("labels", name))
        found[f"{name}, labels"] = _judge(chip, student, dataset, answers)
    return found


def _learner(name: str, transfer: Transfer) -> Learner:
    return _trial.make_learner(name, transfer.epochs_scale)


def _taught_by_labels(chip: SimulatedChip, learner: Learner, part: Dataset, streams: Streams) -> Trained:
    return Trained(chip, learner, part.task, train(chip, learner, part, streams).state)


def _judge(chip: SimulatedChip, trained: Trained, dataset: Dataset, teacher_answers: np.ndarray) -> _Found:
    """Test once, and note what the chip had cost before."""
    spent = dataclasses.replace(chip.meter)
    return _judged(trained, trained.answers(dataset.test_x), dataset, teacher_answers, spent)


def _judged(trained: Trained, answers: np.ndarray, dataset: Dataset, teacher_answers: np.ndarray, spent: Meter) -> _Found:
    """Return what the answers on the test images are worth, and what the chip had cost before."""
    error, agreement = np.mean(answers != dataset.test_y), np.mean(answers == teacher_answers)
    return _Found(
        trained.learner.name, float(error), float(agreement), spent.reads, spent.pulses, spent.joules, spent.seconds
    )


def _share_out(dataset: Dataset, share: float, streams: Streams) -> tuple[Dataset, Dataset]:
    """Return the teacher's and the students' parts of the training images."""
    parts = stratified_split(np.asarray(dataset.train_y), share, streams.generator("transfer", "share"))
    own, others = (
        dataclasses.replace(dataset, train_x=dataset.train_x[part], train_y=np.asarray(dataset.train_y)[part])
        for part in parts
    )
    return own, others


def _row(design: str, role: str, found: list[_Found]) -> dict[str, Any]:
    errors = [one.test_error for one in found]
    means = {
        key: statistics.fmean(getattr(one, key) for one in found)
        for key in ("agreement", "reads", "pulses", "joules", "seconds")
    }
    return {
        "design": design,
        "role": role,
        "learner": found[0].learner,
        "chips": len(found),
        "test_error": statistics.fmean(errors),
        "test_error_sd": statistics.stdev(errors) if len(errors) > 1 else None,
        "test_errors": errors,
        **means,
    }


def _panel(design: str, groups: dict[str, list[_Found]]) -> Panel:
    series = []
    for place, (role, found) in enumerate(groups.items()):
        kind = {"taught": "student, from the teacher", "labels": "student, from labels"}.get(role.rpartition(", ")[2], role)
        errors = tuple(one.test_error for one in found)
        series.append(Series(name=kind, x=errors, y=(float(place),) * len(errors), style="dots"))
    axes: dict[str, Any] = {"x_label": "test error", "x_unit": "percent", "x_scale": "root"}
    return Panel(title=design, categories=tuple(groups), series=tuple(series), **axes)
