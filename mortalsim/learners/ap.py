"""Activity perturbation: shake the neurons' inputs, sample by sample, and credit what lowered each sample's loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.fields import Amplitude, AtLeastOne, Rate, Share, Temperature, Times
from mortalsim.hardware import Chip, CurrentNudge, Datasheet, Overlaid, Port, Tap, Task, Trace
from mortalsim.learners._signs import random_signs
from mortalsim.learners.base import Batch, Info, Learner, State, output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import Memory, ask, row_means
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class ActivityPerturbation(Learner):
    """Activity (node) perturbation with signs of its own and a loss of its own for every sample (Werfel 2005; Ren 2023).

    Parameters
    ----------
    rate
        Dimensionless step size, as `steps.ask` has it, falling as `half_linear` says. A current is held through all ticks of
        a read, so its length over T ticks is sqrt(T) times its amplitude: the slope per unit of amplitude is divided by
        sqrt(T), and what each array's rows carry is averaged over the ticks. A rate then means the same on chips that
        answer once and on those that answer often.
    amplitude
        Size of the current added to every neuron's input.
    probes
        Sign patterns tried per sample and step; their updates are averaged.
    antithetic
        True: each pattern is tried with both signs. False: it is compared with one undisturbed read.
    exact_output
        True: the output is trained by the delta rule from the loss's derivative there, which needs no probing, and only
        hidden populations are shaken. False: its neurons are shaken like all others, as in the pure rule.
    temperature
        Of `objectives.cross_entropy`; above 1 it softens the outputs.
    center
        Share of what rows have in common that is left to the bias lines, as `steps.ask` has it; 0: none.

    State
    -----
    rows{array} : float32 (rows)
        Of each array, with ``center``: running mean of what each of its rows carries.

    Info
    ----
    loss : nats
        Mean over probes of the two losses that each compares, as `objectives.cross_entropy` has them at ``temperature``.
    """

    name: ClassVar[str] = "ap"
    signals: ClassVar[str] = "one number a sample"

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 100
    rate: Rate = 13.0
    amplitude: Amplitude = 0.3
    probes: Times = 8
    antithetic: bool = True
    exact_output: bool = True
    temperature: Temperature = 1.0
    center: Share = 1.0

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        return self.temperature**2 * float(np.log(classes)) if classes else None

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return 0

    def softened(self, temperature: float) -> Learner:
        return replace(self, temperature=temperature)

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.TAPS, Port.CURRENT_NUDGE, Port.OUTER)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        return row_means(sheet, sheet.fed) if self.center else {}

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        state = dict(state)
        sheet, size = chip.datasheet, batch.x.shape[-2]
        shaken = sheet.hidden if self.exact_output else sheet.fed
        errors = {name: np.zeros((size, sheet.populations[name].size), np.float32) for name in sheet.fed}
        heard = _Heard(len(sheet.arrays), 2 * self.probes)
        rest = None if self.antithetic else self._halves(chip.read(batch.x), batch)
        total = 0.0
        for _ in range(self.probes):
            signs = {name: random_signs(rng, size, sheet.populations[name].size) for name in shaken}
            plus, minus = self._probe(chip, batch, signs, rest)
            slope = (plus.loss - minus.loss) / (self.amplitude * (1 + self.antithetic))
            for name, sign in signs.items():
                errors[name] += slope[..., None] * sign
            for half in (plus, minus):
                if self.exact_output:
                    errors[sheet.output_of(self.name)] += 0.5 * half.slope
                heard.add(half.taps, half.rows)
            total += 0.5 * float((plus.loss + minus.loss).mean())
        rate, reads = -self.rate * half_linear(batch.progress) / (size * self.probes), heard.trace()
        for name, error in errors.items():
            length = np.sqrt(sheet.ticks(name)) if name in shaken else 1.0
            ask(chip, reads, name, {0: error}, rate / float(length), memory=Memory(state, center=self.center))
        return state, {"loss": total / self.probes}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))

    def _probe(self, chip: Chip, batch: Batch, signs: dict[str, FloatArray], rest: _Half | None) -> tuple[_Half, _Half]:
        """Return the read with the nudge, and the one to compare it with."""
        currents = {name: np.float32(self.amplitude) * sign for name, sign in signs.items()}
        if rest is not None:
            return self._halves(chip.read(batch.x, CurrentNudge(currents)), batch), rest
        both = {name: np.concatenate([current, -current], axis=-2) for name, current in currents.items()}
        trace = chip.read(Overlaid.repeated(batch.x, 2), CurrentNudge(both))
        size = batch.x.shape[-2]
        return self._halves(trace, batch, slice(size)), self._halves(trace, batch, slice(size, None))

    def _halves(self, trace: Trace, batch: Batch, rows: slice = slice(None)) -> _Half:
        loss, slope = cross_entropy(output_of(trace)[..., rows, :], batch.labelled(self.name), self.temperature)
        return _Half(loss, slope, trace.taps, rows)


@dataclass(frozen=True, eq=False)
class _Half:
    """One side of a comparison: losses (B,), their slopes at the output (B, classes), and its samples of a read's taps."""

    loss: FloatArray
    slope: FloatArray
    taps: tuple[Tap, ...]
    rows: slice


class _Heard:
    """What every array's rows carried, the mean over reads and over the ticks of each.

    Averaged over both signs, so that the nudges' own effect on what later arrays carry cancels.

    Parameters
    ----------
    arrays
        How many there are.
    reads
        How many are going to be added.
    """

    def __init__(self, arrays: int, reads: int) -> None:
        self._pre: list[FloatArray | None] = [None] * arrays
        self._reads = reads

    def add(self, taps: tuple[Tap, ...], rows: slice) -> None:
        """Add some samples of a read's taps."""
        ticks = Counter(tap.array for tap in taps)
        for tap in taps:
            share = np.float32(1 / (self._reads * ticks[tap.array])) * tap.pre[..., rows, :]
            before = self._pre[tap.array]
            self._pre[tap.array] = share if before is None else np.add(before, share, out=before)

    def trace(self) -> Trace:
        """Return the means as taps of one tick."""
        return Trace(None, {}, tuple(Tap(k, 0, 0, pre, pre) for k, pre in enumerate(self._pre) if pre is not None))
