"""Converters between digital words and lines: DAC before an array, ADC behind its neurons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from mortalsim.checks import FloatArray
from mortalsim.kernels import Converter
from mortalsim.settings import Group, at_least_or_none


class Converters(Group):
    """Converters of a design. Without bits a converter does not round; without a range it does not clip."""

    dac_bits: int = Field(0, ge=0, le=24, description="bits of the input converters; 0: no rounding")
    adc_bits: int = Field(0, ge=0, le=24, description="bits of the output converters; 0: no rounding")
    input_range: float = Field(
        0.0, ge=0, le=1e9, description="largest input, in absolute value, at least 1e-9; 0: no clipping"
    )
    output_range: float = Field(
        0.0, ge=0, le=1e9, description="largest output, in absolute value, at least 1e-9; 0: no clipping"
    )
    dac_unipolar: bool = Field(False, description="input converters go from 0 to their range, not from minus to plus")
    adc_unipolar: bool = Field(False, description="output converters go from 0 to their range, not from minus to plus")
    gain_dtod: float = Field(0.0, ge=0, le=10, description="spread of each converter's gain, relative")
    offset_dtod: float = Field(
        0.0, ge=0, le=1e6, description="spread of each converter's offset, in units of its own signal"
    )

    _check_ranges = field_validator("input_range", "output_range")(at_least_or_none(1e-9))

    @model_validator(mode="after")
    def _check_bits(self) -> Converters:
        for side, end in (("dac", "input"), ("adc", "output")):
            bits, unipolar, limit = (getattr(self, name) for name in (f"{side}_bits", f"{side}_unipolar", f"{end}_range"))
            if (bits or unipolar) and not limit:
                raise ValueError(f"a converter with bits or an end at 0 needs a range; set {end}_range above 0")
        return self

    @property
    def dac(self) -> Scale:
        """Levels of the input converters."""
        return Scale.of(self.dac_bits, self.input_range, self.dac_unipolar)

    @property
    def adc(self) -> Scale:
        """Levels of the output converters."""
        return Scale.of(self.adc_bits, self.output_range, self.adc_unipolar)


class Scale(NamedTuple):
    """The levels of a converter.

    Parameters
    ----------
    low, high
        Ends of its range; infinite where there is none.
    step
        Distance of two levels; 0 without rounding.
    level
        One of the levels.
    """

    low: float
    high: float
    step: float
    level: float

    @classmethod
    def of(cls, bits: int, limit: float, unipolar: bool) -> Scale:
        """Return the levels of a converter of ``bits`` bits and a range that ends at ``limit``; 0 of either: none.

        Signed: 2^bits - 1 levels from -limit to limit, zero among them (mid-tread); with one bit the two ends alone.
        Unipolar: 2^bits levels from 0 to limit.
        """
        high = limit or math.inf
        low = 0.0 if unipolar else -high
        if not bits:
            return cls(low, high, 0.0, 0.0)
        if unipolar:
            return cls(low, high, limit / (2**bits - 1), 0.0)
        return cls(low, high, 2 * limit, limit) if bits == 1 else cls(low, high, 2 * limit / (2**bits - 2), 0.0)


@dataclass(frozen=True, eq=False)
class ConverterBank:
    """One converter a row, (n_in,) or (blocks, n_in), or a neuron, (n,): gain, and offset in units of its own signal."""

    gain: FloatArray
    offset: FloatArray

    def with_levels(self, scale: Scale) -> Converter:
        """Return the record that kernels take, with the levels that all share."""
        return Converter(*scale, gain=self.gain, offset=self.offset)


def fabricate_converters(spec: Converters, shape: int | tuple[int, ...], rng: np.random.Generator) -> ConverterBank:
    """Draw the mismatch of converters, one for each element of ``shape``: normal gains around 1 and offsets around 0."""
    gain = 1 + spec.gain_dtod * rng.standard_normal(shape)
    offset = spec.offset_dtod * rng.standard_normal(shape)
    return ConverterBank(gain.astype(np.float32), offset.astype(np.float32))
