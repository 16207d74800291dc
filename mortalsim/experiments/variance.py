"""How noisy is each rule's estimate of the gradient, how does that grow with the network, and does it obey theory?

A learner takes many steps on one batch while its write requests are only recorded, so that the chip's weights stay. The
average of K recorded updates is compared with the true gradient of what the learner descends: the cross-entropy for weight
and activity perturbation, its own populations' goodness for Forward-Forward.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from mortalsim import build
from mortalsim.checks import DesignError, FloatArray
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.chips.writing import replayed
from mortalsim.experiments import _trial
from mortalsim.experiments._parallel import Jobs, run_tasks
from mortalsim.experiments._trial import DATASET_HELP, DatasetName, DesignName
from mortalsim.experiments.base import Experiment
from mortalsim.hardware import Datasheet, Delta, Nudge, Outer, Replay, Samples, Shrink, Task, Trace, Want, WriteRequest
from mortalsim.learners import Batch, Learner
from mortalsim.learners.base import output_of
from mortalsim.objectives import cross_entropy, goodness, one_hot
from mortalsim.report.results import Column, Figure, Panel, Results, Series
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
    "ff": {"threshold": "width", "temperature": 1.0, "momentum": 0.0, "peer": 0.0, "decay": 0.0, "head_decay": 0.0},
    "ap": {"probes": 1, "exact_output": False, "temperature": 1.0},
    "wp": {"probes": 1, "temperature": 1.0},
}
REPEATS = 32  # reads that estimate the noise of a sample's loss


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
    widths: tuple[int, ...] = Field((16, 48, 144), min_length=1, description="neurons of each of the two hidden populations")
    probes: int = Field(1024, ge=4, description="most probes averaged")
    batch: int = Field(50, ge=1, description="samples in the batch on which all updates are made")
    chip: int = Field(0, ge=0, description="number of the chip: which individual of the run is probed")
    jobs: Jobs = 0

    def run(self) -> Results:
        if build.find_design(self.design).long:
            raise DesignError(
                f"design: expected one in short form, as `variance` varies its widths, found {self.design!r}, which lists "
                "its populations. Choose a design with `sizes`."
            )
        tasks = [_Task(self, width, learner) for width in self.widths for learner in self.learners]
        rows = tuple(run_tasks(_work, tasks, self.jobs, "variance"))
        panels = tuple(_panel(f"width {width}", [row for row in rows if row["width"] == width]) for width in self.widths)
        caption = (
            "Cosine of the average of K updates with the true gradient, on one chip at three widths: of the cross-entropy "
            "for wp and ap, of its own arrays' goodness for ff, which is another objective. Dots: measured, bars "
            "one standard deviation over groups of K. Dashed: theory for the mean square, read noise included; the "
            "mean of a single probe's cosine lies 20 % below it."
        )
        figure = Figure(name="cosine-vs-probes", caption=caption, panels=panels, across=3)
        return Results(columns=COLUMNS, rows=rows, figures=(figure,), notes=NOTES)


@dataclass(frozen=True)
class _Task:
    """One learner at one width."""

    variance: Variance
    width: int
    learner: str


class _Recorder:
    """A chip whose write requests are added up instead of carried out."""

    def __init__(self, chip: SimulatedChip) -> None:
        self.chip = chip
        self.inputs: list[FloatArray] = []
        self.clear()

    @property
    def datasheet(self) -> Datasheet:
        return self.chip.datasheet

    def clear(self) -> None:
        """Forget all requests and inputs."""
        self.inputs = []
        self.changes = [np.zeros(spec.shape, np.float32) for spec in self.chip.datasheet.arrays]

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        self.inputs.append(np.asarray(x))
        return self.chip.read(x, nudge, want)

    def write(self, request: WriteRequest) -> None:
        if isinstance(request, Replay):
            for place, rows in replayed(request.terms, self.chip.arrays).items():
                self.changes[place] += rows(0, self.chip.arrays[place].crossbar.shape[0]).reshape(self.changes[place].shape)
        elif isinstance(request, Outer):
            spec = self.chip.datasheet.arrays[request.array]
            self.changes[request.array] += np.float32(request.rate) * spec.product(request.pre, request.post)
        elif isinstance(request, Delta):
            self.changes[request.array] += np.float32(request.scale) * request.matrix
        elif isinstance(request, Shrink):
            held = oracle.weights(self.chip)[request.array]
            self.changes[request.array] += ((request.factor - 1) * held).astype(np.float32)
        else:
            held = oracle.weights(self.chip)[request.array]
            self.changes[request.array] += (request.weights - held).astype(np.float32)


def _work(task: _Task) -> dict[str, Any]:
    variance = task.variance
    streams = Streams(variance.seed)
    dataset = build.load_data(variance.dataset, streams, labelled=True)
    design, dataset = build.fitted(variance.design, dataset, (task.width, task.width))
    chip = build.make_chip(design, streams, variance.chip)
    learner = _trial.make_learner(task.learner, settings=BARE_RULES[task.learner])
    rows = slice(variance.batch)
    batch = Batch(dataset.train_x[rows], one_hot(np.asarray(dataset.train_y)[rows], dataset.classes), 0.0)
    own = streams.child("variance", task.learner, task.width)
    updates, truth = _updates(_Recorder(chip), learner, dataset.task, batch, variance.probes, own)
    counts = [2**k for k in range(variance.probes.bit_length())]
    groups = [_cosines(updates, truth, count) for count in counts]
    theory, noiseless = _theory(chip, learner, batch, task.learner)
    along = updates @ (truth / np.linalg.norm(truth))
    measured = float(np.square(updates).sum(axis=1).mean() / along.mean() ** 2) - 1
    return {
        "design": variance.design,
        "learner": task.learner,
        "chips": 1,
        "width": task.width,
        "weights": int(updates.shape[1]),
        "probes": counts,
        "cosine": [float(group.mean()) for group in groups],
        "cosine_sd": [float(group.std()) for group in groups],
        "cosine_one": float(groups[0].mean()),
        "cosine_all": float(groups[-1].mean()),
        "p_measured": measured,
        "p_theory": theory,
        "p_noiseless": noiseless,
        "probes_15": measured / math.tan(math.radians(15)) ** 2,
    }


def _updates(
    recorder: _Recorder, learner: Learner, task: Task, batch: Batch, probes: int, streams: Streams
) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``probes`` steps asked for, (probes, weights), and the true direction of descent, (weights,)."""
    state = learner.init(recorder.datasheet, task, streams.generator("init"))
    forward = learner.name == "ff"
    updates, truths = [], []
    for probe in range(probes):
        recorder.clear()
        fresh = {name: array.copy() for name, array in state.items()}
        learner.step(recorder, task, batch, fresh, streams.generator("step", probe))
        places = _hidden_arrays(recorder.datasheet) if forward else range(len(recorder.changes))
        updates.append(_flat(recorder.changes[place] for place in places))  # ff trains its head by another rule
        if forward:
            right, wrong = np.split(recorder.inputs[-1], 2)
            truths.append(_goodness_ascent(recorder.chip, right, wrong))
    if forward:  # its objective holds the wrong labels that it draws: the mean over all draws is what it descends
        return np.array(updates), np.mean(truths, axis=0)
    return np.array(updates), -_flat(oracle.loss_and_gradient(recorder.chip, batch.x, batch.labelled(learner.name))[1])


def _hidden_arrays(sheet: Datasheet) -> list[int]:
    return [array for name in sheet.hidden for array in sheet.into(name)]


def _goodness_ascent(chip: SimulatedChip, positive: FloatArray, negative: FloatArray) -> np.ndarray:
    """Return the exact derivative of the hidden populations' log-likelihood of telling ``positive`` from ``negative``."""
    model = oracle.model(chip)
    total = [np.zeros(spec.shape) for spec in chip.datasheet.arrays]
    for x, sign in ((positive, 1.0), (negative, -1.0)):
        trace = model.forward(x.astype(np.float64))
        gains = model.gains(trace)
        slopes = {}
        for name in chip.datasheet.hidden:
            for tick, post in trace.states[name].items():
                wrongness = expit(sign * (post.shape[1] - goodness(post)))
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
    noise = losses.var(axis=0, ddof=1) / (2 * amplitude**2)
    strength = float(gradient @ gradient)
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
