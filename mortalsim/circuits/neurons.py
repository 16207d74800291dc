"""Output circuits: each neuron with its own frozen gain, offset, saturation and, in some families, its own curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field, field_validator

from mortalsim.checks import FloatArray
from mortalsim.circuits.curves import AnyCurve, Curve, CurveTables
from mortalsim.circuits.curves.linear import Straight
from mortalsim.circuits.curves.relu import Relu
from mortalsim.kernels import NeuronCircuits
from mortalsim.settings import Group, at_least_or_none


class Neurons(Group):
    """Neurons of a design: y = clip(curve(gain z + offset), -saturation, saturation)."""

    curve: AnyCurve = Field(default_factory=Relu, description="transfer curve of hidden populations")
    output_curve: AnyCurve = Field(default_factory=Straight, description="transfer curve of the output population")
    gain_dtod: float = Field(0.0, ge=0, le=3, description="spread of the gain's logarithm, neuron to neuron")
    offset_dtod: float = Field(
        0.0, ge=0, le=1e6, description="spread of the offset at the input, units of weight times input"
    )
    saturation: float = Field(0.0, ge=0, le=1e9, description="output at which the supply clips, at least 1e-9; 0: never")
    saturation_dtod: float = Field(0.0, ge=0, le=3, description="spread of the saturation's logarithm")
    noise: float = Field(
        0.0, ge=0, le=1e6, description="noise at the neuron's input, units of weight times input, fresh each read"
    )

    _check_saturation = field_validator("saturation")(at_least_or_none(1e-9))


@dataclass(frozen=True, eq=False)
class NeuronBank:
    """The neurons of one population as fabricated: gain, offset and saturation of shape (n,), and their curves."""

    gain: FloatArray
    offset: FloatArray
    saturation: FloatArray
    tables: CurveTables

    def with_ports(self, gain: FloatArray) -> NeuronCircuits:
        """Return the record that kernels take; ``gain`` (n,) is what each neuron's current port adds per unit."""
        tables = self.tables
        return NeuronCircuits(
            port=gain,
            gain=self.gain,
            offset=self.offset,
            saturation=self.saturation,
            leak=tables.leak,
            start=tables.start,
            step=tables.step,
            values=tables.values,
            slopes=tables.slopes,
        )

    def respond(self, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs and slopes for ``v = gain z + offset`` (..., n), saturation included; for plots and oracles."""
        value, slope = self.tables.respond(v)
        return np.clip(value, -self.saturation, self.saturation), np.where(np.abs(value) < self.saturation, slope, 0.0)


def fabricate_neurons(
    spec: Neurons, curve: Curve, n: int, rng: np.random.Generator, common: np.random.Generator
) -> NeuronBank:
    """Draw the ``n`` neurons of one population. Gains and saturations are lognormal, offsets normal.

    What all neurons share is drawn from ``common``, so it does not depend on how many they are.
    """
    gain = np.exp(spec.gain_dtod * rng.standard_normal(n))
    offset = spec.offset_dtod * rng.standard_normal(n)
    spread = np.exp(spec.saturation_dtod * rng.standard_normal(n))
    saturation = spec.saturation * spread if spec.saturation else np.full(n, np.inf)
    return NeuronBank(
        _single(gain), _single(offset), _single(saturation), curve.fabricate(n, common if curve.shared else rng)
    )


def _single(values: FloatArray) -> FloatArray:
    return values.astype(np.float32)
