"""A pattern, data set, noise law, law of ageing or pair is one file: a scratch copy knows it with nothing else touched."""

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

NOISE = '''"""Warm: linear devices whose read noise is that of their conductance at the chip's temperature."""

from typing import ClassVar

import numpy as np

from mortalsim.devices.linear import Linear as _Linear


class Warm(_Linear):
    """Johnson noise in a bandwidth of 10 MHz at 0.2 V."""

    source: ClassVar[str] = "Johnson 1928; the bandwidth is an assumption"

    def noise_at(self, u, moment):
        g = self.g_min + (self.g_max - self.g_min) * u
        return np.sqrt(4 * 1.380649e-23 * moment.temperature * g * 1e7) / self.read_volts
'''

RETENTION = '''"""Leaky: soft bounds whose conductance relaxes to mid range, each device in a time of its own."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from mortalsim.devices.base import Device


class Leaky(Device):
    """g_mid + (G - g_mid) exp(-age / tau)."""

    source: ClassVar[str] = "made up, to show the form"
    tau: float = Field(50.0, gt=0, description="mean time constant of retention, seconds")

    def up(self, u):
        return 2 * (1 - u)

    def down(self, u):
        return 2 * u

    def parameters(self, normal):
        return {"tau": self.tau * np.exp(0.1 * normal("tau"))}

    def aged(self, g, parameters, moment):
        age = moment.now - parameters["written"]
        return self.g_mid + (g - self.g_mid) * np.exp(-age / parameters["tau"])
'''

PAIR = '''"""Up only: G+ for a rising weight, G- for a falling one, and no refresh."""

import numpy as np

from mortalsim.devices.pairs.base import Pair


class UpOnly(Pair):
    """Both devices rest at their lowest conductance."""

    def share(self, change):
        return np.maximum(change, 0), np.maximum(-change, 0)

    def rest(self, device):
        return device.g_min
'''

DEVICES = """
import numpy as np
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.devices import DEVICES
from mortalsim.hardware import Delta
from mortalsim.testing import check_device

plain = load_design("ideal").with_sizes((6, 4)).revised(normaliser={"present": False})
for name in ("warm", "leaky"):
    check_device(DEVICES.get(name)())

chip, x = SimulatedChip(plain.revised(device={"technology": "warm"}), 0), np.ones((200, 6), np.float32)
cold = chip.read(x).output.std(axis=0)
chip.clock.warm(30_000 / 25)
np.testing.assert_allclose(chip.read(x).output.std(axis=0) / cold, 2, rtol=0.4)

chip = SimulatedChip(plain.revised(device={"technology": "leaky", "tau": 10.0}), 0)
young = oracle.weights(chip)[0]
chip.wait(1000.0)
assert np.abs(oracle.weights(chip)[0]).max() < 1e-6 < np.abs(young).max()

chip = SimulatedChip(plain.revised(device={"technology": "linear", "pulses": 500}, pair="up_only"), 0)
before = oracle.conductances(chip)[0].copy()
chip.write(Delta(0, np.full((7, 4), -0.1, np.float32)))
moved = oracle.conductances(chip)[0] - before
assert (moved[0] == 0).all() and (moved[1] > 0).all()
"""

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
    (folder / "mortalsim/devices/warm.py").write_text(NOISE)
    (folder / "mortalsim/devices/leaky.py").write_text(RETENTION)
    (folder / "mortalsim/devices/pairs/up_only.py").write_text(PAIR)
    return folder


def run(scratch, *arguments):
    """Run Python there, kernels uncompiled; return exit code, standard output and standard error."""
    environment = os.environ | {"PYTHONPATH": str(scratch), "NUMBA_DISABLE_JIT": "1", "COLUMNS": "200"}
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_new_pattern_is_read_and_written(scratch):
    assert run(scratch, "-c", CHIP) == (0, "", "")


def test_a_noise_law_a_law_of_ageing_and_a_pair_are_known_by_their_names(scratch):
    assert run(scratch, "-c", DEVICES) == (0, "", "")


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
