"""Shifted copies of images: a training sample is moved by a few pixels, anew in every epoch."""

from __future__ import annotations

from math import prod

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.hardware import Task


def check_shift(task: Task, n_inputs: int, most: int) -> None:
    """Raise unless the samples of a task are images that can be moved by up to ``most`` pixels.

    Raises
    ------
    ShapeError
        They have no shape, or are not larger than that.
    """
    lines = len(task.image_lines) or n_inputs
    if task.image_shape is None or len(task.image_shape) < 2 or prod(task.image_shape) != lines:
        raise ShapeError(
            f"shift: expected samples that are images of (height, width), found image_shape = {task.image_shape} for "
            f"{lines} inputs. Leave shift out."
        )
    if most >= min(task.image_shape[:2]):
        raise ShapeError(
            f"shift: expected less than the {min(task.image_shape[:2])} pixels of an image's shorter side, found {most}. "
            "Write shift=1, say."
        )


def draw_shifts(rng: np.random.Generator, samples: int, most: int) -> np.ndarray:
    """Return (samples, 2): pixels down and to the right, each from -most to most, all equally likely."""
    return rng.integers(-most, most + 1, (samples, 2))


def shifted(x: FloatArray, shifts: np.ndarray, task: Task) -> FloatArray:
    """Return samples ``x`` (B, n_inputs) whose images are moved by ``shifts`` (B, 2); what comes in at a border is 0.

    Inputs that hold no image stay. Labels are written later, so that they stay as well.
    """
    lines = np.array(task.image_lines or range(x.shape[-1]))
    shape = task.image_shape or ()
    most = int(np.abs(shifts).max(initial=0))
    images = x[:, lines].reshape(len(x), *shape)
    padded = np.pad(images, ((0, 0), (most, most), (most, most), *[(0, 0)] * (len(shape) - 2)))
    rows = most - shifts[:, :1] + np.arange(shape[0])
    columns = most - shifts[:, 1:] + np.arange(shape[1])
    moved = padded[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]]
    result = x.copy()
    result[:, lines] = moved.reshape(len(x), -1)
    return result
