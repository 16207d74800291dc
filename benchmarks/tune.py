"""How the learners' defaults were chosen: as many trials for each, three problems at once, no look at the test images.

    python benchmarks/tune.py benchmarks/tuning.md

A trial is one setting of one learner. It trains two chips of `mild` and two of `wild` on the digits (64-64-64-10), each on
four fifths of the training images; and one chip of `mild` on 10,000 training images each of MNIST and of Fashion-MNIST
(784-300-300-10), for three epochs. It is judged on training images that were held out: by the geometric mean over the three
problems of the error. The best setting is then tried once, with other chips, on the validation part of each data set, which
no trial has seen. No default knows a data set's name.
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

SEED, FOLDS, EPOCHS, SOME, HELD = 0, 5, 3, 10_000, 2_000

#: Problem: data set, neurons of the hidden populations, and the design of each chip.
PROBLEMS: dict[str, tuple[str, tuple[int, ...], tuple[str, ...]]] = {
    "digits": ("digits", (64, 64), ("mild", "mild", "wild", "wild")),
    "MNIST": ("mnist", (300, 300), ("mild",)),
    "Fashion-MNIST": ("fashion-mnist", (300, 300), ("mild",)),
}

#: Nine settings a learner, the first of them its default.
TRIALS: dict[str, list[dict[str, Any]]] = {
    "ff": [
        {},
        *({"rate": rate} for rate in (3.2, 13.0)),
        *({"temperature": t} for t in (0.7, 1.0)),
        *({"threshold": kind} for kind in ("chip", "width")),
        {"center": 0.0},
        {"center": 0.0, "threshold": "chip"},
    ],
    "mono": [
        {},
        *({"rate": rate} for rate in (0.2, 0.8)),
        *({"output_rate": rate} for rate in (3.2, 13.0)),
        {"head_rate": 13.0},
        {"predict_by": "heads"},
        *({"center": share} for share in (0.0, 1.0)),
    ],
    "groups": [
        {},
        *({"rate": rate} for rate in (6.5, 13.0)),
        *({"sharpness": sharpness} for sharpness in (5.0, 20.0)),
        *({"output_rate": rate} for rate in (3.2, 13.0)),
        {"center": 0.0},
        {"gate": 0.0},
    ],
    "learned_feedback": [
        {},
        *({"rate": rate} for rate in (13.0, 52.0)),
        *({"output_rate": rate} for rate in (3.2, 13.0)),
        {"amplitude": 0.6},
        {"forget": 0.05},
        {"center": 0.0},
        {"rate": 13.0, "output_rate": 3.2},
    ],
    "ap": [
        {},
        *({"rate": rate} for rate in (6.5, 26.0)),
        {"center": 0.0},
        {"exact_output": False},
        {"probes": 4, "batch_size": 50},
        {"probes": 16, "batch_size": 200},
        {"batch_size": 50},
        {"amplitude": 0.6},
    ],
    "wp": [
        {},
        *({"rate": rate} for rate in (310.0, 1300.0, 2500.0)),
        *({"amplitude": a} for a in (0.12, 0.5)),
        {"temperature": 0.5},
        {"batch_size": 60},
        {"probes": 16, "batch_size": 250, "rate": 1300.0},
    ],
    "readout": [{}, *({"ridge": ridge} for ridge in (1e-5, 1e-4, 3e-4, 3e-3, 1e-2, 3e-2, 1e-1)), {"batch_size": 100}],
    "insilico": [
        {},
        *({"rate": rate} for rate in (0.001, 0.002, 0.003, 0.01)),
        *({"batch_size": size} for size in (50, 100)),
        *({"batch_size": size, "rate": 0.003} for size in (50, 100)),
    ],
    "physics_aware": [
        {},
        *({"rate": rate} for rate in (3.2, 6.5, 26.0)),
        *({"sync_every": steps} for steps in (0, 30, 300)),
        {"batch_size": 50},
        {"batch_size": 50, "rate": 26.0},
    ],
    "oracle": [
        {},
        *({"rate": rate} for rate in (26.0, 52.0, 104.0)),
        *({"batch_size": 25, "rate": rate} for rate in (6.5, 13.0, 26.0, 52.0, 104.0)),
    ],
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One learner with one setting on one chip of one problem; ``chosen``: on data and a chip that no trial has seen."""

    learner: str
    settings: tuple[tuple[str, Any], ...]
    problem: str
    chip: int
    chosen: bool = False


def data_of(task: Task) -> Dataset:
    """Return the data of a task: training images, and others to judge by as the validation part."""
    whole = build.load_data(PROBLEMS[task.problem][0], Streams(SEED), labelled=True)
    small = task.problem == "digits"
    if task.chosen:
        return whole if small else dataclasses.replace(whole, train_x=whole.train_x[:SOME], train_y=whole.train_y[:SOME])
    x, y = whole.train_x, whole.train_y
    if small:
        kept, held = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y))[task.chip]
    else:
        kept, held = np.arange(SOME), np.arange(SOME, SOME + HELD)
    return dataclasses.replace(whole, train_x=x[kept], train_y=y[kept], valid_x=x[held], valid_y=y[held])


def work(task: Task) -> float:
    """Return the error on images that were held out."""
    streams, data = Streams(SEED), data_of(task)
    _, hidden, designs = PROBLEMS[task.problem]
    design = build.design_for(designs[task.chip % len(designs)], data, hidden)
    chip = build.make_chip(design, streams.child("tuning chips", int(task.chosen)), task.chip)
    learner = _trial.make_learner(task.learner, settings=dict(task.settings))
    if task.problem != "digits":
        learner = dataclasses.replace(learner, epochs=min(learner.epochs, EPOCHS))
    own = streams.child("tuning", task.problem, task.chip, int(task.chosen))
    state = train(chip, learner, data, own, validate_every=0).state
    return error_rate(chip, learner, data.task, data.valid_x, data.valid_y, state)


def tasks_of(learner: str, setting: dict[str, Any], chosen: bool = False) -> list[Task]:
    """Return all trainings of a setting, problem by problem."""
    return [
        Task(learner, tuple(setting.items()), problem, chip, chosen)
        for problem, (_, _, designs) in PROBLEMS.items()
        for chip in range(len(designs))
    ]


def merit(errors: list[float]) -> tuple[list[float], float]:
    """Return the mean error of each problem, and their geometric mean."""
    means, first = [], 0
    for _, _, designs in PROBLEMS.values():
        means.append(statistics.fmean(errors[first : first + len(designs)]))
        first += len(designs)
    return means, statistics.geometric_mean(max(mean, 1e-4) for mean in means)


def line(learner: str, words: str, errors: list[float], seconds: float) -> str:
    """Return a line of the table."""
    means, score = merit(errors)
    cells = " | ".join(f"{100 * mean:.2f}" for mean in means)
    return f"| {learner} | {words} | {cells} | {100 * score:.2f} | {seconds:.0f} |"


def rows(learner: str, trials: list[dict[str, Any]]) -> list[str]:
    """Run one learner's trials, and the best of them on what no trial has seen; return their lines of the table."""
    clock = time.monotonic()
    all_tasks = [task for trial in trials for task in tasks_of(learner, trial)]
    found = study(work, all_tasks, f"tune {learner}")
    each = len(found) // len(trials)
    groups = [found[place * each : (place + 1) * each] for place in range(len(trials))]
    seconds = (time.monotonic() - clock) / len(trials)
    lines = [line(learner, words_of(trial), errors, seconds) for trial, errors in zip(trials, groups, strict=True)]
    best = min(range(len(trials)), key=lambda place: merit(groups[place])[1])
    again = study(work, tasks_of(learner, trials[best], chosen=True), f"tune {learner}, chosen")
    return [*lines, line(learner, f"*chosen:* {words_of(trials[best])}", again, seconds)]


def words_of(trial: dict[str, Any]) -> str:
    """Return what a trial changes, in words."""
    return ", ".join(f"{name} = {value}" for name, value in trial.items()) or "nothing"


def main(out: Path, only: list[str]) -> None:
    """Check all settings, then run learner by learner; the table grows with each."""
    for learner, trials in TRIALS.items():
        for trial in trials:
            _trial.make_learner(learner, settings=trial)
    lines = [
        "# Tuning of the defaults",
        "",
        "Made by `python benchmarks/tune.py benchmarks/tuning.md`, which says how. Errors in per cent on training images",
        "held out; then their geometric mean, by which a setting is chosen, and the seconds of a trial on two shared cores.",
        "*Chosen* is the best setting, tried once on other chips and on the validation part. No test image was read. Nine",
        "trials for each learner; rows name what differs from the default.",
        "",
        f"| learner | changed | {' | '.join(PROBLEMS)} | mean | seconds |",
        f"| --- | --- | {'--- | ' * len(PROBLEMS)}--- | --- |",
    ]
    for learner, trials in TRIALS.items():
        if not only or learner in only:
            lines += rows(learner, trials)
            out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
