"""The output side: a population's neurons turn the currents that reach them into a digital state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.array import Signal
from mortalsim.chips.netlist import PopulationParts
from mortalsim.chips.products import Sum
from mortalsim.circuits.converters import fabricate_converters
from mortalsim.circuits.neurons import fabricate_neurons
from mortalsim.kernels import Noise, read_out
from mortalsim.kernels.counters import Key
from mortalsim.parallel import map_chunks
from mortalsim.streams import Streams

_NOTHING = np.zeros((0, 0), np.float32)

#: Fields of a `counters.Address`.
_Address: TypeAlias = tuple[Key, int, int]


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
        own, common = streams.generator("neurons", place), streams.generator("common curve", place)
        self.neurons = fabricate_neurons(parts.neurons, parts.curve, n, own, common)
        self.adc = fabricate_converters(parts.converters, n, streams.generator("adc", place))
        gains = streams.generator("current ports", place).standard_normal(n)
        #: What each neuron's port really adds per unit of a current nudge, (n,).
        self.current_gain = (1 + parts.nudges.current_gain_dtod * gains).astype(np.float32)
        self._variance = parts.neurons.noise**2
        self._circuits = self.neurons.with_ports(self.current_gain)
        self._converter = self.adc.with_levels(parts.converters.adc)

    def answer(
        self,
        signals: Sequence[Signal],
        added: FloatArray | None,
        samples: int,
        cuts: Sequence[int] | None,
        address: _Address,
    ) -> FloatArray:
        """Return the new state (B, n) before damping.

        Parameters
        ----------
        signals
            What every array sends that feeds the population now.
        added
            Current nudge (B, n), or None.
        samples
            B.
        cuts
            Where to cut the neurons into chunks; None: nowhere.
        address
            Of the noise.
        """
        signal = signals[0] if len(signals) == 1 else _added_up(signals, samples)
        post = np.empty((samples, self.size), np.float32)
        nudge = _NOTHING if added is None else added
        power = np.zeros(samples, np.float32) if signal.power is None else signal.power
        variance = _NOTHING if signal.noise is None else np.empty_like(post)
        noise = Noise(variance, power, signal.line_variance, self._variance)
        if cuts is None:
            self._answer(signal, noise, nudge, address, post, 0, self.size)
        else:
            map_chunks(partial(self._answer, signal, noise, nudge, address, post), cuts)
        return post

    def _answer(
        self, signal: Signal, noise: Noise, nudge: FloatArray, address: _Address, post: FloatArray, first: int, last: int
    ) -> None:
        """Write the new state of neurons ``first`` to ``last`` - 1 to ``post``; ``noise.own`` is room for variances."""
        assert signal.products is not None  # noqa: S101 - partial sums have been converted
        z = signal.products.take(first, last, post)
        if signal.noise is not None:
            noise = noise._replace(own=signal.noise.take(first, last, noise.own))
        read_out(z, noise, nudge, self._circuits, self._converter, address, (first, last), post)


def _added_up(signals: Sequence[Signal], samples: int) -> Signal:
    """Return several arrays' signals as one: of their noise, what all neurons share and what each has for itself."""
    power = np.zeros(samples, np.float32)
    for signal in signals:
        if signal.power is not None:
            power += np.float32(signal.line_variance) * signal.power
    products = Sum([signal.products for signal in signals if signal.products is not None])
    noises = [signal.noise for signal in signals if signal.noise is not None]
    return Signal(products, power, 1.0, Sum(noises) if noises else None, signals[0].pre)
