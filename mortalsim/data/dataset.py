"""What a loaded data set is, and how its training part is divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray

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
        Labels, (N,), int64 from 0 to ``classes - 1``.
    classes
        Number of classes.
    label_lines
        As many pixels as there are classes, quiet ones, over which a learner may write the label.
    image_shape
        (height, width).
    """

    name: str
    train_x: FloatArray
    train_y: Labels
    valid_x: FloatArray
    valid_y: Labels
    test_x: FloatArray
    test_y: Labels
    classes: int
    label_lines: tuple[int, ...]
    image_shape: tuple[int, int]


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
