"""What skipping samples does to Forward-Forward: its error, the rows of its gradients, the pulses it sends.

    python -m benchmarks.skipping benchmarks/skipping.md

Every setting trains five chips of the design `mild`, each on four fifths of the training images, and is judged by the error
on the remaining fifth, as in `tune.py`.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from pathlib import Path

import numpy as np

from benchmarks._study import study
from benchmarks.steps import counted_samples
from benchmarks.tune import DESIGN, FOLDS, SEED, Task, fold_of
from mortalsim import build
from mortalsim.experiments import _trial
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

SKIPS = (0.0, 1e-3, 1e-2, 0.1, 0.3)


@dataclasses.dataclass(frozen=True)
class Found:
    """Validation error, share of the samples' rows in the gradients, pulses per device."""

    error: float
    rows: float
    pulses: float


def work(task: Task) -> Found:
    """Train on one fold."""
    fold, streams = fold_of(task.fold), Streams(SEED)
    chip = build.make_chip(build.design_for(DESIGN, fold), streams.child("tuning chips"), task.fold)
    learner = _trial.make_learner(task.learner, settings=dict(task.settings))
    with counted_samples() as used:
        state = train(chip, learner, fold, streams.child("tuning", task.fold), validate_every=0).state
    devices = 2 * sum(np.prod(spec.shape) for spec in chip.datasheet.arrays)
    rows = statistics.fmean(used) / (2 * learner.batch_size)
    return Found(error_rate(chip, learner, fold.task, fold.valid_x, fold.valid_y, state), rows, chip.meter.pulses / devices)


def main(out: Path) -> None:
    """Run all settings and write the table."""
    tasks = [Task("ff", (("skip", skip),), fold) for skip in SKIPS for fold in range(FOLDS)]
    found = study(work, tasks, "skipping")
    lines = [
        "# Skipping samples in Forward-Forward",
        "",
        f"Made by `python -m benchmarks.skipping benchmarks/skipping.md`: design `{DESIGN}`, digits, {FOLDS}-fold",
        "validation error, mean and standard deviation over folds, each with a chip of its own; rows: share of samples in a",
        "gradient.",
        "",
        "| skip | validation error | rows | pulses per device |",
        "| --- | --- | --- | --- |",
    ]
    for place, skip in enumerate(SKIPS):
        part = found[place * FOLDS : (place + 1) * FOLDS]
        error, rows, pulses = ([getattr(one, name) for one in part] for name in ("error", "rows", "pulses"))
        mean, spread = 100 * statistics.fmean(error), 100 * statistics.stdev(error)
        sent = f"{statistics.fmean(pulses):.0f} ± {statistics.stdev(pulses):.0f}"
        lines.append(f"| {skip:g} | {mean:.2f} ± {spread:.2f} % | {100 * statistics.fmean(rows):.0f} % | {sent} |")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
