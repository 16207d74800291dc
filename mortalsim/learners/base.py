"""The contract of every learning rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from mortalsim.checks import FloatArray, check_between
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
        Fraction of all training steps done once this batch has been learned; 1 at the last one.
    """

    x: FloatArray
    targets: FloatArray
    progress: float


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
        check_between("epochs", self.epochs, 1)
        check_between("batch_size", self.batch_size, 1)

    @abstractmethod
    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        """Return the state before the first step; raise `MissingPort` for a chip that lacks a port."""

    @abstractmethod
    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        """Learn from one batch; return the new state and what happened. The state given is not changed."""

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
