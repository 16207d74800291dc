"""Distillation: a student chip learns to answer as a teacher chip does, on images that nobody has labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from mortalsim.checks import FloatArray, check_between
from mortalsim.hardware import Chip, Task
from mortalsim.learners.base import Learner, State
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Hooks, Result, scores, train


@dataclass(frozen=True, eq=False)
class Trained:
    """A chip, the learner that trained it, the task and the learner's state: together they answer."""

    chip: Chip
    learner: Learner
    task: Task
    state: State

    def scores(self, x: FloatArray, batch_size: int = 100) -> FloatArray:
        """Return scores (B, classes) for ``x`` (B, n_inputs), read in batches."""
        return scores(self.chip, self.learner, self.task, x, self.state, batch_size)

    def answers(self, x: FloatArray) -> np.ndarray:
        """Return the class of the largest score, (B,)."""
        return np.asarray(self.scores(x).argmax(axis=1))


@dataclass(frozen=True, eq=False)
class _Lesson:
    """The teacher's answers as training data: soft targets to learn from, its first choices to validate against."""

    train_x: FloatArray
    train_y: FloatArray
    valid_x: FloatArray
    valid_y: np.ndarray
    task: Task

    @property
    def classes(self) -> int:
        return self.task.classes


def soft_targets(teacher: Trained, x: FloatArray, temperature: float) -> FloatArray:
    """Return what the teacher believes of ``x``: softmax of its scores over ``temperature``, (B, classes).

    Source: Hinton, Vinyals and Dean 2015, equation 1. Each sample is read once.
    """
    check_between("temperature", temperature, 1e-3)
    return np.asarray(softmax(teacher.scores(x) / np.float32(temperature), axis=1), dtype=np.float32)


def distill(
    teacher: Trained,
    student: Chip,
    learner: Learner,
    images: FloatArray,
    valid_images: FloatArray,
    streams: Streams,
    temperature: float = 1.0,
    *,
    checkpoint: Checkpoint | None = None,
    hooks: Hooks | None = None,
) -> Result:
    """Train ``student`` by ``learner`` to answer as ``teacher`` does; no label is used anywhere.

    Parameters
    ----------
    teacher
        A trained chip; it is read once for every image, and never written.
    student
        Another chip, which may differ in everything but its inputs.
    learner
        The student's rule. If it softens outputs by a temperature of its own, that should equal ``temperature``.
    images, valid_images
        Transfer images (N, n_inputs) and (M, n_inputs). The validation error is disagreement with the teacher.
    streams
        Source of the shuffles and of the learner's draws.
    temperature
        Softens the teacher's answers; above 1 shows more of how it ranks the wrong classes.
    checkpoint, hooks
        As in `mortalsim.training.train`. A teacher that answers anew must be the one that it was.
    """
    targets = soft_targets(teacher, images, temperature)
    lesson = _Lesson(images, targets, valid_images, teacher.answers(valid_images), teacher.task)
    return train(student, learner, lesson, streams, checkpoint=checkpoint, hooks=hooks or Hooks())
