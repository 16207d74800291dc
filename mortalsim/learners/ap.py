"""Activity perturbation: shake the neurons' inputs, sample by sample, and credit what lowered each sample's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray, check_between
from mortalsim.hardware import Chip, CurrentNudge, Datasheet, Outer, Overlaid, Port, Trace
from mortalsim.learners.base import Batch, Info, Learner, State, half_linear
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class ActivityPerturbation(Learner):
    """Activity (node) perturbation with signs of its own and a loss of its own for every sample (Werfel 2005; Ren 2023).

    Parameters
    ----------
    rate
        Step size per unit of slope of the loss, falling as `half_linear` says.
    amplitude
        Size of the current added to every neuron's input.
    probes
        Sign patterns tried per sample and step; their updates are averaged.
    antithetic
        True: each pattern is tried with both signs. False: it is compared with one undisturbed read.
    exact_output
        True: the last array is trained by the delta rule from the loss's derivative at the output, which needs no probing,
        and only the arrays before it are shaken. False: its neurons are shaken like all others. The default is the pure rule
        because, tuned alike, the two came out equal on digits within the spread over chips.
    temperature
        Softens the outputs; see `objectives.cross_entropy`.
    """

    name: ClassVar[str] = "ap"
    ports: ClassVar[tuple[Port, ...]] = (Port.TAPS, Port.CURRENT_NUDGE, Port.OUTER)

    epochs: int = 30
    batch_size: int = 100
    rate: float = 0.2
    amplitude: float = 0.3
    probes: int = 8
    antithetic: bool = True
    exact_output: bool = False
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("amplitude", self.amplitude, 1e-9)
        check_between("probes", self.probes, 1)
        check_between("temperature", self.temperature, 1e-3)

    def init(self, datasheet: Datasheet, rng: np.random.Generator) -> State:
        datasheet.require(self.name, *self.ports)
        return {}

    def step(self, chip: Chip, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        size = len(batch.x)
        sheet = chip.datasheet
        shaken = len(sheet.arrays) - self.exact_output
        errors = [np.zeros((size, spec.n_out), np.float32) for spec in sheet.arrays]
        pres = [np.zeros((size, spec.n_in), np.float32) for spec in sheet.arrays]
        rest = None if self.antithetic else self._halves(chip.read(batch.x), batch)
        total = 0.0
        for _ in range(self.probes):
            signs = [_signs(rng, size, spec.n_out) for spec in sheet.arrays[:shaken]]
            plus, minus = self._probe(chip, batch, signs, rest)
            slope = (plus.loss - minus.loss) / (self.amplitude * (1 + self.antithetic))
            for array, sign in enumerate(signs):
                errors[array] += slope[:, None] * sign
            for half in (plus, minus):  # averaged, so that the nudges' own effect on later arrays' inputs cancels
                if self.exact_output:
                    errors[-1] += 0.5 * half.slope
                for array, pre in enumerate(half.pres):
                    pres[array] += 0.5 * pre
            total += 0.5 * float((plus.loss + minus.loss).mean())
        rate = -self.rate * half_linear(batch.progress) / (size * self.probes**2)
        for array, (pre, error) in enumerate(zip(pres, errors, strict=True)):
            chip.write(Outer(array, pre, error, rate))
        return state, {"loss": total / self.probes}

    def predict(self, chip: Chip, x: FloatArray, state: State) -> FloatArray:
        return chip.read(x).output

    def _probe(self, chip: Chip, batch: Batch, signs: list[FloatArray], rest: _Half | None) -> tuple[_Half, _Half]:
        """Return the read with the nudge, and the one to compare it with."""
        quiet = [None] * (len(chip.datasheet.arrays) - len(signs))
        currents = [np.float32(self.amplitude) * sign for sign in signs]
        if rest is not None:
            return self._halves(chip.read(batch.x, CurrentNudge((*currents, *quiet))), batch), rest
        both = [np.concatenate([current, -current]) for current in currents]
        trace = chip.read(Overlaid.repeated(batch.x, 2), CurrentNudge((*both, *quiet)))
        size = len(batch.x)
        return self._halves(trace, batch, slice(size)), self._halves(trace, batch, slice(size, None))

    def _halves(self, trace: Trace, batch: Batch, rows: slice = slice(None)) -> _Half:
        loss, slope = cross_entropy(trace.output[rows], batch.targets, self.temperature)
        return _Half(loss, slope, [tap.pre[rows] for tap in trace.taps])


@dataclass(frozen=True, eq=False)
class _Half:
    """One side of a comparison: losses (B,), their slopes at the output (B, classes), and every array's input lines."""

    loss: FloatArray
    slope: FloatArray
    pres: list[FloatArray]


def _signs(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-rows * columns // 8)), np.uint8), count=rows * columns)
    return bits.reshape(rows, columns) * np.float32(2) - np.float32(1)
