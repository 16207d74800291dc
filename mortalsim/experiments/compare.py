"""Which learning rule trains unknown hardware best, and what does it cost?

Every learner trains the same few chips of every design, from scratch and with its defaults; each chip is tested once. The
weights that it then holds, as an oracle sees them, are also programmed onto a different chip of the same design. A learner
that goes on from weights also trains each chip after a head start: the data sheet's model is trained first and programmed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mortalsim import build
from mortalsim.checks import DesignError
from mortalsim.chips import Design, SimulatedChip, oracle
from mortalsim.data import Dataset, suited
from mortalsim.experiments import _trial
from mortalsim.experiments._differences import paired_differences
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._needs import Needs, table_of_needs
from mortalsim.experiments._start import FABRICATED, HeadStart, Start, goes_on, label_of, refusal
from mortalsim.experiments._started import Started
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, Hidden, Outcome
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="start", heading="start"),
    Column(key="chips", heading="chips", unit="count"),
    Column(key="test_error", heading="test error", unit="percent", spread="test_error_sd"),
    Column(key="copied_error", heading="copied", unit="percent", spread="copied_error_sd"),
    *COST_COLUMNS,
)
NOTES = (
    "Errors: mean ± standard deviation over chips. Copied: the same weights programmed onto a different chip of the same "
    "design, if it has the port `program`. Reads, pulses, energy and chip time are those of training one chip, "
    "programming a head start included, without validation and test.",
)
SHOWN_NEURONS = 16


class Compare(Started):
    """Every learner on the same chips of every design."""

    expected: ClassVar[str] = (
        "On mild chips Forward-Forward, which needs no model and no probing, should come close to backprop with full "
        "knowledge (oracle) and to physics-aware training; activity perturbation should follow, and weight perturbation "
        "last, because its estimate is noisier by about the number of inputs of a neuron (Werfel et al. 2005). On wild "
        "chips the rules that look only at the chip (ff, ap, wp, readout) should lose little, while insilico, which "
        "trusts the data sheet, should lose much. Copied weights should lose something on mild chips and more on wild "
        "ones: that is what makes the hardware mortal. A head start should spare a learner most of its reads, and leave it "
        "to mend what the data sheet does not know."
    )

    designs: tuple[DesignName, ...] = Field(("mild", "wild"), min_length=1, description="designs, or paths of design files")
    chips: int = Field(5, ge=1, le=100_000, description="different chips of each design")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    hidden: Hidden = ()

    row: ClassVar[type] = Outcome

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {name: (inputs.fitted(name, self.hidden), range(self.chips + 1)) for name in self.designs}

    def tasks(self, inputs: Inputs) -> list[Trial]:
        build.load_data(inputs.dataset, labelled=True)
        designs = {name: inputs.fitted(name, self.hidden) for name in self.designs}
        for design in designs.values():
            chosen = [inputs.learners[name] for name in self.learners]
            build.check_served(design, suited(inputs.dataset, design.datasheet()), chosen)
        entries = {name: self._entries(inputs, name) for name in self.designs}
        found = [
            self._trial(inputs, entry, designs[name], chip)
            for name in self.designs
            for chip in range(self.chips)
            for entry in entries[name]
        ]
        if not found:
            raise DesignError(
                f"starts: expected a learner that goes on from the weights of a head start, on chips that can be programmed "
                f"with them, found {', '.join(self.learners)}. Add {FABRICATED} to starts, or choose other learners."
            )
        return found

    def _trial(self, inputs: Inputs, entry: Entry, design: Design, chip: int) -> Trial:
        learner, giver = self.begun(inputs, entry.learner, entry.start)
        return Trial(entry, design, learner, chip, inputs.checked_data, giver)

    def _entries(self, inputs: Inputs, name: str) -> list[Entry]:
        """Return the table's rows of a design."""
        return [
            Entry(name, learner, start)
            for start in self.starts
            if self._refusal(inputs, name, start) is None
            for learner in self.learners
            if start == FABRICATED or goes_on(inputs.learners[learner], *self._design(inputs, name))
        ]

    def _refusal(self, inputs: Inputs, name: str, start: Start) -> str | None:
        """Return why chips of a design cannot be given this start; None if they can."""
        return None if start == FABRICATED else refusal(inputs.learners[start], *self._design(inputs, name))

    def _design(self, inputs: Inputs, name: str) -> tuple[Design, Dataset]:
        design = inputs.fitted(name, self.hidden)
        return design, suited(inputs.dataset, design.datasheet())

    @staticmethod
    def work(task: Trial, keeper: Keeper) -> Outcome:
        dataset, streams = task.data.load(), Streams(task.data.seed)
        chip, other = (build.make_chip(task.design, streams, number) for number in (task.chip, task.chip + 1))
        own = streams.child("trial", task.entry.learner, task.chip)
        start = None
        if task.giver is not None:  # it draws as it does in a trial of its own, so the weights are the same
            start = HeadStart(task.giver, streams.child("trial", task.entry.start, task.chip))
        return _trial.trial(chip, other, task.learner, suited(dataset, task.design.datasheet()), own, keeper, start)

    def results(self, inputs: Inputs, found: Sequence[tuple[Trial, Outcome]]) -> Results:
        entries = [entry for name in self.designs for entry in self._entries(inputs, name)]
        groups: _Groups = {entry: {} for entry in entries}
        for task, outcome in found:
            groups[task.entry][task.chip] = outcome
        figures = (_error_per_chip(self, groups), _error_vs_reads(self, groups), _transfer_curves(self, inputs))
        groups = {entry: group for entry, group in groups.items() if group}
        warnings = tuple(
            f"{entry.label} on {entry.design}, chip {chip}: {sentence}"
            for entry, group in groups.items()
            for chip, outcome in group.items()
            for sentence in outcome.warnings
        )
        return Results(
            columns=COLUMNS,
            rows=tuple(_row(entry, group) for entry, group in groups.items()),
            figures=figures,
            tables=(
                table_of_needs(_needs(groups)),
                paired_differences({(entry.design, entry.label): group for entry, group in groups.items()}),
            ),
            notes=(*NOTES, *self._notes(inputs, entries)),
            warnings=warnings,
        )

    def _notes(self, inputs: Inputs, entries: Sequence[Entry]) -> list[str]:
        notes = []
        if any(entry.start != FABRICATED for entry in entries):
            notes.append(
                "Start insilico: the chip was programmed with what the learner insilico would program onto it; the learner "
                f"then trained {self.started_epochs} epochs from there."
            )
        for name in self.designs:
            used = {word for entry in entries if entry.design == name for word in (entry.learner, entry.start)}
            notes += _trial.assumed(inputs.fitted(name, self.hidden), used)
            refused = (self._refusal(inputs, name, start) for start in self.starts)
            notes += [f"{name}: chips have no head start. {why}" for why in refused if why is not None]
        return notes


@dataclass(frozen=True)
class Entry:
    """What one row of the table is of: a design and a learner, as the fields call them, and what the chips hold at first."""

    design: str
    learner: str
    start: Start

    @property
    def label(self) -> str:
        """What figures call the learner."""
        return label_of(self.learner, self.start)


@dataclass(frozen=True)
class Trial:
    """One trial of one learner on one chip.

    Parameters
    ----------
    entry
        The row that it belongs to.
    design
        The design, made to fit the data.
    learner
        The rule with its hyper-parameters.
    chip
        Number of the chip.
    data
        The data set.
    giver
        Who gives the weights that the chip is programmed with first; None: it stays as it was fabricated.
    """

    entry: Entry
    design: Design
    learner: Learner
    chip: int
    data: Data
    giver: Learner | None = None

    @property
    def name(self) -> str:
        """Design, learner, whether it was given a head start, and chip."""
        return f"{self.design.name}-{self.entry.learner}{'' if self.giver is None else '-started'}-{self.chip}"


def _row(entry: Entry, group: Mapping[int, Outcome]) -> dict[str, Any]:
    found = list(group.values())
    tests = [trial.test_error for trial in found if trial.test_error is not None]
    copies = [trial.copied_error for trial in found if trial.copied_error is not None]
    several = len(found) > 1
    return {
        "design": entry.design,
        "learner": entry.learner,
        "start": entry.start,
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


#: By row of the table, then by chip.
_Groups = dict[Entry, dict[int, Outcome]]


def _needs(groups: _Groups) -> dict[str, Needs | None]:
    """Return what each learner needed on the first of its rows."""
    found: dict[str, Needs | None] = {}
    for entry, group in groups.items():
        found.setdefault(entry.learner, next(iter(group.values())).needs)
    return found


def _of(design: str, groups: _Groups) -> dict[str, dict[int, Outcome]]:
    """Return the groups of a design, by label."""
    return {entry.label: group for entry, group in groups.items() if entry.design == design}


def _error_per_chip(compare: Compare, groups: _Groups) -> Figure:
    panels = []
    for design in compare.designs:
        series, own = [], _of(design, groups)
        for name, key, style in (("own chip", "test_error", "dots"), ("copied to another chip", "copied_error", "rings")):
            dots = [(getattr(trial, key), place) for place, group in enumerate(own.values()) for trial in group.values()]
            known = [dot for dot in dots if dot[0] is not None]  # chips without the port `program` take no copy
            if known:
                x, y = zip(*known, strict=True)
                series.append(Series(name=name, x=x, y=y, style=style))
        panel = Panel(
            title=design,
            x_label="test error",
            x_unit="percent",
            x_scale="root",
            categories=tuple(own),
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
        lines = {label: _mean_curve(list(group.values())) for label, group in _of(design, groups).items() if group}
        reads = [x for curve in lines.values() for x in curve[0] if x > 0]
        span = (min(reads), max(reads)) if reads else (1.0, 10.0)
        started = {entry.label for entry in groups if entry.start != FABRICATED}
        series = tuple(_line(learner, curve, span, learner in started) for learner, curve in lines.items())
        axes: dict[str, Any] = {"x_unit": "count", "x_scale": "log", "y_unit": "percent", "y_scale": "root"}
        panels.append(
            Panel(title=design, x_label="samples read for training", y_label="validation error", series=series, **axes)
        )
    caption = (
        "Validation error against samples read for training: mean over chips, band one standard deviation. "
        "A dashed line marks where a learner ends that reads nothing; dotted lines follow a head start."
    )
    return Figure(name="error-vs-reads", caption=caption, panels=tuple(panels))


def _mean_curve(found: list[Outcome]) -> np.ndarray:
    """Return reads, mean error and its standard deviation over chips at every validation, shape (3, validations)."""
    curves = np.array([[(point.reads, point.error) for point in trial.curve] for trial in found])
    return np.stack([*curves.mean(axis=0).T, curves[:, :, 1].std(axis=0)])


def _line(learner: str, curve: np.ndarray, span: tuple[float, float], started: bool) -> Series:
    x, y, spread = (tuple(values) for values in curve[:, curve[0] > 0])
    if not x:
        return Series(name=learner, x=span, y=(curve[1, -1], curve[1, -1]), style="dashed")
    return Series(name=learner, x=x, y=y, spread=spread, style="dotted" if started else "line")


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
