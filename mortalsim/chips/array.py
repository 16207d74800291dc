"""The input side of an array and its devices: from the digital state of its source to currents into its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.blocks import Blocks
from mortalsim.chips.crossbar import Crossbar
from mortalsim.chips.images import Images
from mortalsim.chips.netlist import ArrayParts
from mortalsim.chips.products import (
    WORTHWHILE,
    Memory,
    OfImages,
    Plain,
    PlusRankOne,
    PlusScaled,
    Products,
    Ready,
    Repeated,
    WithSigns,
    column_cuts,
    rank_one,
)
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.hardware import Nudge, WeightNudge
from mortalsim.kernels import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, Draw, drive_blocks, drive_lines
from mortalsim.kernels.counters import SIGNS, split_key
from mortalsim.parallel import cut, spread
from mortalsim.streams import Streams

_NO_LINES = np.zeros(0, np.int64)

#: Rows times samples of one piece of work.
DRIVEN = 250_000

#: Most numbers, inputs and products, that an array keeps of its last read.
MEMO_LIMIT = 8_000_000


class Overlay(NamedTuple):
    """How the samples of an input population hang together.

    Parameters
    ----------
    lines
        (k,): positions in the population that are written over.
    times
        V: sets of values. Without lines the population holds the images alone, B rows for V * B samples.
    """

    lines: np.ndarray
    times: int


@dataclass(frozen=True, eq=False, slots=True)
class Current:
    """What an array sends into its target.

    Parameters
    ----------
    products
        Of all samples.
    power, line_variance
        (B,) sums of squares that the rows carry and what each unit of them adds to the noise's variance; None: nothing, as
        ``noise`` says all.
    noise
        Further variance of each product, as products of its own.
    """

    products: Products
    power: FloatArray | None
    line_variance: float
    noise: Products | None


class Signal:
    """What the rows of an array carry for one state of its source, and the products of it."""

    def __init__(self, array: Array, pre: FloatArray, power: FloatArray, products: Products, times: int) -> None:
        self._array, self._pre, self._power, self._products, self._times = array, pre, power, products, times

    @property
    def pre(self) -> FloatArray:
        """What the rows carried in every sample, (..., B, n_in)."""
        return self._pre if self._times == 1 else np.concatenate([self._pre] * self._times, axis=-2)

    def settled(self, samples: int) -> Signal:
        """Return the same with its products worked out: several ticks use them."""
        z = np.empty((samples, self._array.n_target), np.float32)
        array = self._array
        spread(lambda first, last: self._products.take(first, last, z), array.columns(samples))
        return Signal(array, self._pre, self._power, Ready(z), self._times)

    def current(self, draw: Draw) -> Current:
        """Return what reaches the target; ``draw`` is used where partial sums have converters of their own."""
        array, power = self._array, self._power
        noise: Products | None = None
        if array.crossbar.variance.size:
            noise = Plain(np.square(self._pre), array.crossbar.variance)
            noise = Repeated(noise, self._times) if self._times > 1 else noise
        power = power if self._times == 1 else np.tile(power, self._times)
        return Current(self._products, power, array.line_variance, noise)


class BlockSignal(Signal):
    """The same for an array of blocks, whose columns are added up here."""

    def __init__(self, array: Array, blocks: Blocks, pre: FloatArray, power: FloatArray, z: FloatArray, times: int) -> None:
        super().__init__(array, pre, power, Ready(z), times)
        self._blocks, self._z = blocks, z

    def settled(self, samples: int) -> Signal:
        return self

    def current(self, draw: Draw) -> Current:
        array, blocks = self._array, self._blocks
        variance = blocks.variance(self._pre, self._power, array.line_variance, array.crossbar.variance)
        z = blocks.digitised(self._z, variance, draw) if blocks.digital else self._z
        products: Products = Ready(blocks.collect(z))
        noise: Products | None = None if blocks.digital or variance is None else Ready(blocks.collect(variance))
        if self._times > 1:
            # Converters of partial sums make noise of their own in every sample, so there they have seen all of them.
            products = products if blocks.digital else Repeated(products, self._times)
            noise = None if noise is None else Repeated(noise, self._times)
        return Current(products, None, 0.0, noise)


class Array:
    """One array with what stands before it: normaliser, input converters, devices, weight ports.

    Parameters
    ----------
    parts
        What it is made of.
    place
        Its place in the chip.
    n_source, n_target
        Sizes of the populations at its ends.
    streams
        The chip's streams.
    now
        Time of fabrication, seconds.
    clamped
        Whether inputs drive it: then the next read may bring the same again, and its products are remembered.
    """

    def __init__(
        self, parts: ArrayParts, place: int, n_source: int, n_target: int, streams: Streams, now: float, clamped: bool
    ) -> None:
        spec, self.parts, self.place, self.n_source, self.n_target = parts.spec, parts, place, n_source, n_target
        self.crossbar = Crossbar(parts, place, streams, now)
        self.line_variance = parts.technology.line_variance
        dense = spec.rows is None
        self.dac = fabricate_converters(
            parts.converters, n_source if dense else parts.lines.shape, streams.generator("dac", place)
        )
        gains = streams.generator("weight ports", place).standard_normal(parts.feeding.shape)
        #: What each column's port really gives per unit of a weight nudge, (blocks, n_out).
        self.weight_gain = (1 + parts.nudges.weight_gain_dtod * gains).astype(np.float32)
        normals = streams.generator("normaliser", place).standard_normal()
        self.normaliser_gain = float(1 + parts.normaliser.gain_dtod * normals)
        self.blocks = None if dense else Blocks(parts, place, n_target, streams)
        self._memory = Memory() if clamped and dense else None
        self._numbers = (parts.normaliser.epsilon, self.normaliser_gain, *parts.converters.dac)
        self._normalised = spec.normaliser != "none"
        self._normaliser = {"none": NOT_NORMALISED, "source": BY_SOURCE, "block": BY_BLOCK}[spec.normaliser]

    def signal(self, v: FloatArray, overlay: Overlay | None, nudge: Nudge | None) -> Signal:
        """Return what the rows carry for the source's state ``v`` (B, n), and its products, nudged weights included."""
        touched = overlay is not None and len(overlay.lines) > 0
        lines = overlay.lines if overlay is not None else _NO_LINES
        times = 1 if overlay is None or touched else overlay.times
        nudge = nudge if isinstance(nudge, WeightNudge) and nudge.disturbs(self.place) else None
        if self.blocks is not None:
            if times > 1 and self.blocks.digital:
                v, times = np.tile(v, (times, 1)), 1
            pre, power = self._drive_blocks(v, lines)
            z = self.blocks.products(pre, self.crossbar.weights, nudge, self.weight_gain)
            return BlockSignal(self, self.blocks, pre, power, z, times)
        pre, power = self._drive(v, lines)
        by_signs = nudge is not None and nudge.pattern == "signs"
        products: Products
        if touched and overlay is not None and not by_signs:
            products = self._with_rank1(OfImages(Images(pre, lines, overlay.times), self.crossbar.weights), pre, nudge)
        else:
            products = self._products(pre, nudge, not touched)
        return Signal(self, pre, power, Repeated(products, times) if times > 1 else products, times)

    def columns(self, samples: int) -> list[int]:
        """Return where to cut the target's neurons into pieces of work."""
        return [0, self.n_target] if self.blocks is not None else column_cuts(samples, *self.crossbar.shape)

    def _products(self, pre: FloatArray, nudge: WeightNudge | None, rememberable: bool) -> Products:
        weights, memory = self.crossbar.weights, self._memory
        by_signs = nudge is not None and nudge.pattern == "signs"
        # A product that is cheap to redo is not worth the copy.
        worth = len(pre) * weights.size > WORTHWHILE and pre.size + len(pre) * self.n_target < MEMO_LIMIT
        if memory is None or not worth or not rememberable:
            if nudge is not None and by_signs:
                return self._signs(pre, weights, nudge, nudge.amplitude)
            return self._with_rank1(Plain(pre, weights), pre, nudge)
        if not memory.holds(pre, self.n_target, self.crossbar.version):
            self._work_out(Plain(pre, weights), memory.z)
            memory.version = self.crossbar.version
        if nudge is None or not by_signs:
            return self._with_rank1(Ready(memory.z), pre, nudge)
        # The two reads of an antithetic probe differ in the amplitude alone, so the products with the signs are kept as
        # well. A single read then takes two products instead of one, but what it gives does not depend on what was kept.
        mark = (nudge.key, nudge.index)
        if not memory.holds_signs(mark):
            self._work_out(self._signs(pre, np.zeros((1, self.n_target), np.float32), nudge, 1.0), memory.turned)
            memory.address = mark
        return PlusScaled(Ready(memory.z), Ready(memory.turned), nudge.amplitude)

    def _work_out(self, products: Products, z: FloatArray) -> None:
        spread(lambda first, last: products.take(first, last, z), self.columns(len(z)))

    def _signs(self, pre: FloatArray, weights: FloatArray, nudge: WeightNudge, amplitude: float) -> WithSigns:
        address = Draw(split_key(nudge.key), SIGNS, nudge.index, self.place).address()
        return WithSigns(pre, weights, amplitude, self.weight_gain[0], address)

    def _with_rank1(self, products: Products, pre: FloatArray, nudge: WeightNudge | None) -> Products:
        if nudge is None:
            return products
        rows, columns = rank_one(nudge, self.place, *self.crossbar.shape)
        return PlusRankOne(products, np.float32(nudge.amplitude) * (pre @ rows), columns * self.weight_gain[0])

    def _drive(self, v: FloatArray, lines: np.ndarray) -> tuple[FloatArray, FloatArray]:
        pre, power = np.empty((len(v), self.crossbar.shape[0]), np.float32), np.empty(len(v), np.float32)

        def piece(start: int, stop: int) -> None:
            bank = self.dac.gain, self.dac.offset
            drive_lines(v[start:stop], lines, self._normalised, *self._numbers, *bank, pre[start:stop], power[start:stop])

        spread(piece, cut(len(v), max(1, DRIVEN // v.shape[1])))
        return pre, power

    def _drive_blocks(self, v: FloatArray, lines: np.ndarray) -> tuple[FloatArray, FloatArray]:
        rows = self.parts.spec.rows
        assert rows is not None  # noqa: S101 - who has blocks has tables
        pre, power = np.empty((len(rows), len(v), rows.shape[1]), np.float32), np.empty((len(rows), len(v)), np.float32)

        def piece(first: int, last: int) -> None:
            some = slice(first, last)
            bank = self.dac.gain[some], self.dac.offset[some]
            drive_blocks(v, lines, rows[some], self._normaliser, *self._numbers, *bank, pre[some], power[some])

        spread(piece, cut(len(rows), max(1, DRIVEN // (rows.shape[1] * len(v)))))
        return pre, power
