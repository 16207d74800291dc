"""Learned feedback: nudges teach the host what each neuron does to the output, and the output's error is sent back by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.fields import Amplitude, AtLeastOne, Rate, Share
from mortalsim.hardware import Chip, CurrentNudge, Datasheet, Overlaid, Port, Task, Trace
from mortalsim.learners._signs import random_signs
from mortalsim.learners.base import Batch, Info, Learner, State, output_of, require_hidden
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import Memory, ask, row_means
from mortalsim.objectives import cross_entropy

#: Largest slope of a neuron that counts, in units of its population's root mean square.
STEEPEST = 2.0


@dataclass(frozen=True, kw_only=True)
class LearnedFeedback(Learner):
    """Perturbation that remembers (Lansdell, Prakash and Kording 2020; Bacho and Chu 2024).

    Every sample is read twice, with currents of opposite signs at all hidden neurons. The difference of the two outputs,
    against each neuron's sign, teaches feedback weights: what the output does when that neuron is pushed. The output's error
    goes back through them. Activity perturbation takes each step from its own noisy probe; here the noise is averaged over
    the last 1 / ``forget`` steps, and fifty times fewer reads are needed.

    A neuron's own two answers tell its slope at each sample. The feedback is regressed on the sign times that slope, and the
    error is multiplied with it, so that a neuron learns only where it answers, and in the direction in which it answers: no
    curve need have an off state, or rise.

    Parameters
    ----------
    rate, output_rate
        Dimensionless step sizes of the hidden populations and of the output, as `steps.ask` has them, falling as
        `half_linear` says.
    amplitude
        Size of the current added to every hidden neuron's input.
    forget
        Share of a step's estimate in the feedback weights; at first as much as makes them the mean of all estimates.
    center
        Share of what rows have in common that is left to the bias lines, as `steps.ask` has it; 0: none.

    State
    -----
    steps : int64 (1,)
        Steps taken.
    feedback {population} : float32 (classes, size)
        Of each hidden population: how much each output rises with each neuron's activity, in units of a typical slope.
    rows{array} : float32 (rows)
        Of each array, with ``center``: running mean of what each of its rows carries.

    Info
    ----
    loss : nats
        Mean cross-entropy of the two outputs' mean before the step.
    """

    name: ClassVar[str] = "learned_feedback"
    signals: ClassVar[str] = "one number a class"

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 26.0
    output_rate: Rate = 6.5
    amplitude: Amplitude = 0.3
    forget: Share = 0.02
    center: Share = 1.0

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.TAPS, Port.CURRENT_NUDGE, Port.OUTER)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        sheet.output_of(self.name, task.classes)
        require_hidden(sheet, self.name)
        state: State = {"steps": np.zeros(1, np.int64)}
        for name in sheet.hidden:
            state[f"feedback {name}"] = np.zeros((task.classes, sheet.populations[name].size), np.float32)
        return state | (row_means(sheet, sheet.fed) if self.center else {})

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return sum(2 * sheet.populations[name].size * task.classes for name in sheet.hidden)  # regression, error back

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        sheet, targets, state = chip.datasheet, batch.labelled(self.name), dict(state)
        size = len(targets)
        signs = {name: random_signs(rng, size, sheet.populations[name].size) for name in sheet.hidden}
        push = {name: np.float32(self.amplitude) * np.concatenate([sign, -sign]) for name, sign in signs.items()}
        trace = chip.read(Overlaid.repeated(batch.x, 2), CurrentNudge(push))
        rest = _mean_of_halves(trace)
        loss, slope = cross_entropy(output_of(rest), targets)
        rise = self._rise(output_of(trace))
        state["steps"] = state["steps"] + 1
        rate, memory = -half_linear(batch.progress) / size, Memory(state, center=self.center)
        for name, sign in signs.items():
            (post,) = trace.late(name, 1).values()
            own = _relative(self._rise(post) * sign)
            feedback = self._regressed(state[f"feedback {name}"], rise, sign * own, own, int(state["steps"][0]))
            state[f"feedback {name}"] = feedback
            factors = dict.fromkeys(rest.late(name, 1), (slope @ feedback) * own)
            ask(chip, rest, name, factors, rate * self.rate, memory=memory)
        output = sheet.output_of(self.name)
        ask(chip, rest, output, dict.fromkeys(rest.late(output, 1), slope), rate * self.output_rate, memory=memory)
        return state, {"loss": float(loss.mean(dtype=np.float64))}

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        return output_of(chip.read(x, want="output"))

    def _rise(self, both: FloatArray) -> FloatArray:
        """Return half the difference between the two halves, per unit of amplitude."""
        plus, minus = np.split(both, 2, axis=-2)
        return np.asarray((plus - minus) / np.float32(2 * self.amplitude))

    def _regressed(
        self, feedback: FloatArray, rise: FloatArray, pushed: FloatArray, own: FloatArray, steps: int
    ) -> FloatArray:
        """Return the feedback moved towards this step's least-squares estimate of ``rise`` by ``pushed``."""
        known = np.sum(own * own, axis=-2)
        estimate = (rise.T @ pushed) / np.maximum(known, np.float32(1e-6))
        share = np.float32(max(self.forget, 1 / steps))
        return np.asarray(feedback + share * np.where(known > 0, estimate - feedback, 0), np.float32)


def _relative(slopes: FloatArray) -> FloatArray:
    """Return slopes in units of their root mean square, cut where what other neurons did to this one drowns its own."""
    size = np.sqrt(np.mean(slopes * slopes)) + np.float32(1e-9)
    return np.asarray(np.clip(slopes / size, -STEEPEST, STEEPEST))


def _mean_of_halves(trace: Trace) -> Trace:
    """Return the means of two opposite nudges, in which the nudges' own effect cancels."""

    def mean(both: FloatArray) -> FloatArray:
        plus, minus = np.split(both, 2, axis=-2)
        return np.asarray(np.float32(0.5) * (plus + minus))

    pres: dict[int, FloatArray] = {}  # taps share what rows carried: halve it once
    for tap in trace.taps:
        pres.setdefault(id(tap.pre), mean(tap.pre))
    return Trace(
        mean(output_of(trace)),
        {name: {tick: mean(post) for tick, post in states.items()} for name, states in trace.states.items()},
        tuple(tap._replace(pre=pres[id(tap.pre)], post=mean(tap.post)) for tap in trace.taps),
    )
