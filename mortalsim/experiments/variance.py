"""How noisy is each rule's estimate of the gradient, how does that grow with the network, and does it obey theory?

A learner takes many steps on one batch while its write requests are only recorded, so that the chip's weights stay. The
average of K recorded updates is compared with the true gradient of what the learner descends: the cross-entropy for weight
and activity perturbation, its own populations' goodness for Forward-Forward.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from mortalsim import build
from mortalsim.checks import DesignError, FloatArray, RangeError
from mortalsim.chips import Design, SimulatedChip, oracle
from mortalsim.data import suited
from mortalsim.experiments import _trial
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._parallel import Jobs
from mortalsim.experiments._recorder import Recorder, Seen
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName
from mortalsim.experiments.base import Experiment
from mortalsim.hardware import Datasheet, Task
from mortalsim.learners import Batch, Learner
from mortalsim.learners.base import output_of
from mortalsim.learners.wp import WeightPerturbation
from mortalsim.objectives import cross_entropy, goodness, one_hot
from mortalsim.report.results import Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams

COLUMNS = (
    Column(key="width", heading="width", unit="count"),
    Column(key="learner", heading="learner"),
    Column(key="weights", heading="weights", unit="count"),
    Column(key="cosine_one", heading="cosine, 1 probe", unit="number"),
    Column(key="cosine_all", heading="cosine, most probes", unit="number"),
    Column(key="p_measured", heading="P measured", unit="count"),
    Column(key="p_theory", heading="P theory", unit="count"),
    Column(key="p_noiseless", heading="P without read noise", unit="count"),
    Column(key="probes_15", heading="probes to 15°", unit="count"),
)
NOTES = (
    "cos² = K / (K + P) after K independent probes; P counts the directions over which an estimate spreads. P theory "
    "holds the chip's read noise as measured on repeated reads. P measured: mean squared length of an update over its "
    "squared mean along the gradient, less 1. 15° from the true gradient need 13.9 P probes.",
)
BARE_RULES: dict[
    str, dict[str, Any]
] = {  # the bare rules: one probe, a fixed objective, no memory of earlier steps, every array probed
    "ff": {
        "threshold": "width",
        "temperature": 1.0,
        "momentum": 0.0,
        "peer": 0.0,
        "decay": 0.0,
        "head_decay": 0.0,
        "center": 0.0,
        "head_center": 0.0,
    },
    "ap": {"probes": 1, "exact_output": False, "temperature": 1.0, "center": 0.0},
    "wp": {"probes": 1, "temperature": 1.0},
}
REPEATS = 32  # reads that estimate the noise of a sample's loss


@dataclass(frozen=True)
class Estimate:
    """How noisy one learner's estimate of the gradient is at one width.

    Parameters
    ----------
    learner, width, weights
        The rule, neurons of a hidden population, and weights that the update concerns.
    probes, cosine, cosine_sd
        Numbers of probes averaged; mean and spread of the cosine with the true gradient.
    cosine_one, cosine_all
        For one probe and for the most.
    p_measured, p_theory, p_noiseless
        P in cos² = K / (K + P): measured, by theory, by theory without read noise; None where there is none.
    probes_15
        Probes to 15 degrees from the gradient.
    """

    learner: str
    width: int
    weights: int
    probes: tuple[int, ...]
    cosine: tuple[float, ...]
    cosine_sd: tuple[float, ...]
    cosine_one: float
    cosine_all: float
    p_measured: float | None
    p_theory: float | None
    p_noiseless: float | None
    probes_15: float | None
    chips: int = 1


class Variance(Experiment):
    """Cosine of averaged updates with the true gradient, against the number of probes."""

    expected: ClassVar[str] = (
        "cos² = K / (K + P). For weight perturbation P is the number of weights less one; for activity perturbation with "
        "one sample P is about the number of neurons, and a batch divides it by about its size (Werfel et al. 2005; Ren "
        "et al. 2023). Read noise adds to P in proportion to its variance over that of the probe's effect. Mismatch of "
        "the nudge ports lets the cosine end a little below 1. Forward-Forward probes nothing: only its draw of wrong "
        "labels and the read noise make its update vary, and since it does not know the neurons' slopes its cosine may "
        "end below 1 where these are not those of a relu."
    )

    learners: tuple[Literal["ff", "ap", "wp"], ...] = Field(
        ("ff", "wp", "ap"), min_length=1, description="learners to look at: ff, ap, wp"
    )
    design: DesignName = Field("mild", description="design, or path of a design file")
    dataset: DatasetName = Field("digits", description=DATASET_HELP)
    widths: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (16, 48, 144), min_length=1, description="neurons of each of the two hidden populations"
    )
    probes: int = Field(1024, ge=4, le=1_000_000, description="most probes averaged")
    batch: int = Field(50, ge=1, le=1_000_000, description="samples in the batch on which all updates are made")
    chip: int = Field(0, ge=0, lt=2**63, description="number of the chip: which individual of the run is probed")
    jobs: Jobs = 0

    row: ClassVar[type] = Estimate

    def used_learners(self) -> dict[str, Learner]:
        return {name: _trial.make_learner(name, settings=BARE_RULES[name]) for name in self.learners}

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        return {f"{self.design}, width {width}": (self._design(inputs, width), (self.chip,)) for width in self.widths}

    def _design(self, inputs: Inputs, width: int) -> Design:
        if inputs.designs[self.design].long:
            raise DesignError(
                f"design: expected one in short form, as `variance` varies its widths, found {self.design!r}, which lists "
                "its populations. Choose a design with `sizes`."
            )
        return inputs.fitted(self.design, (width, width))

    def tasks(self, inputs: Inputs) -> list[Probing]:
        dataset = build.load_data(inputs.dataset, labelled=True)
        if self.batch > len(dataset.train_x):
            raise RangeError(
                f"batch: expected at most {len(dataset.train_x)}, the training samples of {dataset.name!r}, found "
                f"{self.batch}. Write {len(dataset.train_x)} for all of them."
            )
        designs = {width: self._design(inputs, width) for width in self.widths}
        sizes = self.probes, self.batch, self.chip
        return [
            Probing(designs[width], self.design, width, inputs.learners[name], *sizes, inputs.checked_data)
            for width in self.widths
            for name in self.learners
        ]

    @staticmethod
    def work(task: Probing, keeper: Keeper) -> Estimate:
        return _probed(task, keeper)

    def results(self, inputs: Inputs, found: Sequence[tuple[Probing, Estimate]]) -> Results:
        rows = tuple({"design": task.design_name, **dataclasses.asdict(row)} for task, row in found)
        panels = tuple(_panel(f"width {width}", [row for row in rows if row["width"] == width]) for width in self.widths)
        caption = (
            "Cosine of the average of K updates with the true gradient, on one chip at three widths: of the cross-entropy "
            "for wp and ap, of its own arrays' goodness for ff, which is another objective. Dots: measured, bars "
            "one standard deviation over groups of K. Dashed: theory for the mean square, read noise included; the "
            "mean of a single probe's cosine lies 20 % below it."
        )
        figure = Figure(name="cosine-vs-probes", caption=caption, panels=panels, across=3)
        still = [f"{row['learner']} at width {row['width']}" for row in rows if row["p_measured"] is None]
        warnings = (
            (f"no direction to compare with: {', '.join(still)}. The true gradient or every update is zero.",)
            if still
            else ()
        )
        return Results(columns=COLUMNS, rows=rows, figures=(figure,), notes=NOTES, warnings=warnings)


@dataclass(frozen=True)
class Probing:
    """One learner at one width.

    Parameters
    ----------
    design, design_name
        The design of this width, and what the field calls it.
    width
        Neurons of each hidden population.
    learner
        The bare rule.
    probes, batch, chip
        As the experiment's fields.
    data
        The data set.
    """

    design: Design
    design_name: str
    width: int
    learner: Learner
    probes: int
    batch: int
    chip: int
    data: Data

    @property
    def name(self) -> str:
        """Learner and width."""
        return f"{self.learner.name}-{self.width}"


def _probed(task: Probing, keeper: Keeper) -> Estimate:
    streams, learner = Streams(task.data.seed), task.learner
    dataset = suited(task.data.load(), task.design.datasheet())
    chip = build.make_chip(task.design, streams, task.chip)
    rows = slice(task.batch)
    batch = Batch(dataset.train_x[rows], one_hot(np.asarray(dataset.train_y)[rows], dataset.classes), 0.0)
    own = streams.child("variance", learner.name, task.width)
    updates, truth = _updates(Recorder(chip), learner, dataset.task, batch, task.probes, own, keeper)
    counts = sorted({*(2**k for k in range(task.probes.bit_length())), task.probes})
    groups = [_cosines(updates, truth, count) for count in counts]
    theory, noiseless = _theory(chip, learner, batch, learner.name)
    length = np.linalg.norm(truth)
    along = float((updates @ (truth / length)).mean()) if length else 0.0
    measured = float(np.square(updates).sum(axis=1).mean() / along**2) - 1 if along else None
    return Estimate(
        learner=learner.name,
        width=task.width,
        weights=int(updates.shape[1]),
        probes=tuple(counts),
        cosine=tuple(float(group.mean()) for group in groups),
        cosine_sd=tuple(float(group.std()) for group in groups),
        cosine_one=float(groups[0].mean()),
        cosine_all=float(groups[-1].mean()),
        p_measured=measured,
        p_theory=theory,
        p_noiseless=noiseless,
        probes_15=None if measured is None else measured / math.tan(math.radians(15)) ** 2,
    )


def _updates(
    recorder: Recorder,
    learner: Learner,
    task: Task,
    batch: Batch,
    probes: int,
    streams: Streams,
    keeper: Keeper | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``probes`` steps asked for, (probes, weights), and the true direction of descent, (weights,)."""
    state = learner.init(recorder.datasheet, task, streams.generator("init"))
    forward = learner.name == "ff"
    seen = Seen(recorder, learner, streams, probes, keeper)
    while len(seen.updates) < probes:
        probe = len(seen.updates)
        recorder.clear()
        fresh = {name: array.copy() for name, array in state.items()}
        learner.step(recorder, task, batch, fresh, streams.generator("step", probe))
        places = _hidden_arrays(recorder.datasheet) if forward else range(len(recorder.changes))
        # Each population has a step of its own; without it an update is along the gradient. ff trains its head otherwise.
        update = _flat(recorder.changes[place] / recorder.steps[place] for place in places)
        seen.add(update, _goodness_ascent(recorder.chip, *np.split(recorder.inputs[-1], 2)) if forward else None)
    if forward:  # its objective holds the wrong labels that it draws: the mean over all draws is what it descends
        return np.array(seen.updates), np.mean(seen.truths, axis=0)
    truth = -_flat(oracle.loss_and_gradient(recorder.chip, batch.x, batch.labelled(learner.name))[1])
    return np.array(seen.updates), truth


def _hidden_arrays(sheet: Datasheet) -> list[int]:
    return [array for name in sheet.hidden for array in sheet.into(name)]


def _goodness_ascent(chip: SimulatedChip, positive: FloatArray, negative: FloatArray) -> np.ndarray:
    """Return the exact derivative of the hidden populations' log-likelihood of telling ``positive`` from ``negative``.

    It is multiplied by the temperature, in units of goodness, which is the root of the number of neurons.
    """
    model = oracle.model(chip)
    total = [np.zeros(spec.shape) for spec in chip.datasheet.arrays]
    for x, sign in ((positive, 1.0), (negative, -1.0)):
        trace = model.forward(x.astype(np.float64))
        gains = model.gains(trace)
        slopes = {}
        for name in chip.datasheet.hidden:
            for tick, post in trace.states[name].items():
                wrongness = expit(sign * (post.shape[1] - goodness(post)) / np.sqrt(post.shape[1]))
                slopes[name, tick] = 2 * sign * wrongness[:, None] * post * gains[name, tick]
        total = [old + new for old, new in zip(total, model.products(trace, slopes), strict=True)]
    return _flat(total[place] for place in _hidden_arrays(chip.datasheet))


def _cosines(updates: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Return the cosines of the means of disjoint groups of ``count`` updates with the truth."""
    groups = updates[: len(updates) // count * count].reshape(-1, count, updates.shape[1]).sum(axis=1)
    lengths = np.linalg.norm(groups, axis=1) * np.linalg.norm(truth)
    return np.asarray(groups @ truth / np.maximum(lengths, np.finfo(np.float64).tiny))  # no update at all: no alignment


def _theory(chip: SimulatedChip, learner: Learner, batch: Batch, name: str) -> tuple[float | None, float | None]:
    """Return P of cos² = K / (K + P), with the read noise and without it; None where no theory is known.

    Antithetic probes with independent signs. Weight perturbation: P = N - 1 for N weights. Activity perturbation, with
    errors d_bl of sample b and array l, inputs x_bl and n_l neurons: P = sum_bl (n_l |d_b|^2 - |d_bl|^2) |x_bl|^2 / |B g|^2,
    g being the gradient of the mean loss. A standard deviation v of a loss that is read adds v^2 / (2 s^2) to the squared
    slope, s being the amplitude.
    """
    if name == "ff" or any(answer.tick for answer in chip.datasheet.timetable):
        return None, None
    model, targets = oracle.model(chip), batch.labelled(name)
    trace = model.forward(batch.x.astype(np.float64))
    slopes = model.backward(trace, cross_entropy(output_of(trace), targets)[1])
    gradient = _flat(oracle.loss_and_gradient(chip, batch.x, targets)[1])
    losses = np.array([cross_entropy(output_of(chip.read(batch.x, want="output")), targets)[0] for _ in range(REPEATS)])
    amplitude: float = learner.amplitude  # type: ignore[attr-defined]
    if isinstance(learner, WeightPerturbation):
        _, amplitude = learner.sizes(chip.datasheet)
    noise = losses.var(axis=0, ddof=1) / (2 * amplitude**2)
    strength = float(gradient @ gradient)
    if not strength:
        return None, None
    if name == "wp":
        return len(gradient) * (1 + float(noise.sum()) / (len(noise) ** 2 * strength)) - 1, len(gradient) - 1.0
    inputs = [np.square(tap.pre).sum(axis=1) for tap in trace.taps]
    errors = [slopes[chip.datasheet.arrays[tap.array].target, tap.tick] for tap in trace.taps]
    own = [np.square(error).sum(axis=1) for error in errors]
    scale = strength * len(noise) ** 2
    probed = sum(x * error.shape[1] for x, error in zip(inputs, errors, strict=True))
    noiseless = float((probed * sum(own) - sum(x * d for x, d in zip(inputs, own, strict=True))).sum()) / scale
    return noiseless + float((probed * noise).sum()) / scale, noiseless


def _panel(title: str, rows: Iterable[dict[str, Any]]) -> Panel:
    series = []
    for row in rows:
        x = tuple(float(count) for count in row["probes"])
        series.append(Series(name=row["learner"], x=x, y=tuple(row["cosine"]), spread=tuple(row["cosine_sd"]), style="dots"))
        if row["p_theory"] is not None:
            y = tuple((k / (k + row["p_theory"])) ** 0.5 for k in x)
            series.append(Series(name=row["learner"], x=x, y=y, style="dashed"))
    axes: dict[str, Any] = {"x_scale": "log", "x_unit": "count", "y_scale": "log"}
    return Panel(
        title=title, x_label="probes averaged, K", y_label="cosine with the true gradient", series=tuple(series), **axes
    )


def _flat(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])
