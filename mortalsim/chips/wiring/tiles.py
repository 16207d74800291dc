"""Tiles: a dense array cut into crossbars of a bounded size; a block a tile."""

from __future__ import annotations

from math import prod
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from mortalsim.checks import ShapeError
from mortalsim.chips.footprint import MOST_NEURONS
from mortalsim.chips.wiring.base import Shape, Tables, check_blocks

#: Lines of a tile: a population's, and one of bias.
_Lines: TypeAlias = Annotated[int, Field(ge=1, le=MOST_NEURONS + 1)]


def tiles(below: Shape, above: Shape, rows: _Lines, columns: _Lines, bias: bool = True) -> Tables:
    """Return tiles of at most ``rows`` rows by ``columns`` columns that together are a dense array.

    The source's outputs, and the bias line after them, are dealt out in order; what is left of the last tiles is grounded,
    and their last columns feed nobody. So each neuron is reached by one bias line.

    Parameters
    ----------
    below, above
        Layouts of source and target, of which only the sizes count.
    rows, columns
        Most rows and columns of one tile; a bias line is a row.
    bias
        Whether there is a bias line.
    """
    if rows < 1 or columns < 1:
        raise ShapeError(f"tiles: expected at least 1 row and 1 column, found {rows} and {columns}.")
    n, m = prod(below), prod(above)
    high, wide = min(rows, n + bias), min(columns, m)
    down, across = -(-(n + bias) // high), -(-m // wide)
    check_blocks("tiles", down * across, high, wide)
    lines = np.full(down * high, n + 1)
    lines[: n + bias] = np.arange(n + bias)
    feeds = np.full(across * wide, m)
    feeds[:m] = np.arange(m)
    return np.repeat(lines.reshape(down, high), across, axis=0), np.tile(feeds.reshape(across, wide), (down, 1))
