"""The privileged view: what the scientist may see of a simulated chip and no learner may.

Used by experiments and tests alone; everything here is noise-free and in float64.
"""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray, check_name
from mortalsim.chips.array import Array
from mortalsim.chips.population import Population
from mortalsim.chips.simulated import SimulatedChip
from mortalsim.kernels.devices import G
from mortalsim.models import ArrayModel, PopulationModel, Twin


def weights(chip: SimulatedChip) -> list[np.ndarray]:
    """Return the weights that the chip's devices hold now, one of each array's shape, drift and static errors included."""
    for array in chip.arrays:
        array.crossbar.keep_up(chip.clock.now, chip.clock.temperature)
    return [array.crossbar.weights.astype(np.float64).reshape(array.parts.spec.shape) for array in chip.arrays]


def conductances(chip: SimulatedChip) -> list[np.ndarray]:
    """Return the programmed conductances in siemens, G+ and G-: one (2, *shape) per array."""
    return [array.crossbar.devices.levels(G).astype(np.float64).reshape(2, *array.parts.spec.shape) for array in chip.arrays]


def transfer_curves(chip: SimulatedChip, population: str, z: FloatArray) -> np.ndarray:
    """Return the outputs (Z, size) of a population's neurons for currents ``z`` (Z,); output converters left out.

    Currents have the unit of weight times input. Each of ``z`` is given to all neurons; ``population`` names one that arrays
    feed.
    """
    check_name("population", population, chip.populations)
    bank = chip.populations[population].neurons
    return bank.respond(bank.gain * np.asarray(z, np.float64)[:, None] + bank.offset)[0]


def model(chip: SimulatedChip) -> Twin:
    """Return the exact differentiable model of this one chip: no noise, no rounding, no clipping by output converters."""
    arrays = tuple(_array(array, w) for array, w in zip(chip.arrays, weights(chip), strict=True))
    populations = {name: _population(population) for name, population in chip.populations.items()}
    return Twin(chip.datasheet, arrays, populations, chip.boxes)


def loss_and_gradient(chip: SimulatedChip, x: FloatArray, targets: FloatArray) -> tuple[float, list[np.ndarray]]:
    """Return the mean cross-entropy (nats) and its true gradient by the chip's weights, one of each array's shape."""
    return model(chip).loss_and_gradient(np.asarray(x, np.float64), np.asarray(targets, np.float64))


class _Response:
    """The curves of one population's neurons with their output converters' gain and offset, as the twin wants them."""

    def __init__(self, population: Population) -> None:
        self._neurons, self._adc = population.neurons, population.adc

    def __call__(self, z: FloatArray) -> FloatArray:
        return self._neurons.respond(z)[0] * self._adc.gain + self._adc.offset

    def derivative(self, z: FloatArray) -> FloatArray:
        return self._neurons.respond(z)[1] * self._adc.gain


def _population(population: Population) -> PopulationModel:
    neurons = population.neurons
    return PopulationModel(_Response(population), neurons.gain.astype(np.float64), neurons.offset.astype(np.float64))


def _array(array: Array, w: np.ndarray) -> ArrayModel:
    spec, converters = array.parts.spec, array.parts.converters
    gain, offset = array.dac.gain.astype(np.float64), array.dac.offset.astype(np.float64)
    if spec.rows is None:  # the bias line, if there is one, is driven by no converter
        further = spec.n_in - len(gain)
        gain, offset = np.append(gain, np.ones(further)), np.append(offset, np.zeros(further))
    else:
        driven = spec.rows < array.n_source
        gain, offset = np.where(driven, gain, 1.0)[:, None, :], np.where(driven, offset, 0.0)[:, None, :]
    sums: tuple[np.ndarray, ...] = ()
    if array.blocks is not None and array.blocks.digital:
        adc, shape = array.blocks.adc, (len(array.parts.lines), 1, spec.n_out)
        sums = adc.gain.astype(np.float64).reshape(shape), adc.offset.astype(np.float64).reshape(shape)
    normalised = array.normaliser_gain if spec.normaliser != "none" else 1.0
    return ArrayModel(
        w, normalised, converters.dac.low, converters.dac.high, gain, offset, array.parts.normaliser.epsilon, *sums
    )
