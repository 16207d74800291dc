"""The command line: help at once, every mistake in one clear message, no half-written folder after Ctrl-C."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mortalsim
from mortalsim import cli

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
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in found.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"numpy", "numba", "pydantic", "scipy", "matplotlib", "joblib", "sklearn"}
    for command in ("compare", "variance", "transfer", "train", "list"):
        assert command in found.stdout


def test_help_takes_less_than_half_a_second_of_computing():
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(3):  # the best of three: the first one may have to compile the sources
        before = spent()
        subprocess.run([*COMMAND, "--help"], capture_output=True, check=True)
        times.append(spent() - before)
    assert min(times) < 0.5


def test_version():
    assert mortalsim_says("--version") == (0, f"mortalsim {mortalsim.__version__}\n", "")


def test_list_names_everything_with_one_line_each():
    code, out, _ = mortalsim_says("list")
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert all(len(line) == 2 and len(line[1].strip()) > 10 for line in lines)
    names = {line[0] for line in lines}
    assert {"mild", "wild", "soft_bounds", "ff", "physics_aware", "digits", "fashion-mnist", "compare", "train"} <= names


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


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interruption_says_so_and_leaves_nothing(tmp_path: Path, jobs: str):
    running = subprocess.Popen(
        [*COMMAND, "compare", "--out", "run", "--jobs", jobs, "--epochs-scale", "100", "--learners", "ap"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(mortalsim.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own: Ctrl-C reaches all processes of a command
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)  # let the work begin
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "mortalsim: interrupted, nothing was written\n")
    assert list(tmp_path.iterdir()) == []
