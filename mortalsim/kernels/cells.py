"""The devices of an array: what writes change of them, and what fabrication has fixed.

All properties of a pair lie side by side, so that a write that moves few devices finds each in two or three cache lines.
What is fixed keeps 16 bits of each number, evenly spread over the values that the array has: half the memory, and a write of
many devices has half as much to fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

PLUS: Final = 0  #: the device that counts positively
MINUS: Final = 1  #: the device that counts negatively

G: Final = 0  #: state: conductance as last written [S]
WRITTEN: Final = 1  #: state: time of the last write [s]; an array whose devices do not drift does without

UP: Final = 0  #: trait: change by one potentiating pulse at mid range [S]; 0 together with DOWN means stuck
DOWN: Final = 1  #: trait: change by one depressing pulse at mid range [S]
LOW: Final = 2  #: trait: this device's smallest conductance [S]
HIGH: Final = 3  #: trait: this device's largest conductance [S]
ERROR: Final = 4  #: trait: relative error of reading it
NU: Final = 5  #: trait: drift exponent; an array whose devices do not drift does without

CODES: Final = 65535  #: the largest code


@dataclass(frozen=True, eq=False)
class Cells:
    """The devices of an array as kernels take them.

    Parameters
    ----------
    state
        float32 (n_in, n_out, 1 or 2, 2): `G` and, if devices drift, `WRITTEN`, of both devices of each pair.
    traits
        uint16 (n_in, n_out, 5 or 6, 2): codes of `UP` to `ERROR` and, if devices drift, `NU`. Here as there the last axis
        is `PLUS` and `MINUS`.
    scales
        float32 (5 or 6, 2): what a trait's code 0 means, and how much more each further one: value = base + unit * code.
    """

    state: npt.NDArray[np.float32]
    traits: npt.NDArray[np.uint16]
    scales: npt.NDArray[np.float32]

    @classmethod
    def blank(cls, n_in: int, n_out: int, *, drift: bool) -> Cells:
        """Return devices of which everything is 0."""
        state, traits = np.zeros((n_in, n_out, 1 + drift, 2), np.float32), np.zeros((n_in, n_out, NU + drift, 2), np.uint16)
        return cls(state, traits, np.zeros((NU + drift, 2), np.float32))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """State, traits and scales."""
        return self.state, self.traits, self.scales

    def levels(self, field: int) -> npt.NDArray[np.float32]:
        """Return a field of the state, (2, n_in, n_out), to read and to write."""
        return np.moveaxis(self.state[:, :, field], -1, 0)

    def codes(self, trait: int) -> npt.NDArray[np.uint16]:
        """Return a trait's codes, (2, n_in, n_out), to read and to write."""
        return np.moveaxis(self.traits[:, :, trait], -1, 0)

    def values(self, trait: int) -> npt.NDArray[np.float32]:
        """Return a copy of a trait, float32 (2, n_in, n_out)."""
        base, unit = self.scales[trait]
        return np.asarray(base + unit * self.codes(trait).astype(np.float32))

    def stuck(self) -> npt.NDArray[np.bool_]:
        """Return which devices answer no pulse, (2, n_in, n_out)."""
        return np.asarray((self.codes(UP) == 0) & (self.codes(DOWN) == 0))

    def fix(self, trait: int, values: npt.ArrayLike, *, base: float | None = None) -> None:
        """Set a trait to finite ``values``, (2, n_in, n_out) or one for all, to within half a unit and float32's rounding.

        The unit is 1/65535 of what lies between ``base`` (None: the smallest value) and the largest value. With a ``base``,
        values below count as `base`, and code 0 is kept for those: a value just above it becomes one unit.
        """
        wanted = np.asarray(values, np.float32)
        lowest = np.float32(wanted.min() if base is None else base)
        unit = np.float32(max(wanted.max() - lowest, 0) / np.float32(CODES))
        self.scales[trait] = lowest, unit
        codes = np.clip(np.rint((wanted - lowest) / unit), 0, CODES) if unit > 0 else np.zeros_like(wanted)
        if base is not None:
            codes = np.where(wanted > lowest, np.maximum(codes, 1), 0)
        self.codes(trait)[...] = codes
