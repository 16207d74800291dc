"""The devices of an array: their state, which writes change, and their parameters, which fabrication has fixed.

All fields of a pair lie side by side: a sparse write touches two or three cache lines per pair. A parameter is kept as a
16-bit code, evenly spread over the values that the array has. Codes take half the memory of float32, so a write of many
devices fetches half as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

PLUS: Final = 0  #: the device that counts positively
MINUS: Final = 1  #: the device that counts negatively

G: Final = 0  #: state: conductance as last written [S]
WRITTEN: Final = 1  #: state: time of the last write, since the array's epoch [s]; absent where devices do not age

UP: Final = 0  #: parameter: size of one potentiating step at mid range, at least 0 [S]; 0 together with DOWN means stuck
DOWN: Final = 1  #: parameter: size of one depressing step at mid range, at least 0 [S]
LOW: Final = 2  #: parameter: this device's smallest conductance [S]
HIGH: Final = 3  #: parameter: this device's largest conductance [S]
ERROR: Final = 4  #: parameter: relative error of reading it
NU: Final = 5  #: parameter: drift exponent; absent where devices do not drift by the power law

CODES: Final = 65535  #: the largest code


@dataclass(frozen=True, eq=False)
class Devices:
    """The devices of an array as kernels take them; n_in rows, n_out columns.

    Parameters
    ----------
    state
        float32 (n_in, n_out, 1 or 2, 2): `G` and, if devices age, `WRITTEN`. The last axis is `PLUS` and `MINUS`.
    parameters
        uint16 (n_in, n_out, 5 or 6, 2): codes of `UP` to `ERROR` and, if devices drift, `NU`. The last axis is the same.
    scales
        float32 (5 or 6, 2): base and unit of each parameter: value = base + unit * code.
    """

    state: npt.NDArray[np.float32]
    parameters: npt.NDArray[np.uint16]
    scales: npt.NDArray[np.float32]

    @classmethod
    def blank(cls, n_in: int, n_out: int, *, drift: bool, timed: bool = False) -> Devices:
        """Return devices of which all is 0, so all are stuck.

        They have `NU` if they drift by the power law, and `WRITTEN` if they do or if they are timed: their technology ages
        by a law of its own.
        """
        state = np.zeros((n_in, n_out, 1 + (drift or timed), 2), np.float32)
        parameters = np.zeros((n_in, n_out, NU + drift, 2), np.uint16)
        return cls(state, parameters, np.zeros((NU + drift, 2), np.float32))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """State, parameters and scales."""
        return self.state, self.parameters, self.scales

    def levels(self, field: int) -> npt.NDArray[np.float32]:
        """Return a field of the state, (2, n_in, n_out), to read and to write."""
        return np.moveaxis(self.state[:, :, field], -1, 0)

    def codes(self, parameter: int) -> npt.NDArray[np.uint16]:
        """Return a parameter's codes, (2, n_in, n_out), to read and to write."""
        return np.moveaxis(self.parameters[:, :, parameter], -1, 0)

    def values(self, parameter: int) -> npt.NDArray[np.float32]:
        """Return a copy of a parameter, float32 (2, n_in, n_out)."""
        base, unit = self.scales[parameter]
        return np.asarray(base + unit * self.codes(parameter).astype(np.float32))

    def stuck(self) -> npt.NDArray[np.bool_]:
        """Return which devices answer no pulse, (2, n_in, n_out)."""
        return np.asarray((self.codes(UP) == 0) & (self.codes(DOWN) == 0))

    def fix(self, parameter: int, values: npt.ArrayLike, *, base: float | None = None) -> None:
        """Set a parameter to finite ``values``, (2, n_in, n_out) or one for all, to half a unit and float32's rounding.

        The unit is 1/65535 of what lies between ``base`` (None: the smallest value) and the largest value. With a ``base``,
        values below count as `base`, and code 0 is kept for those: a value just above it becomes one unit, so that a weak
        device is never taken for a stuck one.
        """
        wanted = np.asarray(values, np.float32)
        lowest = np.float32(wanted.min() if base is None else base)
        unit = np.float32(max(wanted.max() - lowest, 0) / np.float32(CODES))
        self.scales[parameter] = lowest, unit
        codes = np.clip(np.rint((wanted - lowest) / unit), 0, CODES) if unit > 0 else np.zeros_like(wanted)
        if base is not None:
            codes = np.where(wanted > lowest, np.maximum(codes, 1), 0)
        self.codes(parameter)[...] = codes
