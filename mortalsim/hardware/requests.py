"""Write requests: what a learner may ask of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Final, TypeAlias

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.hardware.datasheet import Port
from mortalsim.hardware.nudges import WeightNudge

#: What a replayed nudge is multiplied with: a number, or one a neuron, (size,), by target population.
Scale: TypeAlias = float | Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Outer:
    """Ask an array to change by ``rate`` times the sum over samples of the outer products of ``pre`` and ``post``.

    Parameters
    ----------
    array
        Its place on the data sheet.
    pre
        (B, n_in), or (blocks, B, n_in): for its rows, as a tap gives them.
    post
        (B, size): for the neurons of its target population.
    rate
        Factor of the products.
    """

    array: int
    pre: FloatArray
    post: FloatArray
    rate: float


@dataclass(frozen=True, eq=False)
class Delta:
    """Ask an array to change by ``scale * matrix``; matrix of the array's shape, valid until the write returns."""

    array: int
    matrix: FloatArray
    scale: float = 1.0


@dataclass(frozen=True)
class Replay:
    """Ask arrays to change by ``scale * nudge.amplitude`` times the nudge's pattern, summed over the nudges.

    The patterns are worked out anew where they are written, from their keys; several nudges in one request are added up
    there first, so that opposite signs cancel before they cost pulses. Only arrays that a nudge disturbs are written.

    Parameters
    ----------
    nudge, scale
        One nudge and its scale, or equally long tuples of them. A scale is a number, or one a neuron, (size,), by target
        population; arrays into a population that is not named are not written.
    """

    nudge: WeightNudge | tuple[WeightNudge, ...]
    scale: Scale | tuple[Scale, ...]

    @property
    def terms(self) -> tuple[tuple[WeightNudge, Scale], ...]:
        """The nudges with their scales; raises `ShapeError` where their numbers differ or something else stands there."""
        nudges = self.nudge if isinstance(self.nudge, tuple) else (self.nudge,)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if len(nudges) != len(scales) or not nudges:
            raise ShapeError(f"Replay: expected one scale per nudge, found {len(nudges)} nudges and {len(scales)} scales.")
        for nudge, scale in zip(nudges, scales, strict=True):
            if not isinstance(nudge, WeightNudge) or not isinstance(scale, Real | Mapping):
                found = f"{type(nudge).__name__} and {type(scale).__name__}"
                raise ShapeError(
                    "Replay: expected a WeightNudge and a number or numbers by population, or tuples of them, "
                    f"found {found}."
                )
        return tuple(zip(nudges, scales, strict=True))


@dataclass(frozen=True)
class Shrink:
    """Ask array ``array`` to multiply its weights by ``factor``, 0 to 1."""

    array: int
    factor: float


@dataclass(frozen=True, eq=False)
class Program:
    """Ask array ``array`` to take ``weights``, of the array's shape, written and verified.

    A target beyond the array's `target_range` counts as that range's end; a pair that reaches less far goes to its own end.
    """

    array: int
    weights: FloatArray


WriteRequest: TypeAlias = Outer | Delta | Replay | Shrink | Program

#: The port that each kind of write request goes through.
WRITE_PORTS: Final[dict[type, Port]] = {
    Outer: Port.OUTER,
    Delta: Port.DELTA,
    Replay: Port.REPLAY,
    Shrink: Port.SHRINK,
    Program: Port.PROGRAM,
}
