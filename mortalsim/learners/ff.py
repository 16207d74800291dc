"""Forward-Forward: two forward passes, one of right labels and one of wrong, and an update local to each population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit, softmax

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import AtLeastOne, Many, Rate, Share
from mortalsim.hardware import Chip, Datasheet, Overlaid, Port, Samples, Shrink, Task, Trace
from mortalsim.learners.base import Batch, Info, Learner, Pull, State, ask, output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.objectives import cross_entropy, goodness

#: Samples of one read of a prediction, each image counted once for every label.
ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class ForwardForward(Learner):
    """Forward-Forward with the label in the input, after Hinton's MATLAB (``ffnew.m``, 2022).

    Every hidden population is trained to have a goodness (sum of squared activities) above its threshold for images that
    carry the right label and below it for images that carry a wrong one, at every tick that it answers. The output
    population, if there is one, is a softmax head, trained by the delta rule on images that carry a neutral label; it also
    proposes the wrong labels. Without one all wrong labels are equally likely.

    Parameters
    ----------
    rate, head_rate
        Step sizes of the hidden populations and of the head, falling as `half_linear` says (0.01 and 0.1 in ``ffnew.m``).
        The update is a mean over the ticks learned, so that a rate means the same for any number of them.
    momentum
        Weight of the past in the running mean of the gradient, kept digitally and sent as `Delta`; 0 keeps nothing and
        sends `Outer`.
    decay, head_decay
        Weight decay per unit of step size, of arrays into hidden populations and head, asked for by `Shrink`; 0: no request.
    shrink_every
        Steps between two requests to shrink; the factor makes up for the steps between.
    peer
        Pull of each neuron's mean activity towards its population's mean, on positive data, also where the neuron is off.
    label_strength
        What the right label's line carries; in a neutral label it is shared by all lines. It has no effect where the label
        is a population of its own with a normaliser behind it.
    threshold
        ``"width"``: the population's number of neurons, as in ``ffnew.m``. ``"running"``: running mean of the goodness of
        positive and negative data, which suits neurons whose activities are far from unit scale.
    temperature
        Of the logistic that turns goodness into a probability, in units of goodness (1 in ``ffnew.m``; higher suits
        noisy narrow arrays).
    skip
        Samples are left out whose coefficient in the gradient, 1 minus the probability of the right answer, is below it.
        Late in training these are most samples. 0 keeps all. Up to 0.3 the error changed by less than its spread over
        chips (``benchmarks/skipping.md``).
    predict_by
        ``"goodness"``: one read per class with its label, goodness summed over hidden populations but the first (unless it
        is the only one). ``"softmax"``: one read with a neutral label, the head's output.
    learn_ticks, score_ticks
        Last ticks of each population whose goodness is learned, and is summed for a prediction; 0: all of them.

    State
    -----
    steps : int64 (1,)
        Steps taken.
    due : float64 (1,)
        Schedule factors summed up since the last request to shrink, steps.
    mean {population} : float32 (size,)
        Of each hidden population: running mean of its activities on positive data, a tenth of it from the last step.
    threshold {population} : float32 (1,)
        Of each hidden population: the goodness above which an image counts as right.
    gradient{array} : float32 (array)
        Of each array into a hidden population, where ``momentum`` is above 0: running mean of its products.

    Info
    ----
    loss : nats
        Mean cross-entropy of the head on neutral labels; on a chip without an output ``pair_errors``.
    pair_errors : fraction
        Share of the batch's images whose wrong label has more goodness than the right one, mean over hidden populations and
        the ticks learned.
    """

    name: ClassVar[str] = "ff"
    epochs: AtLeastOne = 90
    batch_size: AtLeastOne = 50
    rate: Rate = 0.1
    head_rate: Rate = 0.1
    momentum: Annotated[float, Field(ge=0, le=0.999999)] = 0.9
    decay: Rate = 1e-3
    head_decay: Rate = 3e-3
    shrink_every: AtLeastOne = 50
    peer: Rate = 0.03
    label_strength: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    threshold: Literal["width", "running"] = "width"
    temperature: Annotated[float, Field(ge=1e-6, le=1e9)] = 3.0
    skip: Share = 0.0
    predict_by: Literal["goodness", "softmax"] = "goodness"
    learn_ticks: Many = 0
    score_ticks: Many = 0

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        return super().guessing_loss(sheet, classes) if sheet.output else 0.5

    def written_label(self) -> float | None:
        return self.label_strength

    @property
    def ports(self) -> tuple[Port, ...]:
        decays = self.decay or self.head_decay
        return (Port.TAPS, Port.OUTER, *[Port.DELTA] * bool(self.momentum), *[Port.SHRINK] * bool(decays))

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        if not sheet.hidden:
            raise ShapeError(
                f"ff needs a hidden population, which the design {sheet.design!r} lacks. Add one to its design."
            )
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
        state: State = {"steps": np.zeros(1, np.int64), "due": np.zeros(1)}
        for name in sheet.hidden:
            size = sheet.populations[name].size
            state[f"mean {name}"] = np.full(size, 0.5, np.float32)
            state[f"threshold {name}"] = np.full(1, size, np.float32)
            if self.momentum:
                state |= {f"gradient{array}": np.zeros(sheet.arrays[array].shape, np.float32) for array in sheet.into(name)}
        return state

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        sheet, rate = chip.datasheet, half_linear(batch.progress)
        targets = batch.labelled(self.name)
        labels = _draw(targets, rng)
        info, guess = self._train_head(chip, task, batch, rate)
        wrong = _draw(softmax(np.where(np.arange(task.classes) == labels[..., None], -1000, guess), axis=-1), rng)
        pairs = np.eye(task.classes, dtype=np.float32)[np.stack([labels, wrong])]
        trace = chip.read(self._label(chip, task, batch.x, pairs))
        state, mistakes = dict(state), 0.0
        for name in sheet.hidden:
            mistakes += self._train_population(chip, trace, name, state, rate * self.rate) / len(sheet.hidden)
        self._shrink(chip, state, rate)
        return state, {"loss": mistakes, "pair_errors": mistakes} | info

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        if self.predict_by == "softmax":
            return output_of(chip.read(self._neutral(chip, task, x), want="output"))
        hidden = chip.datasheet.hidden
        scores = []
        for part in np.array_split(x, min(len(x), max(1, len(x) * task.classes // ROWS))):
            labels = np.broadcast_to(
                np.eye(task.classes, dtype=np.float32)[:, None], (task.classes, len(part), task.classes)
            )
            trace = chip.read(self._label(chip, task, part, labels), want="states")
            states = [trace.late(name, self.score_ticks) for name in hidden[min(1, len(hidden) - 1) :]]
            total = sum(goodness(post) for by_tick in states for post in by_tick.values())
            scores.append(np.reshape(total, (task.classes, len(part))).T)
        return np.concatenate(scores)

    def _train_head(self, chip: Chip, task: Task, batch: Batch, rate: float) -> tuple[Info, FloatArray]:
        """Train the output on a neutral label; return its loss and its outputs, which say which wrong labels are hard."""
        output, size = chip.datasheet.output, batch.x.shape[-2]
        if output is None:
            return {}, np.zeros((size, task.classes), np.float32)
        trace = chip.read(self._neutral(chip, task, batch.x))
        loss, slope = cross_entropy(output_of(trace), batch.labelled(self.name))
        ask(chip, trace, output, dict.fromkeys(trace.late(output, 1), slope), -rate * self.head_rate / size)
        return {"loss": float(loss.mean())}, output_of(trace)

    def _train_population(self, chip: Chip, trace: Trace, name: str, state: State, rate: float) -> float:
        """Update the arrays into one population and its entries of ``state``; return the share of pairs in wrong order."""
        states = trace.late(name, self.learn_ticks)
        size, ticks = next(iter(states.values())).shape[-2] // 2, len(states)
        each = {tick: goodness(post) for tick, post in states.items()}
        good, bad = ({tick: both[..., rows] for tick, both in each.items()} for rows in (slice(size), slice(size, None)))
        level = sum(post[..., :size, :].mean(axis=-2) for post in states.values()) / ticks
        mean = state[f"mean {name}"] = np.asarray(0.9 * state[f"mean {name}"] + 0.1 * level)
        threshold = self._threshold(name, state, float(np.mean(list(each.values()))))
        factors, pulls, heard, mistakes = {}, {}, {}, 0.0
        # The pull towards the mean is the same for every sample, so one row stands for all of them.
        weights = np.repeat(np.array([1 / (size * ticks), 0], np.float32), size)
        pull = Pull(weights, np.float32(self.peer) * (mean.mean() - mean))
        for tick, post in states.items():
            up, down = expit((threshold - good[tick]) / self.temperature), -expit((bad[tick] - threshold) / self.temperature)
            coefficients = np.concatenate([up, down], axis=-1)
            heard[tick] = ~(np.abs(coefficients) < self.skip)  # NaN is heard, and stops the run
            coefficients = np.where(heard[tick], coefficients, 0)
            factors[tick] = coefficients[..., None].astype(np.float32) / np.float32(size * ticks) * post
            pulls[tick] = pull
            mistakes += float(np.mean(bad[tick] > good[tick])) / ticks
        memory = state if self.momentum else None
        ask(
            chip, trace, name, factors, rate, memory=memory, momentum=self.momentum, heard=heard if self.skip else None,
            pulls=pulls if self.peer else None,
        )  # fmt: skip
        return mistakes

    def _threshold(self, name: str, state: State, level: float) -> FloatArray:
        threshold = state[f"threshold {name}"]
        if self.threshold == "running":
            threshold = 0.9 * threshold + 0.1 * level if state["steps"][0] else np.full(1, level, np.float32)
            state[f"threshold {name}"] = threshold
        return threshold

    def _shrink(self, chip: Chip, state: State, rate: float) -> None:
        """Ask for the weight decay that has come due, every ``shrink_every`` steps."""
        state["steps"] = state["steps"] + 1
        state["due"] = state["due"] + rate
        if state["steps"][0] % self.shrink_every:
            return
        for name in chip.datasheet.fed:
            head = name == chip.datasheet.output
            decay = self.head_rate * self.head_decay if head else self.rate * self.decay
            if decay:
                for array in chip.datasheet.into(name):
                    chip.write(Shrink(array, float(np.exp(-decay * state["due"][0]))))
        state["due"] = np.zeros(1)

    def _neutral(self, chip: Chip, task: Task, x: FloatArray) -> Samples:
        return self._label(chip, task, x, np.full((1, len(x), task.classes), 1 / task.classes, np.float32))

    def _label(self, chip: Chip, task: Task, x: FloatArray, labels: FloatArray) -> Samples:
        """Return ``x`` (B, n_inputs) with each set of ``labels`` (V, B, classes) written over the label lines."""
        overlaid = Overlaid(x, np.asarray(_lines(task)), np.float32(self.label_strength) * labels)
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
