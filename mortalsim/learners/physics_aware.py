"""Baseline: forward on the chip, backward on the data sheet's twin (physics-aware training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.fields import AtLeastOne, Many, Rate
from mortalsim.hardware import Chip, Datasheet, Port, Program, Task
from mortalsim.learners.base import Batch, Info, Learner, State, output_of, random_weights
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import ask
from mortalsim.models import Twin
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class PhysicsAware(Learner):
    """Physics-aware training (Wright et al. 2022): what happened is measured, how it would change is taken from the twin.

    A digital shadow holds the weights that were asked for, since a chip's own cannot be read back; the twin uses it.

    Parameters
    ----------
    rate
        Dimensionless step size, as `steps.ask` has it, falling as `half_linear` says.
    sync_every
        Steps between two times that the shadow is programmed onto the chip, to keep the two together; the first step
        always does it, unless the chip has just been programmed with the weights of a head start. 0 never does it again.

    State
    -----
    steps : int64 (1,)
        Steps taken; one more after a head start, since the chip then holds the shadow already.
    weights{array} : float32 (array)
        The digital shadow: weights that were asked for, clipped to the array's weight range.

    Info
    ----
    loss : nats
        Mean cross-entropy of the chip's output before the step.
    """

    name: ClassVar[str] = "physics_aware"
    signals: ClassVar[str] = "one number a neuron"

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 13.0
    sync_every: Many = 100

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return 2 * sum(prod(spec.shape) for spec in sheet.arrays)  # back, and the shadow's gradient

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.TAPS, Port.OUTER, Port.PROGRAM)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        weights = random_weights(sheet, rng)
        Twin.nominal(sheet, weights)  # says in a sentence which stage it cannot model
        return {"steps": np.zeros(1, np.int64)} | {f"weights{array}": matrix for array, matrix in enumerate(weights)}

    def started(self, sheet: Datasheet, state: State, weights: Sequence[FloatArray]) -> State:
        shadow = [np.clip(w, -spec.target_range, spec.target_range) for w, spec in zip(weights, sheet.arrays, strict=True)]
        return {"steps": state["steps"] + 1} | {f"weights{array}": matrix for array, matrix in enumerate(shadow)}

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        arrays = chip.datasheet.arrays
        weights = [state[f"weights{array}"] for array in range(len(arrays))]
        steps = int(state["steps"][0])
        if steps == 0 or (self.sync_every and steps % self.sync_every == 0):
            for array, target in enumerate(weights):
                chip.write(Program(array, target))
        trace = chip.read(batch.x)
        loss, slope = cross_entropy(output_of(trace), batch.labelled(self.name))
        twin = Twin.nominal(chip.datasheet, weights)
        slopes = twin.backward(trace, slope)
        rate = -self.rate * half_linear(batch.progress) / batch.x.shape[-2]
        factors: dict[str, dict[int, FloatArray]] = {name: {} for name in chip.datasheet.fed}
        for (name, tick), error in slopes.items():
            factors[name][tick] = error
        sizes = {name: ask(chip, trace, name, by_tick, rate) for name, by_tick in factors.items()}
        new: State = {"steps": state["steps"] + 1}
        for array, (spec, product) in enumerate(zip(arrays, twin.products(trace, slopes), strict=True)):
            shadow = weights[array] + np.float32(sizes[spec.target]) * product
            new[f"weights{array}"] = np.clip(shadow, -spec.target_range, spec.target_range)
        return new, {"loss": float(loss.mean())}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))
