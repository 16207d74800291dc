"""What single-read rules share: every hidden population learns, by itself, to tell the classes apart."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import AtLeastOne, Rate, Share
from mortalsim.hardware import Chip, Datasheet, Port, Task, Trace
from mortalsim.learners.base import Batch, Info, Learner, State, output_of, require_hidden
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import Memory, ask, row_means
from mortalsim.objectives import cross_entropy


class Verdict(NamedTuple):
    """What a population is told: losses (B,), and their slopes at its activities (B, n), up to a factor."""

    loss: FloatArray
    slope: FloatArray


@dataclass(frozen=True, kw_only=True)
class SingleRead(Learner):
    """A rule that reads every sample once, without label, and judges each hidden population by a softmax of its own.

    Its subclasses say how a population's activities become scores of the classes. The output population, if there is one,
    is trained by the delta rule.
    """

    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 6.5
    output_rate: Rate = 6.5
    gate: Annotated[float, Field(ge=0, le=1e6)] = 0.05
    dropout: Annotated[float, Field(ge=0, le=0.99)] = 0.0
    center: Share = 0.95
    predict_by: Literal["output", "heads"] = "output"

    @property
    def ports(self) -> tuple[Port, ...]:
        return (Port.TAPS, Port.OUTER)

    @abstractmethod
    def scores(self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, state: State) -> FloatArray:
        """Return the scores (B, classes) that a hidden population gives the classes; ``activity`` is `standardised`."""

    @abstractmethod
    def judge(
        self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, batch: Batch, state: State
    ) -> Verdict:
        """Return what a hidden population is told, and let what judges it learn: in ``state``, or by a request."""

    def judged(self, sheet: Datasheet) -> tuple[str, ...]:
        """Return the hidden populations that are judged."""
        return sheet.hidden

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        sheet.require(self.name, *self.ports)
        require_hidden(sheet, self.name)
        if task.classes < 2:
            raise ShapeError(
                f"{self.name}: expected a task of at least 2 classes, found {task.classes}. Choose labelled data."
            )
        if sheet.output is not None:
            sheet.output_of(self.name, task.classes)
        return row_means(sheet, sheet.fed) if self.center else {}

    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        sheet, targets, state = chip.datasheet, batch.labelled(self.name), dict(state)
        trace = chip.read(batch.x)
        rate, losses = self.falling(batch), []
        for name in self.judged(sheet):
            activity = standardised(trace, name)
            learning, view = np.abs(activity) > self.gate, activity
            if self.dropout:
                seen = self._seen(activity, rng)
                learning, view = learning & (seen != 0), activity * seen
            loss, slope = self.judge(chip, task, trace, name, view, batch, state)
            losses.append(float(loss.mean(dtype=np.float64)))
            self._learn(chip, trace, name, np.where(learning, slope, 0), -self.rate * rate, state)
        if sheet.output is not None:
            _, slope = cross_entropy(output_of(trace), targets)
            self._learn(chip, trace, sheet.output, slope, -self.output_rate * rate, state)
        return state, {"loss": float(np.mean(losses))}

    def _seen(self, activity: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what the judge's view of activities is multiplied with: 0 for those that are dropped, 1 in the mean."""
        kept = rng.random(activity.shape, np.float32) >= self.dropout
        return np.asarray(kept / np.float32(1 - self.dropout))

    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        sheet = chip.datasheet
        if self.predict_by == "output" and sheet.output is not None:
            return output_of(chip.read(x, want="output"))
        trace = chip.read(x, want="states")
        names = self.judged(sheet)
        scores = [
            self.scores(chip, task, trace, name, standardised(trace, name), state)
            for name in names[min(1, len(names) - 1) :]
        ]
        if sheet.output is not None:
            scores.append(output_of(trace))
        return np.asarray(sum(score - _log_of_sum(score) for score in scores))

    def falling(self, batch: Batch) -> float:
        """Return the factor of a step's rates: the schedule's, and that of a mean over samples."""
        return half_linear(batch.progress) / len(batch.x)

    def _learn(self, chip: Chip, trace: Trace, name: str, slope: FloatArray, rate: float, state: State) -> None:
        factors = dict.fromkeys(trace.late(name, 1), slope.astype(np.float32))
        ask(chip, trace, name, factors, rate, memory=Memory(state, center=self.center))


def standardised(trace: Trace, name: str) -> FloatArray:
    """Return the last state of a population, (B, n), each sample divided by its root mean square."""
    (post,) = trace.late(name, 1).values()
    return np.asarray(post / (np.sqrt(np.mean(post * post, axis=-1, keepdims=True)) + np.float32(1e-6)))


def _log_of_sum(scores: FloatArray) -> FloatArray:
    top = scores.max(axis=-1, keepdims=True)
    return np.asarray(top + np.log(np.exp(scores - top).sum(axis=-1, keepdims=True)))
