"""What experiments say: every number of a row and every point of a figure, worked out again from the trials."""

from __future__ import annotations

import datetime
import json
import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from running import slow_in_plain_python
from tiny import load_tiny

from mortalsim import build, data, training
from mortalsim.checks import ChipFault, OutputError, RunError
from mortalsim.chips import load_design, oracle
from mortalsim.experiments import _trial, compare, execute, train, transfer, variance
from mortalsim.experiments.compare import Compare
from mortalsim.experiments.train import Train
from mortalsim.experiments.transfer import Transfer
from mortalsim.experiments.variance import Variance
from mortalsim.files import read_arrays, write_arrays
from mortalsim.learners import Learner
from mortalsim.learners.base import output_of
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint

QUICK = {"hidden": (4,), "jobs": 1}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", load_tiny)


@pytest.fixture
def outcomes(tiny, monkeypatch: pytest.MonkeyPatch) -> list[_trial.Outcome]:
    """What every trial gave, in the order of the trials."""
    found, real = [], _trial.trial
    monkeypatch.setattr(_trial, "trial", lambda *args: (found.append(real(*args)), found[-1])[1])
    return found


def points(series):
    return list(zip(series.x, series.y, strict=True))


# --- variance -------------------------------------------------------------------------------------------------------------


def test_a_row_of_variance_is_worked_out_from_the_updates(tiny, monkeypatch: pytest.MonkeyPatch):
    """P is the mean squared length over the squared mean along the gradient, less 1; 13.9 P probes are within 15 degrees."""
    seen, real = [], variance._updates
    monkeypatch.setattr(variance, "_updates", lambda *args: (seen.append(real(*args)), seen[-1])[1])
    found = Variance(learners=("wp", "ap"), widths=(3, 5), probes=11, batch=4, jobs=1).run()
    assert [(row["width"], row["learner"]) for row in found.rows] == [(3, "wp"), (3, "ap"), (5, "wp"), (5, "ap")]
    for row, (updates, truth) in zip(found.rows, seen, strict=True):
        assert row["weights"] == truth.size and row["probes"] == [1, 2, 4, 8, 11] and row["chips"] == 1
        for place, count in enumerate(row["probes"]):
            groups = [updates[start : start + count].mean(axis=0) for start in range(0, 11 - count + 1, count)]
            cosines = [group @ truth / np.linalg.norm(group) / np.linalg.norm(truth) for group in groups]
            assert row["cosine"][place] == pytest.approx(np.mean(cosines), rel=1e-4, abs=1e-6)
            assert row["cosine_sd"][place] == pytest.approx(np.std(cosines), rel=1e-4, abs=1e-6)
        assert (row["cosine_one"], row["cosine_all"]) == (row["cosine"][0], row["cosine"][-1])
        along = (updates @ truth).mean() / np.linalg.norm(truth)
        assert row["p_measured"] == pytest.approx(np.mean(np.sum(updates**2, axis=1)) / along**2 - 1, rel=1e-4)
        assert row["probes_15"] == pytest.approx(row["p_measured"] / math.tan(math.radians(15)) ** 2)
        assert row["probes_15"] / row["p_measured"] == pytest.approx(13.93, abs=0.01)


def test_variance_shows_what_was_measured_and_dashed_what_theory_says(tiny):
    found = Variance(learners=("wp", "ff"), widths=(3, 5), probes=4, batch=4, jobs=1).run()
    (figure,) = found.figures
    assert len(figure.panels) == 2 and figure.across == 3
    for panel, rows in zip(figure.panels, (found.rows[:2], found.rows[2:]), strict=True):
        assert panel.title == f"width {rows[0]['width']}"
        assert (panel.x_scale, panel.x_unit, panel.y_scale) == ("log", "count", "log")
        wp, ff = rows
        assert [(series.name, series.style) for series in panel.series] == [("wp", "dots"), ("wp", "dashed"), ("ff", "dots")]
        dots, dashed, other = panel.series
        for series, row in ((dots, wp), (other, ff)):
            assert points(series) == list(zip(row["probes"], row["cosine"], strict=True))
            assert list(series.spread) == row["cosine_sd"]
        wanted = [(k / (k + wp["p_theory"])) ** 0.5 for k in wp["probes"]]
        assert list(dashed.x) == wp["probes"] and list(dashed.y) == pytest.approx(wanted)


# --- compare --------------------------------------------------------------------------------------------------------------


@slow_in_plain_python
def test_compare_shows_every_chip_and_the_mean_over_chips(outcomes):
    learners, designs = ("ff", "insilico"), ("ideal", "wild")
    found = Compare(designs=designs, learners=learners, chips=2, epochs_scale=0.03, starts=("fabricated",), **QUICK).run()
    trials = {
        (design, learner): [outcomes[4 * d + 2 * chip + n] for chip in (0, 1)]
        for d, design in enumerate(designs)
        for n, learner in enumerate(learners)
    }
    each, curves, neurons = found.figures
    for panel, design in zip(each.panels, designs, strict=True):
        assert panel.title == design and panel.categories == learners
        assert (panel.x_unit, panel.x_scale) == ("percent", "root")
        own, copied = panel.series
        for series, key in ((own, "test_error"), (copied, "copied_error")):
            wanted = [(getattr(one, key), place) for place, name in enumerate(learners) for one in trials[design, name]]
            assert points(series) == wanted
    for panel, design in zip(curves.panels, designs, strict=True):
        line, dashed = panel.series
        assert (panel.x_unit, panel.x_scale, panel.y_unit, panel.y_scale) == ("count", "log", "percent", "root")
        first, second = (one.curve for one in trials[design, "ff"])
        assert [point.reads for point in first] == [point.reads for point in second] and len(first) > 1
        assert line.x == tuple(point.reads for point in first)
        errors = np.array([[point.error for point in curve] for curve in (first, second)])
        assert line.y == pytest.approx(errors.mean(axis=0)) and line.spread == pytest.approx(errors.std(axis=0))
        last = np.mean([one.curve[-1].error for one in trials[design, "insilico"]])  # it reads nothing: a level to the end
        assert (dashed.name, dashed.style) == ("insilico", "dashed")
        assert dashed.x == (min(line.x), max(line.x)) and dashed.y == pytest.approx((last, last))
    assert len(neurons.panels) == 4


@slow_in_plain_python
def test_compare_shows_the_curves_of_single_neurons_of_two_chips_and_what_the_data_sheet_says(tiny):
    found = Compare(designs=("wild",), learners=("readout",), chips=1, hidden=(20,), jobs=1, seed=2).run()
    design = build.design_for("wild", load_tiny("tiny", Streams(2)), (20,))
    panels = found.figures[2].panels
    assert [panel.title for panel in panels] == ["wild, chip 0", "wild, chip 1"]
    for number, panel in enumerate(panels):
        *single, sheet = panel.series
        z = np.array(sheet.x)
        assert len(single) == 16 and (z.min(), z.max(), z.size) == (-4, 4, 81)
        curves = oracle.transfer_curves(build.make_chip(design, Streams(2), number), "h1", z)
        for neuron, series in enumerate(single):
            assert series.style == "thin" and series.x == sheet.x
            np.testing.assert_allclose(series.y, curves[:, neuron])
        np.testing.assert_allclose(sheet.y, design.datasheet().populations["h1"].curve(z))
        assert sheet.style == "dashed"


# --- train ----------------------------------------------------------------------------------------------------------------


def test_train_shows_the_loss_by_epoch_and_the_error_by_reads(outcomes):
    found = Train(learner="ap", design="mild", hidden=(4,), epochs=5, chip=2, set=("probes=1", "batch_size=20")).run()
    (one,) = outcomes
    (row,) = found.rows
    for key in ("test_error", "copied_error", "reads", "pulses", "joules", "seconds"):
        assert row[key] == getattr(one, key)
    assert (row["design"], row["learner"], row["chip"], row["chips"]) == ("mild", "ap", 2, 1)
    ((loss, error),) = (figure.panels for figure in found.figures)
    assert points(loss.series[0]) == list(enumerate(one.losses, 1)) and len(one.losses) == 5
    assert points(error.series[0]) == [(point.reads, point.error) for point in one.curve]
    assert (loss.x_unit, error.x_unit, error.y_unit, error.y_scale) == ("count", "count", "percent", "root")
    assert not found.figures[0].share  # the two panels have axes of their own


# --- transfer -------------------------------------------------------------------------------------------------------------


@slow_in_plain_python
def test_a_row_of_transfer_is_the_mean_over_pairs_and_each_pair_is_shown(tiny, monkeypatch: pytest.MonkeyPatch):
    seen, real = [], transfer._passed_on
    monkeypatch.setattr(transfer, "_passed_on", lambda *args: (seen.append(real(*args)), seen[-1])[1])
    fields = {"teacher": "readout", "students": ("readout", "ap"), "epochs_scale": 0.04}
    found = Transfer(designs=("mild", "wild"), chips=3, **fields, **QUICK).run()
    roles = ["teacher", "weight copy", "readout, taught", "readout, labels", "ap, taught", "ap, labels"]
    kinds = ["teacher", "weight copy", *["student, from the teacher", "student, from labels"] * 2]
    (figure,) = found.figures
    for place, design in enumerate(("mild", "wild")):
        pairs, panel, rows = seen[3 * place : 3 * place + 3], figure.panels[place], found.rows[6 * place : 6 * place + 6]
        assert panel.title == design and list(panel.categories) == [row["role"] for row in rows] == roles
        assert (panel.x_unit, panel.x_scale) == ("percent", "root")
        for k, row in enumerate(rows):
            each = [pair[row["role"]] for pair in pairs]
            assert (row["design"], row["chips"], row["learner"]) == (design, 3, each[0].learner)
            for key in ("test_error", "agreement", "reads", "pulses", "joules", "seconds"):
                assert row[key] == pytest.approx(statistics.fmean(getattr(one, key) for one in each))
            errors = [one.test_error for one in each]
            assert row["test_errors"] == errors and row["test_error_sd"] == pytest.approx(statistics.stdev(errors))
            assert (panel.series[k].name, panel.series[k].style) == (kinds[k], "dots")
            assert points(panel.series[k]) == [(error, k) for error in errors]
        assert len({one["teacher"].test_error for one in pairs}) > 1


def test_costs_of_a_pair_are_those_of_each_chip_before_its_test(tiny, monkeypatch: pytest.MonkeyPatch):
    """A teacher of 20 images; students of the other 20, once each; and 12 for validation, but not those of the test."""
    found = Transfer(designs=("mild",), teacher="readout", students=("readout",), chips=1, **QUICK).run()
    reads = {row["role"]: row["reads"] for row in found.rows}
    assert reads == {"teacher": 32, "weight copy": 0, "readout, taught": 32, "readout, labels": 32}
    sheet = build.design_for("mild", load_tiny("tiny", Streams(0)), (4,)).datasheet()
    for row in found.rows:
        if row["role"] != "weight copy":
            assert row["joules"] == pytest.approx(32 * sheet.joules_per_read) and row["pulses"] == 0
            assert row["seconds"] == pytest.approx(32 * sheet.seconds_per_read)
        else:
            assert row["pulses"] > 0 and row["joules"] > 0


@pytest.mark.parametrize("module", [compare, train, transfer, variance])
def test_every_column_of_a_table_has_its_number_in_every_row(module, tiny):
    kinds = {
        compare: Compare(designs=("ideal",), learners=("readout",), chips=2, **QUICK),
        train: Train(learner="readout", hidden=(4,), epochs=1),
        transfer: Transfer(designs=("ideal",), teacher="readout", students=("readout",), chips=2, **QUICK),
        variance: Variance(learners=("ff",), widths=(3,), probes=4, batch=4, jobs=1),
    }
    found = kinds[module].run()
    assert found.rows and found.notes
    for row in found.rows:
        assert {column.key for column in found.columns} <= set(row)
        assert {column.spread for column in found.columns if column.spread} <= set(row)


@dataclass(frozen=True, kw_only=True)
class Uneven(Learner):
    """Reads its batch once more in every epoch than in the one before."""

    name: ClassVar[str] = "uneven"
    ports = ()
    epochs: int = 3
    batch_size: int = 20

    def init(self, sheet, task, rng):
        return {}

    def step(self, chip, task, batch, state, rng):
        for _ in range(1 + int(batch.progress * 3 + 1e-9)):
            chip.read(batch.x, want="output")
        return state, {"loss": 0.0}

    def predict(self, chip, task, x, state):
        return output_of(chip.read(x, want="output"))


def test_the_curve_of_a_trial_tells_the_reads_of_each_epoch_without_those_for_validation():
    dataset, streams = load_tiny("tiny", Streams(0)), Streams(0)
    design = build.design_for("ideal", dataset, (4,))
    chips = (build.make_chip(design, streams, number) for number in (0, 1))
    found = _trial.trial(*chips, Uneven(), dataset, streams)
    assert [point.reads for point in found.curve] == [40, 40 + 80, 40 + 80 + 120] and found.reads == 240


def test_a_design_keeps_its_hidden_populations_unless_others_are_asked_for():
    dataset = load_tiny("tiny", Streams(0))
    assert build.design_for("mild", dataset).sizes == (16, *load_design("mild").sizes[1:-1], 4)
    assert build.design_for("mild", dataset, (5,)).sizes == (16, 5, 4)
    unlabelled = replace(dataset, classes=0)
    assert build.design_for("mild", unlabelled, (5,)).sizes == (16, 5, load_design("mild").sizes[-1])


@pytest.mark.parametrize(("patience", "share", "saved"), [(0, 0, 10), (2.5, 0, 3), (0, 3, 4), (1e9, 0, 1)])
def test_training_is_kept_after_so_many_seconds_or_so_many_saves_and_at_the_end(
    patience, share, saved, tmp_path, monkeypatch
):
    """Ten steps of a second each; a save takes a second as well."""
    dataset, done, clock = load_tiny("tiny", Streams(0)), [], SimpleNamespace(now=0.0)
    chip = build.make_chip(build.design_for("ideal", dataset, (4,)), Streams(0), 0)
    monkeypatch.setattr("mortalsim.training.checkpoint.time.monotonic", lambda: clock.now)
    monkeypatch.setattr("mortalsim.training.checkpoint.SHARE", share)

    def save():
        done.append(clock.now)
        clock.now += 1
        return chip.snapshot()

    def step(session):
        clock.now += 1

    kept = Checkpoint(tmp_path / "a.safetensors", save, chip.restore, patience)
    training.train(
        chip, replace(Uneven(), epochs=5), dataset, Streams(0), checkpoint=kept, hooks=training.Hooks(on_step=step)
    )
    assert len(done) == saved


def test_a_checkpoint_whose_settings_are_missing_is_of_another_run(tmp_path):
    dataset, path = load_tiny("tiny", Streams(0)), tmp_path / "a.safetensors"

    def run():
        chip = build.make_chip(build.design_for("ideal", dataset, (4,)), Streams(0), 0)
        kept = Checkpoint(path, chip.snapshot, chip.restore)
        return training.train(chip, Uneven(), dataset, Streams(0), checkpoint=kept)

    run()
    arrays, facts = read_arrays(path, "training", "")
    del facts["identity"]["settings"]
    write_arrays(path, "training", arrays, facts)
    with pytest.raises(RunError, match="of another training: settings is None there and"):
        run()


def test_a_run_folder_that_is_there_already_is_left_alone_and_the_next_one_is_numbered(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = datetime.datetime.now().astimezone()
    taken = [Path("runs") / f"train-{now + datetime.timedelta(seconds=k):%Y%m%d-%H%M%S}" for k in range(-1, 60)]
    for folder in taken:
        folder.mkdir(parents=True)
        (folder / "mine").touch()
    _, out = execute(Train(learner="readout", hidden=(4,), epochs=1))
    assert out.name in {f"{folder.name}-2" for folder in taken} and (out / "results.json").is_file()
    assert all([path.name for path in folder.iterdir()] == ["mine"] for folder in taken)
    assert "." not in json.loads((out / "config.json").read_text())["started"]
    with pytest.raises(OutputError, match="exist"):  # a folder that is named is not replaced by another one
        execute(Train(learner="readout", hidden=(4,), epochs=1, out=taken[0]))


def test_one_score_that_is_no_number_is_enough_to_stop(monkeypatch):
    dataset = load_tiny("tiny", Streams(0))
    chip = build.make_chip(build.design_for("ideal", dataset, (4,)), Streams(0), 0)
    scores = np.zeros((len(dataset.test_x), 4))
    scores[7, 2] = np.nan
    monkeypatch.setattr(Uneven, "predict", lambda *_: scores)
    with pytest.raises(ChipFault, match="uneven: predicted nan"):
        training.error_rate(chip, Uneven(), dataset.task, dataset.test_x, dataset.test_y, {})
