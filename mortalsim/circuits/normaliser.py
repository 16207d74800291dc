"""Length normaliser before an array: v / (epsilon + rms(v)), no mean subtraction (Hinton 2022, section 2.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mortalsim.settings import Group


class Normaliser(Group):
    """The normaliser of a design; a vector of zeros stays zero."""

    present: bool = Field(True, description="a normaliser stands before every array; false: as if its place were none")
    place: Literal["source", "block", "none"] = Field(
        "source",
        description="whose length it divides by: all the source's outputs, or what each block sees; none: it is absent",
    )
    # Squares of a float32 below 1e-19 vanish; the root mean square of such lines would be 0 where a smaller epsilon tells.
    epsilon: float = Field(
        1e-6,
        ge=1e-15,
        le=1e6,
        description="added to the root mean square, so that silence stays silence; float32 ends its range",
    )
    gain_dtod: float = Field(0.0, ge=0, le=10, description="spread of the gain, array to array, relative")

    @property
    def where(self) -> str:
        """Where it stands: `place`, or "none" if it is not present."""
        return self.place if self.present else "none"
