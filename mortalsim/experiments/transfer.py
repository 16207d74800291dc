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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mortalsim import build
from mortalsim.chips import Design, Meter, SimulatedChip
from mortalsim.data import Dataset, suited
from mortalsim.data.base import stratified_split
from mortalsim.distill.transfer import Trained, distill
from mortalsim.experiments import _trial
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._parallel import Jobs
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, LearnerName
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training import Hooks, recall_of, train

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


@dataclass(frozen=True)
class Found:
    """Error, recall by class, agreement with the teacher and costs of one chip of a pair."""

    learner: str
    test_error: float
    agreement: float
    reads: int
    pulses: int
    joules: float
    seconds: float
    recall: tuple[float | None, ...] = ()
    warnings: tuple[str, ...] = ()


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
    chips: int = Field(3, ge=1, le=100_000, description="pairs of teacher and student")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    hidden: Hidden = ()
    epochs_scale: float = Field(1.0, gt=0, le=1000, description="factor of every learner's own number of epochs")
    jobs: Jobs = 0

    row: ClassVar[type] = dict[str, Found]

    def used_learners(self) -> dict[str, Learner]:
        names = dict.fromkeys((self.teacher, *self.students))
        return {name: _trial.make_learner(name, self.epochs_scale) for name in names}

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {name: (inputs.fitted(name, self.hidden), range(2 * self.chips)) for name in self.designs}

    def tasks(self, inputs: Inputs) -> list[Pair]:
        build.load_data(inputs.dataset, labelled=True)
        designs = {name: inputs.fitted(name, self.hidden) for name in self.designs}
        for design in designs.values():
            build.check_served(design, suited(inputs.dataset, design.datasheet()), inputs.learners.values())
        students = {name: inputs.learners[name] for name in self.students}
        teacher, data = inputs.learners[self.teacher], inputs.checked_data
        return [
            Pair(name, designs[name], pair, teacher, students, self.temperature, self.share, data)
            for name in self.designs
            for pair in range(self.chips)
        ]

    @staticmethod
    def work(task: Pair, keeper: Keeper) -> dict[str, Found]:
        return _passed_on(task, keeper)

    def results(self, inputs: Inputs, found: Sequence[tuple[Pair, dict[str, Found]]]) -> Results:
        groups: dict[tuple[str, str], dict[int, Found]] = {}
        for task, roles in found:
            for role, one in roles.items():
                groups.setdefault((task.design_name, role), {})[task.pair] = one
        panels = []
        for name in self.designs:
            own = {role: list(group.values()) for (design, role), group in groups.items() if design == name}
            panels += [_panel(name, own)] if own else []
        caption = "Test error of teacher, copy and students; one dot a pair of chips, bars at the means."
        return Results(
            columns=COLUMNS,
            rows=tuple(_row(design, role, group) for (design, role), group in groups.items()),
            figures=(Figure(name="error-per-pair", caption=caption, panels=tuple(panels)),),
            notes=NOTES,
            warnings=tuple(
                f"{role} on {design}, pair {pair}: {sentence}"
                for (design, role), group in groups.items()
                for pair, one in group.items()
                for sentence in one.warnings
            ),
        )


@dataclass(frozen=True)
class Pair:
    """One pair of chips.

    Parameters
    ----------
    design_name, design
        What the fields call the design, and the design itself, made to fit the data.
    pair
        Its number.
    teacher, students
        The rules with their hyper-parameters, the students' by name.
    temperature, share
        As the experiment's fields.
    data
        The data set.
    """

    design_name: str
    design: Design
    pair: int
    teacher: Learner
    students: Mapping[str, Learner]
    temperature: float
    share: float
    data: Data

    @property
    def name(self) -> str:
        """Design and pair."""
        return f"{self.design.name}-{self.pair}"


def _passed_on(task: Pair, keeper: Keeper) -> dict[str, Found]:
    """Train the teacher, copy it, and train students on its answers and on labels; each is done once."""
    run = Streams(task.data.seed)
    dataset = suited(task.data.load(), task.design.datasheet())
    first, second = 2 * task.pair, 2 * task.pair + 1
    own, others = _share_out(dataset, task.share, run)
    streams = run.child("transfer", task.pair)

    chip = build.make_chip(task.design, run, first)
    teacher, warnings = _taught_by_labels(chip, task.teacher, own, streams.child("teacher"), keeper, "teacher")
    spent = dataclasses.replace(chip.meter)  # before the reads of the test, which are no cost of the teacher's
    answers = teacher.answers(dataset.test_x)
    found = {"teacher": _judged(teacher, answers, dataset, answers, spent, warnings)}
    if _trial.can_copy(task.design):
        copy = build.make_chip(task.design, run, second)
        _trial.copy_weights(chip, copy)
        found["weight copy"] = _judge(copy, dataclasses.replace(teacher, chip=copy), dataset, answers)

    def taught(name: str, learner: Learner) -> Found:
        student = build.make_chip(task.design, run, second)
        softened = learner.softened(task.temperature)
        soft = 1.0 if softened is None else task.temperature
        result = distill(
            teacher, student, softened or learner, others.train_x, dataset.valid_x, streams.child("taught", name), soft,
            checkpoint=_trial.keep_training(keeper, f"{name}-taught", student), hooks=Hooks(_trial.teller(keeper.tell),
            None, keeper.tell),
        )  # fmt: skip
        return _judge(student, Trained(student, learner, dataset.task, result.state), dataset, answers, result.warnings)

    def labelled(name: str, learner: Learner) -> Found:
        student = build.make_chip(task.design, run, second)
        trained, warnings = _taught_by_labels(
            student, learner, others, streams.child("labels", name), keeper, f"{name}-labels"
        )
        return _judge(student, trained, dataset, answers, warnings)

    for name, learner in task.students.items():
        # The teacher is read for every student, and what it answers depends on how often it was read before.
        found[f"{name}, taught"] = keeper.once(
            f"found-{name}-taught", partial(taught, name, learner), Found, {"teacher": chip}
        )
        found[f"{name}, labels"] = keeper.once(f"found-{name}-labels", partial(labelled, name, learner), Found)
    return found


def _taught_by_labels(
    chip: SimulatedChip, learner: Learner, part: Dataset, streams: Streams, keeper: Keeper, name: str
) -> tuple[Trained, tuple[str, ...]]:
    kept = _trial.keep_training(keeper, name, chip)
    result = train(chip, learner, part, streams, checkpoint=kept, hooks=Hooks(_trial.teller(keeper.tell), None, keeper.tell))
    return Trained(chip, learner, part.task, result.state), result.warnings


def _judge(
    chip: SimulatedChip, trained: Trained, dataset: Dataset, teacher_answers: np.ndarray, warnings: tuple[str, ...] = ()
) -> Found:
    """Test once, and note what the chip had cost before."""
    spent = dataclasses.replace(chip.meter)
    return _judged(trained, trained.answers(dataset.test_x), dataset, teacher_answers, spent, warnings)


def _judged(
    trained: Trained,
    answers: np.ndarray,
    dataset: Dataset,
    teacher_answers: np.ndarray,
    spent: Meter,
    warnings: tuple[str, ...],
) -> Found:
    """Return what the answers on the test images are worth, and what the chip had cost before."""
    error, agreement = np.mean(answers != dataset.test_y), np.mean(answers == teacher_answers)
    counts = np.zeros((dataset.classes, dataset.classes), np.int64)
    np.add.at(counts, (np.asarray(dataset.test_y), answers), 1)
    costs = (spent.reads, spent.pulses, spent.joules, spent.seconds)
    return Found(trained.learner.name, float(error), float(agreement), *costs, recall_of(counts), warnings)


def _share_out(dataset: Dataset, share: float, streams: Streams) -> tuple[Dataset, Dataset]:
    """Return the teacher's and the students' parts of the training images."""
    parts = stratified_split(np.asarray(dataset.train_y), share, streams.generator("transfer", "share"))
    own, others = (
        dataclasses.replace(dataset, train_x=dataset.train_x[part], train_y=np.asarray(dataset.train_y)[part])
        for part in parts
    )
    return own, others


def _row(design: str, role: str, group: Mapping[int, Found]) -> dict[str, Any]:
    found = list(group.values())
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
        "by_pair": [{"pair": pair, **dataclasses.asdict(one)} for pair, one in group.items()],
    }


def _panel(design: str, groups: dict[str, list[Found]]) -> Panel:
    series = []
    for place, (role, found) in enumerate(groups.items()):
        kind = {"taught": "student, from the teacher", "labels": "student, from labels"}.get(role.rpartition(", ")[2], role)
        errors = tuple(one.test_error for one in found)
        series.append(Series(name=kind, x=errors, y=(float(place),) * len(errors), style="dots"))
    axes: dict[str, Any] = {"x_label": "test error", "x_unit": "percent", "x_scale": "root"}
    return Panel(title=design, categories=tuple(groups), series=tuple(series), **axes)
