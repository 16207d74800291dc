"""The environment is asked for, not assumed: what is missing or odd there gives a sentence or a fallback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import ENVIRONMENT, slow_in_plain_python

import mortalsim
from mortalsim.checks import DesignError
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.registry import Registry
from mortalsim.report.page import page
from mortalsim.report.plots import draw
from mortalsim.report.results import Column, Figure, Panel, Results, Series
from mortalsim.report.table import cell

PACKAGE = Path(mortalsim.__file__).parent


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of the package that may be damaged."""
    shutil.copytree(PACKAGE, tmp_path / "mortalsim", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def says(scratch: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mortalsim", *arguments],
        cwd=scratch,
        env={**ENVIRONMENT, "PYTHONPATH": str(scratch), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_that_are_no_modules_are_left_alone_and_broken_ones_are_named(scratch: Path):
    learners, experiments = scratch / "mortalsim" / "learners", scratch / "mortalsim" / "experiments"
    for folder in (learners, experiments):
        (folder / ".#train.py").symlink_to("me@host.1:2")  # an editor's lock
        (folder / "._ff.py").write_bytes(b"\0\5\x16\7")
        (folder / "train copy.py").write_text("")
        (folder / "#ap.py#").write_text("")
        (folder / "folder.py").mkdir()
    (learners / "half.py").write_text('"""A rule."""\nclass Half(')
    (learners / "latin.py").write_bytes(b'"""A r\xe9gle."""\n')
    (experiments / "half.py").write_text("def x(:")
    helped, listed = says(scratch, "--help"), says(scratch, "list")
    assert (helped.returncode, listed.returncode) == (0, 0), helped.stderr + listed.stderr
    assert "cannot be read: line 1" in helped.stdout and "train copy" not in listed.stdout
    assert listed.stdout.count("cannot be read") == 3
    used = says(scratch, "train", "--learner", "half")
    assert used.returncode == 2 and "half.py: cannot be read: line 2" in used.stderr and "Traceback" not in used.stderr
    usual = says(scratch, "compare", "--help")
    assert usual.returncode == 0 and "half" not in usual.stdout.split("--learners")[1].split("--")[0]


def test_a_byte_order_mark_is_no_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "marked"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "mine.py").write_text('"""A marked file."""\n', encoding="utf-8-sig")
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry("marked", object).summaries() == {"mine": "A marked file."}
    with pytest.raises(DesignError, match="expected exactly one subclass"):
        Registry("marked", Learner).get("mine")
    assert set(LEARNERS.readable()) == set(LEARNERS.names())


# Letters that mean something to matplotlib, HTML, a terminal or a file system.
ODD = ("a $\\oops$", "%s <b>&amp;", "\x1b[31mred", "x\udce9", "line\nbreak", "漢字 \U0001f600", "x" * 300, "")


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_letters_can_be_drawn_printed_and_written(name: str):
    numbers = (1.0, float("nan"), float("inf"), 0.0, -1.0, 1e308)
    series = (
        Series(name=name, x=numbers, y=numbers),
        Series(name="b", x=(1.0,), y=(2.0,), style="dots"),
        Series(name="c", x=(), y=()),
    )
    panels = tuple(
        Panel(title=name, x_label=name, categories=names, series=series, x_scale=scale, y_scale="linear" if names else scale)
        for scale in ("linear", "log", "root")
        for names in ((), (name, "b"))
    )
    figure = Figure(name="f", caption=name, panels=panels, share=False)
    assert draw(figure)[:4] == b"\x89PNG"
    column = Column(key="who", heading=name)
    text = cell(column, {"who": name})
    assert text.isprintable() and isinstance(text.encode("utf-8"), bytes)
    results = Results(columns=(column,), rows=({"who": name},), figures=(figure,), warnings=(name,))
    from test_report import ASKED

    assert page(results, ASKED, {"f": b""}).encode("utf-8", "backslashreplace")


def test_nothing_but_points_that_cannot_be_shown_makes_an_empty_picture():
    panel = Panel(title="t", x_label="x", x_scale="log", series=(Series(name="a", x=(0.0, -1.0), y=(1.0, 1.0)),))
    assert draw(Figure(name="f", caption="", panels=(panel,)))[:4] == b"\x89PNG"


@slow_in_plain_python
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_without_standard_streams_a_run_is_still_whole(tmp_path: Path):
    arguments = [sys.executable, "-m", "mortalsim", "train", "--learner", "readout", "--hidden", "4", "--out"]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *arguments, "closed"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert closed.returncode == 0 and (tmp_path / "closed" / "results.json").exists()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*arguments, "full"], cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, check=False, text=True
        )
    assert done.returncode == 2 and "No space left" in done.stderr and "Traceback" not in done.stderr
    assert "full" in done.stderr and (tmp_path / "full" / "results.json").exists()


@slow_in_plain_python
def test_a_bare_home_and_odd_settings_do_no_harm(tmp_path: Path):
    nowhere = {
        "HOME": "/proc/nowhere",
        "MPLCONFIGDIR": "/proc/nowhere",
        "XDG_CACHE_HOME": "/proc/nowhere",
        "TERM": "dumb",
        "LANG": "C",
        "COLUMNS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mortalsim", "train", "--learner", "readout", "--hidden", "4", "--out", "r\udce9"],
        cwd=tmp_path, env={**ENVIRONMENT, **nowhere}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    assert (tmp_path / "r\udce9" / "report.html").exists()


def test_learners_products_do_not_depend_on_the_number_of_threads():
    """Called directly, as from a notebook: every product of a rule is held to one BLAS thread."""
    from threadpoolctl import threadpool_limits

    from mortalsim.chips import SimulatedChip, load_design
    from mortalsim.hardware import Task
    from mortalsim.learners.base import Batch
    from mortalsim.parallel import one_blas_thread

    design, seen = load_design("mild").with_sizes((6, 5, 3)), []

    class Spy(LEARNERS.get("readout")):
        def step(self, chip, task, batch, state, rng):
            seen.append(one_blas_thread._inside)
            return super().step(chip, task, batch, state, rng)

    chip, learner, rng = SimulatedChip(design, 0), Spy(), np.random.default_rng(0)
    state = learner.init(chip.datasheet, Task(3), rng)
    with threadpool_limits(2):
        learner.step(
            chip, Task(3), Batch(np.ones((4, 6), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], 0.0), state, rng
        )
    assert seen and all(seen) and os.name
