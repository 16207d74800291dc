"""Baseline: the chip stays as it was fabricated; only a digital linear head on its hidden populations is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import AtLeastOne
from mortalsim.hardware import BIAS, Chip, Datasheet, Port, Task
from mortalsim.learners.base import Batch, Info, Learner, State
from mortalsim.objectives import cross_entropy

#: The head is solved for anew whenever the samples seen have grown by this factor, and at the end.
GROWTH: Final = 1.2


@dataclass(frozen=True, kw_only=True)
class Readout(Learner):
    """Ridge regression from the last states of all hidden populations to the targets; nothing is ever written to the chip.

    Parameters
    ----------
    ridge
        Penalty on the head's weights, relative to the features' mean square.

    State
    -----
    squares : float64 (features, features)
        Sum over samples of the features' products with each other.
    products : float64 (features, classes)
        Sum over samples of the features' products with the targets.
    head : float32 (features, classes)
        The head's weights; a feature is a neuron of a hidden population, in order, or the bias, which is last. They are
        worked out anew whenever the samples seen have grown by a fifth, and after the last.

    Info
    ----
    loss : nats
        Mean cross-entropy of the head's scores before the step.
    """

    name: ClassVar[str] = "readout"
    signals: ClassVar[str] = "nothing"

    epochs: AtLeastOne = 1
    batch_size: AtLeastOne = 50
    ridge: Annotated[float, Field(ge=1e-9, le=1e9)] = 1e-3

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        n = sum(sheet.populations[name].size for name in sheet.hidden) + 1
        return n * (n + 2 * task.classes)

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.TAPS,)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        if not sheet.hidden:
            raise ShapeError(f"readout needs a hidden population, which the design {sheet.design!r} lacks.")
        if task.classes < 2:
            raise ShapeError(f"readout: expected a task of at least 2 classes, found {task.classes}. Choose labelled data.")
        n, classes = sum(sheet.populations[name].size for name in sheet.hidden) + 1, task.classes
        return {"squares": np.zeros((n, n)), "products": np.zeros((n, classes)), "head": np.zeros((n, classes), np.float32)}

    def started(self, sheet: Datasheet, state: State, weights: Sequence[FloatArray]) -> None:
        return None  # what it learns is digital, and the chip stays as it was fabricated

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        targets = batch.labelled(self.name)
        features = _features(chip, batch.x)
        loss, _ = cross_entropy(features @ state["head"], targets)
        squares = state["squares"] + np.swapaxes(features, -1, -2) @ features
        products = state["products"] + np.swapaxes(features, -1, -2) @ targets
        head = state["head"]
        # The bias's own square counts the samples. Solving at every step would take hours with thousands of features.
        if batch.final or _stage(squares[-1, -1]) > _stage(state["squares"][-1, -1]):
            penalty = self.ridge * np.trace(squares) * np.eye(len(squares)) / len(squares)
            penalty[-1, -1] = 1e-9  # the bias is free
            head = np.linalg.solve(squares + penalty, products).astype(np.float32)
        return {"squares": squares, "products": products, "head": head}, {"loss": float(loss.mean())}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return np.asarray(_features(chip, x) @ state["head"])


def _stage(samples: float) -> int:
    """Return how often the number of samples has grown by `GROWTH`; -1 before the first."""
    return int(np.log(samples) / np.log(GROWTH)) if samples > 0 else -1


def _features(chip: Chip, x: FloatArray) -> FloatArray:
    """Return the last states of all hidden populations, and a bias, (B, features)."""
    trace = chip.read(x, want="states")
    hidden = [post for name in chip.datasheet.hidden for post in trace.late(name, 1).values()]
    return np.concatenate([*hidden, np.full((*x.shape[:-1], 1), BIAS, np.float32)], axis=-1)
