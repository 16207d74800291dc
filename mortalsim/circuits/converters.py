"""Converters between digital words and lines: DAC before an array, ADC behind its neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mortalsim.checks import FloatArray


class Converters(BaseModel):
    """Converters of a design. Without bits a converter does not round; without a range it does not clip."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dac_bits: int = Field(0, ge=0, le=16, description="bits of the input converters; 0: no rounding")
    adc_bits: int = Field(0, ge=0, le=16, description="bits of the output converters; 0: no rounding")
    input_range: float = Field(0.0, ge=0, description="largest input, in absolute value; 0: no clipping")
    output_range: float = Field(0.0, ge=0, description="largest output, in absolute value; 0: no clipping")
    gain_dtod: float = Field(0.0, ge=0, description="spread of each converter's gain, relative")
    offset_dtod: float = Field(0.0, ge=0, description="spread of each converter's offset, in units of its own signal")

    @model_validator(mode="after")
    def _check_bits(self) -> Converters:
        for bits, limit, side in ((self.dac_bits, self.input_range, "input"), (self.adc_bits, self.output_range, "output")):
            if bits == 1 or (bits and not limit):
                raise ValueError(f"a converter needs at least 2 bits and a range; set {side}_range above 0 or its bits to 0")
        return self

    @property
    def dac_step(self) -> float:
        """Distance of two input levels; 0 without rounding."""
        return _step(self.dac_bits, self.input_range)

    @property
    def adc_step(self) -> float:
        """Distance of two output levels; 0 without rounding."""
        return _step(self.adc_bits, self.output_range)


@dataclass(frozen=True, eq=False)
class ConverterBank:
    """One converter a line: gain and offset, each (n,)."""

    gain: FloatArray
    offset: FloatArray


def fabricate_converters(spec: Converters, lines: int, rng: np.random.Generator) -> ConverterBank:
    """Draw the mismatch of ``lines`` converters."""
    gain = 1 + spec.gain_dtod * rng.standard_normal(lines)
    offset = spec.offset_dtod * rng.standard_normal(lines)
    return ConverterBank(gain.astype(np.float32), offset.astype(np.float32))


def _step(bits: int, limit: float) -> float:
    # A symmetric mid-tread converter: 2^bits - 1 levels, zero among them.
    return 2 * limit / (2**bits - 2) if bits else 0.0
