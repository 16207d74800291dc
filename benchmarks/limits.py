"""What the work cannot do without: its products, and one pass over the state it touches. Measured, not assumed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import numpy as np

#: Fields of one device that a write reads and does not change: both steps, both bounds, the static error.
SPREADS = 5

#: Ends the name of a row whose streaming pass is one over as many bits as our chips keep.
OWN_BITS = "_own_bits"


class Product:
    """``left (m, k) @ right (k, n)`` into an array that is there already.

    Parameters
    ----------
    m, k, n
        Shapes.
    transposed
        True: the left factor is kept as (k, m), as the two factors of an outer-product update are.
    """

    def __init__(self, m: int, k: int, n: int, *, transposed: bool = False) -> None:
        rng = np.random.default_rng(0)
        left = rng.standard_normal((k, m) if transposed else (m, k), dtype=np.float32)
        self.left = left.T if transposed else left
        self.right = rng.standard_normal((k, n), dtype=np.float32)
        self.out = np.empty((m, n), np.float32)

    def __call__(self) -> None:
        """Multiply."""
        np.matmul(self.left, self.right, out=self.out)


class Vector(Product):
    """The same for one row: (k,) @ (k, n), which numpy hands to sgemv."""

    def __init__(self, k: int, n: int) -> None:
        super().__init__(1, k, n)
        self.left, self.out = self.left[0], self.out[0]


class StatePass:
    """One pass of numpy over float32 arrays like the state of differential pairs, split between threads.

    It reads every field that stays (`np.max`), reads and writes every field that changes (times 1, in place), reads the
    change that is asked for and writes it over the folded weights. The arrays are its own, each a plain vector, so the limit
    does not depend on how a chip happens to lay out its state, nor, unless ``kept_bits`` says so, on how many bits it keeps.

    Parameters
    ----------
    shapes
        (n_in, n_out) of each array.
    drifts
        True: a device also has a drift exponent, which stays, and the time of its last write, which changes.
    threads
        Python threads; numpy lets go of the interpreter's lock while it works.
    kept_bits
        Of a field that stays: 32, or 16 as our chips keep them.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], *, drifts: bool, threads: int, kept_bits: Literal[16, 32] = 32
    ) -> None:
        pairs = sum(n_in * n_out for n_in, n_out in shapes)
        self.kept = SPREADS + drifts
        self.changed = 1 + drifts
        self.kept_bits = kept_bits
        self.bytes = pairs * (2 * (kept_bits // 8 * self.kept + 8 * self.changed) + 8)
        stays = [np.ones(pairs, np.float32 if kept_bits == 32 else np.uint16) for _ in range(2 * self.kept)]
        moves = [np.ones(pairs, np.float32) for _ in range(2 * self.changed)]
        self._change, self._weights = np.ones(pairs, np.float32), np.zeros(pairs, np.float32)
        edges = np.linspace(0, pairs, threads + 1).astype(int)
        self._parts = [slice(a, b) for a, b in pairwise(edges)]
        self._stays, self._moves = stays, moves
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self) -> None:
        """Make the pass."""
        list(self._pool.map(self._one, self._parts))

    def _one(self, part: slice) -> None:
        for field in self._stays:
            field[part].max()
        for field in self._moves:
            np.multiply(field[part], np.float32(1), out=field[part])
        np.copyto(self._weights[part], self._change[part])

    @property
    def note(self) -> str:
        """What it moves, in a sentence."""
        return (
            f"streaming pass: numpy reads {self.kept} fields of {self.kept_bits} bits of each device and reads and writes "
            f"{self.changed} of 32, reads the change and writes the weights: {self.bytes / 1e6:.0f} MB in all"
        )
