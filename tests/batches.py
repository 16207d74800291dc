"""Tasks, batches and easy data of four classes and twelve inputs, for rules on chips whose arithmetic is exact."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from fakes import IdealChip, Watched, make_datasheet

from mortalsim.hardware import Task
from mortalsim.learners import Batch
from mortalsim.objectives import one_hot

SIZES = (12, 8, 6, 4)
LINES = (8, 9, 10, 11)
TASK = Task(4, LINES)
RNG = np.random.default_rng


def make(sizes=SIZES, seed=1, **kw):
    """A chain of dense arrays."""
    return IdealChip(make_datasheet(sizes, **kw), seed)


def watched(sheet=None, seed=1):
    """A chip that keeps what it is asked."""
    return Watched(sheet or make_datasheet(SIZES), seed)


def batch(size=10, progress=0.1, seed=0, sizes=SIZES, final=False):
    """Random samples, the classes in turn."""
    x = RNG(seed).random((size, sizes[0]), dtype=np.float32)
    return Batch(x, one_hot(np.arange(size) % sizes[-1], sizes[-1]), progress, final)


def begin(learner, chip, task=TASK, seed=0):
    """A learner's first state."""
    return learner.init(chip.datasheet, task, RNG(seed))


def blobs(seed=0):
    """Four easy classes in 12 dimensions, of which the last four are empty."""
    rng = RNG(seed)
    y = np.arange(240) % 4
    x = np.zeros((240, 12), np.float32)
    x[:, :8] = rng.random((4, 8))[y] + 0.1 * rng.random((240, 8))
    return SimpleNamespace(train_x=x[:200], train_y=y[:200], valid_x=x[200:], valid_y=y[200:], classes=4, label_lines=LINES)


def drive_of(sheet, trace, population, ticks=None):
    """Squared length of all rows that drive a neuron, weight by weight: what a rate is divided by, worked out naively."""
    size, total = sheet.populations[population].size, 0.0
    for array in sheet.into(population):
        spec = sheet.arrays[array]
        taps = [tap for tap in trace.of(array) if ticks is None or tap.tick in ticks]
        for tap in taps:
            for block in range(1 if spec.columns is None else len(spec.columns)):
                pre = tap.pre if spec.columns is None else tap.pre[block]
                feeding = spec.n_out if spec.columns is None else sum(column < size for column in spec.columns[block])
                total += np.mean(np.sum(pre.astype(float) ** 2, axis=1)) * feeding / size / len(taps)
    return total


#: Settings that suit chips of a dozen neurons and 200 samples.
FAST = {
    "ff": {"epochs": 40, "rate": 3.0, "batch_size": 20},
    "mono": {"rate": 0.4, "head_rate": 3.0},
    "ap": {"epochs": 20, "batch_size": 20},
    "wp": {"rate": 100.0, "amplitude": 0.1, "epochs": 40, "probes": 8},
    "physics_aware": {"epochs": 30, "rate": 2.0, "batch_size": 20},
    "insilico": {"epochs": 20, "rate": 0.01, "batch_size": 20},
}
