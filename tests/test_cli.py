"""The command line: help at once, every mistake in one clear message, no half-written folder after Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import ENVIRONMENT, hear_signals
from typer.testing import CliRunner

import mortalsim
from mortalsim import cli
from mortalsim.chips import design_names
from mortalsim.chips.dynamics import DYNAMICS
from mortalsim.chips.wiring import WIRINGS
from mortalsim.circuits.patterns import PATTERNS
from mortalsim.circuits.stages import STAGES
from mortalsim.data import DATASETS
from mortalsim.devices import DEVICES
from mortalsim.devices.pairs import PAIRS
from mortalsim.experiments import EXPERIMENTS
from mortalsim.experiments.train import COLUMNS, Train
from mortalsim.learners import LEARNERS
from mortalsim.report.results import Results

COMMAND = [sys.executable, "-m", "mortalsim"]


def mortalsim_says(*arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, standard output and standard error."""
    found = CliRunner().invoke(cli.build(list(arguments)), list(arguments), env={"COLUMNS": "200"})
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_help_imports_nothing_that_computes():
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"], capture_output=True, text=True, check=True
    )
    modules = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    imported = {module.partition(".")[0] for module in modules}
    assert "typer" in imported
    assert not imported & {"numpy", "numba", "pydantic", "scipy", "matplotlib", "joblib", "sklearn"}
    own = {module for module in modules if module.startswith("mortalsim")}
    assert own <= {"mortalsim", "mortalsim.__main__", "mortalsim.cli", "mortalsim.registry"}
    for command in ("compare", "variance", "transfer", "train", "list", "show"):
        assert command in found.stdout


def test_version():
    assert mortalsim_says("--version") == (0, f"mortalsim {mortalsim.__version__}\n", "")


def test_list_names_everything_with_one_line_each():
    code, out, _ = mortalsim_says("list")
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert all(len(line) == 2 and len(line[1].strip()) > 10 for line in lines)
    names = {line[0] for line in lines}
    families = (DEVICES, PAIRS, WIRINGS, DYNAMICS, STAGES, PATTERNS, LEARNERS, DATASETS, EXPERIMENTS)
    assert {*design_names(), *(name for family in families for name in family.names())} == names


def test_options_are_the_fields_of_the_experiment():
    code, out, _ = mortalsim_says("compare", "--help")
    assert code == 0
    for shown in (
        "--designs",
        "mild, wild",
        "--epochs-scale",
        "--jobs",
        "--seed",
        "--out",
        "different chips of each design",
    ):
        assert shown in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--learners", "fff"], "Did you mean 'ff'?"),
        (["compare", "--designs", "mild,wildd"], "Did you mean 'wild'?"),
        (["compare", "--designs", "nowhere.toml"], "design file nowhere.toml"),
        (["compare", "--chips", "0"], "--chips: Input should be greater than or equal to 1, found '0'"),
        (["compare", "--chips", "many"], "--chips: Input should be a valid integer"),
        (["compare", "--seed", "-1"], "--seed: "),
        (["compare", "--hidden", "20,x"], "--hidden: "),
        (["compare", "--dataset", "mnits"], "Did you mean 'mnist'?"),
        (["train", "--set", "rate"], "expected NAME=VALUE, found 'rate'"),
        (["train", "--set", "ratte=1"], "Did you mean 'rate'?"),
        (["train", "--set", "rate=fast"], "rate: Input should be a valid number"),
        (["train", "--resume"], "--checkpoint"),
        (["train", "--checkpoint", "state.bin"], "ends in .safetensors"),
        (["variance", "--learners", "insilico"], "--learners: "),
        (["transfer", "--share", "1"], "--share: "),
        (["train", "--seed", ""], "--seed: expected a value"),
        (["train", "--dataset", ""], "--dataset: expected a value"),
        (["train", "--out", ""], "--out: expected a value"),
        (["compare", "--designs", "mild,mild"], "--designs: expected every name once, found 'mild' 2 times"),
        (["compare", "--learners", "ff", "--learners", "ff"], "--learners: expected every name once"),
        (["train", "--set", "rate=1", "--set", "rate=2"], "rate is set 2 times"),
        (["train", "--set", "epochs=1", "--epochs", "2"], "also given by --epochs"),
        (["train", "--set", "label_lines=[0,1]"], "expected one of batch_size, "),
        (["train", "--design", "fields", "--hidden", "8"], "lists its populations"),
        (["train", "--design", "headless", "--learner", "ap"], "ap needs an output, which the design 'headless' lacks"),
        (["compare", "--designs", "mild,headless", "--learners", "ff,wp"], "wp needs an output"),
        (["variance", "--chip", "-1"], "--chip: "),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(arguments, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = mortalsim_says(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mortalsim: ") and err.count("\n") == 1 and said in err
    assert list(tmp_path.iterdir()) == []


def test_design_file_with_a_typo_is_named(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsize = [4, 4]\n[device]\ntechnology = "linear"\n')
    code, _, err = mortalsim_says("compare", "--designs", str(path))
    assert code == 2 and str(path) in err and "did you mean 'sizes'" in err and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["comprae"], ["compare", "--chipz", "2"]])
def test_unknown_commands_and_options(arguments):
    code, _, err = mortalsim_says(*arguments)
    assert code == 2 and "No such" in err


def test_existing_out_is_refused_at_once(tmp_path: Path):
    code, _, err = mortalsim_says("compare", "--out", str(tmp_path))
    assert code == 2 and err == f"mortalsim: out: {tmp_path} exists already. Choose another folder, or remove this one.\n"


def test_checkpoint_is_not_overwritten_unasked(tmp_path: Path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"")
    code, _, err = mortalsim_says("train", "--checkpoint", str(path), "--out", str(tmp_path / "run"))
    assert code == 2 and "Add --resume" in err
    assert list(tmp_path.iterdir()) == [path]


def begun(folder: Path, awaited: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in ``folder``; return it once a file that fits ``awaited`` is there."""
    running = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own: Ctrl-C reaches all processes of a command
        preexec_fn=hear_signals,
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(awaited)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running


ENDLESS = ("compare", "--out", "run", "--epochs-scale", "100", "--learners", "ap", "--jobs")


def let_work_begin(running: subprocess.Popen[str], jobs: str) -> None:
    """Wait until workers, or the command itself where there are none, compute: all is imported after four busy seconds."""
    if not Path("/proc/self/stat").exists():
        time.sleep(5)
        return
    enough, patience = 4 * os.sysconf("SC_CLK_TCK"), time.monotonic() + 60
    while time.monotonic() < patience:  # a machine that is busy takes long
        running_now = map(process, Path("/proc").glob("[0-9]*/stat"))
        spent = [each for pid, parent, each in running_now if running.pid in (pid, parent)]
        if sum(each > enough for each in spent) >= int(jobs):
            return
        time.sleep(0.1)


def process(stat: Path) -> tuple[int, int, int]:
    """Return a process, its parent and the clock ticks that it has computed; it may have ended."""
    try:
        name, _, fields = stat.read_text().rpartition(")")
    except OSError:
        return 0, 0, 0
    return int(name.split()[0]), int(fields.split()[1]), int(fields.split()[11])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interruption_says_so_and_leaves_nothing(tmp_path: Path, jobs: str):
    running = begun(tmp_path, ".run-*", *ENDLESS, jobs)
    let_work_begin(running, jobs)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "mortalsim: interrupted, nothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("jobs", "number", "code"), [("1", "SIGTERM", 143), ("2", "SIGTERM", 143), ("1", "SIGHUP", 129)])
def test_termination_leaves_neither_folder_nor_workers(tmp_path: Path, jobs: str, number: str, code: int):
    running = begun(tmp_path, ".run-*", *ENDLESS, jobs)
    let_work_begin(running, jobs)
    running.send_signal(getattr(signal, number))  # to the command alone, not to its workers
    _, err = running.communicate(timeout=30)  # returns only when no worker holds standard error any more
    assert (running.returncode, err) == (code, "mortalsim: terminated, nothing was written\n")
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 10
    while workers_of(running.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers_of(running.pid) == []


def workers_of(session: int) -> list[str]:
    """Return the live processes of a session, where the system lists processes as files."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(path.parent.name)
    return found


def test_interrupted_training_says_that_the_checkpoint_remains(tmp_path: Path):
    arguments = ("train", "--learner", "readout", "--hidden", "8", "--epochs", "100000", "--checkpoint", "a.safetensors")
    running = begun(tmp_path, "a.safetensors", *arguments)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130 and err.count("\n") == 1
    assert "no run folder was written; a.safetensors holds what was learned" in err
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")] == ["a.safetensors"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), json.JSONDecodeError("x", "", 0)])
def test_failures_of_the_machine_get_one_message(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: Train) -> None:
        raise error

    monkeypatch.setattr(Train, "run", fail)
    code, out, err = mortalsim_says("train", "--out", str(tmp_path / "run"))
    assert (code, out) == (2, "") and err.startswith("mortalsim: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", ["60", "80"])
def test_tables_lose_nothing_on_narrow_terminals(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = {"design": "some[thing]-long.toml", "learner": "physics_aware", "test_error": 0.0312, "copied_error": None}
    monkeypatch.setattr(Train, "run", lambda self: Results(columns=COLUMNS, rows=(row,)))
    arguments = ["train", "--out", str(tmp_path / "run")]
    # A terminal, as far as rich can tell, without colours.
    narrow = {"COLUMNS": columns, "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb"}
    out = CliRunner().invoke(cli.build(arguments), arguments, env=narrow).stdout
    line = next(line for line in out.splitlines() if "3.12 %" in line)
    assert "some[thing]-long.toml" in line and "physics_aware" in line
    assert all(column.heading in out for column in COLUMNS)
