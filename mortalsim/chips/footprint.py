"""How much memory a design's chips take, and what no machine is asked for: said before anything is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import inf, prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mortalsim.checks import DesignError

if TYPE_CHECKING:
    from mortalsim.chips.netlist import Netlist

#: Neurons or inputs of one population: an image of 1000 x 1000 in four colours.
MOST_NEURONS: Final = 2**22

#: Devices of one chip, two a pair: four thousand million weights, some 300 GB.
MOST_DEVICES: Final = 2**33

#: Rows and columns of all blocks of a design: what a netlist holds grows with their number.
MOST_LINES: Final = 2**25

#: Populations of a design, and arrays: some of what is worked out about them grows with the square of their number.
MOST_GROUPS: Final = 1024

#: Bytes at the most that a pair takes, state, parameters, weight and variance; and further ones while its array is made,
#: for the numbers that are drawn.
PAIR: Final = 48
MAKING: Final = 96

#: Bytes at the most that a neuron takes, if it has a curve of its own.
NEURON: Final = 4096

#: Bytes that a stage takes for every input and output of it, if each depends on each.
STAGE: Final = 32


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raise `DesignError` for a population of more than `MOST_NEURONS`."""
    if prod(shape) > MOST_NEURONS:
        size = " x ".join(map(str, shape))
        raise DesignError(
            f"population {name!r}: expected at most {MOST_NEURONS} neurons or inputs, found {size} = {prod(shape)}"
        )


class Footprint:
    """Counts the devices and lines of the arrays of a design while they are wired, and stops where they are too many."""

    def __init__(self) -> None:
        self._devices = self._lines = 0

    def add(self, shape: Sequence[int]) -> None:
        """Count an array of this shape, ([blocks,] n_in, n_out).

        Raises
        ------
        DesignError
            The arrays have more devices together than `MOST_DEVICES`, or more rows and columns than `MOST_LINES`.
        """
        self._devices += 2 * prod(shape)
        self._lines += prod(shape[:-2]) * (shape[-2] + shape[-1])
        advice = "Make populations smaller, or wire them by patches."
        if self._devices > MOST_DEVICES:
            raise DesignError(
                f"arrays: expected at most {MOST_DEVICES} devices, two a weight, found {self._devices} or more, which take "
                f"{self._devices // 2 * PAIR / 1e9:.3g} GB. {advice}"
            )
        if self._lines > MOST_LINES:
            raise DesignError(
                f"arrays: expected at most {MOST_LINES} rows and columns, found {self._lines} or more. {advice}"
            )


def bytes_of(netlist: Netlist) -> int:
    """Return how many bytes a chip takes at the most while it is made, to within a factor of two or so."""
    pairs = [prod(array.spec.shape) for array in netlist.arrays]
    sizes = {name: parts.spec.size for name, parts in netlist.populations.items()}
    stages = sum(
        sizes[name] * sizes[parts.source] for name, parts in netlist.populations.items() if parts.source is not None
    )
    return PAIR * sum(pairs) + MAKING * max(pairs) + NEURON * sum(sizes.values()) + STAGE * stages


def check_machine(design: str, netlist: Netlist) -> None:
    """Raise `DesignError` if a chip takes more memory than this machine has."""
    wanted, there = bytes_of(netlist), machine_memory()
    if wanted > there:
        raise DesignError(
            f"design {design!r}: a chip of it takes up to {wanted / 1e9:.3g} GB of memory, found "
            f"{there / 1e9:.3g} GB on this "
            "machine. Make populations smaller, or wire them by patches."
        )


@cache
def machine_memory() -> float:
    """Return the bytes that this process may have: the machine's or its control group's; infinity if unknown."""
    found = [inf]
    with suppress(AttributeError, OSError, ValueError):  # not every system counts its pages
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is no such group, or it says "max"
            found.append(int(Path(path).read_text()))
    return min(found)
