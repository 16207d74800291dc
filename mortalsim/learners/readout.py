"""Baseline: the chip stays as it was fabricated; only a digital linear head on its hidden neurons is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray, ShapeError, check_between
from mortalsim.hardware import BIAS, Chip, Datasheet, Port, Trace
from mortalsim.learners.base import Batch, Info, Learner, State
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Readout(Learner):
    """Ridge regression from the taps of all hidden arrays to the targets; nothing is ever written to the chip.

    Parameters
    ----------
    ridge
        Penalty on the head's weights, relative to the features' mean square.
    """

    name: ClassVar[str] = "readout"
    ports: ClassVar[tuple[Port, ...]] = (Port.TAPS,)

    epochs: int = 1
    batch_size: int = 50
    ridge: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("ridge", self.ridge, 1e-9)

    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        datasheet.require(self.name, *self.ports)
        if len(datasheet.arrays) < 2:
            raise ShapeError("arrays: expected a chip of at least 2 arrays, found 1; readout reads hidden neurons.")
        n = sum(spec.n_out for spec in datasheet.arrays[:-1]) + 1
        classes = datasheet.n_outputs
        return {"squares": np.zeros((n, n)), "products": np.zeros((n, classes)), "head": np.zeros((n, classes), np.float32)}

    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        features = _features(chip.read(batch.x))
        loss, _ = cross_entropy(features @ state["head"], batch.targets)
        squares = state["squares"] + features.T @ features
        products = state["products"] + features.T @ batch.targets
        penalty = self.ridge * np.trace(squares) * np.eye(len(squares)) / len(squares)
        penalty[-1, -1] = 1e-9  # the bias is free
        head = np.linalg.solve(squares + penalty, products).astype(np.float32)
        return {"squares": squares, "products": products, "head": head}, {"loss": float(loss.mean())}

    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        return np.asarray(_features(chip.read(x)) @ state["head"])


def _features(trace: Trace) -> FloatArray:
    hidden = [tap.post for tap in trace.taps[:-1]]
    return np.concatenate([*hidden, np.full((len(hidden[0]), 1), BIAS, np.float32)], axis=1)
