"""A run folder appears whole or not at all, and holds all that is needed to draw it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mortalsim.report.runfolder import new_folder, render

from mortalsim.checks import OutputError
from mortalsim.chips import load_design
from mortalsim.chips.design import build_design
from mortalsim.experiments import execute
from mortalsim.experiments.base import Experiment
from mortalsim.report.results import Column, Figure, Panel, Results, Series


class Tiny(Experiment):
    """An experiment that computes nothing."""

    expected = "two and a half"
    answer: float = 2.5

    def run(self) -> Results:
        if self.answer < 0:
            raise KeyboardInterrupt
        line = Series(name="a", x=(1.0, 2.0), y=(self.answer, 3.0))
        figure = Figure(name="only", caption="<caption>", panels=(Panel(title="t", x_label="x", series=(line,)),))
        return Results(columns=(Column(key="a", heading="<a>"),), rows=({"a": self.answer},), figures=(figure,))


class OfDesign(Tiny):
    """An experiment that names a design."""

    design: str = "mild"


def test_folder_holds_results_config_picture_and_page(tmp_path: Path):
    _, out = execute(Tiny(out=tmp_path / "deep" / "run", seed=3))
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "only.png", "report.html", "results.json"]
    assert json.loads((out / "results.json").read_text())["rows"] == [{"a": 2.5}]
    config = json.loads((out / "config.json").read_text())
    assert config["seed"] == 3 and config["config"]["answer"] == 2.5 and config["expected"] == "two and a half"
    assert {"mortalsim", "python", "numpy", "numba", "scipy"} <= set(config["versions"])


def test_folder_can_be_drawn_again_from_its_numbers(tmp_path: Path):
    _, out = execute(Tiny(out=tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "report.html").unlink()
    (out / "only.png").unlink()
    render(out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_default_folder_is_named_after_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    _, out = execute(Tiny())
    assert out.parent == Path("runs") and out.name.startswith(f"{Tiny.name()}-") and out.is_dir()


def test_default_folders_of_the_same_second_get_numbers(tmp_path: Path):
    with new_folder(tmp_path / "run", numbered=True) as first, new_folder(tmp_path / "run", numbered=True) as second:
        pass
    with new_folder(tmp_path / "run", numbered=True) as third:
        pass
    assert [folder.out.name for folder in (second, first, third)] == ["run", "run-2", "run-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2", "run-3"]


def test_out_through_a_dangling_link_is_refused_before_any_work(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="leads nowhere"):
        execute(Tiny(out=tmp_path / "link" / "run", answer=-1))


def test_config_holds_the_designs_in_full(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsizes = [4, 4]\nports = ["taps", "outer", "delta"]\n[device]\ntechnology = "linear"\n')
    _, out = execute(OfDesign(out=tmp_path / "run", design=str(path)))
    designs = json.loads((out / "config.json").read_text())["designs"]
    assert designs[str(path)]["ports"] == ["delta", "outer", "taps"]
    assert build_design(designs[str(path)], "config") == load_design(path)


@pytest.mark.parametrize("name", ["fields", "boxed", "recurrent", "wild"])
def test_config_can_build_every_design_again(tmp_path: Path, name: str):
    _, out = execute(OfDesign(out=tmp_path / "run", design=name))
    kept = json.loads((out / "config.json").read_text())["designs"][name]
    assert build_design(kept, "config").digest() == load_design(name).digest()


def test_existing_out_is_refused_before_any_work(tmp_path: Path):
    with pytest.raises(OutputError, match="exists already"):
        execute(Tiny(out=tmp_path, answer=-1))  # running it would raise KeyboardInterrupt


def test_unwritable_out_is_refused_before_any_work():
    with pytest.raises(OutputError, match="no folder can be made in /proc"):
        execute(Tiny(out=Path("/proc/nowhere/run"), answer=-1))


def test_out_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no folder can be made"):
        execute(Tiny(out=tmp_path / "file" / "run", answer=-1))


def test_interruption_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        execute(Tiny(out=tmp_path / "deep" / "run", answer=-1))
    assert list(tmp_path.iterdir()) == []


def test_folder_made_by_someone_else_meanwhile_is_kept(tmp_path: Path):
    out = tmp_path / "run"
    with pytest.raises(OutputError, match="someone else"), new_folder(out):
        out.mkdir()
    assert list(tmp_path.iterdir()) == [out]
