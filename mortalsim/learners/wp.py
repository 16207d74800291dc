"""Weight perturbation: shake all weights at once, keep what lowered the loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray, check_name
from mortalsim.fields import Amplitude, AtLeastOne, Rate, Temperature, Times
from mortalsim.hardware import DEFAULT_PATTERN, Chip, Datasheet, Port, Replay, Task, WeightNudge
from mortalsim.learners.base import Batch, Info, Learner, State, output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import lines
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class WeightPerturbation(Learner):
    """Weight perturbation by keyed patterns (simultaneous perturbation, Spall 1992; seed replay as in MeZO, 2023).

    Nothing is kept but the probes' keys and what each did to the loss: the chip works the patterns out again and adds them
    up as it writes. Several probes a step therefore save pulses, because most of what they ask of a weight cancels.

    Parameters
    ----------
    rate
        Dimensionless step size, falling as `half_linear` says: the step per unit of slope of the loss is this over the
        number of weights. A probe's estimate is longer than the gradient by the root of that number (Werfel et al. 2005),
        so the step that a wider chip bears, and what it learns from a probe, fall as one over it.
    amplitude
        Size of what the disturbance does at a neuron's input, where its lines carry unit mean square: that of every weight
        is this over the root of the lines to a neuron.
    probes
        Patterns tried per step at the same weights and on the same batch; their updates are averaged.
    antithetic
        True: each pattern is tried with both signs, which removes all even orders of the amplitude from the estimate.
        False: it is compared with one undisturbed read.
    pattern
        One of the chip's, by name. Each probe has a key of its own; but of a pattern that the data sheet calls a family, the
        probes of a step are the first ones under one key.
    temperature
        Of `objectives.cross_entropy`. Below 1 it suits outputs that the weights' range keeps small.

    Info
    ----
    loss : nats
        Mean over probes of the two losses that each compares, as `objectives.cross_entropy` has them at ``temperature``.
    """

    name: ClassVar[str] = "wp"
    signals: ClassVar[str] = "one number"

    epochs: AtLeastOne = 80
    batch_size: AtLeastOne = 125
    rate: Rate = 630.0
    amplitude: Amplitude = 0.25
    probes: Times = 8
    antithetic: bool = True
    pattern: str = DEFAULT_PATTERN
    temperature: Temperature = 1.0

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        return self.temperature**2 * float(np.log(classes)) if classes else None

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return 0

    def softened(self, temperature: float) -> Learner:
        return replace(self, temperature=temperature)

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.WEIGHT_NUDGE, Port.REPLAY)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        check_name("pattern", self.pattern, sheet.patterns)
        sheet.output_of(self.name, task.classes)
        return {}

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        weights, amplitude = self.sizes(chip.datasheet)
        rest = 0.0 if self.antithetic else self._loss(chip, batch, None)
        rate = self.rate * half_linear(batch.progress) / (weights * self.probes)
        nudges, scales, losses = self._nudges(chip.datasheet, amplitude, rng), [], []
        for nudge in nudges:
            plus = self._loss(chip, batch, nudge)
            minus = self._loss(chip, batch, replace(nudge, amplitude=-amplitude)) if self.antithetic else rest
            slope = (plus - minus) / (amplitude * (1 + self.antithetic))
            scales.append(-rate * slope / amplitude)
            losses.append(0.5 * (plus + minus))
        chip.write(Replay(tuple(nudges), tuple(scales)))
        return state, {"loss": float(np.mean(losses))}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))

    def sizes(self, sheet: Datasheet) -> tuple[float, float]:
        """Return the chip's number of weights, and the amplitude of each."""
        neurons = {name: sheet.populations[name].size for name in sheet.fed}
        weights = sum(lines(sheet, name) * size for name, size in neurons.items())
        return weights, float(self.amplitude / np.sqrt(weights / sum(neurons.values())))

    def _nudges(self, sheet: Datasheet, amplitude: float, rng: np.random.Generator) -> list[WeightNudge]:
        """Return the nudges of one step, one a probe."""
        if self.pattern in sheet.families:
            key = int(rng.integers(2**63))
            return [WeightNudge(key, amplitude, self.pattern, index) for index in range(self.probes)]
        return [WeightNudge(int(key), amplitude, self.pattern) for key in rng.integers(2**63, size=self.probes)]

    def _loss(self, chip: Chip, batch: Batch, nudge: WeightNudge | None) -> float:
        loss, _ = cross_entropy(
            output_of(chip.read(batch.x, nudge, want="output")), batch.labelled(self.name), self.temperature
        )
        return float(loss.mean(dtype=np.float64))
