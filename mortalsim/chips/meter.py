"""What a chip has been put through, and the time that has passed: the meter only counts, the clock only goes on."""

from __future__ import annotations

from dataclasses import dataclass

from mortalsim.checks import RangeError, check_between
from mortalsim.devices.base import Moment

#: Seconds at which a clock stops: three million years, beyond which rounding loses a hundredth of a second. From 1e10 s on
#: it loses reads of a microsecond.
LONGEST = 1e14

#: Kelvin beyond which nothing of a chip is left.
HOTTEST = 2000.0


@dataclass
class Meter:
    """What a chip has been put through.

    Parameters
    ----------
    reads
        Samples presented.
    requests
        Write requests carried out; those refused are not counted.
    pulses
        Pulses sent to devices, stuck ones included.
    seconds, joules
        Time taken and energy spent by reads and writes, nominal figures; the reads that verify a `Program` are in it.
        Infinite where they are more than a float can hold, which a design's costs may be.
    """

    reads: int = 0
    requests: int = 0
    pulses: int = 0
    seconds: float = 0.0
    joules: float = 0.0


@dataclass
class Clock:
    """Time and temperature; chips that share a clock age together. It goes to `LONGEST` seconds and stops there.

    Parameters
    ----------
    now
        Seconds since it was started.
    temperature
        Of the chips that share the clock, kelvin; `warm` changes it.
    """

    now: float = 0.0
    temperature: float = 300.0

    def __post_init__(self) -> None:
        self.now = float(check_between("now", self.now, 0, LONGEST, unit="s"))
        self.temperature = float(check_between("temperature", self.temperature, 0, HOTTEST, unit="K"))

    @property
    def moment(self) -> Moment:
        """Time and temperature now."""
        return Moment(self.now, self.temperature)

    def warm(self, temperature: float) -> None:
        """Bring the chips to another ``temperature``, kelvin."""
        self.temperature = float(check_between("temperature", temperature, 0, HOTTEST, unit="K"))

    def advance(self, seconds: float) -> None:
        """Let time pass; raise `RangeError` beyond `LONGEST` seconds in all."""
        seconds = check_between("seconds", seconds, 0, LONGEST, unit="s")
        if self.now + seconds > LONGEST:
            raise RangeError(
                f"seconds: expected at most {LONGEST - self.now:g} s, as a clock stops at {LONGEST:g} s and "
                "this one stands at "
                f"{self.now:g} s, found {seconds:g} s. Wait less, or make the chips anew."
            )
        self.now += seconds

    def spend(self, seconds: float) -> None:
        """Let the time pass that a read or a write takes, up to `LONGEST` in all."""
        now = self.now + seconds
        self.now = now if now < LONGEST else LONGEST
