"""Forward-Forward: two forward passes, one of right labels and one of wrong, and an update local to each population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import softmax

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import AtLeastOne, Many, Rate
from mortalsim.hardware import Chip, Datasheet, Overlaid, Samples, Task, Trace
from mortalsim.learners._contrast import Contrast
from mortalsim.learners._goodness import GOODNESS
from mortalsim.learners.base import Batch, Info, State, output_of, require_hidden
from mortalsim.learners.schedules import half_linear

#: Samples of one read of a prediction, each image counted once for every label.
ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class ForwardForward(Contrast):
    """Forward-Forward with the label in the input, after Hinton's MATLAB (``ffnew.m``, 2022).

    Every hidden population is trained to have a goodness above its threshold for images that carry the right label and below
    it for images that carry a wrong one, at every tick that it answers. The output population, if there is one, is a softmax
    head, trained by the delta rule on images that carry a neutral label; it also proposes the wrong labels. Without one all
    wrong labels are equally likely.

    Parameters
    ----------
    rate, head_rate
        Dimensionless step sizes of the hidden populations and of the head, as `steps.ask` has them, falling as
        `half_linear` says. ``ffnew.m`` has 0.01 a weight, which is 7.9 for 784 lines and a bias, and 0.1 for a head.
        The update is a mean over the ticks learned, so that a rate means the same for any number of them.
    momentum
        Weight of the past in the running mean of the gradient, kept digitally and sent as `Delta`; 0 keeps nothing and
        sends `Outer`.
    decay, head_decay
        Weight decay per unit of step, weight per unit of product, of arrays into hidden populations and head, asked for by
        `Shrink`; 0: no request.
    shrink_every
        Steps between two requests to shrink; the factor makes up for the steps between.
    peer
        Pull of each neuron's mean activity towards its population's mean, on positive data, also where the neuron is off.
    goodness
        ``"squares"``: sum of squared activities, as in ``ffnew.m``. ``"top"``: of the largest ones. ``"bursts"``: mean
        fourth power over squared mean square, which no common gain can disturb.
    top
        Share of the neurons that count for ``goodness = "top"``.
    objective
        ``"threshold"``: positive data above it, negative data below, as in ``ffnew.m``. ``"margin"``: positive data above
        their own negative twins, wherever that is (SymBa, Lee and Song 2023).
    threshold
        ``"running"``: running mean of the goodness of all data, from the first step's on, nine tenths of it old.
        ``"chip"``: the mean goodness of the first step's data, which every chip and width has for itself. ``"width"``: the
        population's number of neurons, as in ``ffnew.m``.
    temperature
        Of the logistic that turns goodness into a probability, in units of the threshold over the root of the number of
        neurons, by which the goodness of random data is spread (0.03 in ``ffnew.m``: 1 at a threshold of 1000).
    collaboration
        Share of the other populations' margins that counts in a population's own (Lorberbom et al. 2023); 0: none.
    skip
        Samples are left out whose coefficient in the gradient, 1 minus the probability of the right answer, is below it.
        Late in training these are most samples. 0 keeps all. Up to 0.3 the error changed by less than its spread over
        chips (``benchmarks/skipping.md``).
    center
        Share of what rows have in common that is left to the bias lines of the hidden populations, as `steps.ask` has it; 0:
        none.
    head_center
        The same for the head.
    label_strength
        What the right label's line carries, in units of the largest input that the first step's images have, whatever the
        scale of the data; in a neutral label it is shared by all lines. It has no effect where the label is a population of
        its own with a normaliser behind it.
    predict_by
        ``"goodness"``: one read per class with its label, goodness summed over hidden populations. ``"softmax"``: one read
        with a neutral label, the head's output.
    score_first
        Whether the first hidden population's goodness counts for a prediction. It does where there is no other. ``ffnew.m``
        leaves it out; with top-down connections the paper counts all.
    learn_ticks, score_ticks
        Last ticks of each population whose goodness is learned, and is summed for a prediction; 0: all of them.
    score_early
        Ticks at the end that are left out of ``score_ticks``.

    State
    -----
    steps : int64 (1,)
        Steps taken.
    largest : float32 (1,)
        Largest input of the first step's images, in absolute value; 1 before it.
    due {population} : float64 (1,)
        Of each population that learns: weight per unit of product asked for since the last request to shrink.
    mean {population} : float32 (size,)
        Of each hidden population: running mean of its activities on positive data, a tenth of it from the last step.
    threshold {population} : float32 (1,)
        Of each hidden population: the goodness above which an image counts as right.
    gradient{array} : float32 (array)
        Of each array into a hidden population, where ``momentum`` is above 0: running mean of its products.
    rows{array} : float32 (rows)
        Of each array into a hidden population, with ``center``, or into the head, with ``head_center``: running mean of what
        each of its rows carries.

    Info
    ----
    loss : nats
        Mean cross-entropy of the head on neutral labels; on a chip without an output ``pair_errors``.
    pair_errors : fraction
        Share of the batch's images whose wrong label has more goodness than the right one, mean over hidden populations and
        the ticks learned.
    positive {population} : number
        Of each hidden population: mean goodness of images with the right label, in units of its threshold.
    negative {population} : number
        The same with a wrong label.
    """

    name: ClassVar[str] = "ff"
    signals: ClassVar[str] = "the label"
    epochs: AtLeastOne = 90
    batch_size: AtLeastOne = 50
    head_rate: Rate = 6.5
    label_strength: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    predict_by: Literal["goodness", "softmax"] = "goodness"
    score_first: bool = False
    score_ticks: Many = 0
    score_early: Many = 0

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        return super().guessing_loss(sheet, classes) if sheet.output else 0.5

    def written_label(self) -> float | None:
        return self.label_strength

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        require_hidden(sheet, self.name)
        _lines(task)
        if max(_lines(task)) >= sheet.n_inputs:
            raise ShapeError(
                f"label_lines: expected positions below n_inputs = {sheet.n_inputs}, found {list(_lines(task))}. "
                "Name one input a class."
            )
        if sheet.output is not None:
            sheet.output_of(self.name, task.classes)
        elif self.predict_by == "softmax":
            sheet.output_of("ff with predict_by = 'softmax'")
        return self.init_contrast(sheet) | {"largest": np.ones(1, np.float32)}

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        rate, state = half_linear(batch.progress), dict(state)
        if not state["steps"][0]:
            state["largest"] = np.array([np.abs(batch.x).max(initial=0) or 1], np.float32)
        labels = _draw(batch.labelled(self.name), rng)
        info, guess = self._train_head(chip, task, batch, state, rate)
        wrong = _draw(softmax(np.where(np.arange(task.classes) == labels[..., None], -1000, guess), axis=-1), rng)
        pairs = np.eye(task.classes, dtype=np.float32)[np.stack([labels, wrong])]
        trace = chip.read(self.present(chip, task, batch.x, pairs, state))
        pairs_info = self.learn_pairs(chip, trace, state, rate)
        self.shrink(chip, state)
        return state, {"loss": pairs_info["pair_errors"]} | pairs_info | info

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        if self.predict_by == "softmax":
            return output_of(chip.read(self._neutral(chip, task, x, state), want="output"))
        hidden, measure = chip.datasheet.hidden, GOODNESS[self.goodness]
        scores = []
        for part in np.array_split(x, min(len(x), max(1, len(x) * task.classes // ROWS))):
            labels = np.broadcast_to(
                np.eye(task.classes, dtype=np.float32)[:, None], (task.classes, len(part), task.classes)
            )
            trace = chip.read(self.present(chip, task, part, labels, state), want="states")
            counted = hidden if self.score_first else hidden[min(1, len(hidden) - 1) :]
            states = [self._scored(trace, name) for name in counted]
            total = sum(measure(post, self.top).value for posts in states for post in posts)
            scores.append(np.reshape(total, (task.classes, len(part))).T)
        return np.concatenate(scores)

    def _scored(self, trace: Trace, name: str) -> list[FloatArray]:
        """Return the states whose goodness counts for a prediction."""
        posts = list(trace.late(name, self.score_ticks + self.score_early if self.score_ticks else 0).values())
        return posts[: max(1, len(posts) - self.score_early)]

    def _train_head(self, chip: Chip, task: Task, batch: Batch, state: State, rate: float) -> tuple[Info, FloatArray]:
        """Train the output on a neutral label; return its loss and its outputs, which say which wrong labels are hard."""
        if chip.datasheet.output is None:
            return {}, np.zeros((batch.x.shape[-2], task.classes), np.float32)
        trace = chip.read(self._neutral(chip, task, batch.x, state))
        loss = self.learn_output(chip, trace, batch.labelled(self.name), state, rate * self.head_rate)
        return {"loss": float(loss.mean())}, output_of(trace)

    def _neutral(self, chip: Chip, task: Task, x: FloatArray, state: State) -> Samples:
        return self.present(chip, task, x, np.full((1, len(x), task.classes), 1 / task.classes, np.float32), state)

    def present(self, chip: Chip, task: Task, x: FloatArray, labels: FloatArray, state: State) -> Samples:
        """Return ``x`` (B, n_inputs) with each set of ``labels`` (V, B, classes) written over the label lines."""
        strength = np.float32(self.label_strength) * state["largest"]
        overlaid = Overlaid(x, np.asarray(_lines(task)), strength * labels)
        bare = _bare_inputs(chip.datasheet, task)
        if not bare:
            return overlaid
        each = np.asarray(overlaid)  # then the inputs are at least of unit mean square, as in ffnew.m
        for first, last in bare:
            part = each[..., first:last]
            part /= np.sqrt(np.mean(part * part, axis=-1, keepdims=True)) + np.float32(1e-6)
        return each


def _bare_inputs(sheet: Datasheet, task: Task) -> list[tuple[int, int]]:
    """Return where in x the inputs stand that no normaliser follows; populations for the label alone stay as they are."""
    lines = set(_lines(task))
    spans = [sheet.span(spec.source) for spec in sheet.arrays if spec.source in sheet.inputs and spec.normaliser == "none"]
    return sorted({(first, last) for first, last in spans if not set(range(first, last)) <= lines})


def _lines(task: Task) -> tuple[int, ...]:
    """Return the positions on which labels are written; raise `ShapeError` where there are none."""
    if task.label_lines is None or task.classes < 2:
        raise ShapeError(
            f"ff: expected a task of at least 2 classes with a line for each label, found {task.classes} classes and "
            f"label_lines = {task.label_lines}. Name one input a class as label_lines of the data."
        )
    return task.label_lines


def _draw(probabilities: FloatArray, rng: np.random.Generator) -> np.ndarray:
    """Return one class per row of ``probabilities`` (B, classes)."""
    cumulative = np.cumsum(probabilities, axis=-1)
    # Below the row's own last value, so that rounding cannot draw a class of probability 0 at the end.
    place = rng.random((len(cumulative), 1)) * cumulative[..., -1:]
    return np.asarray((place >= cumulative).sum(axis=-1))
