"""What a write request takes."""

from __future__ import annotations

from dataclasses import dataclass

from mortalsim.devices.pairs import Upkeep


@dataclass(frozen=True)
class WriteCost:
    """What one write request took.

    Parameters
    ----------
    pulses
        Sent in all.
    parallel, by_row
        Pulse slots, each as long as one pulse of the device, if rows are written together, or one after the other.
    verified
        Times that all rows were read, one after the other, to verify.
    """

    pulses: int = 0
    parallel: int = 0
    by_row: int = 0
    verified: int = 0

    def __add__(self, other: WriteCost) -> WriteCost:
        return WriteCost(
            self.pulses + other.pulses,
            self.parallel + other.parallel,
            self.by_row + other.by_row,
            self.verified + other.verified,
        )

    @classmethod
    def of(cls, done: Upkeep) -> WriteCost:
        """Return the cost of upkeep, which goes row after row however the request itself is written."""
        return cls(done.pulses, done.by_row, done.by_row, done.verified)
