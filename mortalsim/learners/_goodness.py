"""Goodness of a population: a number a sample, and the direction in which each activity raises it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.objectives import goodness as squares_of


class Goodness(NamedTuple):
    """Value (..., B) and direction (..., B, n), of the activities' own scale."""

    value: FloatArray
    direction: FloatArray


def squares(post: FloatArray, share: float) -> Goodness:
    """Sum of squared activities (Hinton 2022, section 2); the direction is half the derivative, as in ``ffnew.m``."""
    return Goodness(squares_of(post), post)


def top(post: FloatArray, share: float) -> Goodness:
    """Sum of the largest ``share`` of the squared activities: only the neurons that answer most are taught."""
    count = max(1, round(share * post.shape[-1]))
    least = np.partition(post * post, -count, axis=-1)[..., -count, None]
    chosen = np.where(post * post >= least, post, np.float32(0))
    return Goodness(squares_of(chosen), chosen)


def bursts(post: FloatArray, share: float) -> Goodness:
    """Mean fourth power over squared mean square: how much few neurons say; the same for activities of any scale.

    The direction is the derivative of its logarithm times half the mean square, which is of the activities' own scale.
    """
    square = post * post
    m2 = square.mean(axis=-1, keepdims=True)
    m4 = (square * square).mean(axis=-1, keepdims=True)
    silent = m2 <= 0
    m2, m4 = np.where(silent, np.float32(1), m2), np.where(silent, np.float32(1), m4)
    direction = 2 * post * (square * m2 / m4 - 1)
    return Goodness(np.asarray(np.where(silent, 0, m4 / (m2 * m2))[..., 0]), np.asarray(direction))


#: A goodness takes activities (..., B, n) and the share of neurons that count.
Measure: TypeAlias = Callable[[FloatArray, float], Goodness]

GOODNESS: Final[dict[str, Measure]] = {"squares": squares, "top": top, "bursts": bursts}
