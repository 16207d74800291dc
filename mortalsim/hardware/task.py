"""What a learner may know of the job: how many classes there are, and which inputs are image and which are label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mortalsim.checks import RangeError, ShapeError, check_whole


@dataclass(frozen=True)
class Task:
    """The job that a chip is trained for.

    Parameters
    ----------
    classes
        Number of classes; 0: nothing is labelled.
    label_lines
        Positions in x on which a label may be written, one a class; None: there is no room for a label.
    image_shape
        (height, width) or (height, width, channels) of the image; None: it has none.
    image_lines
        Positions in x that hold the image, in its own order; empty: all but the label's.

    Raises
    ------
    RangeError
        ``classes`` is negative, or the label lines are not one different position a class.
    """

    classes: int
    label_lines: tuple[int, ...] | None = None
    image_shape: tuple[int, ...] | None = None
    image_lines: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", check_whole("classes", self.classes, 0))
        object.__setattr__(self, "image_lines", _whole("image_lines", self.image_lines, 0))
        if self.image_shape is not None:
            object.__setattr__(self, "image_shape", _whole("image_shape", self.image_shape, 1))
        if self.label_lines is None:
            return
        lines = _whole("label_lines", self.label_lines, 0)
        object.__setattr__(self, "label_lines", lines)
        if len(lines) != self.classes or len(set(lines)) < len(lines) or min(lines, default=0) < 0:
            raise RangeError(
                f"label_lines: expected {self.classes} different positions from 0 on, one a class, found {lines}. "
                "Name one input a class, or None if no label may be written."
            )

    @classmethod
    def of(cls, data: Any) -> Task:
        """Return the task of a data set: its ``task``, or one made from its ``classes`` and what else it tells."""
        if isinstance(getattr(data, "task", None), Task):
            task: Task = data.task
            return task
        named = {name: getattr(data, name, None) for name in ("label_lines", "image_shape")}
        lines = named["label_lines"]
        return cls(
            data.classes,
            None if lines is None else _whole("label_lines", lines, 0),
            named["image_shape"],
            _whole("image_lines", getattr(data, "image_lines", ()), 0),
        )


def _whole(name: str, values: Any, low: int) -> tuple[int, ...]:
    """Return whole numbers of at least ``low`` as a tuple."""
    alone = isinstance(values, np.ndarray) and not values.ndim
    if isinstance(values, str) or not isinstance(values, Iterable) or alone:
        raise ShapeError(f"{name}: expected whole numbers, found {values!r}. Write a tuple of them.")
    return tuple(check_whole(name, value, low) for value in values)
