"""Products of rows and weights, nudges included: one short class for each way of working them out.

Each has one method, ``take(first, last, room)``: the array (B, n_out) in whose columns ``first`` to ``last`` - 1 the
products stand, ``room`` or one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.images import Images
from mortalsim.circuits.patterns import Pattern
from mortalsim.parallel import chunks, workspace

#: Columns of one chunk, a whole number of vector registers wide; and multiplications below which a second thread
#: costs more than it saves.
CHUNK, EDGE, WORTHWHILE = 1000, 16, 15_000_000

#: What fetching a weight costs, and the extra work of the first chunk while other threads wake up, in multiplications.
FETCH, AHEAD = 4, 5_000_000


def column_cuts(samples: int, n_in: int, n_out: int) -> list[int]:
    """Return where to cut the ``n_out`` columns of an array into chunks for threads: 0, the cuts and ``n_out``.

    The cuts depend on the amount of work alone, ``samples * n_in`` multiplications a column, never on the number of threads.
    """
    line = (samples + FETCH) * n_in
    if line * n_out <= WORTHWHILE:
        return [0, n_out]
    chunk = min(CHUNK, n_out // 2)  # work that is worth it is shared, also in a narrow array
    return chunks(n_out, chunk, EDGE, 1 + AHEAD / (line * chunk))


class Products(Protocol):
    """Anything that gives the products of some columns."""

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        """Return the array in whose columns ``first`` to ``last`` - 1 the products stand."""
        ...


@dataclass(eq=False, slots=True)
class Plain:
    """pre @ weights."""

    pre: FloatArray
    weights: FloatArray

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        if last - first == room.shape[1]:  # a small array's product takes no longer than cutting it
            return np.matmul(self.pre, self.weights, out=room)
        np.matmul(self.pre, self.weights[:, first:last], out=room[:, first:last])
        return room


@dataclass(eq=False, slots=True)
class OfImages:
    """pre @ weights for samples that share images."""

    images: Images
    weights: FloatArray

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        self.images.multiply(self.weights, room, first, last)
        return room


@dataclass(eq=False, slots=True)
class WithPattern:
    """pre @ (weights + amplitude * gain * pattern), each column with its own gain; weights of one row stand for all."""

    pre: FloatArray
    weights: FloatArray
    amplitude: float
    gain: FloatArray
    pattern: Pattern

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        nudged = workspace("nudged weights", self.pre.shape[1], last - first)
        self.pattern.add(self.weights, self.amplitude, self.gain, 0, first, nudged)
        np.matmul(self.pre, nudged, out=room[:, first:last])
        return room


@dataclass(eq=False, slots=True)
class PlusFactors:
    """The products of ``others`` plus rows[:, None] * columns: a nudge whose pattern is one outer product."""

    others: Products
    rows: FloatArray
    columns: FloatArray

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        z = self.others.take(first, last, room)
        share = np.multiply(self.rows[:, None], self.columns[first:last], out=workspace("rank one", len(z), last - first))
        np.add(z[:, first:last], share, out=room[:, first:last])
        return room


@dataclass(eq=False, slots=True)
class PlusScaled:
    """The products of ``others`` plus ``factor`` times those of ``further``."""

    others: Products
    further: Products
    factor: float

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        z = self.others.take(first, last, room)[:, first:last]
        share = self.further.take(first, last, room)[:, first:last]
        np.multiply(share, np.float32(self.factor), out=room[:, first:last])
        room[:, first:last] += z
        return room


@dataclass(eq=False, slots=True)
class Ready:
    """Products ``z`` (B, n_out) that have been worked out before."""

    z: FloatArray

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        return self.z


@dataclass(eq=False, slots=True)
class Repeated:
    """The products of ``others`` (B, n_out), ``times`` times one below the other: samples that share all their images."""

    others: Products
    times: int

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        parts = room.reshape(self.times, -1, room.shape[1])
        z = self.others.take(first, last, parts[0])
        parts[:, :, first:last] = z[:, first:last]
        return room


@dataclass(eq=False, slots=True)
class Sum:
    """The sum of several arrays' products."""

    parts: Sequence[Products]

    def take(self, first: int, last: int, room: FloatArray) -> FloatArray:
        z = self.parts[0].take(first, last, room)
        for part in self.parts[1:]:
            share = part.take(first, last, np.empty_like(room))
            np.add(z[:, first:last], share[:, first:last], out=room[:, first:last])
            z = room
        return z


@dataclass(eq=False)
class Memory:
    """The products of an array's last read, with the input and the nudge that they belong to; empty at first.

    Parameters
    ----------
    pre, z
        (B, n_in) and (B, n_out): what the rows carried, and its products.
    version
        Of the weights with which the products were made; -1: of none.
    mark, pattern_products
        Pattern, key and index of a nudge, and the products with its pattern alone, at amplitude 1.
    """

    pre: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    z: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    pattern_products: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    version: int = -1
    mark: tuple[object, ...] = ()

    def holds(self, pre: FloatArray, n_out: int, version: int) -> bool:
        """Return whether ``z`` holds the products of ``pre`` and the weights of this version; if not, make room for them."""
        fits = self.pre.shape == pre.shape
        if fits and self.version == version and np.array_equal(self.pre[0], pre[0]) and np.array_equal(self.pre, pre):
            return True
        self.version, self.mark = -1, ()  # until all products are there
        if not fits:
            self.pre, self.z = np.empty_like(pre), np.empty((len(pre), n_out), np.float32)
            self.pattern_products = self.pattern_products[:0]
        np.copyto(self.pre, pre)
        return False

    def holds_pattern(self, mark: tuple[object, ...]) -> bool:
        """Return whether ``pattern_products`` holds the products with this pattern; if not, make room for them."""
        if self.mark == mark:
            return True
        self.mark = ()
        if self.pattern_products.shape != self.z.shape:
            self.pattern_products = np.empty_like(self.z)
        return False
