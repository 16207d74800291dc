"""What every perturbation pattern answers: its values on one array, and how they are added to weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import WeightNudge
from mortalsim.parallel import chunks

#: Values that `Pattern.add` asks for at a time; 256 KiB of float32 stay in a core's own cache.
CHUNK = 65_536


class Site(NamedTuple):
    """The array that a pattern lies on.

    Parameters
    ----------
    place
        Its place on the data sheet.
    before
        Number of weights in the arrays at lower places.
    blocks, n_in, n_out
        Its shape; a dense array is one block. Row i of block k is row ``k * n_in + i`` of the array.
    """

    place: int
    before: int
    blocks: int
    n_in: int
    n_out: int


class Pattern(ABC):
    """One nudge's pattern on one array: a pure function of the nudge's key and index and of the array's site.

    A subclass must answer `values`. It may also answer `factors`, or a faster `add` that gives the same bits.

    Parameters
    ----------
    nudge
        Its key and its index are used here, but not its amplitude: `add` is given one.
    site
        The array.

    Attributes
    ----------
    family
        Whether the patterns of one key belong together and a learner should walk through their indices, 0, 1, 2, ... False:
        each probe may as well take a key of its own.
    """

    family: ClassVar[bool] = False

    def __init__(self, nudge: WeightNudge, site: Site) -> None:
        self.nudge, self.site = nudge, site

    @abstractmethod
    def values(self, start: int, stop: int, first: int, last: int) -> FloatArray:
        """Return the pattern's values on some rows and columns of one block.

        Parameters
        ----------
        start, stop
            Rows ``start`` to ``stop`` - 1 of the array; all of them belong to one block.
        first, last
            Columns ``first`` to ``last`` - 1 of that block.

        Returns
        -------
        FloatArray
            float32 (stop - start, last - first), of mean square 1 over keys. The caller may write to it.
        """

    @property
    def factors(self) -> tuple[FloatArray, FloatArray] | None:
        """Vectors float32 (blocks, n_in) and (blocks, n_out) of which block k's pattern is the outer product; None: none.

        A read then takes two products with vectors instead of nudged weights.
        """
        return None

    def add(self, weights: FloatArray, amplitude: float, gain: FloatArray, start: int, first: int, out: FloatArray) -> None:
        """Write ``weights + amplitude * gain * values`` to ``out``, for some rows and columns of one block.

        Parameters
        ----------
        weights
            float32 (rows, n_out): the rows to do, with all columns; or one row (1, n_out) that stands for all.
        amplitude
            Factor of the pattern, weight units.
        gain
            float32 (n_out,): each column's own factor.
        start, first
            The first row of the array and the first column of the block to do.
        out
            float32 (rows, columns); may be ``weights`` itself where all columns are done.
        """
        rows, columns = out.shape
        step = np.float32(amplitude) * gain[first : first + columns]
        own = weights[:, first : first + columns]
        for begin, end in pairwise(chunks(rows, max(1, CHUNK // columns))):
            nudge = self.values(start + begin, start + end, first, first + columns)
            nudge *= step
            np.add(own if len(own) == 1 else own[begin:end], nudge, out=out[begin:end])
