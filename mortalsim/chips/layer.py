"""One layer of a simulated chip: an array with the circuits around it, from digital input to digital output."""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.crossbar import Crossbar
from mortalsim.chips.design import Design
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.circuits.neurons import fabricate_neurons
from mortalsim.hardware import CurrentNudge, Nudge, Tap, WeightNudge
from mortalsim.kernels import add_signs, drive_lines, rank1_pattern, read_epilogue
from mortalsim.streams import Streams

_NOTHING = np.zeros((0, 0), np.float32)


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

    def read(self, v: FloatArray, nudge: Nudge | None, number: int, key: np.ndarray) -> Tap:
        """Return the tap around the array for input ``v`` (B, n_in - 1); ``number`` counts the chip's reads."""
        pre, power = self._drive(v)
        z, variance = self._multiply(pre, nudge)
        currents = nudge.currents[self.index] if isinstance(nudge, CurrentNudge) else None
        neurons, converters, tables = self.neurons, self.design.converters, self.neurons.tables
        post = np.empty_like(z)
        read_epilogue(
            z,
            variance,
            power,
            self.design.line_variance,
            self.design.neurons.noise**2,
            _NOTHING if currents is None else currents,
            self.current_gain,
            neurons.gain,
            neurons.offset,
            neurons.saturation,
            tables.leak,
            tables.start,
            tables.step,
            tables.values,
            tables.slopes,
            converters.adc_step,
            converters.output_range,
            self.adc.gain,
            self.adc.offset,
            key,
            number,
            self.index,
            post,
        )
        return Tap(self.index, pre, post)

    def _drive(self, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        pre = np.empty((v.shape[0], v.shape[1] + 1), np.float32)
        power = np.empty(v.shape[0], np.float32)
        normaliser, converters = self.design.normaliser, self.design.converters
        drive_lines(
            v,
            normaliser.present,
            normaliser.epsilon,
            self.normaliser_gain,
            converters.dac_step,
            converters.input_range,
            self.dac.gain,
            self.dac.offset,
            pre,
            power,
        )
        return pre, power

    def _multiply(self, pre: FloatArray, nudge: Nudge | None) -> tuple[FloatArray, FloatArray]:
        crossbar = self.crossbar
        weights = crossbar.weights
        if isinstance(nudge, WeightNudge) and nudge.pattern == "signs":
            weights = np.empty_like(crossbar.weights)
            add_signs(crossbar.weights, nudge.amplitude, self.weight_gain, nudge.key, self.index, weights)
        z = pre @ weights
        if isinstance(nudge, WeightNudge) and nudge.pattern == "rank1":
            rows, columns = rank1_pattern(nudge.key, self.index, *crossbar.shape)
            z += (np.float32(nudge.amplitude) * (pre @ rows))[:, None] * (columns * self.weight_gain)
        # Fresh noise of every device, summed along a line, is Gaussian with this variance: exact, jointly.
        variance = np.square(pre) @ crossbar.variance if crossbar.variance.size else _NOTHING
        return z, variance

    def add_pattern(self, change: FloatArray, nudge: WeightNudge, size: float) -> None:
        """Add ``size`` times the nudge's signs to ``change`` (n_in, n_out): what was asked, port mismatch left out."""
        if nudge.pattern == "signs":
            add_signs(change, size, np.ones_like(self.weight_gain), nudge.key, self.index, change)
        else:
            rows, columns = rank1_pattern(nudge.key, self.index, *change.shape)
            change += np.float32(size) * rows[:, None] * columns
