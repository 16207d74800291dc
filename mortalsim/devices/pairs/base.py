"""What every way of making a weight of two devices has: who takes a change, where devices rest, what upkeep there is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Device
from mortalsim.settings import Group


class Upkeep(NamedTuple):
    """What upkeep has taken.

    Parameters
    ----------
    pulses
        Sent in all.
    by_row
        Pulse slots, row after row.
    verified
        Times that all rows were read.
    """

    pulses: int = 0
    by_row: int = 0
    verified: int = 0


class Maintained(Protocol):
    """What upkeep may ask of an array; each call draws random numbers of its own."""

    @property
    def writes(self) -> int:
        """Write requests that the array has had, this one included."""
        ...

    def measured(self) -> FloatArray:
        """Return conductances as a verifying read finds them, read noise included, siemens, (2, rows, n_out)."""
        ...

    def reset(self, pairs: npt.NDArray[np.bool_] | None = None) -> Upkeep:
        """Bring both devices of these pairs, (rows, n_out), or of all, to their bottom by one strong pulse each."""
        ...

    def program(self, target: FloatArray, pairs: npt.NDArray[np.bool_]) -> Upkeep:
        """Write and verify until no pulse brings these pairs' weights nearer to ``target`` (rows, n_out)."""
        ...


class Pair(Group, ABC):
    """How a weight is kept in two devices: it is G+ less G-, in units of `Technology.unit`."""

    @abstractmethod
    def share(self, change: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what G+ and G- take of a change of G+ less G-, in the change's own unit; negative: downwards.

        Twice the change must give twice the shares, so that the shares of 1 and of -1 say all.
        """

    @abstractmethod
    def rest(self, device: Device) -> float:
        """Return the conductance of both devices at a weight of 0, siemens."""

    def typical(self, device: Device) -> float:
        """Return the conductance of a device in use, siemens, which the data sheet counts with; the default: at rest."""
        return self.rest(device)

    def prepare(self, array: Maintained) -> Upkeep:
        """Make an array ready to be programmed; the default does nothing."""
        return Upkeep()

    def maintain(self, array: Maintained, device: Device, unit: float) -> Upkeep:
        """Do upkeep after a write request; the default does none.

        Parameters
        ----------
        array
            The array that was written to.
        device
            Its technology.
        unit
            Siemens of G+ less G- that stand for a weight of 1.
        """
        return Upkeep()

    @property
    def needs_upkeep(self) -> bool:
        """Whether `maintain` is the pair's own."""
        return type(self).maintain is not Pair.maintain

    @property
    def shares(self) -> npt.NDArray[np.float32]:
        """What G+ and G- take of a change, as factors of it: float32 (2, 2), of a rising weight and of a falling one."""
        one = np.ones(1)
        rising, falling = self.share(one), self.share(-one)
        factors = [[float(part[0]) for part in rising], [-float(part[0]) for part in falling]]
        return np.array(factors, np.float32)
