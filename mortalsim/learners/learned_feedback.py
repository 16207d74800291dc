"""LF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.fields import Amplitude, AtLeastOne, Rate, Share
from mortalsim.hardware import CurrentNudge, Overlaid, Port
from mortalsim.learners.base import Learner, output_of
from mortalsim.learners.schedules import half_linear
from mortalsim.learners.steps import ask, row_means
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class LearnedFeedback(Learner):
    """lf."""

    name: ClassVar[str] = "learned_feedback"
    epochs: AtLeastOne = 30
    batch_size: AtLeastOne = 25
    rate: Rate = 13.0
    out_rate: Rate = 13.0
    amplitude: Amplitude = 0.3
    forget: Share = 0.02
    gate: str = "on"
    center: bool = False

    @property
    def ports(self):
        return (Port.TAPS, Port.CURRENT_NUDGE, Port.OUTER)

    def init(self, sheet, task, rng):
        sheet.require(self.name, *self.ports)
        return {f"feedback {n}": np.zeros((task.classes, sheet.populations[n].size), np.float32) for n in sheet.hidden} | {
            "steps": np.zeros(1)
        }

    def step(self, chip, task, batch, state, rng):
        sheet, size = chip.datasheet, len(batch.x)
        signs = {n: (2 * rng.integers(0, 2, (size, sheet.populations[n].size)) - 1).astype(np.float32) for n in sheet.hidden}
        a = np.float32(self.amplitude)
        trace = chip.read(
            Overlaid.repeated(batch.x, 2),
            CurrentNudge({n: np.concatenate([a * s, -a * s], axis=-2) for n, s in signs.items()}),
        )
        output = output_of(trace)
        out = 0.5 * (output[..., :size, :] + output[..., size:, :])
        change = (output[..., :size, :] - output[..., size:, :]) / (2 * a)
        y = batch.labelled(self.name)
        loss, slope = cross_entropy(out, y)
        rate = -self.rate * half_linear(batch.progress) / size
        state = dict(state)
        state["steps"] = state["steps"] + 1
        f = np.float32(max(self.forget, 1 / state["steps"][0]))
        halves = lambda v: np.float32(0.5) * (v[..., :size, :] + v[..., size:, :])
        mean = type(trace)(
            out,
            {n: {t: halves(p) for t, p in s.items()} for n, s in trace.states.items()},
            tuple(t._replace(pre=halves(t.pre), post=halves(t.post)) for t in trace.taps),
        )
        c = state if self.center else None
        for name in sheet.hidden:
            ((tick, post),) = mean.late(name, 1).items()
            fb = state[f"feedback {name}"]
            if self.gate == "on":
                g = np.abs(post) > 0.05 * np.sqrt((post * post).mean())
            elif self.gate == "slope":
                ((_, both),) = trace.late(name, 1).items()
                d = (both[..., :size, :] - both[..., size:, :]) / (2 * a) * signs[name]
                typical = np.sqrt((d * d).mean()) + 1e-9
                g = np.clip(d / typical, 0, 2)
            else:
                g = np.ones_like(post)
            g = g.astype(np.float32)
            count = (g * g).sum(0)
            est = (change.T @ (signs[name] * g)) / np.maximum(count, 1)
            fb = fb + f * np.where(count > 0, est - fb, 0)
            delta = (slope @ fb) * g
            state[f"feedback {name}"] = fb.astype(np.float32)
            ask(chip, mean, name, {tick: delta.astype(np.float32)}, rate, center=c)
        ask(
            chip,
            mean,
            sheet.output,
            dict.fromkeys(mean.late(sheet.output, 1), slope),
            -self.out_rate * half_linear(batch.progress) / size,
            center=c,
        )
        return state, {"loss": float(loss.mean())}

    def predict(self, chip, task, x, state):
        return output_of(chip.read(x, want="output"))
