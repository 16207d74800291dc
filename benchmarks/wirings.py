"""Learning rules with their defaults on chips of other wirings, three chips of one run each, beside the design `mild`.

    python -m benchmarks.wirings benchmarks/wirings.md

Every row trains chips 0, 1 and 2 of run seed 0 on digits through the same learner files, and reads the test images once. The
table grows with every row that is done.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks._study import study
from mortalsim import build
from mortalsim.experiments import _trial
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

SEED, CHIPS = 0, 3

#: Design and learner of every row.
ROWS = (
    *((design, "ff") for design in ("mild", "fields", "recurrent", "tiled", "boxed", "headless")),
    *((design, "ap") for design in ("mild", "fields", "recurrent", "tiled", "boxed")),
    *((design, "readout") for design in ("mild", "fields", "recurrent", "tiled", "boxed", "headless")),
    *((design, "physics_aware") for design in ("mild", "fields", "recurrent", "tiled", "boxed")),
    *((design, "insilico") for design in ("mild", "fields", "recurrent", "tiled", "boxed")),
)


@dataclass(frozen=True)
class Task:
    """One learner on one chip."""

    design: str
    learner: str
    chip: int


def work(task: Task) -> tuple[float, int, int, float]:
    """Return the test error, and the reads, pulses and joules of training."""
    run = Streams(SEED)
    design, data = build.fitted(task.design, build.load_data("digits", run, labelled=True))
    chip, learner = build.make_chip(design, run, task.chip), _trial.make_learner(task.learner)
    state = train(chip, learner, data, run.child("trial", task.learner, task.chip), validate_every=0).state
    spent = chip.meter.reads, chip.meter.pulses, chip.meter.joules
    assert data.test_y is not None  # noqa: S101 - labelled data were asked for
    return error_rate(chip, learner, data.task, data.test_x, data.test_y, state), *spent


def row(design: str, learner: str) -> str:
    """Train the chips of one row; return its line of the table."""
    found = study(work, [Task(design, learner, chip) for chip in range(CHIPS)], f"wirings {learner} on {design}")
    errors, reads, pulses, joules = zip(*found, strict=True)
    each = ", ".join(f"{100 * error:.2f}" for error in errors)
    error = f"{100 * statistics.fmean(errors):.2f} ± {100 * statistics.stdev(errors):.2f} %"
    costs = f"{statistics.fmean(reads):,.0f} | {statistics.fmean(pulses):,.0f} | {1e6 * statistics.fmean(joules):.3g}"
    return f"| {design} | {learner} | {error} | {each} | {costs} |"


def main(out: Path) -> None:
    """Write the table, row by row."""
    lines = [
        "# Learning rules on other wirings",
        "",
        "Made by `python -m benchmarks.wirings benchmarks/wirings.md`: digits, defaults, "
        f"chips 0 to {CHIPS - 1} of run seed {SEED};",
        "test error as mean ± standard deviation over chips and chip by chip; costs of training, mean over chips. One test",
        "image is 0.28 points.",
        "",
        "| design | learner | test error | chips | reads | pulses | energy, µJ |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for design, learner in ROWS:
        lines.append(row(design, learner))
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
