"""Runs that are killed at random instants and gone on with end in the numbers of runs that nobody disturbed."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numba
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.kills import study

#: Kills of each run; twenty in all.
KILLS = {"train": 5, "compare, 2 workers": 6, "transfer, 2 workers": 5, "variance, 2 workers": 4}

SHORT = {
    "train": ["train", "--learner", "ap", "--epochs", "12", *study.SMALL],
    "compare, 2 workers": ["compare", "--designs", "mild", "--learners", "ap,readout", "--chips", "2",
                           "--epochs-scale", "0.1", "--jobs", "2", *study.SMALL],
    "transfer, 2 workers": ["transfer", "--designs", "mild", "--teacher", "ap", "--students", "readout", "--chips", "2",
                            "--epochs-scale", "0.1", "--jobs", "2", *study.SMALL],
    "variance, 2 workers": ["variance", "--widths", "8,12", "--learners", "ap", "--probes", "100", "--jobs", "2"],
}  # fmt: skip


@pytest.mark.skipif(os.name != "posix" or bool(numba.config.DISABLE_JIT), reason="real processes, with compiled kernels")
@pytest.mark.parametrize("name", KILLS)
def test_killed_runs_go_on_to_the_same_numbers_and_leave_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study, "RUNS", SHORT)
    right = study.undisturbed(name, tmp_path / "undisturbed")
    for number in range(KILLS[name]):
        kill = study.kill_once(name, right, tmp_path / f"kill-{number}", random.Random(f"{name} {number}"))
        assert kill.faults == [], f"killed after {kill.at:.2f} s"
