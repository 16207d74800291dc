"""Baseline: backprop on the data sheet's twin, in a computer; the weights are programmed onto the chip at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.fields import AtLeastOne, Rate
from mortalsim.hardware import Chip, Datasheet, Port, Program, Task
from mortalsim.learners.base import Batch, Info, Learner, State, output_of, random_weights
from mortalsim.learners.schedules import half_linear
from mortalsim.models import Twin


@dataclass(frozen=True, kw_only=True)
class InSilico(Learner):
    """Adam (Kingma and Ba 2015) on the nominal twin; the chip is neither read nor written before the last step.

    Parameters
    ----------
    rate
        Adam's step size, falling as `half_linear` says; its other constants are 0.9, 0.999 and 1e-8.

    State
    -----
    steps : float64 (1,)
        Steps taken.
    weights{array} : float32 (array)
        The twin's weights, clipped to the array's weight range.
    mean{array} : float32 (array)
        Adam's running mean of the gradient.
    square{array} : float32 (array)
        Adam's running mean of the squared gradient.

    Info
    ----
    loss : nats
        Mean cross-entropy of the twin's output before the step.
    """

    name: ClassVar[str] = "insilico"
    signals: ClassVar[str] = "all weights, once"

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 0.006

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return 3 * sum(prod(spec.shape) for spec in sheet.arrays)  # forward, back, and the gradient

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.PROGRAM,)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        start = random_weights(sheet, rng)
        Twin.nominal(sheet, start)  # says in a sentence which stage it cannot model
        state: State = {"steps": np.zeros(1)}
        for array, weights in enumerate(start):
            state[f"weights{array}"] = weights
            state[f"mean{array}"], state[f"square{array}"] = np.zeros_like(weights), np.zeros_like(weights)
        return state

    def started(self, sheet: Datasheet, state: State, weights: Sequence[FloatArray]) -> None:
        return None  # it programs weights of its own at the end

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        arrays = chip.datasheet.arrays
        twin = Twin.nominal(chip.datasheet, [state[f"weights{array}"] for array in range(len(arrays))])
        steps = state["steps"] + 1
        rate = self.rate * half_linear(batch.progress) * np.sqrt(1 - 0.999 ** steps[0]) / (1 - 0.9 ** steps[0])
        new: State = {"steps": steps}
        loss, gradients = twin.loss_and_gradient(batch.x, batch.labelled(self.name))
        for array, (spec, gradient) in enumerate(zip(arrays, gradients, strict=True)):
            mean = new[f"mean{array}"] = np.float32(0.9) * state[f"mean{array}"] + np.float32(0.1) * gradient
            square = new[f"square{array}"] = np.float32(0.999) * state[f"square{array}"] + np.float32(0.001) * gradient**2
            weights = state[f"weights{array}"] - np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
            new[f"weights{array}"] = np.clip(weights, -spec.target_range, spec.target_range)
        if batch.final:
            for array in range(len(arrays)):
                chip.write(Program(array, new[f"weights{array}"]))
        return new, {"loss": loss}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))
