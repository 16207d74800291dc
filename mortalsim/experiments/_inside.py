"""What a trained chip shows inside: fields of its first layer, mixed images, how it settles, how much each population knows.

Weights are the oracle's; everything else is read from the chip.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import prod
from typing import Final, TypeAlias

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.data import Dataset
from mortalsim.hardware import Samples, Task
from mortalsim.learners import Learner
from mortalsim.learners._goodness import GOODNESS
from mortalsim.learners.ff import ForwardForward
from mortalsim.learners.ff_unsupervised import UnsupervisedForwardForward
from mortalsim.training import Result, error_rate

#: Neurons whose fields are shown, in rows of so many.
SHOWN, ACROSS = 32, 8

#: Images that are mixed for a picture, and samples that heads are fitted to, tested on, and settle.
MIXED, FITTED, TESTED, SETTLED = 6, 5000, 2000, 500

#: Penalty of a head's ridge regression, relative to the features' mean square.
RIDGE: Final = 1e-3

#: Digits behind the point that a picture keeps.
DIGITS: Final = 3

Picture: TypeAlias = tuple[tuple[float, ...], ...]
ByName: TypeAlias = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Inside:
    """What is shown of one chip; whatever the chip or its rule does not have is empty.

    Parameters
    ----------
    fields
        Incoming weights of neurons of the first hidden population, each where its inputs stand in the image, in units of the
        largest; from -1 to 1.
    mixed
        Rows of an image, the next one, and the hybrid of both.
    right, wrong
        By hidden population: mean goodness, in units of the threshold, at every tick, with the right label, and with the
        wrong one that ends with most goodness.
    known, judged
        By hidden population: error on validation data, a fraction, of a linear head on its activities alone, and of a
        prediction by its goodness alone.
    by_head
        Error on test data, a fraction, of the output's answer to a neutral label, in one read; None: the rule is not `ff`,
        or the chip has no output.
    told
        By name: what the rule reported of itself, one an epoch; None where it reported nothing.
    """

    fields: Picture = ()
    mixed: Picture = ()
    right: ByName = field(default_factory=dict)
    wrong: ByName = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)
    judged: dict[str, float] = field(default_factory=dict)
    by_head: float | None = None
    told: dict[str, tuple[float | None, ...]] = field(default_factory=dict)


def look_inside(chip: SimulatedChip, learner: Learner, data: Dataset, result: Result) -> Inside:
    """Return what is to be seen of a chip that ``learner`` has trained."""
    told = {
        name: tuple(record.info.get(name) for record in result.history)
        for name in sorted({name for record in result.history for name in record.info})
    }
    scores = _scores(chip, learner, data, result)
    settling = {name: own for name, own in scores.items() if len(own) > 1}
    return Inside(
        fields=first_fields(chip, data.task),
        mixed=_mixed(learner, data),
        right={name: _means(own, data.valid_y, right=True) for name, own in settling.items()},
        wrong={name: _means(own, data.valid_y, right=False) for name, own in settling.items()},
        known=_known(chip, learner, data, result),
        judged={name: _error(own[-1].T, data.valid_y) for name, own in scores.items()},
        by_head=_by_head(chip, learner, data, result),
        told=told,
    )


def first_fields(chip: SimulatedChip, task: Task) -> Picture:
    """Return a mosaic of what neurons of the first hidden population weigh in the image; empty where there is no image."""
    sheet, shape = chip.datasheet, (task.image_shape or ())[:2]
    lines = task.image_lines or tuple(range(sheet.n_inputs))
    if len(shape) < 2 or prod(shape) != len(lines) or not sheet.hidden:
        return ()
    place = {line: k for k, line in enumerate(lines)}
    size = sheet.populations[sheet.hidden[0]].size
    canvases = np.zeros((size, len(lines)))
    for array, weights in zip(sheet.arrays, oracle.weights(chip), strict=True):
        if array.target != sheet.hidden[0] or array.source not in sheet.inputs:
            continue
        first, last = sheet.span(array.source)
        n_in, n_out = array.shape[-2:]
        rows = np.arange(n_in)[None] if array.rows is None else array.rows
        columns = np.arange(n_out)[None] if array.columns is None else array.columns
        for block, own in enumerate(weights.reshape(-1, n_in, n_out)):
            # Bias lines, grounded rows and label lines have no place in the image.
            seen = [
                (k, place[first + row]) for k, row in enumerate(rows[block]) if first + row < last and first + row in place
            ]
            feeding = columns[block] < size
            for k, pixel in seen:
                canvases[columns[block][feeding], pixel] += own[k, feeding]
    chosen = canvases[np.linspace(0, size - 1, min(SHOWN, size)).astype(int)]
    return _mosaic(chosen / np.maximum(np.abs(chosen).max(axis=1, keepdims=True), 1e-12), shape)


def _mixed(learner: Learner, data: Dataset) -> Picture:
    task = data.task
    x = data.train_x[:MIXED]
    lines = np.array(task.image_lines or range(x.shape[-1]))
    shape = task.image_shape or ()
    if not isinstance(learner, UnsupervisedForwardForward) or len(shape) < 2 or prod(shape[:2]) != len(lines):
        return ()  # no images, or more than one channel
    hybrids = learner.hybrids(task, x, np.random.default_rng(0))
    rows = np.stack([x, np.roll(x, -1, axis=0), hybrids], axis=1)[..., lines].reshape(3 * len(x), -1)
    return _mosaic(rows / max(float(np.abs(rows).max()), 1e-12), shape[:2], across=3 * 2)


def _mosaic(images: FloatArray, shape: tuple[int, ...], across: int = ACROSS) -> Picture:
    """Return images (n, pixels) side by side, a line of zeros between them."""
    down = -(-len(images) // across)
    height, width = shape
    canvas = np.zeros((down * (height + 1) - 1, across * (width + 1) - 1))
    for k, image in enumerate(images):
        top, left = k // across * (height + 1), k % across * (width + 1)
        canvas[top : top + height, left : left + width] = image[: height * width].reshape(height, width)
    return tuple(tuple(round(float(value), DIGITS) for value in row) for row in canvas)


def _scores(chip: SimulatedChip, learner: Learner, data: Dataset, result: Result) -> dict[str, FloatArray]:
    """Return, by hidden population, goodness of validation data with each label, in units of the threshold.

    Its shape is (ticks, classes, samples).
    """
    if not isinstance(learner, ForwardForward) or data.valid_y is None:
        return {}
    task, state, measure = data.task, result.state, GOODNESS[learner.goodness]
    found: dict[str, list[FloatArray]] = {name: [] for name in chip.datasheet.hidden}
    for label in np.eye(task.classes, dtype=np.float32):
        x = data.valid_x[:SETTLED]
        labels = np.broadcast_to(label, (1, len(x), task.classes))
        trace = chip.read(learner.present(chip, task, x, labels, state), want="states")
        for name, own in found.items():
            ticks = [measure(post, learner.top).value.ravel() for post in trace.late(name).values()]
            own.append(np.stack(ticks) / np.maximum(state[f"threshold {name}"], 1e-30))
    return {name: np.stack(own, axis=1) for name, own in found.items()}


def _means(scores: FloatArray, labels: np.ndarray | None, *, right: bool) -> tuple[float, ...]:
    """Return the mean over samples of the goodness (ticks, classes, samples) with the right, or the best wrong, label."""
    samples = np.arange(scores.shape[-1])
    targets = _classes(labels)[: len(samples)]
    if right:
        chosen = targets
    else:
        last = scores[-1].copy()
        last[targets, samples] = -np.inf
        chosen = last.argmax(axis=0)
    return tuple(float(value) for value in scores[:, chosen, samples].mean(axis=-1))


def _known(chip: SimulatedChip, learner: Learner, data: Dataset, result: Result) -> dict[str, float]:
    if data.train_y is None or data.valid_y is None or data.task.classes < 2:
        return {}
    fitted = _states(chip, learner, data, data.train_x[:FITTED], result)
    tested = _states(chip, learner, data, data.valid_x[:TESTED], result)
    targets = np.eye(data.task.classes)[_classes(data.train_y)[:FITTED]]
    return {name: _error(_head(fitted[name], targets, tested[name]), data.valid_y) for name in fitted}


def _by_head(chip: SimulatedChip, learner: Learner, data: Dataset, result: Result) -> float | None:
    if not isinstance(learner, ForwardForward) or chip.datasheet.output is None or data.test_y is None:
        return None
    other = dataclasses.replace(learner, predict_by="softmax")
    return error_rate(chip, other, data.task, data.test_x, data.test_y, result.state)


def _states(chip: SimulatedChip, learner: Learner, data: Dataset, x: FloatArray, result: Result) -> dict[str, FloatArray]:
    """Return the last states of the hidden populations, a label's lines being neutral, each of unit mean square."""
    task = data.task
    parts = []
    for part in np.array_split(x, max(1, len(x) // 1000)):
        neutral = np.full((1, len(part), task.classes), 1 / task.classes, np.float32)
        samples: Samples = part
        if isinstance(learner, ForwardForward):
            samples = learner.present(chip, task, part, neutral, result.state)
        trace = chip.read(samples, want="states")
        parts.append({name: next(iter(trace.late(name, 1).values())) for name in chip.datasheet.hidden})
    states = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in chip.datasheet.hidden}
    return {name: own / (np.sqrt(np.mean(own**2, axis=-1, keepdims=True)) + 1e-6) for name, own in states.items()}


def _head(features: FloatArray, targets: FloatArray, others: FloatArray) -> FloatArray:
    """Return what a ridge regression from ``features`` to ``targets`` says of ``others``."""
    mean, middle = features.mean(axis=0), targets.mean(axis=0)
    centred = features - mean
    squares = centred.T @ centred
    squares[np.diag_indices_from(squares)] += RIDGE * np.trace(squares) / len(squares) + 1e-9
    weights = np.linalg.solve(squares, centred.T @ (targets - middle))
    return np.asarray((others - mean) @ weights + middle)


def _error(scores: FloatArray, labels: np.ndarray | None) -> float:
    return float(np.mean(scores.argmax(axis=-1) != _classes(labels)[: len(scores)]))


def _classes(labels: np.ndarray | None) -> np.ndarray:
    """Return labels as classes, the likeliest one of a distribution."""
    found = np.asarray(labels)
    return found.argmax(axis=-1) if found.ndim > 1 else found.astype(int)
