"""Products of samples that share images: what the images give is worked out once."""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.parallel import workspace


class Images:
    """What an array is driven with, taken apart into images and what is written over them.

    The normaliser scales the pixels by the length of the whole vector. Under labels of equal length an image is scaled
    alike, and its product is worked out once. Under a label of another length, such as the neutral one, it is scaled
    differently and has a product of its own.

    Parameters
    ----------
    pre
        (V * B, n_in): what all samples carry.
    lines
        (k,): rows that are written over.
    times
        V.
    """

    def __init__(self, pre: FloatArray, lines: np.ndarray, times: int) -> None:
        self._lines = lines
        self._over = pre[:, lines]
        self._plain = pre.reshape(times, -1, pre.shape[1]).copy()
        self._plain[:, :, lines] = 0
        #: Of each set of values, the first one with the same images.
        self.first_equal = [
            next(u for u in range(v + 1) if u == v or np.array_equal(self._plain[u], plain))
            for v, plain in enumerate(self._plain)
        ]

    def multiply(self, weights: FloatArray, z: FloatArray, first: int, last: int) -> None:
        """Write the products of columns ``first`` to ``last`` - 1 to ``z`` (V * B, n_out)."""
        columns = weights[:, first:last]
        parts = z.reshape(len(self._plain), -1, z.shape[1])[:, :, first:last]
        for v, u in enumerate(self.first_equal):
            if u == v:
                np.matmul(self._plain[v], columns, out=parts[v])
            else:
                np.copyto(parts[v], parts[u])
        if len(self._lines):
            z[:, first:last] += np.matmul(self._over, columns[self._lines], out=workspace("overlay", len(z), last - first))
