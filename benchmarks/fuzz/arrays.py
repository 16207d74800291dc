"""What is handed in from Python: arrays, nudges, requests, labels, hyper-parameters, tasks, data."""

from __future__ import annotations

import random
from dataclasses import fields
from types import SimpleNamespace

import numpy as np

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim import build
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.data.makers import hybrid, jitter
from mortalsim.hardware import CurrentNudge, Delta, Outer, Program, Replay, Shrink, Task, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train


class Kind(Base):
    """Calls with one or two arguments that do not fit."""

    share = 2.0

    def prepare(self) -> None:
        self.chip = SimulatedChip(load_design("mild").with_sizes((4, 3, 2)), 0)
        self.shape = self.chip.datasheet.arrays[0].shape

    def try_one(self, rng: random.Random) -> str:
        calls = (self._read, self._write, self._labels, self._learner, self._train, self._task, self._makers, self._chip)
        return rng.choice(calls)(rng)

    def _any(self, rng: random.Random, good: object) -> object:
        return good if rng.random() < 0.5 else hostile.value(rng)

    def _read(self, rng: random.Random) -> str:
        x = hostile.array(rng, (3, 4))
        nudges = (
            lambda: None,
            lambda: WeightNudge(self._any(rng, 3), self._any(rng, 0.1), self._any(rng, "signs"), self._any(rng, 0)),
            lambda: CurrentNudge({"h1": hostile.array(rng, (3, 3))} if rng.random() < 0.7 else hostile.value(rng)),
            lambda: hostile.value(rng),
        )
        self.chip.read(x, rng.choice(nudges)(), self._any(rng, "taps"))
        return "read"

    def _write(self, rng: random.Random) -> str:
        scale = self._any(rng, 0.1)
        array = self._any(rng, 0)
        requests = (
            lambda: Delta(array, hostile.array(rng, self.shape), scale),
            lambda: Outer(array, hostile.array(rng, (2, 5)), hostile.array(rng, (2, 3)), scale),
            lambda: Program(array, hostile.array(rng, self.shape)),
            lambda: Shrink(array, scale),
            lambda: Replay(WeightNudge(3, 0.1), scale),
            lambda: hostile.value(rng),
        )
        self.chip.write(rng.choice(requests)())
        return "write"

    def _labels(self, rng: random.Random) -> str:
        labels = hostile.array(rng, (5,)) if rng.random() < 0.7 else hostile.value(rng)
        one_hot(labels, self._any(rng, 3))
        return "labels"

    def _learner(self, rng: random.Random) -> str:
        name = rng.choice(LEARNERS.names())
        field = rng.choice([field.name for field in fields(LEARNERS.get(name))])
        if rng.random() < 0.5:
            LEARNERS.get(name)(**{field: hostile.value(rng)})
        else:
            build.make_learner(self._any(rng, name), self._any(rng, 0.5), {field: hostile.value(rng)})
        return "learner"

    def _train(self, rng: random.Random) -> str:
        x, y = np.random.default_rng(0).random((6, 4), dtype=np.float32), np.arange(6) % 2
        given = {"train_x": x, "train_y": y, "valid_x": x, "valid_y": y, "classes": 2, "label_lines": (0, 1)}
        key = rng.choice(list(given))
        given[key] = hostile.array(rng, np.shape(given[key])) if rng.random() < 0.6 else hostile.value(rng)
        chip = SimulatedChip(load_design("mild").with_sizes((4, 3, 2)), 0)
        learner = build.make_learner(rng.choice(("ff", "ap", "readout")), settings={"epochs": 1})
        data = SimpleNamespace(**given)
        result = train(chip, learner, data, self._any(rng, Streams(0)), validate_every=self._any(rng, 1))
        error_rate(chip, learner, result.task, self._any(rng, x), self._any(rng, y), result.state, self._any(rng, 100))
        return "train"

    def _task(self, rng: random.Random) -> str:
        Task(self._any(rng, 2), self._any(rng, (0, 1)), self._any(rng, (2, 2)), self._any(rng, (2, 3)))
        return "task"

    def _makers(self, rng: random.Random) -> str:
        images, draw = hostile.array(rng, (3, 8)), np.random.default_rng(0)
        if rng.random() < 0.5:
            jitter(images, self._any(rng, (2, 4)), self._any(rng, 1), draw)
        else:
            hybrid(images, images, self._any(rng, (2, 4)), draw, self._any(rng, 2))
        return "makers"

    def _chip(self, rng: random.Random) -> str:
        kind = rng.randrange(4)
        if kind == 0:
            SimulatedChip(self._any(rng, self.chip.design), self._any(rng, 0))
        elif kind == 1:
            build.make_chip(self._any(rng, "mild"), self._any(rng, 0), self._any(rng, 0))
        elif kind == 2:
            build.design_for(self._any(rng, "mild"), self._any(rng, "digits"), self._any(rng, (4,)))
        else:
            chip = SimulatedChip(self.chip.design, 0)
            chip.wait(self._any(rng, 1.0))
            chip.clock.warm(self._any(rng, 300.0))
        return "chip"
