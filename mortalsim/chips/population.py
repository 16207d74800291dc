"""The output side: a population's neurons turn the currents that reach them into a digital state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.array import Current
from mortalsim.chips.netlist import PopulationParts
from mortalsim.chips.products import Products, Sum
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.circuits.neurons import fabricate_neurons
from mortalsim.kernels import read_epilogue
from mortalsim.kernels.counters import Key
from mortalsim.parallel import spread
from mortalsim.streams import Streams

_NOTHING = np.zeros((0, 0), np.float32)


class Population:
    """Neurons that answer together: sum of currents, gain, noise, curve, current ports, output converters.

    Parameters
    ----------
    parts
        What it is made of.
    place
        Its place in the chip.
    streams
        The chip's streams.
    """

    def __init__(self, parts: PopulationParts, place: int, streams: Streams) -> None:
        n = parts.spec.size
        self.parts, self.place, self.size = parts, place, n
        self.neurons = fabricate_neurons(parts.neurons, parts.curve, n, streams.generator("neurons", place))
        self.adc = fabricate_converters(parts.converters, n, streams.generator("adc", place))
        gains = streams.generator("current ports", place).standard_normal(n)
        #: What each neuron's port really adds per unit of a current nudge, (n,).
        self.current_gain = (1 + parts.nudges.current_gain_dtod * gains).astype(np.float32)
        self._variance = parts.neurons.noise**2
        neurons, tables = self.neurons, self.neurons.tables
        self._circuits = (
            *(neurons.gain, neurons.offset, neurons.saturation),
            *(tables.leak, tables.start, tables.step, tables.values, tables.slopes),
            *(*parts.converters.adc, self.adc.gain, self.adc.offset),
        )

    def answer(
        self,
        currents: Sequence[Current],
        added: FloatArray | None,
        samples: int,
        cuts: Sequence[int],
        address: tuple[Key, int, int],
    ) -> FloatArray:
        """Return the new state (B, n) before damping.

        Parameters
        ----------
        currents
            What every array sends that feeds the population now.
        added
            Current nudge (B, n), or None.
        samples
            B.
        cuts
            Where to cut the neurons into pieces of work.
        address
            Of the noise.
        """
        post = np.empty((samples, self.size), np.float32)
        products, power, line_variance, noise = _added_up(currents, samples)
        variance = _NOTHING if noise is None else np.empty_like(post)
        nudge = _NOTHING if added is None else added

        def piece(first: int, last: int) -> None:
            z = products.take(first, last, post)
            own = variance if noise is None else noise.take(first, last, variance)
            read_epilogue(
                z, own, power, line_variance, self._variance, nudge, self.current_gain, *self._circuits, *address,
                first, last, post,
            )  # fmt: skip

        spread(piece, cuts)
        return post


def _added_up(currents: Sequence[Current], samples: int) -> tuple[Products, FloatArray, float, Products | None]:
    """Return the products of all arrays, and of their noise what all neurons share and what each has for itself."""
    if len(currents) == 1:
        (one,) = currents
        power = np.zeros(samples, np.float32) if one.power is None else one.power
        return one.products, power, one.line_variance, one.noise
    power = np.zeros(samples, np.float32)
    for current in currents:
        if current.power is not None:
            power += np.float32(current.line_variance) * current.power
    noises = [current.noise for current in currents if current.noise is not None]
    products = Sum([current.products for current in currents])
    return products, power, 1.0, Sum(noises) if noises else None
