"""Where weights meet physics: what a memory technology's siemens, pulses and noise are in units of weight."""

from __future__ import annotations

from dataclasses import dataclass

from mortalsim.devices import Device


@dataclass(frozen=True)
class Technology:
    """The devices of an array, and what they stand for.

    Parameters
    ----------
    device
        The memory technology, in SI units.
    weight_range
        Weight that a pair at its two nominal ends stands for.
    initial_spread
        Weights as fabricated: standard deviation times the root of the lines that reach a neuron.
    read_seconds
        Time that one answer takes.
    """

    device: Device
    weight_range: float
    initial_spread: float
    read_seconds: float

    @property
    def unit(self) -> float:
        """Siemens of G+ minus G- that stand for a weight of 1: the one place where weights meet physics."""
        return (self.device.g_max - self.device.g_min) / self.weight_range

    @property
    def pulses_per_weight(self) -> float:
        """Pulses that each device of a pair takes for a weight change of 1; the pair shares the change equally."""
        return self.unit / (2 * self.device.step) if self.device.step else 0.0

    @property
    def weight_step(self) -> float:
        """Change of a weight by one pulse on one of its two devices, at mid range; 0: continuous."""
        return self.device.step / self.unit

    @property
    def line_variance(self) -> float:
        """Variance at a neuron's input, by constant read noise, for each squared unit of input: both devices of a pair."""
        return 2 * (self.device.read_noise / self.unit) ** 2

    @property
    def nominal_variance(self) -> float:
        """The same with proportional read noise included, both devices at mid range."""
        return self.line_variance + 2 * (self.device.read_noise_relative * self.device.g_mid / self.unit) ** 2

    @property
    def pair_joules(self) -> float:
        """Energy of one pair during a read: at a mean squared input of 1 it carries about its mid-range conductance."""
        return 2 * self.device.g_mid * self.device.read_volts**2 * self.read_seconds
