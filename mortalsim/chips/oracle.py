"""The privileged view: what the scientist may see of a simulated chip and no learner may.

Used by experiments and tests alone; everything here is noise-free and in float64.
"""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.layer import Layer
from mortalsim.chips.simulated import SimulatedChip
from mortalsim.hardware import BIAS
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
    return [layer.crossbar.cells[:, 0].astype(np.float64) for layer in chip.layers]


def model(chip: SimulatedChip) -> Twin:
    """Return the exact differentiable model of this one chip: no noise, no rounding, no clipping by the ADC."""
    design = chip.design
    layers = tuple(_layer(layer, w) for layer, w in zip(chip.layers, weights(chip), strict=True))
    return Twin(layers, design.normaliser.present, design.normaliser.epsilon, design.converters.input_range)


def loss_and_gradient(chip: SimulatedChip, x: FloatArray, targets: FloatArray) -> tuple[float, list[np.ndarray]]:
    """Return the mean cross-entropy (nats) and its true gradient by the chip's weights, one (n_in, n_out) per array."""
    twin = model(chip)
    trace = twin.forward(x.astype(np.float64))
    loss, slope = cross_entropy(trace.output, targets)
    errors = twin.backward(trace.taps, slope / len(x))
    pres = [tap.pre * _line_gain(layer) + _line_offset(layer) for tap, layer in zip(trace.taps, chip.layers, strict=True)]
    return float(loss.mean()), [pre.T @ error for pre, error in zip(pres, errors, strict=True)]


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


def _line_gain(layer: Layer) -> np.ndarray:
    # The gains of normaliser and DAC act on every line but the bias line.
    return np.append(layer.dac.gain.astype(np.float64) * layer.normaliser_gain, BIAS)


def _line_offset(layer: Layer) -> np.ndarray:
    return np.append(layer.dac.offset.astype(np.float64), 0.0)


def _layer(layer: Layer, w: np.ndarray) -> ModelLayer:
    gain, offset = (values.astype(np.float64) for values in (layer.neurons.gain, layer.neurons.offset))
    # A DAC's offset adds the same current to a column whatever the input: it belongs to the neuron's offset.
    shift = _line_offset(layer) @ w
    return ModelLayer(_line_gain(layer)[:, None] * w, _Response(layer), gain, offset + gain * shift)
