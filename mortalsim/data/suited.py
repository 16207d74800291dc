"""Data laid out for a chip: a sample spans all its inputs, side by side, also those that carry a label."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.data.base import Dataset
from mortalsim.hardware import Datasheet


def suited(data: Dataset, sheet: Datasheet) -> Dataset:
    """Return the data with samples that have as many numbers as the chip has inputs.

    - A chip with as many inputs as a sample has numbers takes the data as they are.
    - A chip with one input population more, of one line for each class, holds a neutral label there, 1 / classes on every
      line, until a learner writes over it. The other populations take the sample in order.
    - If nothing is labelled, that population is the last one whose size is the number of inputs that a sample lacks.

    Parameters
    ----------
    data
        Samples of (N, pixels).
    sheet
        The data sheet of the chip; its inputs stand side by side in a sample.

    Raises
    ------
    ShapeError
        The inputs fit neither way.
    """
    pixels, sizes = data.train_x.shape[1], [sheet.populations[name].size for name in sheet.inputs]
    if sum(sizes) == pixels:
        return data
    spare = sum(sizes) - pixels
    fits = [place for place, size in enumerate(sizes) if len(sizes) > 1 and size == spare]
    if not fits or data.classes not in (0, spare):
        named = ", ".join(f"{name} {size}" for name, size in zip(sheet.inputs, sizes, strict=True))
        raise ShapeError(
            f"data: expected samples of {sum(sizes)} numbers for the inputs of {sheet.design!r} ({named}), or that many "
            f"less one a class of a label population, found {pixels} numbers and {data.classes} classes in "
            f"{data.name!r}. Give the design inputs of that size, or choose other data."
        )
    first = sum(sizes[: fits[-1]])
    lines = tuple(range(first, first + spare))
    image = tuple(place for place in range(sum(sizes)) if place not in lines)
    train, valid, test = (_widened(x, image, spare) for x in (data.train_x, data.valid_x, data.test_x))
    label = lines if data.classes else None
    return dataclasses.replace(data, train_x=train, valid_x=valid, test_x=test, label_lines=label, image_lines=image)


def _widened(x: FloatArray, image: Sequence[int], spare: int) -> FloatArray:
    wide = np.full((len(x), len(image) + spare), 1 / spare, np.float32)
    wide[:, image] = x
    return wide
