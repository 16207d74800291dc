"""What all Forward-Forward rules share: populations that learn to tell positive from negative data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field
from scipy.special import expit

from mortalsim.checks import FloatArray
from mortalsim.fields import AtLeastOne, Many, Rate, Share
from mortalsim.hardware import Chip, Datasheet, Port, Shrink, Task, Trace
from mortalsim.learners._goodness import GOODNESS
from mortalsim.learners.base import Info, Learner, State, output_of
from mortalsim.learners.steps import Memory, Pull, ask, row_means
from mortalsim.objectives import cross_entropy

#: By tick of a population's states.
ByTick: TypeAlias = dict[int, FloatArray]


@dataclass(frozen=True, kw_only=True)
class Contrast(Learner):
    """A rule whose hidden populations learn from pairs: the first half of a read is positive data, the second negative.

    Its subclasses say where the pairs come from, and how a prediction is made.
    """

    rate: Rate = 6.5
    momentum: Annotated[float, Field(ge=0, le=0.999999)] = 0.9
    decay: Rate = 1e-3
    head_decay: Rate = 3e-3
    shrink_every: AtLeastOne = 50
    peer: Rate = 0.03
    goodness: Literal["squares", "top", "bursts"] = "squares"
    top: Annotated[float, Field(ge=1e-4, le=1)] = 0.1
    objective: Literal["threshold", "margin"] = "threshold"
    threshold: Literal["chip", "width", "running"] = "running"
    temperature: Annotated[float, Field(ge=1e-6, le=1e9)] = 0.4
    collaboration: Share = 0.0
    skip: Share = 0.0
    center: Share = 0.95
    head_center: Share = 0.95
    learn_ticks: Many = 0

    @property
    def ports(self) -> tuple[Port, ...]:
        decays = self.decay or self.head_decay
        return (Port.TAPS, Port.OUTER, *[Port.DELTA] * bool(self.momentum), *[Port.SHRINK] * bool(decays))

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        # With momentum the products of pairs are worked out and kept on the host, and sent weight by weight.
        own = [array for name in sheet.hidden for array in sheet.into(name)] * bool(self.momentum)
        return 2 * sum(prod(sheet.arrays[array].shape) for array in own)

    def init_contrast(self, sheet: Datasheet) -> State:
        """Return the entries of the state that the populations' learning needs."""
        state: State = {"steps": np.zeros(1, np.int64)}
        for name in sheet.hidden:
            size = sheet.populations[name].size
            state[f"mean {name}"] = np.full(size, 0.5, np.float32)
            state[f"threshold {name}"] = np.full(1, size, np.float32)
            if self.momentum:
                state |= {f"gradient{array}": np.zeros(sheet.arrays[array].shape, np.float32) for array in sheet.into(name)}
        state |= {f"due {name}": np.zeros(1) for name in sheet.fed}
        heads = [sheet.output] if sheet.output is not None and self.head_center else []
        return state | row_means(sheet, [*(sheet.hidden if self.center else ()), *heads])

    def learn_pairs(self, chip: Chip, trace: Trace, state: State, rate: float) -> Info:
        """Update the arrays into all hidden populations, and ``state``.

        Returns
        -------
        info
            ``pair_errors``, the share of pairs in wrong order, and of each population ``positive {name}`` and
            ``negative {name}``, the mean goodness of positive and of negative data in units of its threshold.
        """
        hidden = chip.datasheet.hidden
        found = {name: self._measured(chip.datasheet, trace, name) for name in hidden}
        margins = {name: self._margins(name, found[name], state) for name in hidden}
        info = {"pair_errors": 0.0}
        for name in hidden:
            mistakes = self._learn_population(chip, trace, name, found[name], self._helped(margins, name), state, rate)
            info["pair_errors"] += mistakes / len(hidden)
            threshold = np.maximum(state[f"threshold {name}"], np.float32(1e-30))  # a silent population's is 0
            values = np.mean([value for _, value, _ in found[name].values()], axis=0) / threshold
            good, bad = np.split(values, 2, axis=-1)
            info |= {f"positive {name}": float(good.mean()), f"negative {name}": float(bad.mean())}
        return info

    def learn_output(self, chip: Chip, trace: Trace, targets: FloatArray, state: State, rate: float) -> FloatArray:
        """Update the arrays into the output by the delta rule at its last tick; return its losses before it, (B,)."""
        output = chip.datasheet.output_of(self.name)
        loss, slope = cross_entropy(output_of(trace), targets)
        factors = dict.fromkeys(trace.late(output, 1), slope / np.float32(-targets.shape[-2]))
        step = ask(chip, trace, output, factors, rate, memory=Memory(state, center=self.head_center))
        state[f"due {output}"] = state[f"due {output}"] + step
        return loss

    def shrink(self, chip: Chip, state: State) -> None:
        """Count the step; ask for the weight decay that has come due, every ``shrink_every`` steps."""
        sheet = chip.datasheet
        state["steps"] = state["steps"] + 1
        if state["steps"][0] % self.shrink_every:
            return
        for name in sheet.fed:
            decay = self.head_decay if name == sheet.output else self.decay
            if decay and state[f"due {name}"][0]:
                for array in sheet.into(name):
                    chip.write(Shrink(array, float(np.exp(-decay * state[f"due {name}"][0]))))
            state[f"due {name}"] = np.zeros(1)

    def _measured(self, sheet: Datasheet, trace: Trace, name: str) -> dict[int, tuple[FloatArray, FloatArray, FloatArray]]:
        """Return states, goodness and direction by tick.

        Where a state keeps a share of an older one, the direction is that of what has just been computed: a neuron that is
        off by now learns nothing from having been on.
        """
        measure, states = GOODNESS[self.goodness], trace.states[name]
        kept = {answer.tick: answer for answer in sheet.timetable if answer.population == name and answer.keep}
        found = {}
        for tick, post in trace.late(name, self.learn_ticks).items():
            value, direction = measure(post, self.top)
            if tick in kept:
                share = np.float32(kept[tick].keep)
                computed = (post - share * states[kept[tick].old]) / (1 - share)
                direction = measure(computed, self.top).direction
            found[tick] = post, value, direction
        return found

    def _margins(self, name: str, found: Mapping[int, tuple[FloatArray, ...]], state: State) -> ByTick:
        """Return goodness above the threshold in units of the temperature, (..., 2 B), by tick."""
        values = {tick: value for tick, (_, value, _) in found.items()}
        level = np.mean([value.mean(axis=-1, keepdims=True) for value in values.values()], axis=0)
        first, key = not state["steps"][0], f"threshold {name}"
        if first and self.threshold != "width":
            state[key] = level
        elif self.threshold == "running":
            state[key] = np.asarray(0.9 * state[key] + 0.1 * level)
        state[key] = state[key].astype(np.float32)
        # Goodness of random data is spread over samples by about its mean over the root of the number of neurons.
        size = next(iter(found.values()))[0].shape[-1]
        heat = np.float32(self.temperature / np.sqrt(size)) * state[key]
        return {tick: (value - state[key]) / np.maximum(heat, np.float32(1e-30)) for tick, value in values.items()}

    def _helped(self, margins: Mapping[str, ByTick], name: str) -> ByTick:
        """Return the margins of a population, with its share of the other populations' margins at their last tick."""
        own = margins[name]
        if not self.collaboration:
            return own
        others = sum(each[max(each)] for other, each in margins.items() if other != name)
        return {tick: margin + np.float32(self.collaboration) * others for tick, margin in own.items()}

    def _coefficients(self, margin: FloatArray) -> FloatArray:
        """Return what each sample's direction is multiplied with: positive for positive data, negative for negative."""
        good, bad = np.split(margin, 2, axis=-1)
        if self.objective == "margin":
            up = expit(bad - good)
            return np.concatenate([up, -up], axis=-1)
        return np.concatenate([expit(-good), -expit(bad)], axis=-1)

    def _learn_population(
        self,
        chip: Chip,
        trace: Trace,
        name: str,
        found: Mapping[int, tuple[FloatArray, FloatArray, FloatArray]],
        margins: ByTick,
        state: State,
        rate: float,
    ) -> float:
        size, ticks = next(iter(found.values()))[0].shape[-2] // 2, len(found)
        level = sum(post[..., :size, :].mean(axis=-2) for post, _, _ in found.values()) / ticks
        mean = state[f"mean {name}"] = np.asarray(0.9 * state[f"mean {name}"] + 0.1 * level).astype(np.float32)
        # The pull towards the mean is the same for every sample, so one row stands for all of them.
        weights = np.repeat(np.array([1 / (size * ticks), 0], np.float32), size)
        pull = Pull(weights, np.float32(self.peer) * (mean.mean(axis=-1, keepdims=True) - mean))
        factors: ByTick = {}
        heard: dict[int, np.ndarray] = {}
        mistakes = 0.0
        for tick, (_, value, direction) in found.items():
            coefficients = self._coefficients(margins[tick])
            heard[tick] = ~(np.abs(coefficients) < self.skip)  # NaN is heard, and stops the run
            coefficients = np.where(heard[tick], coefficients, 0)
            factors[tick] = coefficients[..., None].astype(np.float32) / np.float32(size * ticks) * direction
            good, bad = np.split(value, 2, axis=-1)
            mistakes += float(np.mean(bad > good)) / ticks
        step = ask(
            chip, trace, name, factors, rate * self.rate,
            memory=Memory(state, self.momentum, self.center), heard=heard if self.skip else None,
            pulls=dict.fromkeys(found, pull) if self.peer else None,
        )  # fmt: skip
        state[f"due {name}"] = state[f"due {name}"] + step
        return mistakes
