"""Mistakes that are told in a sentence before anything is done, where no other test makes them."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
from batches import RNG, TASK, batch
from fakes import IdealChip, make_datasheet
from nets import net
from pydantic import ValidationError
from safetensors.numpy import save_file
from tiny import load_tiny

from mortalsim import build, data
from mortalsim.checks import DataError, DesignError, OutputError, RangeError, RunError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, netlist
from mortalsim.chips.design import build_design
from mortalsim.chips.wiring import WIRINGS, check_tables
from mortalsim.chips.wiring.tiles import tiles
from mortalsim.experiments import _trial
from mortalsim.experiments.compare import Compare
from mortalsim.experiments.train import Train
from mortalsim.experiments.transfer import Transfer
from mortalsim.experiments.variance import Variance
from mortalsim.hardware import Overlaid, Trace
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import output_of
from mortalsim.models import Twin
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, train

DEVICE = {"technology": "linear", "pulses": 0}


def listed(populations, arrays, **fields):
    """A design in long form of (name, neurons) and (source, target)."""
    shapes = [{"name": name, "shape": [size]} for name, size in populations]
    ends = [{"source": source, "target": target, **more} for source, target, more in arrays]
    return {"name": "mine", "population": shapes, "array": ends, "device": DEVICE, **fields}


def test_a_design_that_only_feeds_itself_has_no_input():
    fields = listed([("a", 3), ("b", 3)], [("a", "b", {}), ("b", "a", {})], dynamics={"kind": "recurrent", "ticks": 2})
    with pytest.raises(DesignError, match="expected at least one that no array feeds, the input, found none"):
        build_design(fields, "design")


@pytest.mark.parametrize(
    ("shape", "array", "message"),
    [
        ({"source": "hx", "stage": "mixing"}, {}, "population 'box': source: expected one of .*; found 'hx'"),
        ({}, {"device": {"technology": "linaer"}}, "array a to b: device: technology: expected one of .* mean 'linear'"),
    ],
)
def test_misspelt_names_are_told_with_their_place(shape, array, message):
    fields = listed([("a", 3), ("b", 3)], [("a", "b", array)])
    fields["population"] += [{"name": "box", "shape": [3], **shape}] if shape else []
    with pytest.raises((DesignError, UnknownName), match=message):
        build_design(fields, "design")


def test_tables_that_feed_a_neuron_twice_are_refused_also_where_a_column_idles():
    """Column 4 of four neurons feeds nobody."""
    with pytest.raises(ShapeError, match="feeds the same neuron by two of its columns, found"):
        check_tables("mine", ([[0, 1, 2]], [[0, 0, 4]]), 2, 4)
    check_tables("mine", ([[0, 1, 2]], [[0, 4, 4]]), 2, 4)  # any number of columns may idle


@pytest.mark.parametrize("neuron", [0, 1, 3])
def test_a_neuron_with_two_bias_lines_is_named(neuron):
    with pytest.raises(ShapeError, match=f"neuron {neuron} of 4 is given more than one bias line"):
        check_tables("mine", ([[0, 2], [1, 2]], [[neuron], [neuron]]), 2, 4)


def test_a_chain_names_no_output():
    with pytest.raises(DesignError, match="output: the last of the sizes is the output; leave it out"):
        build_design({"name": "mine", "sizes": [3, 2], "output": "out", "device": DEVICE}, "design")


def test_there_are_no_more_ticks_than_random_numbers_for_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(netlist, "OCCASIONS", 4)
    assert net("recurrent").datasheet().ticks("h1") == 4
    with pytest.raises(DesignError, match="expected fewer than 4 ticks, found 5"):
        net("recurrent", dynamics={"kind": "recurrent", "ticks": 4, "keep": 0.3})


def test_an_array_s_own_technology_is_checked_like_the_design_s():
    fields = listed([("a", 3), ("b", 3)], [("a", "b", {"device": {"technology": "linear", "pulses": -1}})])
    with pytest.raises(DesignError, match="array a to b: device: pulses: expected a number from 0 to 1048576, found -1"):
        build_design(fields, "design")


def test_a_neuron_that_no_wire_reaches_is_named(monkeypatch: pytest.MonkeyPatch):
    def half(source: tuple[int, ...], target: tuple[int, ...], bias: bool):
        return np.arange(3)[None], np.arange(4)[None]

    real = WIRINGS.get
    monkeypatch.setattr(WIRINGS, "get", lambda name: half if name == "half" else real(name))
    fields = listed([("a", 3), ("b", 6)], [("a", "b", {"wiring": "half", "bias": False})])
    with pytest.raises(DesignError, match="population 'b': neuron 4 of 6 is reached by no line"):
        build_design(fields, "design")


@pytest.mark.parametrize(("rows", "columns"), [(0, 4), (4, 0), (-1, 4)])
def test_tiles_have_rows_and_columns(rows, columns):
    with pytest.raises(ShapeError, match=f"tiles: expected at least 1 row and 1 column, found {rows} and {columns}"):
        tiles((8,), (6,), rows, columns)


def test_samples_that_share_images_reach_a_stage_that_stands_on_an_input():
    shapes = [
        {"name": "in", "shape": [5]},
        {"name": "label", "shape": [3]},
        {"name": "box", "shape": [5], "source": "in", "stage": "mixing"},
        {"name": "out", "shape": [3]},
    ]
    arrays = [{"source": "box", "target": "out"}, {"source": "label", "target": "out"}]
    design = build_design({"name": "m", "population": shapes, "array": arrays, "output": "out", "device": DEVICE}, "design")
    x = Overlaid(RNG(0).random((4, 8), dtype=np.float32), [5, 7], RNG(1).random((3, 4, 2), dtype=np.float32))
    one, two = (SimulatedChip(design, 3).read(samples).output for samples in (x, np.asarray(x)))
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert one.shape == (12, 3) and np.abs(one[:4] - one[4:8]).max() > 0.01


def test_the_oracle_looks_into_simulated_chips_alone():
    with pytest.raises(ShapeError, match="expected a SimulatedChip, into which an oracle can look, found IdealChip"):
        _trial.make_learner("oracle").step(IdealChip(), TASK, batch(), {}, RNG(0))


def test_an_output_that_is_not_there_is_not_taken_for_silence():
    with pytest.raises(ShapeError, match="expected a chip with an output population, found none"):
        output_of(Trace(None, {}, ()))


def test_a_twin_needs_the_curves_of_all_populations():
    sheet = make_datasheet((4, 3, 2))
    bare = {name: dataclasses.replace(spec, curve=None) for name, spec in sheet.populations.items()}
    weights = [np.zeros(spec.shape, np.float32) for spec in sheet.arrays]
    with pytest.raises(ShapeError, match="expected a nominal curve of 'h1' on the data sheet, found none"):
        Twin.nominal(dataclasses.replace(sheet, populations=bare), weights)


def test_variance_varies_widths_and_so_needs_a_chain():
    with pytest.raises(DesignError, match="expected one in short form, as `variance` varies its widths, found 'headless'"):
        Variance(design="headless", widths=(4,), probes=4, jobs=1).run()


def test_reads_for_validation_are_taken_off_where_nothing_can_be_tested():
    """How many a prediction takes is found by making one: Forward-Forward reads once a class."""
    dataset = dataclasses.replace(load_tiny("tiny", Streams(0)), test_y=None)
    design = build.design_for("ideal", dataset, (6,))
    learner = _trial.make_learner("ff", settings={"epochs": 2, "batch_size": 20})
    chip, other = (build.make_chip(design, Streams(0), number) for number in (0, 1))
    found = _trial.trial(chip, other, learner, dataset, Streams(0))
    assert (found.test_error, found.copied_error) == (None, None)
    assert found.reads == 2 * 3 * 40 and [point.reads for point in found.curve] == [120, 240]
    unpaid = 2 * 4 * 12 + 4
    assert chip.meter.reads == 240 + unpaid
    assert chip.meter.seconds - found.seconds == pytest.approx(unpaid * design.datasheet().seconds_per_read)


@pytest.mark.parametrize("lacks", ["train_y", "valid_y", "test_y"])
@pytest.mark.parametrize(
    "experiment", [Compare(learners=("readout",), chips=1), Transfer(chips=1), Variance(widths=(4,), probes=4)], ids=type
)
def test_experiments_that_judge_by_labels_ask_for_them_first(experiment, lacks, monkeypatch: pytest.MonkeyPatch):
    found = dataclasses.replace(load_tiny("tiny", Streams(0)), **{lacks: None})
    monkeypatch.setattr(data, "load", lambda *_: found)
    with pytest.raises(DataError, match="expected labels for training, validation and test, found none in 'tiny'"):
        experiment.model_copy(update={"jobs": 1}).run()


def test_names_of_learners_and_designs_are_checked_when_they_are_given_and_the_oracle_is_one():
    with pytest.raises(ValidationError, match=r"learner: expected one of .*oracle.*; found 'orcle'. Did you mean 'oracle'"):
        Train(learner="orcle")
    for kind, field in ((Train, {"design": "wildd"}), (Compare, {"designs": ("mild", "wildd")})):
        with pytest.raises(ValidationError, match=r"design: expected one of .*; found 'wildd'. Did you mean 'wild'"):
            kind(**field)


def test_a_checkpoint_is_written_beside_its_place_under_a_name_that_tells_whose_it_is(tmp_path, monkeypatch):
    moved, real = [], os.replace
    monkeypatch.setattr("mortalsim.files.os.replace", lambda old, new: (moved.append(Path(old)), real(old, new)))
    chip, path = IdealChip(make_datasheet((16, 5, 4)), 1), tmp_path / "mine.safetensors"
    train(chip, LEARNERS.get("readout")(), load_tiny("tiny", Streams(0)), Streams(0), checkpoint=Checkpoint(path, dict, id))
    assert moved and all(old.parent == tmp_path and re.fullmatch(r"mine\.safetensors.*\.part", old.name) for old in moved)


def test_targets_that_are_no_probabilities_are_refused():
    dataset = load_tiny("tiny", Streams(0))
    targets = np.tile(np.float32([0.25] * 4), (40, 1))
    targets[7] = [1.5, -0.5, 0, 0]  # one row is enough, and that it sums to 1 does not help
    with pytest.raises(RangeError, match=r"train_y: expected a label a sample, .* or rows of probabilities that sum to 1"):
        chip = IdealChip(make_datasheet((16, 5, 4)), 1)
        train(chip, LEARNERS.get("ap")(), dataclasses.replace(dataset, train_y=targets), Streams(0))


def test_a_checkpoint_that_is_none_of_ours_or_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset, learner = load_tiny("tiny", Streams(0)), LEARNERS.get("readout")()
    design = build.design_for("ideal", dataset, (6,))

    def run(path):
        chip = build.make_chip(design, Streams(0), 0)
        return train(chip, learner, dataset, Streams(0), checkpoint=Checkpoint(path, chip.snapshot, chip.restore))

    other = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3)}, other)
    with pytest.raises(RunError, match=r"other.safetensors: expected a file of mortalsim's, found something else"):
        run(other)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mortalsim.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"mine.safetensors: cannot be written .*No space left"):
        run(tmp_path / "mine.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]  # nothing half written stays


@pytest.mark.parametrize("name", LEARNERS.names())
def test_no_number_of_a_rule_may_be_negative(name):
    kind, seen = LEARNERS.get(name), 0
    for field in dataclasses.fields(kind):
        if type(field.default) in (int, float):
            seen += 1
            with pytest.raises(RangeError, match=f"^{field.name}: expected a .*, found -1"):
                kind(**{field.name: type(field.default)(-1)})
    assert seen >= 3
