"""Nudges: what is disturbed during one read and is as before after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from mortalsim.checks import FloatArray, RangeError, ShapeError, check_between, check_whole
from mortalsim.hardware.datasheet import Port


@dataclass(frozen=True, eq=False)
class CurrentNudge:
    """Currents added at the neurons' inputs, held through all ticks of one read.

    Parameters
    ----------
    currents
        By population, (B, size) each; a population that is not named gets no current.
    """

    currents: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        if not isinstance(self.currents, Mapping):
            raise ShapeError(
                f"currents: expected a mapping from population to (B, size), found {type(self.currents).__name__}. "
                'Write {"h1": current}, say.'
            )


#: The pattern that a weight nudge has where none is named; simulated chips describe theirs in `circuits.patterns`.
DEFAULT_PATTERN: Final = "signs"


@dataclass(frozen=True)
class WeightNudge:
    """A disturbance of weights during one read: ``amplitude`` times a pattern, a pure function of key and index.

    Parameters
    ----------
    key
        A whole number from 0 to 2**64 - 1. The same key gives the same pattern on every chip with arrays of the same shapes.
    amplitude
        Size of the disturbance in weight units; may be negative.
    pattern
        Its name, one of `Datasheet.patterns`.
    index
        Which of the patterns that one key has, 0 to 2**32 - 1. Those of `Datasheet.families` belong together; otherwise each
        is independent of the others.
    arrays
        Places of the arrays that are disturbed; None: all.
    """

    key: int
    amplitude: float
    pattern: str = DEFAULT_PATTERN
    index: int = 0
    arrays: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", check_whole("key", self.key, 0, 2**64 - 1))
        check_between("amplitude", self.amplitude, -1e6, 1e6)
        object.__setattr__(self, "index", check_whole("index", self.index, 0, 2**32 - 1))
        if not isinstance(self.pattern, str):
            raise RangeError(f"pattern: expected a name such as {DEFAULT_PATTERN!r}, found {self.pattern!r}.")
        if self.arrays is not None:
            if not isinstance(self.arrays, Iterable) or isinstance(self.arrays, str):
                raise ShapeError(f"arrays: expected places of arrays or None, found {self.arrays!r}. Write (0,), say.")
            object.__setattr__(self, "arrays", tuple(check_whole("arrays", array, 0) for array in self.arrays))

    def disturbs(self, array: int) -> bool:
        """Return whether the array at this place is disturbed."""
        return self.arrays is None or array in self.arrays


Nudge: TypeAlias = CurrentNudge | WeightNudge

#: The port that each kind of nudge goes through.
NUDGE_PORTS: Final[dict[type, Port]] = {CurrentNudge: Port.CURRENT_NUDGE, WeightNudge: Port.WEIGHT_NUDGE}
