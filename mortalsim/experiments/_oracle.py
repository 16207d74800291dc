"""The bound that no hardware can reach: backprop through one simulated chip's own true weights, gains and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.fields import AtLeastOne, Rate
from mortalsim.hardware import Chip, Datasheet, Delta, Port, Task
from mortalsim.learners import Batch, Info, Learner, State
from mortalsim.learners.base import output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import lines
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Oracle(Learner):
    """Gradient descent with the true, noise-free gradient, written through the chip's own devices.

    It looks inside the chip, which no learner may, and serves as a yardstick in experiments only.

    Parameters
    ----------
    rate
        Dimensionless step size, falling as `half_linear` says: each array's is this over the lines to a neuron, as in
        `steps.ask` where every line carries unit mean square.
    """

    name: ClassVar[str] = "oracle"
    signals: ClassVar[str] = "the chip's inside"

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 50
    rate: Rate = 13.0

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.DELTA,)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        return {}

    def started(self, sheet: Datasheet, state: State, weights: Sequence[FloatArray]) -> None:
        return None  # it is the bound of what can be learned from a chip as it was fabricated

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        if not isinstance(chip, SimulatedChip):
            raise ShapeError(f"chip: expected a SimulatedChip, into which an oracle can look, found {type(chip).__name__}.")
        # Read once, so that its cost compares with others'; the gradient needs no reading.
        targets = batch.labelled(self.name)
        loss, _ = cross_entropy(output_of(chip.read(batch.x, want="output")), targets)
        _, gradients = oracle.loss_and_gradient(chip, batch.x, targets)
        for array, (spec, gradient) in enumerate(zip(chip.datasheet.arrays, gradients, strict=True)):
            rate = self.rate * half_linear(batch.progress) / lines(chip.datasheet, spec.target)
            chip.write(Delta(array, (-rate * gradient).astype(np.float32)))
        return state, {"loss": float(loss.mean())}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))
