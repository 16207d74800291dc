"""The privileged view: what the scientist may see of a simulated chip and no learner may.

Used by experiments and tests alone; everything here is noise-free and in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.layer import Layer
from mortalsim.chips.simulated import SimulatedChip
from mortalsim.hardware import BIAS, Tap
from mortalsim.kernels.cells import G
from mortalsim.objectives import cross_entropy
from mortalsim.twin import Layer as ModelLayer
from mortalsim.twin import Twin


def weights(chip: SimulatedChip) -> list[np.ndarray]:
    """Return the weights that the chip's devices hold now, one (n_in, n_out) per array, drift and static errors included."""
    for layer in chip.layers:
        layer.crossbar.keep_up(chip.clock)
    return [layer.crossbar.weights.astype(np.float64) for layer in chip.layers]


def conductances(chip: SimulatedChip) -> list[np.ndarray]:
    """Return the programmed conductances in siemens, one (2, n_in, n_out) per array: G+ and G-."""
    return [layer.crossbar.cells.levels(G).astype(np.float64) for layer in chip.layers]


def model(chip: SimulatedChip) -> Twin:
    """Return the exact differentiable model of this one chip: no noise, no rounding, no clipping by the ADC."""
    design = chip.design
    layers = tuple(_layer(layer, w) for layer, w in zip(chip.layers, weights(chip), strict=True))
    # The chip's normaliser has a gain of its own before the clip; here it is part of the weights, after the clip.
    ranges = tuple(design.converters.input_range / abs(_normaliser_gain(layer)) for layer in chip.layers)
    return Twin(layers, design.normaliser.present, design.normaliser.epsilon, ranges)


def lines(chip: SimulatedChip, taps: Sequence[Tap]) -> list[np.ndarray]:
    """Return what the chip's input lines carry where those of its `model` show ``taps``, one (B, n_in) per array.

    The model's weights hold the gains and offsets of normaliser and DAC. So the derivative of anything with respect to the
    chip's own weights is these lines, transposed, times its derivative with respect to each neuron's input.
    """
    return [tap.pre * _line_gain(layer) + _line_offset(layer) for tap, layer in zip(taps, chip.layers, strict=False)]


def loss_and_gradient(chip: SimulatedChip, x: FloatArray, targets: FloatArray) -> tuple[float, list[np.ndarray]]:
    """Return the mean cross-entropy (nats) and its true gradient by the chip's weights, one (n_in, n_out) per array."""
    twin = model(chip)
    trace = twin.forward(x.astype(np.float64))
    loss, slope = cross_entropy(trace.output, targets)
    errors = twin.backward(trace.taps, slope / len(x))
    return float(loss.mean()), [pre.T @ error for pre, error in zip(lines(chip, trace.taps), errors, strict=True)]


def transfer_curves(chip: SimulatedChip, array: int, z: FloatArray) -> np.ndarray:
    """Return what each neuron of ``array`` gives for the inputs ``z`` (Z,), shape (Z, n_out)."""
    bank = chip.layers[array].neurons
    return bank.respond(bank.gain * np.asarray(z, np.float64)[:, None] + bank.offset)[0]


class _Response:
    """The curves of one layer's neurons with their output converters' gain and offset, as the twin wants them."""

    def __init__(self, layer: Layer) -> None:
        self._neurons, self._adc = layer.neurons, layer.adc

    def __call__(self, z: FloatArray) -> FloatArray:
        return self._neurons.respond(z)[0] * self._adc.gain + self._adc.offset

    def derivative(self, z: FloatArray) -> FloatArray:
        return self._neurons.respond(z)[1] * self._adc.gain


def _normaliser_gain(layer: Layer) -> float:
    return layer.normaliser_gain if layer.design.normaliser.present else 1.0


def _line_gain(layer: Layer) -> np.ndarray:
    # The gains of normaliser and DAC act on every line but the bias line.
    return np.append(layer.dac.gain.astype(np.float64) * _normaliser_gain(layer), BIAS)


def _line_offset(layer: Layer) -> np.ndarray:
    return np.append(layer.dac.offset.astype(np.float64), 0.0)


def _layer(layer: Layer, w: np.ndarray) -> ModelLayer:
    gain, offset = (values.astype(np.float64) for values in (layer.neurons.gain, layer.neurons.offset))
    # A DAC's offset adds the same current to a column whatever the input: it belongs to the neuron's offset.
    shift = _line_offset(layer) @ w
    return ModelLayer(_line_gain(layer)[:, None] * w, _Response(layer), gain, offset + gain * shift)
