"""From which width on does a rule that sees the chip alone no longer pay?

The same rules train chips of one design with ever wider hidden populations. Mismatch of single neurons averages out with
width, so that the data sheet becomes truer; what a population's neurons have in common does not.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mortalsim import build
from mortalsim.chips import Design
from mortalsim.data import Dataset, suited
from mortalsim.experiments import _trial
from mortalsim.experiments._differences import LEVEL, interval
from mortalsim.experiments._inputs import Data, Inputs, first_images
from mortalsim.experiments._start import FABRICATED, HeadStart, Start, goes_on, label_of
from mortalsim.experiments._started import Started
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName, LearnerName, Outcome
from mortalsim.learners import Learner
from mortalsim.report.results import COST_COLUMNS, Column, Figure, Panel, Results, Series, Table
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams

#: Rules that need a model of the chip, in whatever they are compared with.
MODELLED = ("insilico", "physics_aware", "oracle")

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="width", heading="width", unit="count"),
    Column(key="learner", heading="learner"),
    Column(key="start", heading="start"),
    Column(key="chips", heading="chips", unit="count"),
    Column(key="test_error", heading="test error", unit="percent", spread="test_error_sd"),
    *COST_COLUMNS,
)
GAIN_COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="width", heading="width", unit="count"),
    Column(key="rule", heading="rule"),
    Column(key="other", heading="beside"),
    Column(key="gain", heading="gain", unit="percent"),
    Column(key="low", heading="from", unit="percent"),
    Column(key="high", heading="to", unit="percent"),
)
NOTES = (
    "Errors: mean ± standard deviation over chips. Costs are those of training one chip, a head start included.",
    f"A rule pays where the {LEVEL:.0%} interval of Student's t for what it gains on the same chips lies above 0, each pair "
    "by itself: of forty pairs that do not differ, one will seem to pay.",
)


class Width(Started):
    """The same rules on chips of one design that become wider."""

    expected: ClassVar[str] = (
        "On wild chips insilico should lose much at 16 and 64 neurons and little at 1000, because errors of single neurons "
        "average out, so that a black-box rule pays on narrow chips alone. On alien chips, whose populations deviate as a "
        "whole, it should lose as much at any width. A head start should help most where the data sheet is nearly true."
    )

    designs: tuple[DesignName, ...] = Field(("wild", "alien"), min_length=1, description="designs, or paths of design files")
    learners: tuple[LearnerName, ...] = Field(
        ("insilico", "physics_aware", "ff", "mono", "learned_feedback"), min_length=1, description="learners"
    )
    widths: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        (16, 64, 256, 1000), min_length=1, description="neurons of each hidden population"
    )
    layers: int = Field(2, ge=1, le=100, description="hidden populations")
    chips: int = Field(5, ge=1, le=100_000, description="different chips of each design and width")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    images: int = Field(0, ge=0, le=1_000_000_000, description="training samples, the first of the data set; 0: all of them")
    epochs_scale: float = Field(0.5, gt=0, le=1000, description="factor of every learner's own number of epochs")

    row: ClassVar[type] = Outcome

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        pairs = itertools.product(self.designs, self.widths)
        return {f"{name}, {width}": (self._fitted(inputs, name, width), range(self.chips + 1)) for name, width in pairs}

    def _fitted(self, inputs: Inputs, name: str, width: int) -> Design:
        return inputs.fitted(name, (width,) * self.layers)

    def tasks(self, inputs: Inputs) -> list[Trial]:
        build.load_data(inputs.dataset, labelled=True)
        found = []
        for name, width in itertools.product(self.designs, self.widths):
            design = self._fitted(inputs, name, width)
            data = suited(inputs.dataset, design.datasheet())
            build.check_served(design, data, inputs.learners.values())
            for learner, start in itertools.product(self.learners, self.starts):
                entry = Entry(name, width, learner, start)
                if start == FABRICATED or goes_on(inputs.learners[learner], design, data):
                    found += [self._trial(inputs, entry, design, chip) for chip in range(self.chips)]
        return found

    def _trial(self, inputs: Inputs, entry: Entry, design: Design, chip: int) -> Trial:
        learner, giver = self.begun(inputs, entry.learner, entry.start)
        return Trial(entry, design, learner, chip, inputs.checked_data, self.images, giver)

    @staticmethod
    def work(task: Trial, keeper: Keeper) -> Outcome:
        streams = Streams(task.data.seed)
        dataset: Dataset = first_images(task.data.load(), task.images)
        chip, other = (build.make_chip(task.design, streams, number) for number in (task.chip, task.chip + 1))
        own, start = streams.child("width", task.entry.learner, task.chip), None
        if task.giver is not None:
            start = HeadStart(task.giver, streams.child("width", task.entry.start, task.chip))
        return _trial.trial(chip, other, task.learner, suited(dataset, task.design.datasheet()), own, keeper, start)

    def results(self, inputs: Inputs, found: Sequence[tuple[Trial, Outcome]]) -> Results:
        groups: Groups = {}
        for task, outcome in found:
            groups.setdefault(task.entry, {})[task.chip] = outcome
        gains = list(_gains(groups))
        return Results(
            columns=COLUMNS,
            rows=tuple(_row(entry, group) for entry, group in groups.items()),
            figures=(_error_against_width(self, groups),),
            tables=(
                Table(
                    name="gains",
                    caption="Error of a rule with a model less that of one that sees the chip alone, on the same chips",
                    columns=GAIN_COLUMNS,
                    rows=tuple(gains),
                ),
            ),
            notes=(*NOTES, *_sentences(gains)),
            warnings=tuple(
                f"{entry.label} on {entry.design}, {entry.width} wide, chip {chip}: {sentence}"
                for entry, group in groups.items()
                for chip, outcome in group.items()
                for sentence in outcome.warnings
            ),
        )


@dataclass(frozen=True)
class Entry:
    """What one row of the table is of."""

    design: str
    width: int
    learner: str
    start: Start

    @property
    def label(self) -> str:
        """What figures call the learner."""
        return label_of(self.learner, self.start)


@dataclass(frozen=True)
class Trial:
    """One learner on one chip; as in `compare`, and how many training samples there are (0: all)."""

    entry: Entry
    design: Design
    learner: Learner
    chip: int
    data: Data
    images: int
    giver: Learner | None = None

    @property
    def name(self) -> str:
        """Design, width, learner, whether it was given a head start, and chip."""
        entry = self.entry
        return f"{self.design.name}-{entry.width}-{entry.learner}{'' if self.giver is None else '-started'}-{self.chip}"


#: By row of the table, then by chip.
Groups = dict[Entry, dict[int, Outcome]]


def _row(entry: Entry, group: Mapping[int, Outcome]) -> dict[str, Any]:
    found = list(group.values())
    tests = [outcome.test_error for outcome in found if outcome.test_error is not None]
    return {
        **dataclasses.asdict(entry),
        "chips": len(found),
        "test_error": statistics.fmean(tests),
        "test_error_sd": statistics.stdev(tests) if len(tests) > 1 else None,
        **{key: statistics.fmean(outcome.costs[key] for outcome in found) for key in found[0].costs},
        "test_errors": tests,
    }


def _gains(groups: Groups) -> list[dict[str, Any]]:
    """Return what each rule that sees the chip alone gains over each that needs a model, by design and width."""
    rows = []
    for (rule, own), (other, theirs) in itertools.product(groups.items(), groups.items()):
        same = (rule.design, rule.width) == (other.design, other.width)
        if not same or rule.learner in MODELLED or other.learner not in MODELLED or other.start != FABRICATED:
            continue
        pairs = [(theirs[chip].test_error, own[chip].test_error) for chip in sorted(own.keys() & theirs.keys())]
        values = [a - b for a, b in pairs if a is not None and b is not None]
        if values:
            mean, half = statistics.fmean(values), interval(values)
            ends = {"low": None, "high": None} if half is None else {"low": mean - half, "high": mean + half}
            place = {"design": rule.design, "width": rule.width, "rule": rule.label, "other": other.learner}
            rows.append({**place, "gain": mean, **ends})
    return rows


def _sentences(gains: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where rules pay, a sentence for each design and rule that needs a model."""
    found = []
    for design, other in dict.fromkeys((row["design"], row["other"]) for row in gains):
        own = [row for row in gains if (row["design"], row["other"]) == (design, other)]
        pays = {
            width: [row["rule"] for row in own if row["width"] == width and row["low"] is not None and row["low"] > 0]
            for width in dict.fromkeys(row["width"] for row in own)
        }
        said = ". ".join(f"At {width}: {'; '.join(names) or 'none'}" for width, names in pays.items())
        found.append(f"Rules that pay beside {other} on {design}. {said}.")
    return found


def _error_against_width(width: Width, groups: Groups) -> Figure:
    axes: dict[str, Any] = {"x_unit": "count", "x_scale": "log", "y_unit": "percent", "y_scale": "root"}
    panels = []
    for design in width.designs:
        labels = dict.fromkeys(entry.label for entry in groups if entry.design == design)
        series = []
        for label in labels:
            rows = [_row(entry, group) for entry, group in groups.items() if (entry.design, entry.label) == (design, label)]
            rows.sort(key=lambda row: row["width"])
            x, y = tuple(float(row["width"]) for row in rows), tuple(row["test_error"] for row in rows)
            style = "line" if rows[0]["start"] == FABRICATED else "dotted"
            series.append(Series(name=label, x=x, y=y, style="dashed" if rows[0]["learner"] in MODELLED else style))
        panels.append(
            Panel(
                title=design, x_label="neurons of each hidden population", y_label="test error", series=tuple(series), **axes
            )
        )
    caption = (
        "Test error against width, mean over chips. Dashed: rules that need a model. Dotted: rules that follow a head start."
    )
    return Figure(name="error-against-width", caption=caption, panels=tuple(panels))
