"""Neuron transfer curves, one family a file; a file put here is found by its name."""

from typing import Annotated, TypeAlias

from mortalsim.circuits.curves.base import Curve, CurveTables
from mortalsim.registry import Registry
from mortalsim.settings import choice

__all__ = ["CURVES", "AnyCurve", "Curve", "CurveTables"]

CURVES = Registry("mortalsim.circuits.curves", Curve)

#: A field that holds any family: in a design file ``"relu"`` or ``{family = "leaky", leak = 0.2}``.
AnyCurve: TypeAlias = Annotated[Curve, *choice(CURVES, "family")]
