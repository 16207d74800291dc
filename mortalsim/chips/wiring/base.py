"""What every wiring returns, and what is checked of it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.checks import ShapeError

#: Layout of a population: (n,), (height, width) or (height, width, channels).
Shape: TypeAlias = tuple[int, ...]

#: Index tables of rows and columns; None and None: one block that carries all and feeds all.
Tables: TypeAlias = tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64] | None]


def check_tables(kind: str, tables: Any, n: int, m: int) -> Tables:
    """Return the ``tables`` of a wiring between ``n`` outputs and ``m`` neurons as contiguous arrays.

    Raises
    ------
    ShapeError
        They are not two tables of as many blocks, an index leads nowhere, a block feeds a neuron twice, or a neuron is fed
        by no column or by more than one bias line.
    """
    rows, columns = tables
    if rows is None and columns is None:
        return None, None
    rows, columns = (np.ascontiguousarray(table, dtype=np.int64) for table in (rows, columns))
    if rows.ndim != 2 or columns.ndim != 2 or len(rows) != len(columns) or not rows.size or not columns.size:
        raise ShapeError(
            f"{kind}: expected rows (blocks, n_in) and columns (blocks, n_out), found {rows.shape} and {columns.shape}."
        )
    for name, table, most in (("rows", rows, n + 1), ("columns", columns, m)):
        if table.min() < 0 or table.max() > most:
            raise ShapeError(f"{kind}: expected {name} from 0 to {most}, found {table.min()} to {table.max()}.")
    fed, biased = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    for block, own in zip(rows, columns, strict=True):
        if np.unique(own[own < m]).size < (own < m).sum():
            raise ShapeError(f"{kind}: a block feeds the same neuron by two of its columns, found {own.tolist()}.")
        fed[own] += 1
        biased[own] += (block == n).sum()
    for name, wrong in (("fed by no column", fed[:m] == 0), ("given more than one bias line", biased[:m] > 1)):
        if wrong.any():
            raise ShapeError(f"{kind}: neuron {int(np.argmax(wrong))} of {m} is {name}.")
    return rows, columns
