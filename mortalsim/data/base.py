"""What every data set gives, and how its training part is divided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray
from mortalsim.files import digest_of
from mortalsim.hardware import Task
from mortalsim.streams import Streams

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in three parts.

    Parameters
    ----------
    name
        The data set's name.
    train_x, valid_x, test_x
        Images as rows, (N, pixels), float32 in 0..1.
    train_y, valid_y, test_y
        Labels, (N,), int64 from 0 to ``classes - 1``; None: nobody has labelled that part.
    classes
        Number of classes; 0 where nothing is labelled.
    label_lines
        As many positions as there are classes over which a learner may write the label: quiet pixels, or lines of their own.
        None: there are none.
    image_shape
        (height, width) or (height, width, channels); None: it is no image.
    image_lines
        Positions that hold the image; empty: all of them.
    """

    name: str
    train_x: FloatArray
    train_y: Labels | None
    valid_x: FloatArray
    valid_y: Labels | None
    test_x: FloatArray
    test_y: Labels | None
    classes: int
    label_lines: tuple[int, ...] | None = None
    image_shape: tuple[int, ...] | None = None
    image_lines: tuple[int, ...] = ()

    @property
    def task(self) -> Task:
        """What a learner may know of it."""
        return Task(self.classes, self.label_lines, self.image_shape, self.image_lines)

    def digest(self) -> str:
        """Return hexadecimal digits that stand for all of its contents."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parts = (self.train_x, self.train_y, self.valid_x, self.valid_y, self.test_x, self.test_y)
        return digest_of(*parts, [self.classes], self.label_lines, self.image_shape, self.image_lines)


class Source(ABC):
    """One data set that can be loaded by its name, which is that of its file."""

    @abstractmethod
    def load(self, streams: Streams) -> Dataset:
        """Return the data, split by streams of its own.

        Raises
        ------
        DataError
            The files cannot be found, fetched or read.
        """


def stratified_split(labels: Labels, fraction: float, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Return the indices of two random parts, (rest, chosen), each holding every class in proportion.

    Parameters
    ----------
    labels
        (N,), whole numbers from 0.
    fraction
        Share of each class, between 0 and 1, that goes to the chosen part, rounded to whole samples.
    rng
        Where chance comes from.
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[rng.permutation(members)[: round(fraction * len(members))]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
