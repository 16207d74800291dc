"""What every black-box stage shows: its answer, slopes for the oracle alone, perhaps a nominal curve for the twin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import TransferCurve
from mortalsim.settings import Group


class Box(Protocol):
    """One fabricated stage."""

    def answer(self, v: FloatArray) -> FloatArray:
        """Return what comes out, (B, n_out), for what goes in, (B, n_in), in the precision of ``v``."""
        ...

    def vjp(self, v: FloatArray, slope: FloatArray) -> FloatArray:
        """Return slopes (B, n_in) with respect to what went in, for slopes (B, n_out) with respect to what came out."""
        ...


class Stage(Group, ABC):
    """One kind of black-box stage: it stands on a population and passes on something made of that population's state."""

    @abstractmethod
    def fabricate(self, n_in: int, n_out: int, rng: np.random.Generator) -> Box:
        """Return one individual; raise `ShapeError` for sizes that the stage cannot have."""

    def nominal(self) -> TransferCurve | None:
        """Return the curve from each input to the output of the same place that the data sheet promises; None: nothing."""
        return None
