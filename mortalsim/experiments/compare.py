"""Which learning rule trains unknown hardware best, and what does it cost?

Every learner trains the same few chips of every design, from scratch and with its defaults; each chip is tested once. The
weights that it then holds, as an oracle sees them, are also programmed onto a different chip of the same design.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mortalsim import build
from mortalsim.chips import Design, SimulatedChip, oracle
from mortalsim.data import suited
from mortalsim.experiments import _trial
from mortalsim.experiments._differences import paired_differences
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._parallel import Jobs
from mortalsim.experiments._trial import DATASET_HELP, LEARNER_NAMES, DatasetName, DesignName, Hidden, LearnerName, Outcome
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="chips", heading="chips", unit="count"),
    Column(key="test_error", heading="test error", unit="percent", spread="test_error_sd"),
    Column(key="copied_error", heading="copied", unit="percent", spread="copied_error_sd"),
    *COST_COLUMNS,
)
NOTES = (
    "Errors: mean ± standard deviation over chips. Copied: the same weights programmed onto a different chip of the same "
    "design, if it has the port `program`. Reads, pulses, energy and chip time are those of training one chip, without "
    "validation and test.",
)
SHOWN_NEURONS = 16


class Compare(Experiment):
    """Every learner on the same chips of every design."""

    expected: ClassVar[str] = (
        "On mild chips Forward-Forward, which needs no model and no probing, should come close to backprop with full "
        "knowledge (oracle) and to physics-aware training; activity perturbation should follow, and weight perturbation "
        "last, because its estimate is noisier by about the number of inputs of a neuron (Werfel et al. 2005). On wild "
        "chips the rules that look only at the chip (ff, ap, wp, readout) should lose little, while insilico, which "
        "trusts the data sheet, should lose much. Copied weights should lose something on mild chips and more on wild "
        "ones: that is what makes the hardware mortal."
    )

    designs: tuple[DesignName, ...] = Field(("mild", "wild"), min_length=1, description="designs, or paths of design files")
    learners: tuple[LearnerName, ...] = Field(
        LEARNER_NAMES, min_length=1, description="learners, and oracle for true backprop"
    )
    chips: int = Field(5, ge=1, le=100_000, description="different chips of each design")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    hidden: Hidden = ()
    epochs_scale: float = Field(1.0, gt=0, le=1000, description="factor of every learner's own number of epochs")
    jobs: Jobs = 0

    row: ClassVar[type] = Outcome

    def used_learners(self) -> dict[str, Learner]:
        return {name: _trial.make_learner(name, self.epochs_scale) for name in self.learners}

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {name: (inputs.fitted(name, self.hidden), range(self.chips + 1)) for name in self.designs}

    def tasks(self, inputs: Inputs) -> list[Trial]:
        build.load_data(inputs.dataset, labelled=True)
        designs = {name: inputs.fitted(name, self.hidden) for name in self.designs}
        for design in designs.values():
            build.check_served(design, suited(inputs.dataset, design.datasheet()), inputs.learners.values())
        data = inputs.checked_data
        return [
            Trial(d, designs[d], inputs.learners[n], n, k, data)
            for d in self.designs
            for k in range(self.chips)
            for n in self.learners
        ]

    @staticmethod
    def work(task: Trial, keeper: Keeper) -> Outcome:
        dataset, streams = task.data.load(), Streams(task.data.seed)
        chip, other = (build.make_chip(task.design, streams, number) for number in (task.chip, task.chip + 1))
        own = streams.child("trial", task.learner_name, task.chip)
        return _trial.trial(chip, other, task.learner, suited(dataset, task.design.datasheet()), own, keeper)

    def results(self, inputs: Inputs, found: Sequence[tuple[Trial, Outcome]]) -> Results:
        groups: _Groups = {(d, n): {} for d in self.designs for n in self.learners}
        for task, outcome in found:
            groups[task.design_name, task.learner_name][task.chip] = outcome
        groups = {key: group for key, group in groups.items() if group}
        figures = (_error_per_chip(self, groups), _error_vs_reads(self, groups), _transfer_curves(self, inputs))
        notes = [sentence for d in self.designs for sentence in _trial.assumed(inputs.fitted(d, self.hidden), self.learners)]
        warnings = tuple(
            f"{learner} on {design}, chip {chip}: {sentence}"
            for (design, learner), group in groups.items()
            for chip, outcome in group.items()
            for sentence in outcome.warnings
        )
        return Results(
            columns=COLUMNS,
            rows=tuple(_row(design, learner, group) for (design, learner), group in groups.items()),
            figures=figures,
            tables=(paired_differences(groups),),
            notes=(*NOTES, *notes),
            warnings=warnings,
        )


@dataclass(frozen=True)
class Trial:
    """One trial of one learner on one chip.

    Parameters
    ----------
    design_name, design
        What the fields call the design, and the design itself, made to fit the data.
    learner, learner_name
        The rule with its hyper-parameters, and what the fields call it.
    chip
        Number of the chip.
    data
        The data set.
    """

    design_name: str
    design: Design
    learner: Learner
    learner_name: str
    chip: int
    data: Data

    @property
    def name(self) -> str:
        """Design, learner and chip."""
        return f"{self.design.name}-{self.learner_name}-{self.chip}"


def _row(design: str, learner: str, group: Mapping[int, Outcome]) -> dict[str, Any]:
    found = list(group.values())
    tests = [trial.test_error for trial in found if trial.test_error is not None]
    copies = [trial.copied_error for trial in found if trial.copied_error is not None]
    several = len(found) > 1
    return {
        "design": design,
        "learner": learner,
        "chips": len(found),
        "test_error": statistics.fmean(tests),
        "test_error_sd": statistics.stdev(tests) if several else None,
        "copied_error": statistics.fmean(copies) if copies else None,
        "copied_error_sd": statistics.stdev(copies) if copies and several else None,
        **{key: statistics.fmean(trial.costs[key] for trial in found) for key in found[0].costs},
        "test_errors": tests,
        "copied_errors": copies,
        "by_chip": [
            {
                "chip": chip,
                "test_error": trial.test_error,
                "copied_error": trial.copied_error,
                "recall": trial.recall,
                **trial.costs,
                "warnings": trial.warnings,
            }
            for chip, trial in group.items()
        ],
    }


#: By design and learner, then by chip.
_Groups = dict[tuple[str, str], dict[int, Outcome]]


def _error_per_chip(compare: Compare, groups: _Groups) -> Figure:
    panels = []
    for design in compare.designs:
        series = []
        for name, key, style in (("own chip", "test_error", "dots"), ("copied to another chip", "copied_error", "rings")):
            dots = [
                (getattr(trial, key), place)
                for place, n in enumerate(compare.learners)
                for trial in groups.get((design, n), {}).values()
            ]
            known = [dot for dot in dots if dot[0] is not None]  # chips without the port `program` take no copy
            if known:
                x, y = zip(*known, strict=True)
                series.append(Series(name=name, x=x, y=y, style=style))
        panel = Panel(
            title=design,
            x_label="test error",
            x_unit="percent",
            x_scale="root",
            categories=compare.learners,
            series=tuple(series),
        )
        panels.append(panel)
    caption = (
        "Test error, one dot a chip, bars at the means: on the chip that was trained, and with its weights on another chip."
    )
    return Figure(name="error-per-chip", caption=caption, panels=tuple(panels))


def _error_vs_reads(compare: Compare, groups: _Groups) -> Figure:
    panels = []
    for design in compare.designs:
        lines = {n: _mean_curve(list(groups[design, n].values())) for n in compare.learners if (design, n) in groups}
        reads = [x for curve in lines.values() for x in curve[0] if x > 0]
        span = (min(reads), max(reads)) if reads else (1.0, 10.0)
        series = tuple(_line(learner, curve, span) for learner, curve in lines.items())
        axes: dict[str, Any] = {"x_unit": "count", "x_scale": "log", "y_unit": "percent", "y_scale": "root"}
        panels.append(
            Panel(title=design, x_label="samples read for training", y_label="validation error", series=series, **axes)
        )
    caption = (
        "Validation error against samples read for training: mean over chips, band one standard deviation. "
        "A dashed line marks where a learner ends that reads nothing."
    )
    return Figure(name="error-vs-reads", caption=caption, panels=tuple(panels))


def _mean_curve(found: list[Outcome]) -> np.ndarray:
    """Return reads, mean error and its standard deviation over chips at every validation, shape (3, validations)."""
    curves = np.array([[(point.reads, point.error) for point in trial.curve] for trial in found])
    return np.stack([*curves.mean(axis=0).T, curves[:, :, 1].std(axis=0)])


def _line(learner: str, curve: np.ndarray, span: tuple[float, float]) -> Series:
    x, y, spread = (tuple(values) for values in curve[:, curve[0] > 0])
    if not x:
        return Series(name=learner, x=span, y=(curve[1, -1], curve[1, -1]), style="dashed")
    return Series(name=learner, x=x, y=y, spread=spread)


def _transfer_curves(compare: Compare, inputs: Inputs) -> Figure:
    z = np.linspace(-4, 4, 81)
    panels = []
    for name in compare.designs:
        design = inputs.fitted(name, compare.hidden)
        panels += [_curves_of(design, build.make_chip(design, inputs.streams, number), number, z) for number in (0, 1)]
    caption = (
        f"Transfer curves of the first {SHOWN_NEURONS} neurons of two chips of each design, and what the data sheet says."
    )
    return Figure(name="transfer-curves", caption=caption, panels=tuple(panels))


def _curves_of(design: Design, chip: SimulatedChip, number: int, z: np.ndarray) -> Panel:
    first = chip.datasheet.fed[0]
    curves = oracle.transfer_curves(chip, first, z).T[:SHOWN_NEURONS]
    series = [Series(name="single neurons", x=tuple(z), y=tuple(curve), style="thin") for curve in curves]
    nominal = chip.datasheet.populations[first].curve
    if nominal is not None:
        series.append(Series(name="data sheet", x=tuple(z), y=tuple(nominal(z)), style="dashed"))
    return Panel(
        title=f"{design.name}, chip {number}", x_label="neuron's input", y_label="neuron's output", series=tuple(series)
    )
