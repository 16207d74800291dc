"""What training leaves on record: a line for every epoch, kept in columns so that ten thousand epochs stay small."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import Task
from mortalsim.learners.base import State


@dataclass(frozen=True)
class Record:
    """One epoch's history.

    Parameters
    ----------
    epoch
        From 1.
    info
        Mean over the epoch's steps of what the learner reported, at least ``"loss"``.
    valid_error
        Fraction of validation samples that the chip got wrong, or None where it was not measured.
    costs
        What had been spent by the epoch's end, validation included, if anybody counted.
    """

    epoch: int
    info: dict[str, float]
    valid_error: float | None
    costs: dict[str, float] = field(default_factory=dict)


class History(Sequence[Record]):
    """The records of all epochs so far, in order; saved as one array a column."""

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it grows

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        if isinstance(place, slice):
            return [self._record(k) for k in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(f"epoch: expected one of {self._length} records, found {place}.")
        return self._record(place % self._length)

    def _record(self, place: int) -> Record:
        error = self._columns["valid_error"][place]
        groups: dict[str, dict[str, float]] = {"info": {}, "costs": {}}
        for name, column in self._columns.items():
            group, _, key = name.partition("/")
            if key and not np.isnan(column[place]):
                groups[group][key] = column[place]
        return Record(place + 1, groups["info"], None if np.isnan(error) else error, groups["costs"])

    def add(self, info: Mapping[str, float], valid_error: float | None, costs: Mapping[str, float]) -> None:
        """Add an epoch at the end."""
        line = {"valid_error": np.nan if valid_error is None else valid_error}
        line |= {f"info/{name}": value for name, value in info.items()}
        line |= {f"costs/{name}": value for name, value in costs.items()}
        for name in [name for name in line if name not in self._columns]:
            self._columns[name] = array("d", [np.nan]) * self._length
        for name, column in self._columns.items():
            column.append(float(line.get(name, np.nan)))
        self._length += 1

    def column(self, name: str) -> FloatArray:
        """Return a column, (epochs,): ``"valid_error"``, ``"info/loss"``, ``"costs/reads"``; NaN where there is nothing."""
        return np.array(self._columns.get(name, array("d", [np.nan]) * self._length))

    def state(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {name: np.array(column) for name, column in self._columns.items()}

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> History:
        """Return the history that had this `state`."""
        history = cls()
        history._columns = {name: array("d", np.asarray(column, np.float64).tolist()) for name, column in columns.items()}
        history._length = min((len(column) for column in history._columns.values()), default=0)
        return history


@dataclass(frozen=True, eq=False)
class Result:
    """What training returns.

    Parameters
    ----------
    task
        The job that the chip was trained for.
    state
        The learner's state; the weights are in the chip.
    history
        One `Record` for each epoch.
    warnings
        Sentences that say what looks as if nothing, or the wrong thing, was learned; each with its likely cause.
    """

    task: Task
    state: State
    history: Sequence[Record]
    warnings: tuple[str, ...] = ()
