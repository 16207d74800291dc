"""Where weights meet physics: what a memory technology's siemens, pulses and noise are in units of weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mortalsim.checks import DesignError, FloatArray
from mortalsim.devices import Device
from mortalsim.devices.base import KNOTS, Moment
from mortalsim.devices.pairs import Pair
from mortalsim.kernels import ReadNoise

#: Standard deviations within which all devices of a chip lie: of the most that one may have, fewer than one in a hundred
#: chips has a normal number beyond.
FARTHEST = 7.0


@dataclass(frozen=True)
class Technology:
    """The devices of an array, and what they stand for.

    Parameters
    ----------
    device
        The memory technology, in SI units.
    pair
        How two devices make a weight.
    weight_range
        Weight that a nominal pair stands for with one device at ``g_max`` and the other at ``g_min``. Bounds are spread from
        device to device, so a real pair may hold more or less; see `largest_weight`.
    initial_spread
        Weights as fabricated: standard deviation times the root of the lines that reach a neuron.
    read_seconds
        Time that one answer takes.
    """

    device: Device
    pair: Pair
    weight_range: float
    initial_spread: float
    read_seconds: float

    @property
    def unit(self) -> float:
        """Siemens of G+ minus G- that stand for a weight of 1: the one place where weights meet physics."""
        return (self.device.g_max - self.device.g_min) / self.weight_range

    @property
    def steps_per_weight(self) -> float:
        """Mid-range steps of one device that make a weight change of 1; 0: continuous."""
        return self.unit / self.device.step if self.device.step else 0.0

    @property
    def pulses_per_weight(self) -> float:
        """Pulses that a device takes for a weight change of 1, by its pair's share of it: a half where both take part."""
        return self.steps_per_weight * float(abs(self.pair.shares).max())

    @property
    def weight_step(self) -> float:
        """Change of a weight by one pulse on one of its two devices, at mid range; 0: continuous."""
        return self.device.step / self.unit

    @property
    def largest_weight(self) -> float:
        """Largest weight that a pair can hold: bounds and static errors at the far ends of their spreads.

        A device that drifts may have come below its lower bound; what a technology's own ageing adds is not in it.
        """
        device, bound, error = self.device, FARTHEST * self.device.bound_dtod, FARTHEST * self.device.conductance_dtod
        highest = max(device.g_max * (1 + bound), device.g_min * (1 + bound) + (device.g_max - device.g_min) / 10)
        lowest = 0.0 if device.drifts or device.ages_by_itself else device.g_min * max(1 - bound, 0)
        siemens = highest * (1 + error) - lowest * max(1 - error, 0)
        return self.weight_range * (siemens / (device.g_max - device.g_min))

    @property
    def rest(self) -> float:
        """Conductance of both devices at a weight of 0, siemens."""
        return self.pair.rest(self.device)

    @property
    def typical(self) -> float:
        """Conductance of a device in use, siemens."""
        return self.pair.typical(self.device)

    def _sd(self, u: FloatArray, moment: Moment) -> FloatArray:
        """Return the read noise at places ``u``, siemens, one number for all counting as each; refuse what is no noise."""
        name, sd = type(self.device).__name__, np.asarray(self.device.noise_at(u, moment), np.float64)
        if sd.shape not in ((), u.shape):
            raise DesignError(f"{name}.noise: expected an array like u, shape {u.shape}, found {sd.shape}.")
        if not (np.isfinite(sd).all() and sd.min() >= 0):
            raise DesignError(
                f"{name}.noise: expected finite standard deviations of at least 0 siemens for u from 0 to 1, found "
                f"{sd.min():g} to {sd.max():g}. Return the size of the noise at every place."
            )
        return np.broadcast_to(sd, u.shape)

    def read_noise(self, moment: Moment) -> tuple[float, ReadNoise]:
        """Return the read noise at ``moment``, in units of weight: its constant part, and what depends on conductance.

        Every law goes this way. Its variance is looked at over the range. A part that is the same everywhere costs a read no
        product. A part in proportion to conductance is a product with one number. Any other law is tabulated.

        Returns
        -------
        line_variance
            Variance at a neuron's input for each squared unit of input, both devices of a pair together.
        noise
            For kernels: relative, or tabulated; nothing where the noise is constant.

        Raises
        ------
        DesignError
            The technology's law gives something else than finite numbers of at least 0.
        """
        device, unit = self.device, self.unit
        u = np.linspace(0, 1, KNOTS)
        sd = self._sd(u, moment)
        g, variance = device.g_min + (device.g_max - device.g_min) * u, sd**2
        relative = max(float(variance[-1] - variance[0]), 0.0) / (g[-1] ** 2 - g[0] ** 2)
        constant = float(variance[-1]) - relative * float(g[-1]) ** 2
        tolerance = 1e-12 * float(variance.max())
        constant = constant if constant > tolerance else 0.0
        if np.allclose(variance, constant + relative * g**2, rtol=0, atol=max(tolerance, 1e-300)):
            return 2 * (float(np.sqrt(constant)) / unit) ** 2, ReadNoise(float(np.sqrt(relative)))
        table = np.asarray(sd / unit, np.float32)
        return 0.0, ReadNoise(0.0, table, device.g_min / unit, (device.g_max - device.g_min) / unit)

    @property
    def nominal_variance(self) -> float:
        """Variance at a neuron's input for each squared unit of input, both devices of a pair at a typical conductance."""
        place = self.device.place(np.array([self.typical]))
        return 2 * (float(self._sd(place, Moment())[0]) / self.unit) ** 2

    @property
    def pair_joules(self) -> float:
        """Energy of one pair during a read: at a mean squared input of 1 it carries about its typical conductance."""
        return 2 * self.typical * self.device.read_volts**2 * self.read_seconds
