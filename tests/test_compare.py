"""Comparing and training end to end, on data so small that kernels may run as plain Python."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from running import ENVIRONMENT, hear_signals, slow_in_plain_python
from tiny import load_tiny

from mortalsim import build, data
from mortalsim.checks import MissingPort, MortalsimError, RangeError, RunError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, chip_streams, load_design, oracle
from mortalsim.experiments import EXPERIMENTS, _execute, _trial, execute, resume
from mortalsim.experiments._parallel import run_tasks
from mortalsim.experiments._trial import COMPARED, LEARNER_NAMES
from mortalsim.experiments.compare import Compare
from mortalsim.experiments.train import Train
from mortalsim.experiments.transfer import Transfer
from mortalsim.learners import LEARNERS
from mortalsim.report.asked import Asked
from mortalsim.report.plots import draw
from mortalsim.report.store import Store
from mortalsim.report.table import cell
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Session, checkpoint


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", load_tiny)


@slow_in_plain_python
def test_compare_writes_a_row_for_every_design_and_learner(tiny, tmp_path: Path):
    compare = Compare(designs=("ideal", "wild"), chips=2, hidden=(4, 4), epochs_scale=0.001, jobs=1, out=tmp_path / "run")
    _, out = execute(compare)
    rows = json.loads((out / "results.json").read_text())["rows"]
    goes_on = [name for name in COMPARED if name not in ("readout", "insilico", "oracle")]
    wanted = [(name, "fabricated") for name in COMPARED] + [(name, "insilico") for name in goes_on]
    assert [(row["design"], row["learner"], row["start"]) for row in rows] == [
        (d, *w) for d in ("ideal", "wild") for w in wanted
    ]
    for row in rows:
        assert row["chips"] == 2 and set(row) >= {"reads", "pulses", "joules", "seconds"}
        for key in ("test_error", "copied_error"):
            assert row[key] == pytest.approx(np.mean(row[f"{key}s"]))
            assert row[f"{key}_sd"] == pytest.approx(np.std(row[f"{key}s"], ddof=1))
    by_name = {row["learner"]: row for row in rows if row["design"] == "wild" and row["start"] == "fabricated"}
    assert by_name["readout"]["pulses"] == 0 < by_name["readout"]["reads"]
    assert by_name["insilico"]["reads"] == 0 < by_name["insilico"]["pulses"]
    pictures = {"error-per-chip.png", "error-vs-reads.png", "transfer-curves.png"}
    kept = {"results.json", "config.json", "progress.json", "report.html", "tasks"}
    assert {path.name for path in out.iterdir()} == pictures | kept
    config = json.loads((out / "config.json").read_text())["config"]
    assert Compare(**config) == compare


@slow_in_plain_python
def test_a_row_of_compare_holds_what_each_trial_gave(tiny):
    fields = {"chips": 2, "hidden": (4,), "epochs_scale": 0.1, "jobs": 1, "seed": 3, "starts": ("fabricated",)}
    row = Compare(designs=("wild",), learners=("ap",), **fields).run().rows[0]
    run = Streams(3)
    design, own = build.fitted("wild", load_tiny("tiny", run), (4,))
    found = []
    for number in (0, 1):
        chips = (build.make_chip(design, run, place) for place in (number, number + 1))
        streams = run.child("trial", "ap", number)
        found.append(_trial.trial(*chips, _trial.make_learner("ap", 0.1), own, streams))
    assert row["test_errors"] == [one.test_error for one in found]
    assert row["copied_errors"] == [one.copied_error for one in found]
    assert (row["reads"], row["joules"]) == (found[0].reads, pytest.approx(np.mean([one.joules for one in found])))


def test_compare_knows_every_learner(monkeypatch: pytest.MonkeyPatch):
    assert set(LEARNER_NAMES) == {*LEARNERS.names(), "oracle"}
    monkeypatch.setattr(LEARNERS, "readable", lambda: ["ap", "ff", "mine"])
    assert _trial._learner_names() == ("ff", "ap", "mine", "oracle")


# --- which chip it is -----------------------------------------------------------------------------------------------------


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray, dict]]:
    """Conductances of the chip that is trained and of the other, and what tells of the trial, of every trial."""
    seen, real = [], _trial.trial

    def spy(chip, other, learner, dataset, *rest):
        devices = [np.concatenate([g.ravel() for g in oracle.conductances(one)]) for one in (chip, other)]
        seen.append((*devices, {"x": dataset.train_x}))
        return real(chip, other, learner, dataset, *rest)

    monkeypatch.setattr(_trial, "trial", spy)
    return seen


@slow_in_plain_python
def test_chip_3_of_a_run_is_one_individual_for_every_learner_and_experiment(tiny, trials):
    fields = {"hidden": (4,), "seed": 5}
    Compare(
        designs=("mild",), learners=("readout", "ff"), chips=4, epochs_scale=0.01, jobs=1, starts=("fabricated",), **fields
    ).run()
    for learner in ("readout", "ap"):
        Train(learner=learner, design="mild", chip=3, epochs=1, **fields).run()
    assert len(trials) == 10
    third = [trials[6], trials[7], trials[8], trials[9]]
    for own, other, told in third[1:]:
        np.testing.assert_array_equal(own, third[0][0])
        np.testing.assert_array_equal(other, third[0][1])
        np.testing.assert_array_equal(told["x"], third[0][2]["x"])  # and it learns the same images
    np.testing.assert_array_equal(trials[2][1], trials[4][0])  # chip 1's weights go to chip 2
    assert len({own.tobytes() for own, _, _ in trials}) == 4
    Train(learner="readout", design="mild", chip=3, epochs=1, hidden=(4,), seed=6).run()
    assert not np.array_equal(trials[-1][0], third[0][0])


def test_a_chip_is_made_of_the_run_s_seed_and_its_number_alone():
    design, run = load_design("mild").with_sizes((5, 4, 3)), Streams(7)
    chips = [build.make_chip(design, run, number) for number in (0, 1, 1)] + [SimulatedChip(design, chip_streams(run, 1))]
    devices = [np.concatenate([g.ravel() for g in oracle.conductances(chip)]) for chip in chips]
    assert not np.array_equal(devices[0], devices[1])
    np.testing.assert_array_equal(devices[1], devices[2])
    np.testing.assert_array_equal(devices[1], devices[3])
    x = np.ones((3, 5), np.float32)
    np.testing.assert_array_equal(chips[1].read(x).output, chips[2].read(x).output)  # the noise is its own, too
    (first,) = oracle.conductances(SimulatedChip(design, 7))[:1]
    np.testing.assert_array_equal(first, oracle.conductances(chips[0])[0])  # a bare seed stands for number 0
    big = [SimulatedChip(design, seed).streams for seed in (7, 7 + 2**32)]
    assert not np.array_equal(big[0].key("noise"), big[1].key("noise"))  # seeds are not squeezed


def test_copies_go_to_a_different_chip(tiny, monkeypatch: pytest.MonkeyPatch):
    pairs, real = [], _trial.copy_weights

    def copy(chip: SimulatedChip, other: SimulatedChip) -> None:
        pairs.append((chip.streams.path, other.streams.path))
        real(chip, other)

    monkeypatch.setattr(_trial, "copy_weights", copy)
    fields = {"designs": ("ideal",), "hidden": (4,), "epochs_scale": 0.001, "jobs": 1}
    Compare(learners=("readout",), chips=2, **fields).run()
    Train(learner="readout", design="ideal", hidden=(4,), epochs=1, chip=6).run()
    Transfer(teacher="readout", students=("readout",), chips=2, **fields).run()
    numbers = [(int(own[-1]), int(other[-1])) for own, other in pairs]
    assert numbers == [(0, 1), (1, 2), (6, 7), (0, 1), (2, 3)]


# --- what a trial counts --------------------------------------------------------------------------------------------------


@slow_in_plain_python
def test_copies_lose_much_on_harsh_chips():
    dataset = data.load("digits", Streams(0))
    dataset = dataclasses.replace(dataset, train_x=dataset.train_x[:400], train_y=dataset.train_y[:400])
    design = build.design_for("harsh", dataset, (16,))
    learner = _trial.make_learner("physics_aware", settings={"epochs": 10})
    lost = []
    for number in range(6):
        chips = (build.make_chip(design, Streams(0), place) for place in (number, number + 1))
        found = _trial.trial(*chips, learner, dataset, Streams(0).child(number))
        lost.append(found.copied_error - found.test_error)
    # 24 chips lost 0.196 with a standard deviation of 0.111: the mean of 6 fails one time in 1,000.
    assert np.mean(lost) > 0.06


def test_costs_are_those_of_training_alone(tiny):
    dataset = load_tiny("tiny", Streams(0))
    design = build.design_for("ideal", dataset, (6,))
    learner = _trial.make_learner("ff", settings={"epochs": 3, "batch_size": 20, "shrink_every": 1})
    chip, other = (build.make_chip(design, Streams(0), number) for number in (0, 1))
    found = _trial.trial(chip, other, learner, dataset, Streams(0))
    assert found.reads == 3 * 3 * 40  # each sample thrice an epoch: right, neutral and wrong label
    assert [point.reads for point in found.curve] == [120, 240, 360]
    assert chip.meter.reads == 360 + 3 * 4 * 12 + 4 * 20  # validation and test were read as well, a label at a time
    unpaid = chip.meter.reads - 360
    sheet = design.datasheet()
    assert found.joules == pytest.approx(chip.meter.joules - unpaid * sheet.joules_per_read, rel=1e-9)
    assert found.seconds == pytest.approx(chip.meter.seconds - unpaid * sheet.seconds_per_read, rel=1e-9)


def test_copy_on_an_ideal_design_loses_nothing(tiny):
    dataset = load_tiny("tiny", Streams(0))
    design = build.design_for("ideal", dataset, (6, 6))
    learner = _trial.make_learner("insilico", settings={"epochs": 4})
    found = _trial.trial(*(build.make_chip(design, Streams(0), n) for n in (0, 1)), learner, dataset, Streams(0))
    assert found.copied_error == found.test_error


def test_chips_that_cannot_be_programmed_have_no_copied_error(tiny, unprogrammable: str):
    fields = {"hidden": (4,), "jobs": 1, "epochs_scale": 0.01}
    compared = Compare(designs=(unprogrammable,), learners=("readout",), chips=2, **fields).run()
    trained = Train(design=unprogrammable, learner="readout", hidden=(4,), epochs=1).run()
    for results in (compared, trained):
        column = next(column for column in results.columns if column.key == "copied_error")
        assert cell(column, results.rows[0]) == "-" and results.rows[0]["test_error"] < 0.75
        assert all(draw(figure) for figure in results.figures)
    passed = Transfer(designs=("ideal", unprogrammable), teacher="ap", students=("ap",), chips=1, **fields).run()
    roles = ["teacher", "ap, taught", "ap, labels"]
    assert [row["role"] for row in passed.rows] == ["teacher", "weight copy", *roles[1:], *roles]


@pytest.mark.parametrize("kind", [Compare, Transfer])
def test_what_a_chip_lacks_is_told_before_any_training(kind, unprogrammable: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_execute, "run_tasks", lambda *_: pytest.fail("began to train"))
    key = "learners" if kind is Compare else "students"
    with pytest.raises(MissingPort, match="insilico needs the port program"):
        kind(designs=("mild", unprogrammable), **{key: ("ff", "insilico")}).run()
    with pytest.raises(ShapeError, match="ap needs an output, which the design 'headless' lacks"):
        kind(designs=("mild", "headless"), **{key: ("ff", "ap")}).run()


def test_what_the_twin_takes_for_granted_is_said(tiny):
    design = load_design("boxed")
    assert _trial.assumed(design, ["ff", "readout"]) == ()
    (note,) = _trial.assumed(design, ["ff", "insilico"])
    assert "medium is a black box" in note


# --- settings and processes -----------------------------------------------------------------------------------------------


def test_hyper_parameters_are_read_from_text():
    learner = _trial.make_learner("ap", settings={"rate": "0.5", "probes": "3", "antithetic": "false"})
    assert (learner.rate, learner.probes, learner.antithetic) == (0.5, 3, False)
    assert _trial.make_learner("ap", 0.5).epochs == LEARNERS.get("ap").epochs // 2
    assert _trial.make_learner("readout", 0.001).epochs == 1
    for text in ("1.5", "[1,2]", "0", "1e7", "nan", "", "eight"):
        with pytest.raises(RangeError, match="probes: expected a whole number from 1 to 1000000, found"):
            _trial.make_learner("ap", settings={"probes": text})
    with pytest.raises(UnknownName, match=r"hyper-parameter of ff: .* found 'label_lines'"):
        _trial.make_learner("ff", settings={"label_lines": "[3,2,1,0]"})


def test_a_run_that_is_stopped_inside_an_epoch_goes_on_as_if_never_stopped(tiny, tmp_path, monkeypatch: pytest.MonkeyPatch):
    fields = {"learner": "ap", "epochs": 4, "hidden": (6,), "set": ("batch_size=20",)}
    whole = Train(**fields).run()
    real, steps = Session._step, []

    def dies_in_the_third_epoch(session):
        real(session)
        steps.append(session.done)
        if session.done == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "SHARE", 0)
    monkeypatch.setattr(Checkpoint.__init__, "__defaults__", (0.0, *Checkpoint.__init__.__defaults__[1:]))
    monkeypatch.setattr(Session, "_step", dies_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt) as stopped:
        execute(Train(out=tmp_path / "run", **fields))
    assert f"mortalsim resume {tmp_path / 'run'}" in stopped.value.__notes__[0]
    for other, told in (({"design": "wild"}, "design"), ({"chip": 1}, "chip is 0 there and 1 here"), ({"seed": 1}, "seed")):
        with pytest.raises(RunError, match=f"asked otherwise: .*{told}"):
            execute(Train(out=tmp_path / "run", **fields | other))
    monkeypatch.setattr(Session, "_step", lambda session: (real(session), steps.append(session.done)))
    _, resumed, _ = resume(tmp_path / "run")
    assert resumed.rows == whole.rows
    assert resumed.figures == whole.figures  # the curve of error against reads, too, as if never stopped
    assert steps == [1, 2, 3, 4, 5, 6, 6, 7, 8]  # the step that was not kept, the second of its epoch, and what came after


def test_a_run_is_the_same_in_every_process_and_goes_on_in_another(tmp_path: Path):
    def train(program: list[str], hash_seed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=hear_signals,
        )

    def found(out: str) -> dict:
        content = json.loads((tmp_path / out / "results.json").read_text())
        return content["rows"], content["figures"]

    asked = ["train", "--learner", "readout", "--hidden", "6", "--epochs", "4", "--out"]
    first = train(["-m", "mortalsim"], "1", *asked, "first")
    assert first.returncode == 0, first.stderr
    stopped = train(["-c", STOPS], "2", *asked, "stopped")
    assert stopped.returncode == 130 and "interrupted. What was done is kept in stopped" in stopped.stderr
    resumed = train(["-m", "mortalsim"], "3", "resume", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert found("stopped") == found("first")
    again = train(["-m", "mortalsim"], "4", *asked, "stopped")  # a finished run is shown, and nothing is computed
    assert again.returncode == 0 and again.stdout == resumed.stdout


STOPS = """
import signal, mortalsim.cli, mortalsim.training.session as session
real = session.Session._end_epoch
def stopped(self, epoch):
    real(self, epoch)
    if epoch == 2:
        signal.raise_signal(signal.SIGINT)
session.Session._end_epoch = stopped
mortalsim.cli.main()
"""  # a command that is interrupted, as by Ctrl-C, after its third epoch


def test_the_command_runs_on_real_digits_over_two_processes(tmp_path: Path):
    arguments = ["--designs", "mild", "--learners", "readout", "--chips", "2", "--hidden", "4", "--seed", "1"]
    found = subprocess.run(
        [sys.executable, "-m", "mortalsim", "compare", *arguments, "--jobs", "2", "--out", "run"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0 and len(found.stderr.splitlines()) <= 1  # a line of progress
    assert "readout" in found.stdout and "report.html" in found.stdout
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    here = Compare(designs=("mild",), learners=("readout",), chips=2, hidden=(4,), seed=1, jobs=1).run()
    assert written["rows"] == json.loads(json.dumps(here.rows))  # however many processes there are


def test_every_experiment_found_says_what_it_asks_and_expects():
    for name in EXPERIMENTS.names():
        kind = EXPERIMENTS.get(name)
        assert kind.question() == EXPERIMENTS.summary(name) and len(kind.expected) > 20
        assert all(field.description for field in kind.model_fields.values())


@dataclass(frozen=True)
class Number:
    """A task of one number."""

    number: int

    @property
    def name(self) -> str:
        return f"number-{self.number}"


@dataclass(frozen=True)
class Square:
    """What is found of it."""

    square: int
    process: int


def square(task: Number, keeper) -> Square:
    """Return the square, in whatever process."""
    return Square(task.number**2, os.getpid())


def die(task: Number, keeper) -> Square:
    """End the process as a system does that is out of memory, at some numbers and at first."""
    begun = keeper.folder / "begun"
    if task.number == 2 or (task.number == 4 and not begun.exists()):
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task, keeper)


@pytest.fixture
def store(tmp_path: Path):
    asked = Asked("x", "?", "", "", {}, {}, {}, {}, {}, 0, {}, {}, "")
    opened = Store.begin(tmp_path / "run", asked)
    yield opened
    opened.close()


def test_a_worker_that_dies_is_replaced_and_one_task_may_kill_two(store, capfd):
    found = run_tasks(die, [Number(k) for k in (1, 3, 4, 5)], store, Square, 2)
    assert [row.square for row in found] == [1, 9, 16, 25] and os.getpid() not in {row.process for row in found}
    assert (
        "the worker process of task 002-number-4 was ended by SIGKILL; another one takes the task up"
        in capfd.readouterr().err
    )


def test_two_deaths_of_one_task_end_the_run_and_all_else_is_kept(store):
    with pytest.raises(MortalsimError, match="task 003-number-2: two worker processes were ended from outside"):
        run_tasks(die, [Number(k) for k in (0, 1, 4, 2)], store, Square, 2)
    kept = [store.row(name, Square) for name in ("000-number-0", "001-number-1", "003-number-2")]
    assert [row and row.square for row in kept] == [0, 1, None]


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_come_back_in_order_and_are_done_once(jobs: int, store):
    found = run_tasks(square, [Number(k) for k in range(5)], store, Square, jobs)
    assert [row.square for row in found] == [n * n for n in range(5)]
    assert run_tasks(die, [Number(k) for k in range(5)], store, Square, jobs) == found
