"""A new pattern and a new data set are one file each: a scratch copy of the package knows them with nothing else touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mortalsim"

PATTERN = '''"""Checkers: signs that alternate like a chessboard's, the key choosing the colour of the corner."""

import numpy as np

from mortalsim.circuits.patterns.base import Pattern


class Checkers(Pattern):
    """(-1)^(row + column + key + index)."""

    def values(self, start, stop, first, last):
        odd = np.arange(start, stop)[:, None] + np.arange(first, last) + self.nudge.key + self.nudge.index
        return (1 - 2 * (odd % 2)).astype(np.float32)
'''

DATA = '''"""Corners: images of 2 x 2 pixels, of which the brightest is the class."""

import numpy as np

from mortalsim.data.base import Dataset, Source


class Corners(Source):
    """Eight images for training, four each for validation and test."""

    def load(self, streams):
        y = np.arange(8) % 4
        x = np.eye(4, dtype=np.float32)[y] + streams.generator("data", "corners").random((8, 4), dtype=np.float32) / 9
        return Dataset("four-corners", x, y, x[:4], y[:4], x[4:], y[4:], 4, (0, 1, 2, 3), (2, 2))
'''

CHIP = """
import numpy as np
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Replay, WeightNudge

for name in ("ideal", "tiled"):
    design = load_design("ideal").with_sizes((6, 4, 3)) if name == "ideal" else load_design(name)
    chip = SimulatedChip(design, 0)
    assert "checkers" in chip.datasheet.patterns
    x, nudge = np.ones((1, chip.datasheet.n_inputs), np.float32), WeightNudge(1, 0.1, "checkers")
    plain, nudged = chip.read(x).output, chip.read(x, nudge).output
    if name == "ideal":
        chip.write(Replay(nudge, 1.0))
        np.testing.assert_allclose(chip.read(x).output, nudged, rtol=1e-4, atol=1e-5)
    assert np.abs(nudged - plain).max() > 1e-3
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder with a copy of the package and the two new files in it."""
    folder = tmp_path_factory.mktemp("scratch")
    shutil.copytree(PACKAGE, folder / "mortalsim", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mortalsim/circuits/patterns/checkers.py").write_text(PATTERN)
    (folder / "mortalsim/data/four_corners.py").write_text(DATA)
    return folder


def run(scratch, *arguments):
    """Run Python there, kernels uncompiled; return exit code, standard output and standard error."""
    environment = os.environ | {"PYTHONPATH": str(scratch), "NUMBA_DISABLE_JIT": "1", "COLUMNS": "200"}
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_new_pattern_is_read_and_written(scratch):
    assert run(scratch, "-c", CHIP) == (0, "", "")


def test_the_command_line_trains_with_a_new_pattern_on_a_new_data_set(scratch):
    settings = "pattern=checkers,probes=1,batch_size=8,epochs=1"
    arguments = ("--learner", "wp", "--dataset", "four-corners", "--hidden", "3", "--set", settings, "--out", "run")
    code, out, err = run(scratch, "-m", "mortalsim", "train", *arguments)
    assert code == 0, err
    assert "wp" in out and (scratch / "run" / "results.json").is_file()


def test_lists_help_and_complaints_know_them(scratch):
    _, out, _ = run(scratch, "-m", "mortalsim", "list")
    assert "checkers  " in out and "Corners: images of 2 x 2 pixels" in out
    _, out, _ = run(scratch, "-m", "mortalsim", "train", "--help")
    assert "four-corners" in out
    code, _, err = run(scratch, "-m", "mortalsim", "train", "--dataset", "four-corner")
    assert code == 2 and "Did you mean 'four-corners'?" in err
    settings = "pattern=checker"
    code, _, err = run(
        scratch, "-m", "mortalsim", "train", "--learner", "wp", "--dataset", "four-corners", "--set", settings
    )
    assert code == 2 and "Did you mean 'checkers'?" in err
