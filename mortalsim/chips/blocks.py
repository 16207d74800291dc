"""Arrays of blocks: products block by block, and how their columns add up at the neurons that they feed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.netlist import ArrayParts
from mortalsim.chips.products import Ready, column_cuts
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.circuits.patterns import Pattern
from mortalsim.kernels import Draw, NeuronCircuits, Noise, read_out
from mortalsim.kernels.counters import PARTIAL, Key
from mortalsim.parallel import chunks, map_chunks, workspace
from mortalsim.streams import Streams

#: Multiplications that make one chunk for a thread.
CHUNK = 8_000_000

_NOTHING = np.zeros((0, 0), np.float32)


class Blocks:
    """The columns of an array's blocks side by side: column j of block k is column k n_out + j here.

    Parameters
    ----------
    parts
        What the array is made of.
    place
        Its place in the chip.
    size
        Neurons of the target.
    streams
        The chip's streams.
    """

    def __init__(self, parts: ArrayParts, place: int, size: int, streams: Streams) -> None:
        table = parts.spec.columns
        assert table is not None  # noqa: S101 - an array of blocks has tables
        self.parts, self.place, self.size, self.digital = parts, place, size, parts.digital
        self.count, self.n_out = table.shape
        self._table = table
        flat = table.reshape(-1)
        #: Each neuron is fed once, in order: nothing needs to be moved or added.
        self._straight = flat.size == size and bool((flat == np.arange(size)).all())
        self._targets = [_as_slice(columns) for columns in table]
        if self.digital:
            self._fabricate_partial(streams)

    def _fabricate_partial(self, streams: Streams) -> None:
        width = self.count * self.n_out
        self.adc = fabricate_converters(self.parts.converters, width, streams.generator("partial sums", self.place))
        self._circuits = NeuronCircuits.plain(width)
        self._converter = self.adc.with_levels(self.parts.converters.adc)

    def products(self, pre: FloatArray, weights: FloatArray, pattern: Pattern | None, gain: FloatArray) -> FloatArray:
        """Return the products of every block, (B, blocks * n_out).

        Parameters
        ----------
        pre
            (blocks, B, n_in).
        weights
            (blocks * n_in, n_out).
        pattern, gain
            Of the nudge that disturbs them; each column's port has its own gain, (blocks, n_out).
        """
        count, samples, n_in = pre.shape
        z = np.empty((samples, count * self.n_out), np.float32)
        pieces = [(k, *ends) for k in range(count) for ends in pairwise(column_cuts(samples, n_in, self.n_out))]
        amplitude, factors = (0.0, None) if pattern is None else (pattern.nudge.amplitude, pattern.factors)
        nudged = None if factors is not None else pattern

        def work(start: int, stop: int) -> None:
            for k, first, last in pieces[start:stop]:
                own, out = weights[k * n_in : (k + 1) * n_in], z[:, k * self.n_out + first : k * self.n_out + last]
                np.matmul(pre[k], _disturbed(own, nudged, gain[k], k * n_in, first, last), out=out)
                if factors is not None:
                    rows, columns = (vectors[k] for vectors in factors)
                    own_columns = (columns * gain[k])[first:last]
                    out += (np.float32(amplitude) * (pre[k] @ rows))[:, None] * own_columns

        together = max(1, CHUNK * len(pieces) // max(1, samples * weights.size))
        map_chunks(work, chunks(len(pieces), together))
        return z

    def variance(self, pre: FloatArray, power: FloatArray, line_variance: float, variance: FloatArray) -> FloatArray | None:
        """Return the noise variance of every block's products, (B, blocks * n_out), or None where there is no noise.

        Parameters
        ----------
        pre, power
            (blocks, B, n_in) and (blocks, B): what rows carry, and its sum of squares.
        line_variance, variance
            Of each squared unit of input: the same for all devices, and each weight's own (blocks * n_in, n_out) or empty.
        """
        if not line_variance and not variance.size:
            return None
        total = np.repeat(np.float32(line_variance) * power.T, self.n_out, axis=1)
        if variance.size:
            own = np.matmul(np.square(pre), variance.reshape(self.count, -1, self.n_out))
            total += np.moveaxis(own, 0, 1).reshape(total.shape)
        return total

    def converted(self, z: FloatArray, variance: FloatArray | None, when: tuple[Key, int, int]) -> Ready:
        """Return partial sums (B, blocks * n_out), each with noise through a converter, added up; when: key, turn, tick."""
        key, turn, tick = when
        out = np.empty_like(z)
        own, power = _NOTHING if variance is None else variance, np.zeros(len(z), np.float32)
        address = Draw(key, PARTIAL, turn, self.place, tick).address()
        noise, span = Noise(own, power, line=0.0, neuron=0.0), (0, z.shape[1])
        read_out(z, noise, _NOTHING, self._circuits, self._converter, address, span, out)
        return Ready(self.collect(out))

    def collect(self, z: FloatArray) -> FloatArray:
        """Return columns (B, blocks * n_out) added up at the neurons that they feed, (B, size)."""
        if self._straight:
            return z
        out = np.zeros((len(z), self.size + 1), np.float32)
        for block, targets in enumerate(self._targets):
            out[:, targets] += z[:, block * self.n_out : (block + 1) * self.n_out]
        return np.ascontiguousarray(out[:, : self.size])


def _disturbed(
    weights: FloatArray, pattern: Pattern | None, gain: FloatArray, start: int, first: int, last: int
) -> FloatArray:
    """Return some columns of a block's weights, a nudge added; the block begins at row ``start`` of the array."""
    if pattern is None:
        return weights[:, first:last]
    out = workspace("a block's nudged weights", len(weights), last - first)
    pattern.add(weights, pattern.nudge.amplitude, gain, start, first, out)
    return out


def _as_slice(columns: np.ndarray) -> slice | np.ndarray:
    """Return neighbouring columns as a slice, which needs no index to be followed."""
    first = int(columns[0])
    return slice(first, first + columns.size) if (np.diff(columns) == 1).all() else columns
