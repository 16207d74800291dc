"""How the learners' defaults were chosen: the same number of trials for each, 5-fold validation, no look at the test images.

    python benchmarks/tune.py benchmarks/tuning.md

Every trial trains five chips of the design `mild`, each on four fifths of the training images, and is judged by the error on
the remaining fifth. The first trial of each learner is its default.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from benchmarks._study import study
from mortalsim import build
from mortalsim.data import Dataset
from mortalsim.experiments import _trial
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

DESIGN, FOLDS, SEED = "mild", 5, 0

TRIALS: dict[str, list[dict[str, Any]]] = {
    "ff": [
        {},
        *({"rate": rate, "temperature": t} for rate in (0.1, 0.2, 0.4) for t in (1.0, 3.0) if (rate, t) != (0.1, 3.0)),
        {"rate": 0.2, "threshold": "running", "temperature": 1.0},
        {"rate": 0.2, "temperature": 5.0},
        {"rate": 0.2, "batch_size": 32},
    ],
    "ap": [
        {},
        *({"rate": rate, "amplitude": a} for rate in (0.1, 0.2, 0.4) for a in (0.2, 0.3) if (rate, a) != (0.2, 0.3)),
        {"exact_output": True},
        {"temperature": 0.5},
        {"probes": 4, "epochs": 80},
    ],
    "wp": [
        {},
        *({"rate": rate, "amplitude": a} for rate in (0.05, 0.07, 0.1) for a in (0.03, 0.05) if (rate, a) != (0.07, 0.03)),
        {"temperature": 1.0},
        {"pattern": "rank1"},
        {"probes": 16, "batch_size": 250, "rate": 0.14},
    ],
    "readout": [{}, *({"ridge": ridge} for ridge in (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)), {"epochs": 3}],
    "insilico": [
        {},
        *({"rate": rate} for rate in (0.001, 0.01, 0.03)),
        *({"batch_size": size} for size in (50, 100)),
        *({"epochs": epochs} for epochs in (15, 60)),
        {"rate": 0.01, "epochs": 15},
    ],
    "physics_aware": [
        {},
        *({"rate": rate} for rate in (0.05, 0.1, 0.4)),
        *({"sync_every": steps} for steps in (0, 30, 300)),
        {"batch_size": 25, "epochs": 15},
        {"batch_size": 100, "epochs": 50},
    ],
    "oracle": [
        {},
        *({"rate": rate} for rate in (0.1, 0.2, 0.8)),
        {"rate": 1.6},
        {"epochs": 60},
        {"batch_size": 25, "epochs": 15},
        {"batch_size": 100, "epochs": 50},
        {"rate": 0.2, "batch_size": 25},
    ],
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One learner with one setting on one fold."""

    learner: str
    settings: tuple[tuple[str, Any], ...]
    fold: int


def fold_of(number: int) -> Dataset:
    """Return the digits, with this fold of the training images held out for validation."""
    whole = build.load_data("digits", Streams(SEED), labelled=True)
    x, y = np.concatenate([whole.train_x, whole.valid_x]), np.concatenate([whole.train_y, whole.valid_y])
    kept, held = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y))[number]
    return dataclasses.replace(whole, train_x=x[kept], train_y=y[kept], valid_x=x[held], valid_y=y[held])


def work(task: Task) -> tuple[float, float]:
    """Return validation error and CPU seconds."""
    streams, fold = Streams(SEED), fold_of(task.fold)
    chip = build.make_chip(build.design_for(DESIGN, fold), streams.child("tuning chips"), task.fold)
    learner = _trial.make_learner(task.learner, settings=dict(task.settings))
    clock = time.process_time()
    state = train(chip, learner, fold, streams.child("tuning", task.fold), validate_every=0).state
    seconds = time.process_time() - clock
    return error_rate(chip, learner, fold.task, fold.valid_x, fold.valid_y, state), seconds


def rows(learner: str, trials: list[dict[str, Any]]) -> list[str]:
    """Run one learner's trials; return their lines of the table."""
    tasks = [Task(learner, tuple(trial.items()), fold) for trial in trials for fold in range(FOLDS)]
    found = study(work, tasks, f"tune {learner}")
    lines = []
    for place, trial in enumerate(trials):
        errors, seconds = zip(*found[place * FOLDS : (place + 1) * FOLDS], strict=True)
        text = ", ".join(f"{name} = {value}" for name, value in trial.items()) or "nothing"
        mean, spread = 100 * statistics.fmean(errors), 100 * statistics.stdev(errors)
        lines.append(f"| {learner} | {text} | {mean:.2f} ± {spread:.2f} % | {statistics.median(seconds):.1f} |")
    return lines


def main(out: Path) -> None:
    """Check all settings, then run learner by learner; the table grows with each."""
    for learner, trials in TRIALS.items():
        for trial in trials:
            _trial.make_learner(learner, settings=trial)
    lines = [
        "# Tuning of the defaults",
        "",
        f"Made by `python benchmarks/tune.py benchmarks/tuning.md`: design `{DESIGN}`, {FOLDS}-fold validation error, mean",
        "and standard deviation over folds, each with a chip of its own; median CPU seconds a run. No test image was read.",
        "",
        "| learner | changed from the default | validation error | seconds |",
        "| --- | --- | --- | --- |",
    ]
    for learner, trials in TRIALS.items():
        lines += rows(learner, trials)
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
