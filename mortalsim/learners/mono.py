"""Mono."""

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
class Mono(Learner):
    """mono."""

    name: ClassVar[str] = "mono"
    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 13.0
    head_rate: Rate = 13.0
    start: float = 1.0
    center: bool = False
    gate: float = 0.05
    out_rate: Rate = 13.0

    @property
    def ports(self):
        return (Port.TAPS, Port.OUTER)

    def init(self, sheet, task, rng):
        sheet.require(self.name, *self.ports)
        return {
            f"head {n}": (
                self.start
                * rng.standard_normal((sheet.populations[n].size, task.classes))
                / np.sqrt(sheet.populations[n].size)
            ).astype(np.float32)
            for n in sheet.hidden
        }

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
            head = state[f"head {name}"]
            loss, slope = cross_entropy(h @ head, y)
            total += float(loss.mean()) / len(sheet.hidden)
            delta = (slope @ head.T) * (np.abs(h) > self.gate)
            ask(chip, trace, name, {tick: delta.astype(np.float32)}, -self.rate * g, center=c)
            if self.center:
                key = f"level {name}"
                m = h.mean(0)
                state[key] = m if key not in state else np.float32(0.95) * state[key] + np.float32(0.05) * m
                h = h - state[key]
            state[f"head {name}"] = (
                head - self.head_rate * g / max(float((h * h).sum(-1).mean()), 1e-12) * (h.T @ slope)
            ).astype(np.float32)
        out = output_of(trace)
        loss, slope = cross_entropy(out, y)
        ask(chip, trace, sheet.output, dict.fromkeys(trace.late(sheet.output, 1), slope), -self.out_rate * g, center=c)
        return state, {"loss": total}

    def predict(self, chip, task, x, state):
        return output_of(chip.read(x, want="output"))
