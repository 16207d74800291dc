"""Loops over plain vectors, of m or n numbers, that several kernels need."""

from __future__ import annotations

from mortalsim.kernels.jit import loop


@loop
def fill(values, value):
    """Set all of ``values`` (m,); numba takes long to compile the assignment of a slice."""
    for i in range(values.size):
        values[i] = value


@loop
def copy(row, out):
    """Write row (n,) to ``out``."""
    for i in range(row.size):
        out[i] = row[i]
