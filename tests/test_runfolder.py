"""A run folder is there from its first second, holds all that was asked, and is taken up by the same run alone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from running import ENVIRONMENT
from tiny import load_tiny

import mortalsim
from mortalsim import data
from mortalsim.checks import OutputError, RunError
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.chips.design import build_design
from mortalsim.experiments import _execute, _inputs, execute, resume
from mortalsim.experiments._inputs import Data, kept_designs
from mortalsim.experiments.base import Experiment
from mortalsim.experiments.compare import Compare
from mortalsim.experiments.train import Train
from mortalsim.files import read_json, write_json
from mortalsim.report import render, store
from mortalsim.report.results import Column, Figure, Panel, Results, Series
from mortalsim.report.store import Keeper, Store, asked_in
from mortalsim.streams import Streams

RUN = {"learner": "ap", "hidden": (4,), "epochs": 2, "set": ("probes=1", "batch_size=20")}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", load_tiny)


@dataclass(frozen=True)
class Answer:
    """The row of an experiment that computes nothing."""

    answer: float


@dataclass(frozen=True)
class Only:
    """Its only task."""

    answer: float
    name: str = "only"


class Tiny(Experiment):
    """An experiment that computes nothing."""

    expected = "two and a half"
    row = Answer
    answer: float = 2.5

    def tasks(self, inputs):
        return [Only(self.answer)]

    @staticmethod
    def work(task, keeper):
        if task.answer < 0:
            raise KeyboardInterrupt
        return Answer(task.answer)

    def results(self, inputs, found):
        ((_, row),) = found
        line = Series(name="a", x=(1.0, 2.0), y=(row.answer, 3.0))
        figure = Figure(name="only", caption="<caption>", panels=(Panel(title="t", x_label="x", series=(line,)),))
        return Results(columns=(Column(key="a", heading="<a>"),), rows=({"a": row.answer},), figures=(figure,))


class OfDesign(Tiny):
    """An experiment that names a design."""

    design: str = "mild"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_folder_holds_results_config_picture_and_page(tmp_path: Path):
    _, out = execute(Tiny(out=tmp_path / "deep" / "run", seed=3))
    assert names(out) == ["config.json", "only.png", "progress.json", "report.html", "results.json", "tasks"]
    assert json.loads((out / "results.json").read_text())["rows"] == [{"a": 2.5}]
    config = json.loads((out / "config.json").read_text())
    assert config["seed"] == 3 and config["config"]["answer"] == 2.5 and config["expected"] == "two and a half"
    assert {"mortalsim", "python", "numpy", "numba", "scipy"} <= set(config["versions"])


def test_config_holds_everything_by_value(tmp_path: Path):
    _, out = execute(Train(out=tmp_path / "run", chip=2, **RUN))
    config = json.loads((out / "config.json").read_text())
    assert config["learners"]["ap"]["probes"] == 1 and config["learners"]["ap"]["amplitude"] == 0.3
    assert config["designs"]["mild"] == load_design("mild").fields()
    assert [one["number"] for one in config["chips"]["mild"]] == [2, 3]
    assert config["data"]["name"] == "digits" and len(config["data"]["digest"]) == 32
    assert config["command"] and config["machine"]["blas"] and config["started"]


def test_config_holds_a_design_file_as_it_was(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsizes = [4, 4]\nports = ["taps", "outer", "delta"]\n[device]\ntechnology = "linear"\n')
    _, out = execute(OfDesign(out=tmp_path / "run", design=str(path)))
    designs = json.loads((out / "config.json").read_text())["designs"]
    assert build_design(designs[str(path)], "config") == load_design(path)


@pytest.mark.parametrize("name", ["fields", "boxed", "recurrent", "wild"])
def test_config_can_build_every_design_again(tmp_path: Path, name: str):
    _, out = execute(OfDesign(out=tmp_path / "run", design=name))
    kept = json.loads((out / "config.json").read_text())["designs"][name]
    assert build_design(kept, "config").digest() == load_design(name).digest()


def test_folder_can_be_drawn_again_from_its_numbers(tmp_path: Path):
    _, out = execute(Tiny(out=tmp_path / "run"))
    before = {name: (out / name).read_bytes() for name in ("only.png", "report.html")}
    for name in before:
        (out / name).unlink()
    render.render(out)
    assert {name: (out / name).read_bytes() for name in before} == before


def test_pictures_that_fail_take_no_number_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = render.draw
    monkeypatch.setattr(render, "draw", lambda figure: 1 / 0)
    told: list[str] = []
    results, out = execute(Tiny(out=tmp_path / "run"), tell=told.append)
    assert results.rows == ({"a": 2.5},) and json.loads((out / "results.json").read_text())["rows"] == [{"a": 2.5}]
    assert "the numbers are whole" in told[0] and "ZeroDivisionError" in told[0]
    monkeypatch.setattr(render, "draw", real)
    execute(Tiny(out=out))
    assert (out / "only.png").exists() and (out / "report.html").exists()


def test_numbers_that_are_not_finite_are_null(tmp_path: Path):
    assert store.finite({"a": [float("inf"), 1.0, "inf"], "b": np.float32("nan")}) == {"a": [None, 1.0, "inf"], "b": None}


def test_run_gives_the_same_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    kept, _ = execute(Train(out=tmp_path / "run", **RUN))
    assert Train(**RUN).run().rows == kept.rows and names(tmp_path) == ["run"]


# --- where it is ------------------------------------------------------------------------------------------------------


def test_default_folder_is_named_after_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    _, out = execute(Tiny())
    assert out.parent == Path("runs") and out.name.startswith(f"{Tiny.name()}-") and out.is_dir()


def test_default_folders_of_the_same_second_get_numbers(tmp_path: Path):
    asked = Tiny().asked(Tiny().inputs(), "x")
    opened = [Store.begin(tmp_path / "run", asked, numbered=True) for _ in range(3)]
    assert [one.folder.name for one in opened] == ["run", "run-2", "run-3"]
    for one in opened:
        one.close()


@pytest.mark.parametrize("where", ["link/run", "link", "file", "file/run", "full"])
def test_a_place_where_no_folder_can_be_is_refused_before_any_work(tmp_path: Path, where: str):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(OutputError, match=r"leads nowhere|no folder|holds mine"):
        execute(Tiny(out=tmp_path / where, answer=-1))  # running it would raise KeyboardInterrupt
    assert names(tmp_path) == ["file", "full", "link"] and names(tmp_path / "full") == ["mine"]


def test_unwritable_out_is_refused_before_any_work():
    with pytest.raises(OutputError, match="no folder can be made at /proc"):
        execute(Tiny(out=Path("/proc/nowhere/run"), answer=-1))


# --- going on ---------------------------------------------------------------------------------------------------------


def unfinished(out: Path, **fields) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        execute(OfDesign(out=out, answer=-1, **fields))
    assert f"Go on with: mortalsim resume {out}" in stopped.value.__notes__[0]


def test_other_values_are_refused_field_by_field_but_jobs_may_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_execute, "run_tasks", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    fields = {"designs": ("mild",), "learners": ("readout",), "chips": 2, "hidden": (4,)}
    with pytest.raises(KeyboardInterrupt):
        execute(Compare(out=tmp_path / "run", jobs=1, **fields))
    with pytest.raises(RunError) as refused:
        execute(Compare(out=tmp_path / "run", jobs=1, **fields | {"chips": 3, "hidden": (5,)}))
    assert "chips is 2 there and 3 here" in str(refused.value) and "hidden is [4] there and [5] here" in str(refused.value)
    with pytest.raises(KeyboardInterrupt):  # it gets as far as the tasks
        execute(Compare(out=tmp_path / "run", jobs=2, **fields))


def test_a_design_file_that_was_changed_meanwhile_is_refused_but_resume_takes_what_was_asked(tmp_path: Path):
    path, out = tmp_path / "mine.toml", tmp_path / "run"
    path.write_text('name = "mine"\nsizes = [4, 4]\n[device]\ntechnology = "linear"\n')
    unfinished(out, design=str(path))
    path.write_text(path.read_text() + "[neurons]\nnoise = 0.5\n")
    with pytest.raises(RunError, match=r"design.*mine.toml.neurons.noise is 0.0 there and 0.5 here"):
        execute(OfDesign(out=out, answer=-1, design=str(path)))
    path.unlink()
    (kept,) = kept_designs(asked_in(out)).values()
    assert kept.neurons.noise == 0


@pytest.mark.parametrize("what", ["versions", "machine"])
def test_other_ground_is_refused_unless_anyway_which_is_put_on_record(what: str, tmp_path: Path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        execute(Tiny(out=out, answer=-1))
    for place in (out, out / "tasks"):
        content = read_json(place / "config.json", "config", "")
        content[what]["thing"] = "1"
        write_json(place / "config.json", "config", content)
    with pytest.raises(RunError, match=rf"begun on other ground.*{what}.thing is '1' there and None here.*Add --anyway"):
        execute(Tiny(out=out, answer=-1))
    with pytest.raises(KeyboardInterrupt):
        execute(Tiny(out=out, answer=-1), anyway=True)
    (entry,) = json.loads((out / "config.json").read_text())["resumed"]
    assert entry["anyway"] == [f"{what}.thing is '1' there and None here"]


def test_a_finished_run_is_shown_and_nothing_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results, out = execute(Train(out=tmp_path / "run", **RUN))
    monkeypatch.setattr(_execute, "run_tasks", lambda *_: pytest.fail("computed again"))
    assert execute(Train(out=out, **RUN))[0] == results == resume(out)[1]


KEPT = ("config.json", "results.json", "progress.json", "tasks/000-mild-ap-0/row.json", "tasks/config.json")


@pytest.mark.parametrize("length", [0, 1, 200])
@pytest.mark.parametrize("name", [*KEPT, "tasks/000-mild-ap-0/training.safetensors"])
def test_a_file_that_was_cut_off_does_not_stop_a_run(name: str, length: int, tmp_path: Path):
    results, out = execute(Train(out=tmp_path / "run", **RUN))
    whole = (out / name).read_bytes()
    (out / name).write_bytes(whole[:length])
    if name.endswith("safetensors"):
        (out / "results.json").unlink()
        (out / "tasks/000-mild-ap-0/row.json").unlink()
        with pytest.raises(RunError, match=r"training.safetensors: .* Delete training.safetensors"):
            resume(out)  # nothing was kept before it
        (out / name).unlink()
    assert resume(out)[1].rows == results.rows


@pytest.mark.parametrize("name", KEPT)
def test_a_file_that_was_changed_or_is_newer_is_refused_with_a_remedy(name: str, tmp_path: Path):
    _, out = execute(Train(out=tmp_path / "run", **RUN))
    if "row" in name:
        (out / "results.json").unlink()
    content = json.loads((out / name).read_text())
    told = []
    for change in ({"seed": 5, "rows": [], "row": {}, "at": 0}, {"format": 99}):
        (out / name).write_text(json.dumps({**content, **change}))
        if name in ("progress.json", "tasks/config.json"):  # a thing to look at, and a copy
            resume(out)
            continue
        with pytest.raises(RunError, match=Path(name).name) as refused:
            resume(out)
        told.append(str(refused.value))
    if told:
        assert "changed or damaged" in told[0] and "written by a newer mortalsim (format 99" in told[1]


def test_one_process_at_a_time_writes_a_run(tmp_path: Path):
    opened = Store.begin(tmp_path / "run", Tiny().asked(Tiny().inputs(), "x"))
    script = (
        "from mortalsim.report.store import hold, held; from pathlib import Path; print(held(Path('run')))\n"
        "try: hold(Path('run'))\nexcept Exception as error: print(type(error).__name__, error)"
    )

    def other() -> str:
        asked = [sys.executable, "-c", script]
        return subprocess.run(asked, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout

    found = other()
    opened.close()
    assert "lock" not in names(tmp_path / "run")
    assert found.startswith("True\nRunError run: another process is at this run.")
    assert other() == "False\n"


def test_a_full_disk_keeps_what_was_there_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.json"
    write_json(path, "row", {"x": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a.json: cannot be written \(No space left on device\)"):
        write_json(path, "row", {"x": 2})
    assert read_json(path, "row", "") == {"x": 1} and names(tmp_path) == ["a.json"]


def test_data_that_are_not_what_they_were_are_refused_also_in_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, out = execute(Train(out=tmp_path / "run", **RUN))
    (out / "results.json").unlink()
    kept = Data.of("digits", 0)
    other = dataclasses.replace(kept, digest=kept.digest[::-1])
    with pytest.raises(RunError, match="digits is not what it was when the run was begun"):
        other.load()
    changed = load_tiny("digits", Streams(1))
    monkeypatch.setattr(data, "load", lambda *_: changed)
    _inputs._loaded.cache_clear()
    with pytest.raises(RunError, match=r"data.digest is"):
        resume(out)


# --- what one task keeps ----------------------------------------------------------------------------------------------


def test_work_is_done_once_and_its_chips_are_as_they_were_after_it(tmp_path: Path):
    design = load_design("mild").with_sizes((4, 3))
    calls, x = [], np.random.default_rng(0).random((50, 4), dtype=np.float32)

    def work(chip: SimulatedChip) -> float:
        calls.append(1)
        return float(chip.read(x).output.sum())

    outputs = []
    for _ in range(2):
        chip = SimulatedChip(design, 0)
        found = Keeper(tmp_path).once("sum", lambda chip=chip: work(chip), float, {"mine": chip})
        outputs.append((found, chip.read(x).output.tobytes()))
    assert len(calls) == 1 and outputs[0] == outputs[1]
    with pytest.raises(RunError, match="does not hold what belongs there"):
        Keeper(tmp_path).once("sum", lambda: [1], list[int])


# --- opened from python -----------------------------------------------------------------------------------------------


def test_a_run_opened_from_python_gives_rows_curves_and_chips_that_answer(tmp_path: Path):
    results, out = execute(Compare(out=tmp_path / "run", designs=("mild",), learners=("ap", "readout"), chips=1, hidden=(4,),
                                   epochs_scale=0.1, jobs=1, starts=("fabricated",)))  # fmt: skip
    run = mortalsim.open_run(out)
    assert run.finished and run.rows == results.rows and run.config["learners"]["ap"]["epochs"] == 3
    assert list(run.chips) == list(run.curves) == ["000-mild-ap-0", "001-mild-readout-0"]
    assert [record.epoch for record in run.curves["000-mild-ap-0"]] == [1, 2, 3]
    tiny = load_tiny("tiny", run.experiment.inputs().streams)
    wrong = run.chips["000-mild-ap-0"].answers(tiny.test_x) != tiny.test_y
    assert wrong.mean() == results.rows[0]["test_errors"][0]
    (out / "results.json").unlink()
    (out / "tasks" / "001-mild-readout-0" / "row.json").unlink()
    half = mortalsim.open_run(out)
    assert not half.finished and [row["learner"] for row in half.rows] == ["ap"]
    with pytest.raises(RunError, match="nowhere: expected a run folder"):
        mortalsim.open_run(tmp_path / "nowhere")
    assert dataclasses.asdict(half.asked)["experiment"] == "compare"
