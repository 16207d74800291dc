"""The command line: help at once, every mistake in one clear message, and what is kept after Ctrl-C."""

from __future__ import annotations

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
    assert own <= {"mortalsim", "mortalsim.__main__", "mortalsim.cli", "mortalsim.registry", "mortalsim.texts"}
    for command in ("compare", "variance", "transfer", "train", "list", "show", "resume", "status"):
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
        "(default: fabricated, insilico)",
    ):
        assert shown in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--learners", "fff"], "Did you mean 'ff'?"),
        (["compare", "--designs", "mild,wildd"], "Did you mean 'wild'?"),
        (["compare", "--designs", "nowhere.toml"], "design file nowhere.toml"),
        (["compare", "--chips", "0"], "--chips: expected a whole number from 1 to 100000, found '0'"),
        (["compare", "--chips", "many"], "--chips: expected a whole number from 1 to 100000, found 'many'"),
        (["compare", "--seed", "-1"], "--seed: "),
        (["compare", "--hidden", "20,x"], "--hidden: "),
        (["compare", "--dataset", "mnits"], "Did you mean 'mnist'?"),
        (["train", "--set", "rate"], "expected NAME=VALUE, found 'rate'"),
        (["train", "--set", "ratte=1"], "Did you mean 'rate'?"),
        (["train", "--set", "rate=fast"], "rate: expected a number from 0 to 1e+06, found 'fast'"),
        (["resume", "nowhere"], "nowhere: expected a run folder, found none"),
        (["status", "."], "expected a run folder, found none"),
        (["compare", "--hidden", ","], "--hidden: expected a value, found none"),
        (["compare", "--hidden", "9999999999999999999999999"], "sizes: "),
        (["variance", "--batch", "5000"], "batch: expected at most 1295, the training samples of 'digits', found 5000"),
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
    (tmp_path / "mine").touch()
    code, _, err = mortalsim_says("compare", "--out", str(tmp_path))
    assert code == 2 and err.startswith(f"mortalsim: out: {tmp_path} exists already and is no run folder; it holds mine.")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


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


ENDLESS = ("compare", "--out", "run", "--epochs-scale", "100", "--learners", "ap", "--starts", "fabricated", "--jobs")


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


KEPT = "What was done is kept in run. Go on with: mortalsim resume run\n"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interruption_says_what_is_kept_and_how_to_go_on(tmp_path: Path, jobs: str):
    running = begun(tmp_path, "run/progress.json", *ENDLESS, jobs)
    let_work_begin(running, jobs)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130 and err.endswith(f"mortalsim: interrupted. {KEPT}")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "progress.json", "tasks"}
    assert workers_of(running.pid) == []
    _, said, _ = mortalsim_says("status", str(tmp_path / "run"))
    assert "Done: 0 of 10 tasks." in said and f"Nobody is at it. Go on with `mortalsim resume {tmp_path / 'run'}`." in said


@pytest.mark.parametrize(("jobs", "number", "code"), [("1", "SIGTERM", 143), ("2", "SIGTERM", 143), ("1", "SIGHUP", 129)])
def test_termination_leaves_no_workers(tmp_path: Path, jobs: str, number: str, code: int):
    running = begun(tmp_path, "run/progress.json", *ENDLESS, jobs)
    let_work_begin(running, jobs)
    running.send_signal(getattr(signal, number))  # to the command alone, not to its workers
    _, err = running.communicate(timeout=30)  # returns only when no worker holds standard error any more
    assert running.returncode == code and err.endswith(f"mortalsim: terminated. {KEPT}")
    assert workers_of(running.pid) == []


def test_workers_do_not_outlive_a_command_that_is_killed(tmp_path: Path):
    running = begun(tmp_path, "run/progress.json", *ENDLESS, "2")
    let_work_begin(running, "2")
    assert len(workers_of(running.pid)) == 3
    assert "is at it, last heard" in mortalsim_says("status", str(tmp_path / "run"))[1]
    running.kill()
    running.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while workers_of(running.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers_of(running.pid) == []
    assert not [path.name for path in tmp_path.rglob(".*")]  # nothing is hidden on the disk


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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_failures_of_the_machine_get_one_message(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Train, "work", staticmethod(fail))
    code, out, err = mortalsim_says("train", "--out", str(tmp_path / "run"))
    assert (code, out) == (2, "") and err.startswith("mortalsim: ") and err.count("\n") == 1
    assert f"mortalsim resume {tmp_path / 'run'}" in err


@pytest.mark.parametrize("columns", ["60", "80"])
def test_tables_lose_nothing_on_narrow_terminals(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = {"design": "some[thing]-long.toml", "learner": "physics_aware", "test_error": 0.0312, "copied_error": None}
    monkeypatch.setattr(Train, "tasks", lambda *_: [])
    monkeypatch.setattr(Train, "results", lambda *_: Results(columns=COLUMNS, rows=(row,)))
    arguments = ["train", "--out", str(tmp_path / "run")]
    # A terminal, as far as rich can tell, without colours.
    narrow = {"COLUMNS": columns, "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb"}
    out = CliRunner().invoke(cli.build(arguments), arguments, env=narrow).stdout
    line = next(line for line in out.splitlines() if "3.12 %" in line)
    assert "some[thing]-long.toml" in line and "physics_aware" in line
    assert all(column.heading in out for column in COLUMNS)
