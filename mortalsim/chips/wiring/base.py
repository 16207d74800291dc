"""What every wiring returns, and what is checked of it."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.checks import ShapeError
from mortalsim.chips.footprint import MOST_LINES

#: Layout of a population: (n,), (height, width) or (height, width, channels).
Shape: TypeAlias = tuple[int, ...]

#: Index tables of rows and columns; None and None: one block that carries all and feeds all.
Tables: TypeAlias = tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64] | None]

#: Blocks of one array: each is walked by itself when a design is checked, and in reads.
MOST_BLOCKS: Final = 2**16


def check_blocks(kind: str, blocks: int, n_in: int, n_out: int) -> None:
    """Raise `ShapeError` for more blocks, or larger tables, than an array can have; to be asked before they are made."""
    entries = blocks * (n_in + n_out)
    if blocks > MOST_BLOCKS or entries > MOST_LINES:
        raise ShapeError(
            f"{kind}: expected at most {MOST_BLOCKS} blocks and {MOST_LINES} rows and columns in them, found {blocks} and "
            f"{entries}. Take larger tiles or strides, or smaller populations."
        )


def check_tables(kind: str, tables: Any, n: int, m: int) -> Tables:
    """Return the ``tables`` of a wiring between ``n`` outputs and ``m`` neurons as contiguous arrays.

    Raises
    ------
    ShapeError
        They are not two tables of whole numbers for as many blocks, an index leads nowhere, a block feeds a neuron twice, or
        a neuron is given more than one bias line.
    """
    if not isinstance(tables, tuple | list) or len(tables) != 2 or (tables[0] is None) != (tables[1] is None):
        raise ShapeError(f"{kind}: expected two tables, rows and columns, or None twice, found {tables!r}. Return a pair.")
    if tables[0] is None:
        return None, None
    rows, columns = (_whole(kind, name, table) for name, table in zip(("rows", "columns"), tables, strict=True))
    check_blocks(kind, len(rows), rows.shape[1], columns.shape[1])
    if len(rows) != len(columns) or not rows.size or not columns.size:
        raise ShapeError(
            f"{kind}: expected rows (blocks, n_in) and columns (blocks, n_out), found {rows.shape} and {columns.shape}. "
            "Return a row of each table for every block."
        )
    for name, table, most in (("rows", rows, n + 1), ("columns", columns, m)):
        if table.min() < 0 or table.max() > most:
            raise ShapeError(
                f"{kind}: expected {name} from 0 to {most}, found {table.min()} to {table.max()}. "
                "Rows: the bias is n and ground n + 1; columns: m feeds nobody."
            )
    biased = np.zeros(m + 1, np.int64)
    for block, own in zip(rows, columns, strict=True):
        if np.unique(own[own < m]).size < (own < m).sum():
            raise ShapeError(
                f"{kind}: a block feeds the same neuron by two of its columns, found {own.tolist()}. Use two blocks."
            )
        biased[own] += (block == n).sum()
    if (biased[:m] > 1).any():
        neuron = int(np.argmax(biased[:m] > 1))
        raise ShapeError(f"{kind}: neuron {neuron} of {m} is given more than one bias line. Ground all but one.")
    return rows, columns


def _whole(kind: str, name: str, table: Any) -> npt.NDArray[np.int64]:
    try:
        found = np.asarray(table)
    except ValueError as error:
        raise ShapeError(
            f"{kind}: expected {name} of equally long rows, found others ({error}). Pad with ground."
        ) from error
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
        raise ShapeError(f"{kind}: expected {name} (blocks, lines) of whole numbers, found {found.dtype} {found.shape}.")
    return np.ascontiguousarray(found, dtype=np.int64)
