"""The contract of every learning rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

import numpy as np

from mortalsim.checks import FloatArray, RangeError, check_between
from mortalsim.hardware import Chip, Datasheet, Port

#: What a learner remembers between steps: named arrays, nothing else, so that a checkpoint is data.
State: TypeAlias = dict[str, np.ndarray]

#: What a step reports: at least ``"loss"``.
Info: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class Batch:
    """One mini-batch.

    Parameters
    ----------
    x
        (B, n_inputs).
    targets
        (B, classes), rows that sum to 1: one-hot labels or soft targets.
    progress
        Fraction of all training steps done before this batch, from 0 to just below 1.
    final
        True for the last batch of all.
    """

    x: FloatArray
    targets: FloatArray
    progress: float
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """A learning rule that sees nothing of a chip but the seam.

    Subclasses are frozen dataclasses whose fields are the hyper-parameters. One instance serves any number of chips:
    everything that changes lives in the state.

    Parameters
    ----------
    epochs
        Passes through the training data.
    batch_size
        Samples per step.
    """

    name: ClassVar[str]
    ports: ClassVar[tuple[Port, ...]]

    epochs: int = 10
    batch_size: int = 50

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                # No hyper-parameter means anything below zero; NaN and infinity would only show much later.
                check_between(field.name, value, 0, float(np.finfo(np.float64).max))
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int):
                raise RangeError(f"{name}: expected a whole number of at least 1, found {getattr(self, name)!r}.")
            check_between(name, getattr(self, name), 1)

    @abstractmethod
    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        """Return the state before the first step; raise `MissingPort` for a chip that lacks a port."""

    @abstractmethod
    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        """Learn from one batch; return the new state and what happened.

        The state given is used up: the new one may share its arrays, changed in place. Who needs it again copies it first.
        """

    @abstractmethod
    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        """Return scores (B, classes) for ``x`` (B, n_inputs); the largest is the prediction."""


def half_linear(progress: float) -> float:
    """Return the factor of the step size: 1 for the first half of training, then linearly to 0.

    Source: Hinton's MATLAB for the Forward-Forward algorithm, ``ffnew.m`` lines 130-134, made continuous.
    """
    return min(1.0, 2.0 * (1.0 - progress))


def random_weights(datasheet: Datasheet, rng: np.random.Generator) -> list[FloatArray]:
    """Return starting weights for every array, N(0, 1) / sqrt(fan-in) with the bias line at 0 (``ffnew.m`` lines 79-80)."""
    weights = []
    for spec in datasheet.arrays:
        matrix = rng.standard_normal(spec.shape, dtype=np.float32) / np.float32(np.sqrt(spec.n_in - 1))
        matrix[-1] = 0
        weights.append(np.clip(matrix, -spec.weight_range, spec.weight_range))
    return weights
