"""Does a published result come out again, on ideal arithmetic and on chips?

A recipe is a wiring and a rule with its settings. It runs once for each chip, and beside it a frozen random chip with a
digital head, and plain backprop. Validation data choose nothing here; each chip is tested once, after its last epoch.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from mortalsim import build
from mortalsim.chips import Design
from mortalsim.data import suited
from mortalsim.experiments import _recipe_figures as figures
from mortalsim.experiments import _trial
from mortalsim.experiments._inputs import Data, Inputs, first_images
from mortalsim.experiments._inside import Inside, look_inside
from mortalsim.experiments._parallel import Jobs
from mortalsim.experiments._recipes import RECIPES, Recipe
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, Outcome
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Results
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training import Result
from mortalsim.training.shifting import check_shift

#: Training images, and share of the epochs, of a quick run.
QUICK_IMAGES, QUICK_SHARE = 10_000, 0.2

#: What stands beside every recipe.
BESIDE = ("readout", "insilico")

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="chips", heading="chips", unit="count"),
    Column(key="test_error", heading="test error", unit="percent", spread="test_error_sd"),
    Column(key="by_head", heading="by softmax", unit="percent"),
    Column(key="valid_error", heading="validation", unit="percent"),
    Column(key="paper", heading="paper", unit="percent"),
    Column(key="public", heading="public code", unit="percent"),
    *COST_COLUMNS,
    Column(key="wall", heading="computed in", unit="seconds"),
)
NOTES = (
    "Errors: mean ± standard deviation over chips. Costs are those of training one chip.",
    "insilico on an ideal design is plain backprop, of a third of the epochs; readout is a frozen random chip with a "
    "digital head. By softmax: the output's answer to a neutral label, in one read.",
    "Computed in: seconds of the process that ended the training, with its tests and pictures; shared cores count in full.",
    "Pictures from inside are of the first chip.",
)

RecipeName = Literal["ff-supervised", "ff-local", "ff-local-supervised", "ff-unsupervised", "ff-recurrent", "mono"]


@dataclass(frozen=True)
class Made:
    """What a task gives.

    Parameters
    ----------
    outcome
        Of the trial.
    inside
        What is to be seen of the chip; of the recipe's own learner alone.
    """

    outcome: Outcome
    inside: Inside | None = None


class Reproduce(Experiment):
    """One recipe, run again on a few chips."""

    expected: ClassVar[str] = (
        "Plain numpy comes to within half a point of the figures of the Forward-Forward paper with recipes like these, so "
        "ideal arithmetic should too. Chips of `mild` should lose a few tenths of a point."
    )

    recipe: RecipeName = Field(description="what to do again", json_schema_extra={"argument": True})
    design: DesignName = Field("ideal", description="design whose technology the recipe's wiring gets")
    dataset: DatasetName = Field("mnist", description=DATASET_HELP)
    chips: int = Field(1, ge=1, le=1000, description="different chips, each with draws of its own")
    hidden: Hidden = ()
    epochs: int = Field(
        0, ge=0, le=1_000_000_000, description="passes through the training data; 0: the recipe's own number"
    )
    shift: int = Field(
        0, ge=0, le=1000, description="pixels by which training images are moved at most, anew in every epoch"
    )
    quick: bool = Field(False, description=f"{QUICK_IMAGES:,} training images and, unless epochs are given, a fifth of them")
    alone: bool = Field(False, description="without readout and plain backprop beside it")
    jobs: Jobs = 0

    row: ClassVar[type] = Made

    @property
    def own(self) -> Recipe:
        """The recipe."""
        return RECIPES[self.recipe]

    def used_learners(self) -> dict[str, Learner]:
        epochs = self.epochs or max(1, round(self.own.epochs * (QUICK_SHARE if self.quick else 1)))
        rule = _trial.make_learner(self.own.learner, settings={**self.own.settings, "epochs": epochs})
        others = {name: _trial.make_learner(name) for name in BESIDE} if not self.alone else {}
        if "insilico" in others:
            others["insilico"] = dataclasses.replace(others["insilico"], epochs=max(1, round(epochs / 3)))
        return {self.own.learner: rule} | others

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {self.design: (self._design(inputs), range(self.chips))}

    def _design(self, inputs: Inputs) -> Design:
        data = inputs.dataset
        return self.own.design(inputs.designs[self.design], data.train_x.shape[1], data.classes, self.hidden)

    def tasks(self, inputs: Inputs) -> list[Run]:
        design = self._design(inputs)
        build.load_data(inputs.dataset, labelled=True)
        data = suited(inputs.dataset, design.datasheet())
        build.check_served(design, data, inputs.learners.values())
        if self.shift:
            check_shift(data.task, design.datasheet().n_inputs, self.shift)
        return [
            Run(self.recipe, design, learner, name, chip, inputs.checked_data, self.shift, self.quick)
            for chip in range(self.chips)
            for name, learner in inputs.learners.items()
        ]

    @staticmethod
    def work(task: Run, keeper: Keeper) -> Made:
        dataset, run = task.data.load(), Streams(task.data.seed)
        if task.quick:
            dataset = first_images(dataset, QUICK_IMAGES)
        chip = build.make_chip(task.design, run, task.chip)
        own = run.child("reproduce", task.recipe, task.learner_name, task.chip)
        data = suited(dataset, task.design.datasheet())
        begun, seen = time.monotonic(), []

        def look(result: Result) -> None:
            if task.learner_name not in BESIDE:
                seen.append(look_inside(chip, task.learner, data, result))

        found = _trial.trial(chip, None, task.learner, data, own, keeper, shift=task.shift, look=look)
        return Made(dataclasses.replace(found, wall=time.monotonic() - begun), *seen)

    def results(self, inputs: Inputs, found: Sequence[tuple[Run, Made]]) -> Results:
        groups: dict[str, list[Outcome]] = {}
        for task, made in found:
            groups.setdefault(task.learner_name, []).append(made.outcome)
        inside = next((made.inside for _, made in found if made.inside is not None), None)
        heads = [made.inside.by_head for _, made in found if made.inside is not None]
        sources = [f"Paper: {self.own.paper_source}."] * (self._published(self.own.paper) is not None)
        sources += [f"Public code: {self.own.public_source}."] * (self._published(self.own.public) is not None)
        return Results(
            columns=COLUMNS,
            rows=tuple(self._row(name, group, heads) for name, group in groups.items()),
            figures=(figures.errors(self.recipe, groups), *(figures.inner(inside) if inside else ())),
            notes=(f"{self.recipe}: {self.own.summary}.", *NOTES, *sources),
            warnings=tuple(sentence for group in groups.values() for outcome in group for sentence in outcome.warnings),
        )

    def _published(self, error: float | None) -> float | None:
        """Return a published error where the data are those that it is of: all images of MNIST, as they are."""
        return error if self.dataset == "mnist" and not (self.shift or self.quick) else None

    def _row(self, name: str, group: list[Outcome], heads: Sequence[float | None]) -> dict[str, Any]:
        tests = [outcome.test_error for outcome in group if outcome.test_error is not None]
        own = name == self.own.learner
        known = [error for error in heads if error is not None] if own else []
        return {
            "design": self.design,
            "learner": name,
            "chips": len(group),
            "test_error": statistics.fmean(tests),
            "test_error_sd": statistics.stdev(tests) if len(tests) > 1 else None,
            "valid_error": statistics.fmean(outcome.curve[-1].error for outcome in group),
            "by_head": statistics.fmean(known) if known else None,
            "paper": self._published(self.own.paper) if own else None,
            "public": self._published(self.own.public) if own else None,
            **{key: statistics.fmean(outcome.costs[key] for outcome in group) for key in group[0].costs},
            "wall": statistics.fmean(outcome.wall for outcome in group),
            "test_errors": tests,
            "by_chip": [[{"reads": p.reads, "valid_error": p.error} for p in outcome.curve] for outcome in group],
        }


@dataclass(frozen=True)
class Run:
    """One learner on one chip of a recipe.

    Parameters
    ----------
    recipe
        Its name.
    design
        Made to fit the data.
    learner, learner_name
        The rule with its hyper-parameters, and its name.
    chip
        Number of the chip.
    data
        The data set.
    shift, quick
        As in the fields of the experiment.
    """

    recipe: str
    design: Design
    learner: Learner
    learner_name: str
    chip: int
    data: Data
    shift: int
    quick: bool

    @property
    def name(self) -> str:
        """Recipe, learner and chip."""
        return f"{self.recipe}-{self.learner_name}-{self.chip}"
