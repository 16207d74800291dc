"""Mono-Forward: every hidden population has a softmax head of its own, whose error is sent back through the head alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import Rate
from mortalsim.hardware import Chip, Datasheet, Task, Trace
from mortalsim.learners._single_read import SingleRead, Verdict
from mortalsim.learners.base import Batch, State
from mortalsim.learners.steps import SILENCE, Memory, ask, running_mean
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Mono(SingleRead):
    """Mono-Forward (Gong, Li and Abdulla 2025): local softmax heads, one read a step, no label in the input.

    A head turns a population's activities, divided by their root mean square, into scores of the classes. The error of its
    softmax goes back through the head's weights and no further: it is not divided by the root mean square again. It is
    multiplied by the number of neurons n instead: what a head learns is shared by n weights, each of the order 1/n, and a
    rate would otherwise mean the less the wider the population is (mean-field scaling: Mei, Montanari and Nguyen 2018).
    Fixed heads keep weights of the order 1/sqrt(n), so that their rate still depends on the width.

    Parameters
    ----------
    rate, output_rate
        Dimensionless step sizes of the hidden populations and of the output, as `steps.ask` has them, falling as
        `half_linear` says.
    head_rate
        Step size of the heads, in the same sense.
    heads
        ``"host"``: the heads' weights are numbers of the host. ``"shadow"``: the heads are arrays of the chip, and the error
        goes back through a shadow on the host, which is the sum of what was asked of the arrays: the chip's own weights
        cannot be read. ``"fixed"``: the heads are arrays of the chip, and the error goes back through random weights that
        stay (as in feedback alignment, Lillicrap et al. 2016). A head on the chip is a population of one neuron a class that
        one hidden population feeds, through one dense array, and that feeds nothing.
    gate
        A neuron learns from a sample on which its activity, in units of the population's root mean square, is above it in
        absolute value: of a neuron that is off nothing would change.
    dropout
        Share of a population's activities, drawn anew for each sample, that its judge does not see in a step, and whose
        neurons learn nothing from it (Srivastava et al. 2014). The chip itself, and heads on it, see all of them.
    center
        Share of what rows have in common that is left to the bias lines, as `steps.ask` has it; 0: none. Heads on the host
        have no bias line, and lose that share.
    predict_by
        ``"output"``: the output population; a chip without one is judged as by ``"heads"``. ``"heads"``: the scores of all
        heads but the first (unless it is the only one) and of the output, as logarithms of probabilities, added up.

    State
    -----
    head {population} : float32 (size, classes)
        Of each hidden population with a head: the weights that its error goes back through.
    level {population} : float32 (size,)
        Of each hidden population with a head on the host, with ``center``: running mean of its activities.
    rows{array} : float32 (rows)
        Of each array, with ``center``: running mean of what each of its rows carries.

    Info
    ----
    loss : nats
        Mean cross-entropy of the heads' scores before the step.
    """

    name: ClassVar[str] = "mono"
    signals: ClassVar[str] = "one number a class"

    rate: Rate = 0.4
    head_rate: Rate = 6.5
    heads: Literal["host", "shadow", "fixed"] = "host"

    def judged(self, sheet: Datasheet) -> tuple[str, ...]:
        if self.heads == "host":
            return sheet.hidden
        heads = _chip_heads(sheet)
        return tuple(name for name in sheet.hidden if name in heads)

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        if sheet.hidden and not self.judged(sheet):
            raise ShapeError(
                f"mono with heads = {self.heads!r}: expected a population of {task.classes} neurons, fed by a hidden "
                f"population alone through one dense array, found none in the design {sheet.design!r}. Add one behind every "
                "hidden population, or write heads = 'host'."
            )
        state = super().init(sheet, task, rng)
        chip_heads = {} if self.heads == "host" else _chip_heads(sheet)
        for name in self.judged(sheet):
            size = sheet.populations[name].size
            if name in chip_heads and sheet.populations[chip_heads[name]].size != task.classes:
                raise ShapeError(
                    f"mono: expected {task.classes} neurons, one a class, in the head {chip_heads[name]!r}, found "
                    f"{sheet.populations[chip_heads[name]].size}. Change its shape in the design."
                )
            drawn = rng.standard_normal((size, task.classes), dtype=np.float32) / np.float32(np.sqrt(size))
            state[f"head {name}"] = np.zeros_like(drawn) if self.heads == "shadow" else drawn
            if self.center and self.heads == "host":
                state[f"level {name}"] = np.zeros(size, np.float32)
        return state

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        products = {"host": 3, "shadow": 2, "fixed": 1}[self.heads]  # scores, error back, the head's own step
        return sum(products * sheet.populations[name].size * task.classes for name in self.judged(sheet))

    def scores(self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, state: State) -> FloatArray:
        if self.heads == "host":
            return np.asarray(activity @ state[f"head {name}"])
        (scores,) = trace.late(_chip_heads(chip.datasheet)[name], 1).values()
        return scores

    def judge(
        self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, batch: Batch, state: State
    ) -> Verdict:
        head = state[f"head {name}"]
        loss, slope = cross_entropy(self.scores(chip, task, trace, name, activity, state), batch.labelled(self.name))
        rate = -self.head_rate * self.falling(batch)
        if self.heads == "host":
            state[f"head {name}"] = head + self._host_step(activity, name, slope, rate, state)
        else:
            asked = self._chip_step(chip, trace, name, slope, rate, state)
            if self.heads == "shadow":
                most = chip.datasheet.arrays[chip.datasheet.into(_chip_heads(chip.datasheet)[name])[0]].weight_range
                state[f"head {name}"] = np.clip(head + asked, -most, most)
        return Verdict(loss, np.float32(len(head)) * (slope @ head.T))

    def _host_step(self, activity: FloatArray, name: str, slope: FloatArray, rate: float, state: State) -> FloatArray:
        """Return what a head on the host changes by: what `ask` asks of an array, without its bias line."""
        if self.center:
            key = f"level {name}"
            state[key] = running_mean(state[key], activity.mean(axis=-2))
            activity = activity - np.float32(self.center) * state[key]
        drive = float(np.sum(activity * activity, axis=-1).mean())
        return np.asarray(np.float32(rate / max(drive, SILENCE)) * (activity.T @ slope))

    def _chip_step(self, chip: Chip, trace: Trace, name: str, slope: FloatArray, rate: float, state: State) -> FloatArray:
        """Ask for a step of a head on the chip; return what was asked of the rows that carry the population."""
        head = _chip_heads(chip.datasheet)[name]
        memory = Memory(state, center=self.center)
        step = ask(chip, trace, head, dict.fromkeys(trace.late(head, 1), slope), rate, memory=memory)
        (array,), size = chip.datasheet.into(head), chip.datasheet.populations[name].size
        rows = trace.of(array)[-1].pre[..., :size]
        if self.center:
            rows = rows - memory.away(array)[:size]
        return np.asarray(np.float32(step) * (rows.T @ slope))


def _chip_heads(sheet: Datasheet) -> dict[str, str]:
    """Return the head of each hidden population that has one: a population that it alone feeds, and that feeds nothing."""
    feeding = {spec.source for spec in sheet.arrays}
    heads = {}
    for name in sheet.hidden:
        arrays = [sheet.arrays[array] for array in sheet.into(name)]
        if name not in feeding and len(arrays) == 1 and arrays[0].rows is None and arrays[0].source in sheet.hidden:
            heads[arrays[0].source] = name
    return heads
