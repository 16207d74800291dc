"""Length normaliser before an array: v / (epsilon + rms(v)), no mean subtraction (Hinton 2022, section 2.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Normaliser(BaseModel):
    """The normaliser of a design; a vector of zeros stays zero."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    present: bool = Field(True, description="a normaliser stands before every array; false: as if its place were none")
    place: Literal["source", "block", "none"] = Field(
        "source",
        description="whose length it divides by: all the source's outputs, or what each block sees; none: it is absent",
    )
    epsilon: float = Field(1e-6, gt=0, description="added to the root mean square, so that silence stays silence")
    gain_dtod: float = Field(0.0, ge=0, description="spread of the gain, array to array, relative")

    @property
    def where(self) -> str:
        """Where it stands: `place`, or "none" if it is not present."""
        return self.place if self.present else "none"
