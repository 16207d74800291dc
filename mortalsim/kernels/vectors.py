"""Loops over plain vectors that several kernels need. n is how many of the first elements count.

Where a loop chooses between an old and a new value it works both out and then selects: that is a vector instruction, a
branch is none.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import loop

EIGHT = 8  #: flags looked at together


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


@loop
def largest(n, counts):
    """Return the largest of the first n ``counts``; n is at least 1."""
    most = counts[0]
    for i in range(n):
        most = max(most, counts[i])
    return most


@loop
def compact(n, values, places):
    """Move ``values`` at n ``places``, which rise, to the front."""
    for i in range(n):
        values[i] = values[places[i]]


@loop
def collect(n, values, places, row):
    """Write ``values`` at n ``places`` to ``row``."""
    for i in range(n):
        row[i] = values[places[i]]


@loop
def scatter(n, row, places, values):
    """Write the first n of ``row`` to ``values`` at ``places``."""
    for i in range(n):
        values[places[i]] = row[i]


@loop
def flag_above(n, counts, p, flags):
    """Flag in ``flags`` uint8 which of n ``counts`` are above ``p``; return how many are."""
    total = 0
    for i in range(n):
        above = counts[i] > p
        flags[i] = np.uint8(above)
        total += above
    return total


@loop
def list_flagged(n, flags, places):
    """List in ``places`` where the first n ``flags``, 0 or 1, are set; return how many are.

    Both have room for n, rounded up to a multiple of 8. Eight flags are tested as one uint64, which passes over stretches
    where nothing is set.
    """
    m = np.uint64(0)  # unsigned, or numba would ask at every step whether the place is counted from the end
    for i in range(n, (n + EIGHT - 1) // EIGHT * EIGHT):
        flags[i] = 0
    eights = flags.view(np.uint64)
    for group in range((n + EIGHT - 1) // EIGHT):
        if eights[group] != 0:
            # Branch-free: the branch would be mispredicted. A place that is not to be listed is overwritten by the next.
            for i in range(EIGHT):
                places[m] = EIGHT * group + i
                m += np.uint64(flags[EIGHT * group + i])
    return np.int64(m)
