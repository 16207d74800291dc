"""Chips in a process of their own: trained there to the bits of a chip here, and ended when done."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from batches import LINES, SIZES
from boards import ideal, nothing, refused, rude, sore
from far import X
from running import BESIDE

from mortalsim.boards import in_process, process
from mortalsim.boards.makers import made
from mortalsim.checks import ChipFault, RangeError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.testing import SeamOnly
from mortalsim.training import train


def simulated(name="mild", seed=3):
    return SimulatedChip(load_design(name).with_sizes(SIZES), seed)


@dataclass(frozen=True)
class Data:
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    classes: int = 4
    label_lines: tuple[int, ...] = LINES


def little_data():
    rng = np.random.default_rng(0)
    x, y = rng.random((24, SIZES[0]), dtype=np.float32), np.arange(24) % 4
    return Data(x[:16], y[:16], x[16:], y[16:])


def process_of(chip):
    return int(re.search(r"process (\d+) of", repr(chip))[1])


def alive(number):
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(number, within=5.0):
    """Whether a process ends soon."""
    end = time.monotonic() + within
    while alive(number) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(number)


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks a process up in /proc")


@pytest.mark.parametrize("name", ["ff", "ap"])
def test_a_chip_in_another_process_trains_to_the_same_bit(name):
    """Only the three members cross over; what is learned is what would have been learned here."""
    learner = replace(LEARNERS.get(name)(), epochs=2, batch_size=8)
    here = SeamOnly(simulated())
    with in_process(simulated) as there:
        one, two = (train(chip, learner, little_data(), Streams(5)) for chip in (here, there))
        x = little_data().valid_x
        scores = [learner.predict(chip, run.task, x, run.state) for chip, run in ((here, one), (there, two))]
        np.testing.assert_array_equal(*scores)
        np.testing.assert_array_equal(here.read(x).output, there.read(x).output)
    assert [record.info for record in one.history] == [record.info for record in two.history]
    assert [record.valid_error for record in one.history] == [record.valid_error for record in two.history]


def test_a_maker_is_told_by_its_name_with_its_arguments(tmp_path):
    file = tmp_path / "my_board.py"
    lines = ["import boards", "class Makers:", "    @staticmethod", "    def make(seed, noise=0.0):"]
    file.write_text("\n".join([*lines, "        return boards.ideal(seed, noise)"]))
    for make, arguments in ((functools.partial(ideal, noise=0.5), (5,)), (f"{file}:Makers.make", (5, 0.5))):
        with in_process(make, *arguments) as there:
            np.testing.assert_array_equal(there.read(X).output, ideal(5, 0.5).read(X).output)


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: ideal(), (), ShapeError, "another process cannot find '<lambda>' by its name"),
        ("boards.ideal", (), ShapeError, "expected module:function, found 'boards.ideal'"),
        (ideal, (X,), ShapeError, "arguments: expected what JSON can hold"),
        (refused, (), RangeError, "^as the maker says$"),
        (sore, (), ChipFault, "The chip's side raised ZeroDivisionError: division by zero"),
        (nothing, (), ShapeError, "expected a chip with datasheet, read and write, found str"),
        ("boards:absent", (), UnknownName, "found no 'boards:absent'"),
        ("absent:ideal", (), UnknownName, "found no 'absent:ideal'"),
        ("absent.py:ideal", (), UnknownName, "found no 'absent.py:ideal'"),
        (":ideal", (), UnknownName, "found no ':ideal' .no whole name of a module"),
        (".boards:ideal", (), UnknownName, "found no '.boards:ideal' .no whole name of a module"),
        ("boards:", (), UnknownName, "found no 'boards:'"),
        ("far:X", (), ShapeError, "expected a function that returns a chip, found ndarray 'far:X'"),
        (ideal, (1, 0.5, 3), ShapeError, r"arguments: expected those of boards:ideal\(seed=1, noise=0.0\), found"),
    ],
)  # fmt: skip
def test_a_chip_that_cannot_be_made_says_why(make, arguments, error, message, capfd):
    with pytest.raises(error, match=message):
        in_process(make, *arguments)


@pytest.mark.parametrize("arguments", ["", "5", "null", '"ab"', "[[1], {}, 3]", "[1, {}]", "[[], []]", "[" * 100_000])
def test_arguments_are_a_list_and_an_object_in_json(arguments):
    with pytest.raises(ShapeError, match=r"^arguments: expected \[\[...\], {...}\] in JSON, found "):
        made("boards:ideal", arguments)
    assert made("boards:ideal", "[[5], {}]").datasheet.design == "fake"


def test_numbers_that_cannot_be_are_refused_before_a_process_is_started(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    for settings in ({"largest": 1.5}, {"largest": 10}, {"timeout": 0}, {"timeout": "1"}):
        with pytest.raises(RangeError, match=f"{next(iter(settings))}: expected"):
            in_process(ideal, **settings)


@linux
def test_a_process_that_crashes_or_is_killed_ends_in_a_clear_fault():
    with (
        in_process(rude) as there,
        pytest.raises(ChipFault, match=r"process \d+ of boards:rude .*the other end was closed. Look at its own output"),
    ):
        there.read(X[:2])
    with in_process(ideal) as there:
        os.kill(process_of(there), signal.SIGKILL)
        assert gone(process_of(there))
        with pytest.raises(ChipFault, match="cannot be used any more"):
            there.read(X)


@linux
def test_a_process_ends_with_its_connection():
    with in_process(ideal) as there:
        number = process_of(there)
        assert alive(number)
        assert os.getpgid(number) != os.getpgid(0)  # Ctrl-C at the terminal is for this process
    assert not alive(number)
    there = in_process(rude, timeout=0.1)
    with pytest.raises(ChipFault, match="gave no answer within"):
        there.read(X[:1])
    number = process_of(there)
    there.close()  # it is busy for a minute, but ends itself
    assert not alive(number)


@linux
@pytest.mark.parametrize("busy", [False, True])
def test_a_process_does_not_outlive_its_parent(busy):
    """However the parent dies, and whatever the chip is doing."""
    code = f"""
import os, threading, time, numpy as np
from mortalsim.boards import in_process
chip = in_process("boards:rude")
if {busy}:
    threading.Thread(target=chip.read, args=(np.zeros((1, 12)),), daemon=True).start()
    time.sleep(0.3)
print(chip._connection.name.split()[1], flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], env=BESIDE, stdout=subprocess.PIPE, timeout=60, check=True)
    assert gone(int(done.stdout))


@linux
def test_a_process_that_does_not_end_is_killed(monkeypatch):
    there = in_process(ideal)
    os.kill(process_of(there), signal.SIGSTOP)
    monkeypatch.setattr(process, "GRACE", 0.2)
    there.close()
    assert not alive(process_of(there))


def test_a_maker_may_stand_in_the_script_that_runs(tmp_path):
    script = tmp_path / "a_script.py"
    script.write_text(
        "import boards\nfrom mortalsim.boards import in_process\n\ndef make():\n    return boards.ideal()\n\n"
        "if __name__ == '__main__':\n    with in_process(make) as chip:\n        print(chip.datasheet.design)\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=BESIDE, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "fake\n", done.stderr


def test_a_script_without_a_guard_is_refused_and_starts_one_process_alone(tmp_path):
    script, log = tmp_path / "a_script.py", tmp_path / "log"
    script.write_text(
        "import boards\nfrom mortalsim.boards import in_process\n\ndef make():\n    return boards.ideal()\n\n"
        f"with open({str(log)!r}, 'a') as file:\n    file.write(__name__ + '\\n')\n"
        "with open(file.name) as file:\n    assert len(file.readlines()) < 4\n"
        "with in_process(make) as chip:\n    print(chip.datasheet.design)\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=BESIDE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ChipFault: in_process was called while" in done.stderr and 'behind `if __name__ == "__main__":`' in done.stderr
    assert log.read_text() == "__main__\na_script\n"
