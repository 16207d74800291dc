"""Alien: one random curve for all neurons of a population, that no data sheet describes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray
from mortalsim.circuits.curves.base import Curve, CurveTables
from mortalsim.circuits.curves.wild import Wild
from mortalsim.hardware import TransferCurve


class Alien(Curve):
    """y = c tanh(f(h(v)) / c), the same h, f and c for all neurons of a population; f is 0 where v is -reach.

    Input: h(v) = v / (1 + |v| / s), with an s of its own for either sign. The node at which currents meet gives way under
    load, before the neuron answers to what is left of them. So the input's nonlinearity is part of this curve: weighted sums
    and nudged currents go through it, and what rows carry does not.

    Curve: df/du = k(u - onset) (1 + b sin(2 pi u / period + phase)). k is the slope of one neuron of the family `wild` with
    onset 0. Where b is above 1, the curve falls in places.

    Output: c is where the population saturates. Beyond the table the curve is flat.

    Everything is drawn once a population, from a stream that does not know how many neurons there are: both s and c
    lognormal, the onset and the phase uniform, k as `wild` says. Neurons differ only by the gain, offset and saturation that
    the design spreads over them. The data sheet tells the curve of a population with median s and c, onset 0, typical
    softness and leak, no roughness and no bumps.

    The family is made up here, for hardware whose physics is taken to be unknown (as in Momeni et al. 2023,
    "Backpropagation-free training of deep physical neural networks"); none of its numbers is measured. There are 257 knots;
    with the defaults they stand 0.125 apart.
    """

    shared: ClassVar[bool] = True

    roughness: float = Field(0.5, ge=0, le=3, description="r, standard deviation of the logarithm of k, as in wild")
    wavelength: float = Field(1.0, ge=1e-3, le=1e3, description="correlation length of log k, input units, as in wild")
    onset: float = Field(0.6, ge=0, le=1e3, description="largest distance from 0 of the input that turns a population on")
    softness: float = Field(0.25, ge=1e-6, le=1e3, description="median input over which a population turns on")
    leak: float = Field(0.05, ge=0, lt=1, description="mean leak, exponentially distributed, at most 0.5")
    bumps: float = Field(1.6, ge=0, le=10, description="b, relative height of the slope's bumps; above 1 the curve falls")
    period: float = Field(5.0, ge=1e-3, le=1e3, description="distance of bumps, input units behind h")
    compression: float = Field(8.0, ge=1e-3, le=1e6, description="median of s, the input that h halves, input units")
    compression_spread: float = Field(0.5, ge=0, le=3, description="standard deviation of the logarithm of s")
    saturation: float = Field(6.0, ge=1e-3, le=1e6, description="median of c, largest output")
    saturation_spread: float = Field(0.5, ge=0, le=3, description="standard deviation of the logarithm of c")
    reach: float = Field(16.0, ge=1e-3, le=1e3, description="inputs from -reach to reach are tabulated; flat beyond")

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        rough = self._wild().fabricate(1, rng)
        below, above = self.compression * np.exp(self.compression_spread * rng.standard_normal(2))
        top = self.saturation * np.exp(self.saturation_spread * rng.standard_normal())
        onset, phase = self.onset * rng.uniform(-1, 1), rng.uniform(0, 2 * np.pi)
        v = self._grid()
        u, share = _compress(v, np.where(v < 0, below, above))
        bump = 1 + self.bumps * np.sin(2 * np.pi * u / self.period + phase)
        return self._saturated(rough.respond(u[:, None] - onset)[1][:, 0] * bump * share, top)

    def nominal(self) -> TransferCurve:
        u, share = _compress(self._grid(), np.float64(self.compression))
        return self._saturated(self._wild().nominal().derivative(u) * share, self.saturation).curve(0)

    def _wild(self) -> Wild:
        return Wild(roughness=self.roughness, wavelength=self.wavelength, onset=0.0, softness=self.softness, leak=self.leak)

    def _grid(self) -> FloatArray:
        return np.linspace(-self.reach, self.reach, 257)

    def _saturated(self, slopes: FloatArray, top: float) -> CurveTables:
        """Return c tanh(f / c), c being ``top``, for slopes (knots,) of f by v."""
        v, first = self._grid(), np.zeros(1)
        f = CurveTables.integrate(v[0], v[1] - v[0], first, slopes[None, :]).values[0].astype(np.float64)
        slopes = slopes * (1 - np.tanh(f / top) ** 2)
        slopes[[0, -1]] = 0.0  # curves go on with their end slopes, and no output grows for ever
        return CurveTables.integrate(v[0], v[1] - v[0], first, slopes[None, :])


def _compress(v: FloatArray, s: FloatArray | np.float64) -> tuple[FloatArray, FloatArray]:
    """Return h(v) = v / (1 + |v| / s) and its slope."""
    share = 1 / (1 + np.abs(v) / s)
    return v * share, share**2
