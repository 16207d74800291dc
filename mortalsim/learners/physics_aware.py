"""Baseline: forward on the chip, backward on the data sheet's twin (physics-aware training)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray, check_between
from mortalsim.hardware import Chip, Datasheet, Outer, Port, Program
from mortalsim.learners.base import Batch, Info, Learner, State, half_linear, random_weights
from mortalsim.objectives import cross_entropy
from mortalsim.twin import Twin


@dataclass(frozen=True, kw_only=True)
class PhysicsAware(Learner):
    """Physics-aware training (Wright et al. 2022): what happened is measured, how it would change is taken from the twin.

    A digital shadow holds the weights that were asked for, since a chip's own cannot be read back; the twin uses it.

    Parameters
    ----------
    rate
        Step size, falling as `half_linear` says.
    sync_every
        Steps between two times that the shadow is programmed onto the chip, to keep the two together; the first step
        always does it. 0 never does it again.
    """

    name: ClassVar[str] = "physics_aware"
    ports: ClassVar[tuple[Port, ...]] = (Port.TAPS, Port.OUTER, Port.PROGRAM)

    epochs: int = 30
    batch_size: int = 50
    rate: float = 0.2
    sync_every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("sync_every", self.sync_every, 0)

    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        datasheet.require(self.name, *self.ports)
        weights = random_weights(datasheet, rng)
        return {"steps": np.zeros(1, np.int64)} | {f"weights{array}": matrix for array, matrix in enumerate(weights)}

    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        arrays = chip.datasheet.arrays
        weights = [state[f"weights{array}"] for array in range(len(arrays))]
        steps = int(state["steps"][0])
        if steps == 0 or (self.sync_every and steps % self.sync_every == 0):
            for array, target in enumerate(weights):
                chip.write(Program(array, target))
        trace = chip.read(batch.x)
        loss, slope = cross_entropy(trace.output, batch.targets)
        errors = Twin.nominal(chip.datasheet, weights).backward(trace.taps, slope)
        rate = -self.rate * half_linear(batch.progress) / len(batch.x)
        new: State = {"steps": state["steps"] + 1}
        for array, (tap, error) in enumerate(zip(trace.taps, errors, strict=True)):
            chip.write(Outer(array, tap.pre, error, rate))
            limit = arrays[array].weight_range
            new[f"weights{array}"] = np.clip(weights[array] + np.float32(rate) * (tap.pre.T @ error), -limit, limit)
        return new, {"loss": float(loss.mean())}

    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        return chip.read(x).output
