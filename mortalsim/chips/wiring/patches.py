"""Patches: local receptive fields, one block a location with weights of its own."""

from __future__ import annotations

from math import prod
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from mortalsim.checks import ShapeError
from mortalsim.chips.footprint import MOST_LINES
from mortalsim.chips.wiring.base import Shape, Tables, check_blocks

#: A side, a distance or a border, pixels.
_Side: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
_Border: TypeAlias = Annotated[int, Field(ge=0, le=1023)]


def patches(below: Shape, above: Shape, size: _Side, stride: _Side = 1, pad: _Border = 0, bias: bool = True) -> Tables:
    """Return a block for each location of ``above``: it sees all channels of one ``size`` x ``size`` window of ``below``.

    Weights are not shared, as in section 3.2 of Hinton 2022 (Forward-Forward). Window (r, c) begins at row r stride - pad
    and column c stride - pad; what of it lies beyond the image's border is cut, that is, grounded.

    Parameters
    ----------
    below
        (height, width) or (height, width, channels).
    above
        (rows, columns, channels): as many rows and columns as there are windows, the last of which may overhang.
    size, stride, pad
        Side of a window, distance of two of them, and how far the first begins before the border; pixels.
    bias
        Whether each block has a bias line.
    """
    if len(below) not in (2, 3) or len(above) != 3 or size < 1 or stride < 1 or not 0 <= pad < size:
        raise ShapeError(
            "patches: expected a source (height, width[, channels]), a target (rows, columns, channels), size and stride of "
            f"at least 1 and pad from 0 to size - 1, found {below}, {above}, {size}, {stride} and {pad}."
        )
    height, width, channels = (*below, 1)[:3]
    starts = [_starts(pixels, places, size, stride, pad) for pixels, places in zip((height, width), above, strict=False)]
    check_blocks("patches", prod(above[:2]), size * size * channels + 1, above[2])
    if prod((height + 2 * size, width + 2 * size, channels)) > MOST_LINES:
        raise ShapeError(
            f"patches: expected an image of at most {MOST_LINES} pixels with a border of size = {size} around it, found "
            f"{below}. Take a smaller size."
        )
    ground = height * width * channels + 1
    image = np.full((height + 2 * size, width + 2 * size, channels), ground)
    image[size : size + height, size : size + width] = np.arange(ground - 1).reshape(height, width, channels)
    windows = [image[size + r :][:size, size + c :][:, :size].ravel() for r in starts[0] for c in starts[1]]
    ends = np.full((len(windows), 1), ground - bias)
    return np.hstack([windows, ends]), np.arange(np.prod(above)).reshape(len(windows), above[2])


def _starts(pixels: int, places: int, size: int, stride: int, pad: int) -> list[int]:
    """Return where the windows begin along one side."""
    whole, overhang = divmod(pixels + 2 * pad - size, stride)
    most = whole + 1 + (overhang > 0 and (whole + 1) * stride - pad < pixels)
    if not max(whole + 1, 1) <= places <= most:
        raise ShapeError(
            f"patches: windows of {size} every {stride}, {pad} before the border, on {pixels} pixels make {whole + 1}"
            + (f" or, the last one cut, {most}" if most > whole + 1 else "")
            + f" places, found {places}. Give the target that many rows and columns."
        )
    return [place * stride - pad for place in range(places)]
