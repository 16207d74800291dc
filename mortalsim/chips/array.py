"""The input side of an array and its devices: from the digital state of its source to currents into its target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.blocks import Blocks
from mortalsim.chips.crossbar import Crossbar
from mortalsim.chips.images import Images
from mortalsim.chips.netlist import ArrayParts
from mortalsim.chips.products import (
    FETCH,
    WORTHWHILE,
    Memory,
    OfImages,
    Plain,
    PlusFactors,
    PlusScaled,
    Products,
    Ready,
    Repeated,
    WithPattern,
    column_cuts,
)
from mortalsim.circuits.converters import ConverterBank, fabricate_converters
from mortalsim.circuits.patterns import Pattern, Site, pattern_of
from mortalsim.devices.base import Moment
from mortalsim.hardware import Nudge, WeightNudge
from mortalsim.kernels import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, Normaliser, drive_blocks, drive_lines
from mortalsim.parallel import chunks, map_chunks
from mortalsim.streams import Streams

_NO_LINES = np.zeros(0, np.int64)
_NOTHING = np.zeros((0, 0), np.float32)

#: Rows times samples of one chunk.
DRIVEN = 250_000

#: Most numbers, inputs and products, that an array keeps of its last read.
MEMO_LIMIT = 8_000_000


class Overlay(NamedTuple):
    """How the samples of an input population share images.

    Parameters
    ----------
    lines
        (k,): positions in the population that are written over.
    times
        V: sets of values. Without lines the population holds the images alone, B rows for V * B samples.
    """

    lines: np.ndarray
    times: int


class Signal(NamedTuple):
    """What the rows of an array carry for one state of its source, and the currents that it sends into its target.

    Parameters
    ----------
    products
        Of all samples; None where partial sums are converted, with fresh noise, at each tick.
    power, line_variance
        (B,) sums of squares that the rows carry, and what each unit of them adds to the noise's variance; None: nothing.
    noise
        Further variance of each product, as products of its own.
    pre
        (..., B, n_in), of the images alone where all samples share them.
    times
        How often the images stand one below the other.
    partial
        Partial sums and the variance of their noise, for `Blocks.converted`.
    """

    products: Products | None
    power: FloatArray | None
    line_variance: float
    noise: Products | None
    pre: FloatArray
    times: int = 1
    partial: tuple[FloatArray, FloatArray | None] = (_NOTHING, None)

    def rows(self) -> FloatArray:
        """Return what the rows carried in every sample."""
        return self.pre if self.times == 1 else np.concatenate([self.pre] * self.times, axis=-2)


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
    moment
        Of fabrication.
    clamped
        Whether inputs drive it. Then the next read may bring the same input again, so the products are remembered.
    before
        Number of weights in the arrays at lower places.
    """

    def __init__(
        self, parts: ArrayParts, place: int, n_source: int, n_target: int, streams: Streams, moment: Moment, clamped: bool,
        before: int,
    ) -> None:  # fmt: skip
        spec, self.parts, self.place, self.n_source, self.n_target = parts.spec, parts, place, n_source, n_target
        self.crossbar = Crossbar(parts, place, streams, moment)
        #: Where patterns of weight nudges lie.
        self.site = Site(place, before, len(parts.feeding), spec.n_in, spec.n_out)
        #: Input converters, (n_in,) or (blocks, n_in); of a dense array without the bias line.
        self.dac = _input_converters(parts, n_source, streams.generator("dac", place))
        gains = streams.generator("weight ports", place).standard_normal(parts.feeding.shape)
        #: What each column's port really gives per unit of a weight nudge, (blocks, n_out).
        self.weight_gain = (1 + parts.nudges.weight_gain_dtod * gains).astype(np.float32)
        normals = streams.generator("normaliser", place).standard_normal()
        self.normaliser_gain = float(1 + parts.normaliser.gain_dtod * normals)
        self.blocks = None if spec.rows is None else Blocks(parts, place, n_target, streams)
        self._memory = Memory() if clamped and spec.rows is None else None
        where = {"none": NOT_NORMALISED, "source": BY_SOURCE, "block": BY_BLOCK}[spec.normaliser]
        self._normaliser = Normaliser(where, epsilon=parts.normaliser.epsilon, gain=self.normaliser_gain)
        self._converter = self.dac.with_levels(parts.converters.dac)

    def signal(self, v: FloatArray, overlay: Overlay | None, nudge: Nudge | None) -> Signal:
        """Return what the rows carry for the source's state ``v`` (B, n), and its products, nudged weights included."""
        nudge = nudge if isinstance(nudge, WeightNudge) and nudge.disturbs(self.place) else None
        pattern = None if nudge is None else pattern_of(nudge, self.site)
        lines, times = (_NO_LINES, 1) if overlay is None else overlay
        if self.blocks is not None:
            return self._block_signal(self.blocks, v, lines, 1 if len(lines) else times, pattern)
        pre, power = self._drive(v, lines)
        if times == 1:
            return self._sent(self._products(pre, pattern), pre, power, 1)
        if not len(lines):
            return self._sent(Repeated(self._products(pre, pattern), times), pre, power, times)
        if pattern is not None and pattern.factors is None:
            return self._sent(self._nudged(pre, pattern), pre, power, 1)
        shared = OfImages(Images(pre, lines, times), self.crossbar.weights)
        return self._sent(self._with_factors(shared, pre, pattern), pre, power, 1)

    def _sent(self, products: Products, pre: FloatArray, power: FloatArray, times: int) -> Signal:
        noise: Products | None = None
        if self.crossbar.variance.size:
            noise = Plain(np.square(pre), self.crossbar.variance)
            noise = Repeated(noise, times) if times > 1 else noise
        return Signal(
            products, power if times == 1 else np.tile(power, times), self.crossbar.line_variance, noise, pre, times
        )

    def _block_signal(self, blocks: Blocks, v: FloatArray, lines: np.ndarray, times: int, pattern: Pattern | None) -> Signal:
        if blocks.digital and times > 1:  # converters of partial sums make noise of their own in every sample
            v, times = np.tile(v, (times, 1)), 1
        pre, power = self._drive_blocks(v, lines)
        z = blocks.products(pre, self.crossbar.weights, pattern, self.weight_gain)
        variance = blocks.variance(pre, power, self.crossbar.line_variance, self.crossbar.variance)
        if blocks.digital:
            return Signal(None, None, 0.0, None, pre, 1, (z, variance))
        parts: list[Products | None] = [
            Ready(blocks.collect(z)),
            None if variance is None else Ready(blocks.collect(variance)),
        ]
        products, noise = (Repeated(part, times) if part and times > 1 else part for part in parts)
        return Signal(products, None, 0.0, noise, pre, times)

    def settled(self, signal: Signal, samples: int) -> Signal:
        """Return a signal with its products worked out: several ticks use them."""
        if signal.products is None or isinstance(signal.products, Ready):
            return signal
        z = np.empty((samples, self.n_target), np.float32)
        self._work_out(signal.products, z)
        return signal._replace(products=Ready(z))

    def columns(self, samples: int) -> list[int] | None:
        """Return where to cut the target's neurons into chunks; None: nowhere."""
        if self.blocks is not None or (samples + FETCH) * self.crossbar.weights.size <= WORTHWHILE:
            return None
        return column_cuts(samples, *self.crossbar.shape)

    def _products(self, pre: FloatArray, pattern: Pattern | None) -> Products:
        weights, memory = self.crossbar.weights, self._memory
        if pattern is None and memory is None:
            return Plain(pre, weights)
        factored = pattern is None or pattern.factors is not None
        # A product that is cheap to redo is not worth the copy.
        worth = len(pre) * weights.size > WORTHWHILE and pre.size + len(pre) * self.n_target < MEMO_LIMIT
        if memory is None or not worth:
            if pattern is not None and not factored:
                return self._nudged(pre, pattern)
            return self._with_factors(Plain(pre, weights), pre, pattern)
        if not memory.holds(pre, self.n_target, self.crossbar.version):
            self._work_out(Plain(pre, weights), memory.z)
            memory.version = self.crossbar.version
        if pattern is None or factored:
            return self._with_factors(Ready(memory.z), pre, pattern)
        # The two reads of an antithetic probe differ in the amplitude alone, so the products with the pattern are kept as
        # well. A single read then takes two products instead of one, but what it gives does not depend on what was kept.
        nudge = pattern.nudge
        mark = (nudge.pattern, nudge.key, nudge.index)
        if not memory.holds_pattern(mark):
            nothing = np.zeros((1, self.n_target), np.float32)
            self._work_out(WithPattern(pre, nothing, 1.0, self.weight_gain[0], pattern), memory.pattern_products)
            memory.mark = mark
        return PlusScaled(Ready(memory.z), Ready(memory.pattern_products), nudge.amplitude)

    def _work_out(self, products: Products, z: FloatArray) -> None:
        """Write products of all columns to ``z``."""

        def chunk(first: int, last: int) -> None:
            found = products.take(first, last, z)
            if found is not z:
                z[:, first:last] = found[:, first:last]

        map_chunks(chunk, self.columns(len(z)) or [0, self.n_target])

    def _nudged(self, pre: FloatArray, pattern: Pattern) -> WithPattern:
        return WithPattern(pre, self.crossbar.weights, pattern.nudge.amplitude, self.weight_gain[0], pattern)

    def _with_factors(self, products: Products, pre: FloatArray, pattern: Pattern | None) -> Products:
        if pattern is None or pattern.factors is None:
            return products
        (rows,), (columns,) = pattern.factors
        return PlusFactors(products, np.float32(pattern.nudge.amplitude) * (pre @ rows), columns * self.weight_gain[0])

    def _drive(self, v: FloatArray, lines: np.ndarray) -> tuple[FloatArray, FloatArray]:
        pre, power = np.empty((len(v), self.crossbar.shape[0]), np.float32), np.empty(len(v), np.float32)
        if v.size <= DRIVEN:
            drive_lines(v, lines, self._normaliser, self._converter, pre, power)
            return pre, power

        def chunk(start: int, stop: int) -> None:
            drive_lines(v[start:stop], lines, self._normaliser, self._converter, pre[start:stop], power[start:stop])

        map_chunks(chunk, chunks(len(v), max(1, DRIVEN // v.shape[1])))
        return pre, power

    def _drive_blocks(self, v: FloatArray, lines: np.ndarray) -> tuple[FloatArray, FloatArray]:
        rows = self.parts.spec.rows
        assert rows is not None  # noqa: S101 - an array of blocks has tables
        pre, power = np.empty((len(rows), len(v), rows.shape[1]), np.float32), np.empty((len(rows), len(v)), np.float32)

        def chunk(first: int, last: int) -> None:
            some, converter = slice(first, last), self._converter.of_blocks(first, last)
            drive_blocks(v, lines, rows[some], self._normaliser, converter, pre[some], power[some])

        map_chunks(chunk, chunks(len(rows), max(1, DRIVEN // (rows.shape[1] * len(v)))))
        return pre, power


def _input_converters(parts: ArrayParts, n_source: int, rng: np.random.Generator) -> ConverterBank:
    """Draw one converter for each row that carries an output of the source; bias and ground pass through none."""
    bank = fabricate_converters(parts.converters, int(parts.driven.sum()), rng)
    if parts.spec.rows is None:
        return bank
    driven = parts.spec.rows < n_source
    gain, offset = np.ones(driven.shape, np.float32), np.zeros(driven.shape, np.float32)
    gain[driven], offset[driven] = bank.gain, bank.offset
    return ConverterBank(gain, offset)
