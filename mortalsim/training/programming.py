"""Weights that a chip is programmed with before its learner begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mortalsim.checks import DesignError, FloatArray, ShapeError, check_array
from mortalsim.hardware import Chip, Datasheet, Port, Program
from mortalsim.learners.base import Learner, State


def check_start(sheet: Datasheet, start: Any) -> tuple[FloatArray, ...]:
    """Return weights for every array of a chip, float32 and the caller's no longer.

    Raises
    ------
    MissingPort
        The chip cannot be programmed.
    ShapeError, RangeError
        They are not one array of weights for each array of the chip, of its shape and finite.
    """
    sheet.require("a head start", Port.PROGRAM)
    count = len(sheet.arrays)
    if isinstance(start, np.ndarray) or not isinstance(start, Sequence) or isinstance(start, str | bytes):
        raise ShapeError(
            f"start: expected a list of {count} arrays of weights, one for each array of the chip, found "
            f"{type(start).__name__}. Put them into a list, in the order of `Datasheet.arrays`."
        )
    if len(start) != count:
        raise ShapeError(
            f"start: expected {count} arrays of weights, one for each array of the chip, found {len(start)}. "
            "Give them in the order of `Datasheet.arrays`."
        )
    checked = []
    for place, (spec, weights) in enumerate(zip(sheet.arrays, start, strict=True)):
        shape = dict(zip(("blocks", "n_in", "n_out")[-len(spec.shape) :], spec.shape, strict=True))
        checked.append(check_array(f"start[{place}]", weights, shape, "A bias line is a row of them.").copy())
    return tuple(checked)


def started_state(learner: Learner, sheet: Datasheet, state: State, start: Sequence[FloatArray]) -> State:
    """Return the learner's state on a chip that is programmed with ``start``; raise `DesignError` if it has none."""
    found = learner.started(sheet, state, start)
    if found is None:
        raise DesignError(
            f"start: {learner.name} does not go on from weights that a chip holds. Choose another learner, or leave out the "
            "head start."
        )
    return found


def program(chip: Chip, start: Sequence[FloatArray]) -> None:
    """Program every array of the chip, which costs pulses, time, energy and the reads that verify."""
    for array, weights in enumerate(start):
        chip.write(Program(array, weights))
