"""One layer of a simulated chip: an array with the circuits around it, from digital input to digital output."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.crossbar import Crossbar
from mortalsim.chips.design import Design
from mortalsim.chips.images import Images
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.circuits.neurons import fabricate_neurons
from mortalsim.hardware import CurrentNudge, Nudge, Overlaid, Tap, WeightNudge
from mortalsim.kernels import add_signs, drive_lines, rank1_pattern, read_epilogue
from mortalsim.parallel import cut, spread, workspace
from mortalsim.streams import Streams

_NOTHING = np.zeros((0, 0), np.float32)
_NO_LINES = np.zeros(0, np.int64)

#: Output lines of one piece of work, a whole number of vector registers wide; and multiplications below which a second
#: thread would be woken in vain.
PIECE, EDGE, WORTHWHILE = 1000, 16, 15_000_000

#: What fetching a weight costs, and what the first piece has ahead of the others while threads wake up, in multiplications.
FETCH, AHEAD = 4, 5_000_000

#: Input lines times samples of one piece of work.
DRIVEN = 250_000

#: Most numbers, inputs and products, that the first array keeps of its last read.
KEPT = 8_000_000


@dataclass
class Kept:
    """What the first array keeps of its last read.

    Parameters
    ----------
    version
        Of the weights with which the products were made; -1: of none.
    pre, z
        (B, n_in) and (B, n_out): what the lines carried, and its products.
    key, turned
        Of a nudge, or -1, and the products with its signs.
    """

    version: int = -1
    pre: FloatArray = field(default_factory=lambda: _NOTHING)
    z: FloatArray = field(default_factory=lambda: _NOTHING)
    key: int = -1
    turned: FloatArray = field(default_factory=lambda: _NOTHING)


class Layer:
    """One array with what surrounds it: normaliser, input converters, devices, neurons, output converters, nudge ports."""

    def __init__(self, design: Design, index: int, streams: Streams) -> None:
        inputs, n_out = design.sizes[index : index + 2]
        last = index == len(design.sizes) - 2
        self.design, self.index = design, index
        self.crossbar = Crossbar(design, inputs + 1, n_out, index, streams)
        self.neurons = fabricate_neurons(design.neurons, n_out, last, streams.generator("neurons", index))
        self.dac = fabricate_converters(design.converters, inputs, streams.generator("dac", index))
        self.adc = fabricate_converters(design.converters, n_out, streams.generator("adc", index))
        gains = streams.generator("nudge ports", index).standard_normal((2, n_out))
        self.current_gain = (1 + design.nudges.current_gain_dtod * gains[0]).astype(np.float32)
        self.weight_gain = (1 + design.nudges.weight_gain_dtod * gains[1]).astype(np.float32)
        spread = design.normaliser.gain_dtod
        self.normaliser_gain = float(1 + spread * streams.generator("normaliser", index).standard_normal())
        self._kept: deque[Kept] = deque()
        self._nothing = np.zeros((1, n_out), np.float32)
        self._noise = (design.line_variance, design.neurons.noise**2)
        self._input_side, self._output_side = self._sides()

    def _sides(self) -> tuple[Any, Any]:
        """Return what `drive_lines` and `read_epilogue` are told of the circuits, in their order: it never changes."""
        normaliser, neurons, converters = self.design.normaliser, self.neurons, self.design.converters
        dac, adc, tables = self.dac, self.adc, self.neurons.tables
        into = (normaliser.present, normaliser.epsilon, self.normaliser_gain)
        neuron = (neurons.gain, neurons.offset, neurons.saturation)
        curve = (tables.leak, tables.start, tables.step, tables.values, tables.slopes)
        return (
            (*into, converters.dac_step, converters.input_range, dac.gain, dac.offset),
            (*neuron, *curve, converters.adc_step, converters.output_range, adc.gain, adc.offset),
        )

    def read(
        self, v: FloatArray, nudge: Nudge | None, number: int, key: np.ndarray, overlaid: Overlaid | None = None
    ) -> Tap:
        """Return the tap around the array for input ``v`` (B, n_in - 1); ``number`` counts the chip's reads.

        ``overlaid`` says how the samples of ``v`` hang together.
        """
        pre, power = self._drive(v, _NO_LINES if overlaid is None else overlaid.lines)
        images = None if overlaid is None or _by_signs(nudge) else Images(pre, overlaid)
        # Fresh noise of every device, summed along a line, is Gaussian with this variance: exact, jointly.
        squares = np.square(pre) if self.crossbar.variance.size else _NOTHING
        post = np.empty((len(pre), self.crossbar.shape[1]), np.float32)
        kept = self._take()
        z, known = self._products(kept, pre, post) if images is None else (post, False)
        variance = np.empty_like(z) if squares.size else _NOTHING
        slopes = self._rank1(pre, nudge)
        turned, turned_known = self._turned_products(kept, nudge, z) if z is not post else (None, False)

        def piece(first: int, last: int) -> None:
            nudged = z
            if images is not None:
                images.multiply(self.crossbar.weights, z, first, last)
            elif not known:
                self._multiply(pre, None if turned is not None else nudge, z, first, last)
            if slopes is not None:
                nudged = post
                rows, columns = slopes
                share = np.multiply(rows[:, None], columns[first:last], out=workspace(len(pre), last - first))
                np.add(z[:, first:last], share, out=nudged[:, first:last])
            if turned is not None and _by_signs(nudge):
                nudged = post
                if not turned_known:
                    self._multiply_signs(pre, nudge.key, turned, first, last)
                np.multiply(turned[:, first:last], np.float32(nudge.amplitude), out=nudged[:, first:last])
                nudged[:, first:last] += z[:, first:last]
            if squares.size:
                np.matmul(squares, self.crossbar.variance[:, first:last], out=variance[:, first:last])
            self._answer(nudged, variance, power, nudge, number, key, first, last, post)

        spread(piece, self._columns(len(pre)))
        if z is not post:
            kept.version = self.crossbar.version
        if turned is not None and _by_signs(nudge):
            kept.key = nudge.key
        if not self._kept:
            self._kept.append(kept)
        return Tap(self.index, pre, post)

    def _take(self) -> Kept:
        # Taken out while a read is under way, so that one in another thread cannot write over it.
        try:
            return self._kept.pop()
        except IndexError:
            return Kept()

    def _products(self, kept: Kept, pre: FloatArray, post: FloatArray) -> tuple[FloatArray, bool]:
        """Return where the products go, and whether they are there: probes on one batch share what enters the first array.

        Products that nobody will ask for again go to ``post`` itself, where the answers then take their place line by line.
        """
        # Deeper arrays get other inputs each time; and a product that is cheap to redo is not worth the copy.
        worth = len(pre) * self.crossbar.weights.size > WORTHWHILE and pre.size + post.size < KEPT
        if self.index or not worth:
            return post, False
        fits = kept.pre.shape == pre.shape
        known = fits and kept.version == self.crossbar.version and np.array_equal(kept.pre[0], pre[0])
        if known and np.array_equal(kept.pre, pre):
            return kept.z, True
        if not fits:
            kept.pre, kept.z = np.empty_like(pre), np.empty_like(post)
        np.copyto(kept.pre, pre)
        kept.version = kept.key = -1  # until all products are there
        return kept.z, False

    def _turned_products(self, kept: Kept, nudge: Nudge | None, z: FloatArray) -> tuple[FloatArray | None, bool]:
        """Return where the inputs' products with a nudge's signs alone go, and whether they are there.

        Where the products are kept, these are too: the two reads of an antithetic probe differ in the amplitude alone. A
        single read then takes two products instead of one, but what it gives does not depend on what was kept.
        """
        if not _by_signs(nudge):
            return None, False
        if kept.turned.shape != z.shape:
            kept.key, kept.turned = -1, np.empty_like(z)
        known = kept.key == nudge.key
        if not known:
            kept.key = -1
        return kept.turned, known

    def _multiply_signs(self, pre: FloatArray, key: int, out: FloatArray, first: int, last: int) -> None:
        """Write the products with a nudge's signs, each through its column's gain, of lines ``first`` to ``last`` - 1."""
        signs = workspace(pre.shape[1], last - first)
        add_signs(self._nothing, 1.0, self.weight_gain, key, self.index, first, last, signs)
        np.matmul(pre, signs, out=out[:, first:last])

    def _rank1(self, pre: FloatArray, nudge: Nudge | None) -> tuple[FloatArray, FloatArray] | None:
        """Return the factors (B,) and (n_out,) of what a rank-1 nudge adds to the products."""
        if not isinstance(nudge, WeightNudge) or nudge.pattern != "rank1":
            return None
        rows, columns = rank1_pattern(nudge.key, self.index, *self.crossbar.shape)
        return np.float32(nudge.amplitude) * (pre @ rows), columns * self.weight_gain

    def _columns(self, samples: int) -> list[int]:
        """Return where to cut the output lines, by the amount of work alone."""
        n_in, n_out = self.crossbar.shape
        line = (samples + FETCH) * n_in
        if line * n_out <= WORTHWHILE:
            return [0, n_out]
        return cut(n_out, PIECE, EDGE, 1 + AHEAD / (line * PIECE))

    def _drive(self, v: FloatArray, lines: np.ndarray) -> tuple[FloatArray, FloatArray]:
        pre = np.empty((v.shape[0], v.shape[1] + 1), np.float32)
        power = np.empty(v.shape[0], np.float32)

        def piece(start: int, stop: int) -> None:
            ports = (v[start:stop], lines, *self._input_side, pre[start:stop], power[start:stop])
            drive_lines(*ports)

        spread(piece, cut(len(v), max(1, DRIVEN // v.shape[1])))
        return pre, power

    def _multiply(self, pre: FloatArray, nudge: Nudge | None, z: FloatArray, first: int, last: int) -> None:
        """Write the products of output lines ``first`` to ``last`` - 1."""
        weights, out = self.crossbar.weights[:, first:last], z[:, first:last]
        if _by_signs(nudge):
            weights = workspace(len(weights), last - first)
            add_signs(self.crossbar.weights, nudge.amplitude, self.weight_gain, nudge.key, self.index, first, last, weights)
        np.matmul(pre, weights, out=out)

    def _answer(
        self,
        z: FloatArray,
        variance: FloatArray,
        power: FloatArray,
        nudge: Nudge | None,
        number: int,
        key: np.ndarray,
        first: int,
        last: int,
        post: FloatArray,
    ) -> None:
        """Write what output lines ``first`` to ``last`` - 1 give."""
        currents = nudge.currents[self.index] if isinstance(nudge, CurrentNudge) else None
        added = _NOTHING if currents is None else currents
        neurons = (self.current_gain, *self._output_side, key, number, self.index, first, last, post)
        read_epilogue(z, variance, power, *self._noise, added, *neurons)

    def add_pattern(self, change: FloatArray, nudge: WeightNudge, size: float) -> None:
        """Add ``size`` times the nudge's signs to ``change`` (n_in, n_out): what was asked, port mismatch left out."""
        if nudge.pattern == "signs":
            add_signs(change, size, np.ones_like(self.weight_gain), nudge.key, self.index, 0, change.shape[1], change)
        else:
            rows, columns = rank1_pattern(nudge.key, self.index, *change.shape)
            change += np.float32(size) * rows[:, None] * columns


def _by_signs(nudge: Nudge | None) -> TypeGuard[WeightNudge]:
    return isinstance(nudge, WeightNudge) and nudge.pattern == "signs"
