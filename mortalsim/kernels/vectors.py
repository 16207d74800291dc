"""Loops over plain vectors that several kernels need."""

from __future__ import annotations

from mortalsim.kernels.jit import loop


@loop
def fill(values, value):
    """Set all of ``values`` (m,); the same written as a slice takes numba long to compile."""
    for i in range(values.size):
        values[i] = value


@loop
def copy(row, out):
    """Write row (n,) to ``out``."""
    for i in range(row.size):
        out[i] = row[i]
