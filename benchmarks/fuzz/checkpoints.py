"""Kept training: a valid file mutated, or a valid one of another training; and snapshots with other entries."""

from __future__ import annotations

import random

import numpy as np

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim import build
from mortalsim.chips import SimulatedChip
from mortalsim.data import Dataset
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, train


class Kind(Base):
    """Three steps of a small training."""

    def prepare(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.random((12, 4), dtype=np.float32), np.arange(12) % 3
        self.data = Dataset("small", x, y, x, y, x, y, 3, (0, 1, 2), None)
        self.design = build.design_for("mild", self.data, (3,))
        self.path = self.folder / "a.safetensors"
        self._train(0)
        self.whole = self.path.read_bytes()
        self.snapshot = SimulatedChip(self.design, 0).snapshot()

    def _train(self, seed: int) -> None:
        chip = SimulatedChip(self.design, 0)
        kept = Checkpoint(self.path, chip.snapshot, chip.restore)
        learner = build.make_learner("ap", settings={"epochs": 1, "probes": 1})
        train(chip, learner, self.data, Streams(seed), checkpoint=kept)

    def try_one(self, rng: random.Random) -> str:
        if rng.random() < 0.4:
            state = dict(self.snapshot)
            for _ in range(rng.choice((1, 2))):
                name = rng.choice([*state, "more"])
                if rng.random() < 0.3:
                    state.pop(name, None)
                else:
                    state[name] = hostile.value(rng)
            SimulatedChip(self.design, 0).restore(state)
            return "a snapshot's entry"
        for name in ("a.safetensors", "a.before.safetensors"):
            (self.folder / name).unlink(missing_ok=True)
        self.path.write_bytes(hostile.mutated(self.whole, rng))
        if rng.random() < 0.3:
            (self.folder / "a.before.safetensors").write_bytes(hostile.mutated(self.whole, rng))
        self._train(rng.choice((0, 0, 1)))
        return "a file's bytes"
