"""Groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.fields import AtLeastOne, Rate
from mortalsim.hardware import Port
from mortalsim.learners.base import Learner, output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import ask, row_means
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Groups(Learner):
    """groups."""

    name: ClassVar[str] = "groups"
    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 6.5
    out_rate: Rate = 13.0
    sharpness: float = 5.0
    center: bool = False
    gate: float = 0.05

    @property
    def ports(self):
        return (Port.TAPS, Port.OUTER)

    def init(self, sheet, task, rng):
        sheet.require(self.name, *self.ports)
        return {"x": np.zeros(1)} | row_means(sheet, sheet.fed)

    def _pool(self, n, c):
        owner = np.arange(n) * c // n
        pool = np.eye(c, dtype=np.float32)[owner]
        return pool / pool.sum(0)

    def step(self, chip, task, batch, state, rng):
        sheet, size = chip.datasheet, len(batch.x)
        trace = chip.read(batch.x)
        g = half_linear(batch.progress) / size
        state = dict(state)
        total = 0.0
        y = batch.labelled(self.name)
        c = state if self.center else None
        for name in sheet.hidden:
            ((tick, post),) = trace.late(name, 1).items()
            r = np.sqrt((post * post).mean(-1, keepdims=True)) + np.float32(1e-6)
            h = post / r
            pool = self._pool(post.shape[-1], task.classes)
            loss, slope = cross_entropy(self.sharpness * h @ pool, y)
            total += float(loss.mean()) / len(sheet.hidden)
            delta = (slope @ pool.T) * (np.abs(h) > self.gate) * (post.shape[-1] / task.classes)
            ask(chip, trace, name, {tick: delta.astype(np.float32)}, -self.rate * g, center=c)
        loss, slope = cross_entropy(output_of(trace), y)
        ask(chip, trace, sheet.output, dict.fromkeys(trace.late(sheet.output, 1), slope), -self.out_rate * g, center=c)
        return state, {"loss": total}

    def predict(self, chip, task, x, state):
        return output_of(chip.read(x, want="output"))
