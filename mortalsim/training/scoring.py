"""What a trained chip answers, and how often that is right: overall and class by class."""

from __future__ import annotations

import numpy as np

from mortalsim.checks import ChipFault, FloatArray, check_array, check_labels, check_whole
from mortalsim.hardware import Chip, Task
from mortalsim.learners.base import Learner, State

#: What a fault during training most likely comes from.
CAUSE = "Training stopped. The likely cause is a step size that is too large for this chip: try a `rate` ten times smaller."


def scores(chip: Chip, learner: Learner, task: Task, x: FloatArray, state: State, batch_size: int = 100) -> FloatArray:
    """Return the learner's scores (N, classes) for samples ``x`` (N, n_inputs), read in batches; costs reads.

    Raises
    ------
    ShapeError, RangeError
        There are no samples, or ``batch_size`` is no whole number of at least 1.
    ChipFault
        A score is NaN or infinite.
    """
    check_whole("batch_size", batch_size, 1)
    x = check_array("x", x, {"N": None, "n_inputs": chip.datasheet.n_inputs}, "Write one row per sample.")
    parts = [learner.predict(chip, task, x[cut : cut + batch_size], state) for cut in range(0, len(x), batch_size)]
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        raise ChipFault(f"{learner.name}: predicted {found[~np.isfinite(found)][0]}. {CAUSE}")
    return found


def confusion(
    chip: Chip, learner: Learner, task: Task, x: FloatArray, labels: np.ndarray, state: State, batch_size: int = 100
) -> np.ndarray:
    """Return how many samples of each class got each answer, (classes, classes): row the label, column the answer."""
    x = check_array("x", x, {"N": None, "n_inputs": chip.datasheet.n_inputs}, "Write one row per sample.")
    labels = check_labels("labels", labels, task.classes, len(x))
    answers = scores(chip, learner, task, x, state, batch_size).argmax(axis=1)
    counts = np.zeros((task.classes, task.classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def error_rate(
    chip: Chip, learner: Learner, task: Task, x: FloatArray, labels: np.ndarray, state: State, batch_size: int = 100
) -> float:
    """Return the fraction of samples ``x`` (N, n_inputs) whose largest score is not at ``labels`` (N,); costs reads."""
    return error_of(confusion(chip, learner, task, x, labels, state, batch_size))


def error_of(counts: np.ndarray) -> float:
    """Return the fraction of wrong answers in a `confusion`."""
    total = counts.sum()
    return float((total - np.trace(counts)) / total)


def recall_of(counts: np.ndarray) -> tuple[float | None, ...]:
    """Return the share of each class that was answered right; None for a class without samples."""
    total = counts.sum(axis=1)
    return tuple(float(counts[k, k] / total[k]) if total[k] else None for k in range(len(total)))
