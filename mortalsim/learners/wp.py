"""Weight perturbation: shake all weights at once, keep what lowered the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mortalsim.checks import FloatArray, check_between, check_name
from mortalsim.hardware import Chip, Datasheet, Delta, Port, Replay, WeightNudge
from mortalsim.learners.base import Batch, Info, Learner, State, half_linear
from mortalsim.objectives import cross_entropy
from mortalsim.patterns import pattern


@dataclass(frozen=True, kw_only=True)
class WeightPerturbation(Learner):
    """Weight perturbation by keyed sign patterns (simultaneous perturbation, Spall 1992; seed replay as in MeZO, 2023).

    A single probe says little about any one weight, so writing every probe moves all weights far to and fro: each move costs
    pulses, and on devices whose up and down steps differ it also wears the weights away towards the middle of their range.
    By default the estimates are therefore averaged digitally, each pattern worked out from its key, and written now and then
    (the time constants of multiplexed gradient descent, McCaughan et al. 2023). With ``momentum=0`` and ``write_every=1``
    nothing is kept: every probe is made permanent on the chip by `Replay`.

    Parameters
    ----------
    rate
        Step size per unit of slope of the loss and per step, falling as `half_linear` says.
    amplitude
        Size of the disturbance of every weight.
    probes
        Patterns tried per step; their estimates are averaged.
    antithetic
        True: each pattern is tried with both signs, which removes all even orders of the amplitude from the estimate.
        False: it is compared with one undisturbed read.
    pattern
        ``"signs"``: one sign per weight. ``"rank1"``: one per row times one per column.
    momentum
        Weight of the past, per step, in the running mean of the estimates.
    write_every
        Steps between two writes; a write makes up for the steps between.
    temperature
        Of `objectives.cross_entropy`. Below 1 it suits outputs that the weights' range keeps small.
    """

    name: ClassVar[str] = "wp"
    ports: ClassVar[tuple[Port, ...]] = (Port.WEIGHT_NUDGE, Port.REPLAY, Port.DELTA)

    epochs: int = 350
    batch_size: int = 100
    rate: float = 0.006
    amplitude: float = 0.03
    probes: int = 1
    antithetic: bool = True
    pattern: Literal["signs", "rank1"] = "signs"
    momentum: float = 0.99
    write_every: int = 16
    temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("amplitude", self.amplitude, 1e-9)
        check_between("probes", self.probes, 1)
        check_between("momentum", self.momentum, 0, 1)
        check_between("write_every", self.write_every, 1)
        check_name("pattern", self.pattern, ("signs", "rank1"))

    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        datasheet.require(self.name, *self.ports)
        if self._replays:
            return {}
        arrays = enumerate(datasheet.arrays)
        return {"steps": np.zeros(1, np.int64)} | {f"gradient{array}": np.zeros(spec.shape, np.float32) for array, spec in arrays}

    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        rest = 0.0 if self.antithetic else self._loss(chip, batch, None)
        nudges, slopes, losses = [], [], []
        for key in rng.integers(2**63, size=self.probes):
            nudge = WeightNudge(int(key), self.amplitude, self.pattern)
            opposite = WeightNudge(int(key), -self.amplitude, self.pattern)
            plus = self._loss(chip, batch, nudge)
            minus = self._loss(chip, batch, opposite) if self.antithetic else rest
            nudges.append(nudge)
            slopes.append((plus - minus) / (self.amplitude * (1 + self.antithetic) * self.probes))
            losses.append(0.5 * (plus + minus))
        rate = self.rate * half_linear(batch.progress)
        if self._replays:
            for nudge, slope in zip(nudges, slopes, strict=True):  # only now: all probes are taken at the same weights
                chip.write(Replay(nudge, -rate * slope / self.amplitude))
        else:
            state = self._average(chip, state, nudges, slopes, rate)
        return state, {"loss": float(np.mean(losses))}

    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        return chip.read(x).output

    @property
    def _replays(self) -> bool:
        return self.momentum == 0 and self.write_every == 1

    def _loss(self, chip: Chip, batch: Batch, nudge: WeightNudge | None) -> float:
        loss, _ = cross_entropy(chip.read(batch.x, nudge).output, batch.targets, self.temperature)
        return float(loss.mean(dtype=np.float64))

    def _average(self, chip: Chip, state: State, nudges: list[WeightNudge], slopes: list[float], rate: float) -> State:
        """Take the probes into the running mean and, when a write is due, ask for the change that it stands for."""
        new: State = {"steps": state["steps"] + 1}
        due = new["steps"][0] % self.write_every == 0
        for array, spec in enumerate(chip.datasheet.arrays):
            gradient = np.float32(self.momentum) * state[f"gradient{array}"]
            for nudge, slope in zip(nudges, slopes, strict=True):
                gradient += np.float32((1 - self.momentum) * slope) * pattern(nudge, array, spec.shape)
            new[f"gradient{array}"] = gradient
            if due:
                chip.write(Delta(array, np.float32(-rate * self.write_every) * gradient))
        return new
