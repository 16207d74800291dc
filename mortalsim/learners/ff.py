"""Forward-Forward: two forward passes, one of right labels and one of wrong, and an update local to each array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import expit, softmax

from mortalsim.checks import FloatArray, RangeError, ShapeError, check_between, check_name
from mortalsim.hardware import Chip, Datasheet, Delta, Outer, Overlaid, Port, Samples, Shrink, Tap
from mortalsim.learners.base import Batch, Info, Learner, State, half_linear
from mortalsim.objectives import cross_entropy, goodness
from mortalsim.parallel import cut, one_blas_thread, spread, workspace

#: Entries of a gradient that make one piece of work for a thread.
PIECE = 250_000

#: Samples of one read of a prediction, each image counted once for every label.
ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class ForwardForward(Learner):
    """Forward-Forward with the label in the input, after Hinton's MATLAB (``ffnew.m``, 2022).

    Every array but the last is trained to have a goodness (sum of squared activities) above its threshold for images that
    carry the right label and below it for images that carry a wrong one. The last array is a softmax head, trained by the
    delta rule on images that carry a neutral label; it also proposes the wrong labels.

    Parameters
    ----------
    rate, head_rate
        Step sizes of the hidden arrays and of the head, falling as `half_linear` says (0.01 and 0.1 in ``ffnew.m``).
    momentum
        Weight of the past in the running mean of the gradient, kept digitally and sent as `Delta`; 0 keeps nothing and
        sends `Outer`.
    decay, head_decay
        Weight decay per unit of step size, of hidden arrays and head, asked for by `Shrink`.
    shrink_every
        Steps between two requests to shrink; the factor makes up for the steps between.
    peer
        Pull of each neuron's mean activity towards its array's mean, on positive data, also where the neuron is off.
    label_lines
        Input lines that carry the label, one per class; None takes the first ones.
    label_strength
        What the right label's line carries; in a neutral label it is shared by all lines.
    threshold
        ``"width"``: the array's number of neurons, as in ``ffnew.m``. ``"running"``: running mean of the goodness of
        positive and negative data, which suits neurons whose activities are far from unit scale.
    temperature
        Of the logistic that turns goodness into a probability, in units of goodness (1 in ``ffnew.m``; higher suits
        noisy narrow arrays).
    skip
        Samples whose coefficient in the gradient, 1 less the probability of being told right, is below it are left out; late
        in training they are most. 0 keeps all; up to 0.3 the error changed by less than its spread
        (``benchmarks/skipping.md``).
    predict_by
        ``"goodness"``: one read per class with its label, goodness summed over hidden arrays but the first (unless it is
        the only one). ``"softmax"``: one read with a neutral label, the head's output.
    """

    name: ClassVar[str] = "ff"
    ports: ClassVar[tuple[Port, ...]] = (Port.TAPS, Port.OUTER, Port.DELTA, Port.SHRINK)

    epochs: int = 90
    batch_size: int = 50
    rate: float = 0.1
    head_rate: float = 0.1
    momentum: float = 0.9
    decay: float = 1e-3
    head_decay: float = 3e-3
    shrink_every: int = 50
    peer: float = 0.03
    label_lines: tuple[int, ...] | None = None
    label_strength: float = 1.0
    threshold: Literal["width", "running"] = "width"
    temperature: float = 3.0
    skip: float = 0.0
    predict_by: Literal["goodness", "softmax"] = "goodness"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("momentum", self.momentum, 0, 0.999999)
        check_between("temperature", self.temperature, 1e-6)
        check_between("skip", self.skip, 0, 1)
        lines = self.label_lines or ()
        if len(set(lines)) < len(lines) or min(lines, default=0) < 0:
            raise RangeError(f"label_lines: expected different lines from 0 on, found {lines}. Give one line per class.")
        check_between("shrink_every", self.shrink_every, 1)
        check_name("threshold", self.threshold, ("width", "running"))
        check_name("predict_by", self.predict_by, ("goodness", "softmax"))

    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        datasheet.require(self.name, *self.ports)
        classes = datasheet.n_outputs
        lines = np.arange(classes) if self.label_lines is None else np.asarray(self.label_lines)
        if len(datasheet.arrays) < 2 or lines.shape != (classes,) or lines.max() >= datasheet.n_inputs:
            raise ShapeError(
                f"label_lines: expected {classes} lines below n_inputs = {datasheet.n_inputs} on a chip of at least 2 "
                f"arrays, found lines {lines.tolist()} on {len(datasheet.arrays)} arrays. Give one line per class."
            )
        state: State = {"lines": lines, "steps": np.zeros(1, np.int64), "due": np.zeros(1)}
        for array, spec in enumerate(datasheet.arrays[:-1]):
            state[f"mean{array}"] = np.full(spec.n_out, 0.5, np.float32)
            state[f"threshold{array}"] = np.full(1, spec.n_out, np.float32)
            if self.momentum:
                state[f"gradient{array}"] = np.zeros(spec.shape, np.float32)
        return state

    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        classes = batch.targets.shape[1]
        last = len(chip.datasheet.arrays) - 1
        rate = half_linear(batch.progress)
        labels = _draw(batch.targets, rng)
        neutral = chip.read(self._neutral(chip, batch.x, state))
        loss, slope = cross_entropy(neutral.output, batch.targets)
        half = len(slope)
        halves = slice(half), slice(half, None)
        chip.write(Outer(last, neutral.taps[last].pre, slope, -rate * self.head_rate / half))
        wrong = _draw(softmax(np.where(np.arange(classes) == labels[:, None], -1000, neutral.output), axis=1), rng)
        pairs = np.eye(classes, dtype=np.float32)[np.stack([labels, wrong])]
        taps = chip.read(self._label(chip, batch.x, pairs, state)).taps
        state, mistakes = dict(state), 0.0
        for array in range(last):
            positive, negative = (Tap(array, taps[array].pre[rows], taps[array].post[rows]) for rows in halves)
            mistakes += self._train_array(chip, positive, negative, state, rate * self.rate) / last
        self._shrink(chip, state, rate)
        return state, {"loss": float(loss.mean()), "pair_errors": mistakes}

    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        if self.predict_by == "softmax":
            return chip.read(self._neutral(chip, x, state)).output
        classes = chip.datasheet.n_outputs
        hidden = len(chip.datasheet.arrays) - 1
        scores = []
        for part in np.array_split(x, min(len(x), max(1, len(x) * classes // ROWS))):
            labels = np.broadcast_to(np.eye(classes, dtype=np.float32)[:, None], (classes, len(part), classes))
            taps = chip.read(self._label(chip, part, labels, state)).taps
            total = sum(goodness(tap.post) for tap in taps[min(1, hidden - 1) : hidden])
            scores.append(np.reshape(total, (classes, len(part))).T)
        return np.concatenate(scores)

    def _train_array(self, chip: Chip, positive: Tap, negative: Tap, state: State, rate: float) -> float:
        """Update one hidden array and its entries of ``state``; return the fraction of pairs in the wrong order."""
        array, size = positive.array, len(positive.post)
        good, bad = goodness(positive.post), goodness(negative.post)
        mean = state[f"mean{array}"] = np.asarray(0.9 * state[f"mean{array}"] + 0.1 * positive.post.mean(axis=0))
        threshold = state[f"threshold{array}"]
        if self.threshold == "running":
            level = 0.5 * (good.mean() + bad.mean())
            threshold = 0.9 * threshold + 0.1 * level if state["steps"][0] else np.full(1, level, np.float32)
            state[f"threshold{array}"] = threshold
        up, down = expit((threshold - good) / self.temperature), -expit((bad - threshold) / self.temperature)
        some, others = ~(up < self.skip), ~(-down < self.skip)
        pre = [positive.pre[some], negative.pre[others]]
        post = [up[some, None] * positive.post[some], down[others, None] * negative.post[others]]
        if self.peer:  # the pull towards the mean is the same for every sample: all together make one row of it
            pre.append(positive.pre.mean(axis=0, keepdims=True))
            post.append(self.peer * size * (mean.mean() - mean)[None])
        self._ask(chip, array, np.concatenate(pre), np.concatenate(post) / np.float32(size), state, rate)
        return float(np.mean(bad > good))

    def _ask(self, chip: Chip, array: int, pre: FloatArray, post: FloatArray, state: State, rate: float) -> None:
        """Ask for a step along pre.T @ post, or along its running mean."""
        if self.momentum:
            gradient = state[f"gradient{array}"]
            remember(gradient, self.momentum, pre, np.float32(1 - self.momentum) * post)
            chip.write(Delta(array, gradient, rate))
        elif len(pre):  # every sample may have been skipped
            chip.write(Outer(array, pre, post, rate))

    def _shrink(self, chip: Chip, state: State, rate: float) -> None:
        """Ask for the weight decay that has come due, every ``shrink_every`` steps."""
        state["steps"] = state["steps"] + 1
        state["due"] = state["due"] + rate
        if state["steps"][0] % self.shrink_every:
            return
        last = len(chip.datasheet.arrays) - 1
        for array in range(last + 1):
            decay = self.head_rate * self.head_decay if array == last else self.rate * self.decay
            if decay:
                chip.write(Shrink(array, float(np.exp(-decay * state["due"][0]))))
        state["due"] = np.zeros(1)

    def _neutral(self, chip: Chip, x: FloatArray, state: State) -> Samples:
        classes = chip.datasheet.n_outputs
        return self._label(chip, x, np.full((1, len(x), classes), 1 / classes, np.float32), state)

    def _label(self, chip: Chip, x: FloatArray, labels: FloatArray, state: State) -> Samples:
        """Return ``x`` (B, n_inputs) with each set of ``labels`` (V, B, classes) written over the label lines."""
        overlaid = Overlaid(x, state["lines"], np.float32(self.label_strength) * labels)
        if chip.datasheet.normalised:
            return overlaid
        each = np.asarray(overlaid)  # then the first array's lines are at least of unit mean square, as in ffnew.m
        return np.asarray(each / (np.sqrt(np.mean(each * each, axis=1, keepdims=True)) + np.float32(1e-6)))


def remember(mean: FloatArray, memory: float, pre: FloatArray, post: FloatArray) -> None:
    """Make ``mean`` (n_in, n_out) ``memory`` times itself plus pre.T @ post, in place; pre (B, n_in), post (B, n_out)."""
    n_in, n_out = mean.shape

    def piece(first: int, last: int) -> None:
        rows = mean[first:last]
        rows *= np.float32(memory)
        rows += np.matmul(pre[:, first:last].T, post, out=workspace(last - first, n_out))

    with one_blas_thread:
        spread(piece, cut(n_in, max(1, PIECE // n_out)))


def _draw(probabilities: FloatArray, rng: np.random.Generator) -> np.ndarray:
    """Return one class per row of ``probabilities`` (B, classes)."""
    cumulative = np.cumsum(probabilities, axis=1)
    # Below the row's own last value, so that rounding cannot draw a class of probability 0 at the end.
    place = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
    return np.asarray((place >= cumulative).sum(axis=1))
