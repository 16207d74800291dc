"""Wild: a random smooth monotone curve for every neuron, that no data sheet describes."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.special import expit

from mortalsim.checks import FloatArray
from mortalsim.circuits.curves.base import Curve, CurveTables
from mortalsim.hardware import TransferCurve


class Wild(Curve):
    """dy/dv = exp(r g(v) - r^2 / 2) [leak + (1 - leak) logistic((v - onset) / softness)], y(-reach) = 0.

    ``g`` is a Gaussian process of unit variance with squared-exponential correlation, drawn anew for each neuron, as are
    the onset, the softness and the leak. The slope is positive everywhere, so each curve is monotone. The data sheet tells
    only the curve of a neuron with typical onset (0), softness and leak and no roughness; it is not the mean of the curves.

    The family is made up here. A leak is at most 0.5, so that every neuron bends. There are 65 knots; with the defaults they
    stand 0.25 apart, four to a wavelength.
    """

    roughness: float = Field(0.7, ge=0, le=3, description="r, standard deviation of the logarithm of the slope")
    wavelength: float = Field(1.0, ge=1e-3, le=1e3, description="correlation length of g, input units")
    onset: float = Field(0.3, ge=0, le=1e3, description="standard deviation of the input at which a neuron turns on")
    softness: float = Field(0.25, ge=1e-6, le=1e3, description="median input over which a neuron turns on")
    leak: float = Field(0.05, ge=0, lt=1, description="mean leak, exponentially distributed")
    reach: float = Field(8.0, ge=1e-3, le=1e3, description="inputs from -reach to reach are tabulated; end slopes beyond")

    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        v = self._grid()
        distance = (v[:, None] - v[None, :]) / self.wavelength
        correlation = np.exp(-(distance**2) / 2) + 1e-6 * np.eye(len(v))
        g = rng.standard_normal((neurons, len(v))) @ np.linalg.cholesky(correlation).T
        onset = self.onset * rng.standard_normal((neurons, 1))
        softness = self.softness * np.exp(0.5 * rng.standard_normal((neurons, 1)))
        leak = np.minimum(self.leak * rng.standard_exponential((neurons, 1)), 0.5)
        slopes = np.exp(self.roughness * g - self.roughness**2 / 2) * (leak + (1 - leak) * expit((v - onset) / softness))
        return self._integrate(slopes)

    def nominal(self) -> TransferCurve:
        slopes = self.leak + (1 - self.leak) * expit(self._grid() / self.softness)
        return self._integrate(slopes[None, :]).curve(0)

    def _grid(self) -> FloatArray:
        return np.linspace(-self.reach, self.reach, 65)

    def _integrate(self, slopes: FloatArray) -> CurveTables:
        v = self._grid()
        return CurveTables.integrate(v[0], v[1] - v[0], np.zeros(len(slopes)), slopes)
