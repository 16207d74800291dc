"""Recipes that can be run again: their wirings, what stands beside them, and what is shown from inside of a chip."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from running import slow_in_plain_python
from tiny import load_tiny

from mortalsim import build, data
from mortalsim.checks import DesignError, MortalsimError, ShapeError
from mortalsim.chips import design_names, load_design, oracle
from mortalsim.data import Dataset, suited
from mortalsim.experiments import _inside
from mortalsim.experiments._recipes import RECIPES
from mortalsim.experiments.reproduce import QUICK_IMAGES, Reproduce
from mortalsim.learners import LEARNERS
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

IDEAL = load_design("ideal")
#: Small populations in place of the recurrent recipe's.
SMALL = ({"name": "h1", "shape": [12]}, {"name": "h2", "shape": [12]}, {"name": "out", "shape": [10]})


def pictures(name: str, streams: Streams) -> Dataset:
    """Return 120 noisy copies of ten random pictures of 28 x 28 pixels."""
    rng = streams.generator("pictures")
    y = np.arange(120) % 10
    means = np.repeat(np.repeat(rng.random((10, 7, 7)) > 0.7, 4, axis=1), 4, axis=2).reshape(10, 784)
    x = np.clip(means[y] * (0.8 + 0.2 * rng.random((120, 784))), 0, 1).astype(np.float32)
    x[:, :10] = 0
    return Dataset(name, x[:60], y[:60], x[60:90], y[60:90], x[90:], y[90:], 10, tuple(range(10)), (28, 28))


def trained(design, dataset, name, **settings):
    """Return a chip, the rule that trained it, data laid out for it, and the training's result."""
    own = suited(dataset, design.datasheet())
    chip, learner = build.make_chip(design, Streams(0)), LEARNERS.get(name)(**settings)
    return chip, learner, own, train(chip, learner, own, Streams(1), validate_every=0)


# --- wirings --------------------------------------------------------------------------------------------------------------


def test_local_fields_are_those_of_the_paper():
    """Section 3.2: 4 x 4 x 128, 3 x 3 x 220 and 2 x 2 x 512 neurons; 10 x 10 pixels, then 2 x 2 places below."""
    sheet = RECIPES["ff-local"].design(IDEAL, 784, 10, ()).datasheet()
    assert [array.shape for array in sheet.arrays[:3]] == [(16, 101, 128), (9, 4 * 128 + 1, 220), (4, 4 * 220 + 1, 512)]
    assert [array.source for array in sheet.arrays if array.target == sheet.output] == ["h2", "h3"]


def test_every_local_field_sees_the_label_where_it_is_supervised():
    sheet = RECIPES["ff-local-supervised"].design(IDEAL, 784, 10, ()).datasheet()
    assert sheet.inputs == ("pixels", "label")
    (label,) = [array for array in sheet.arrays if array.source == "label"]
    assert label.target == "h1" and label.shape[-1] == 4 * 4 * 128


def test_the_recurrent_label_joins_late_is_twice_as_long_as_other_rows_and_is_heard_above_alone():
    recipe = RECIPES["ff-recurrent"]
    sheet = recipe.design(IDEAL, 784, 10, ()).datasheet()
    (label,) = [place for place, array in enumerate(sheet.arrays) if array.source == "label"]
    assert sheet.arrays[label].target == "h2" and sheet.arrays[label].normaliser == "none"
    assert recipe.settings["label_strength"] / np.sqrt(10) == pytest.approx(2, abs=0.01)
    heard = {answer.tick for answer in sheet.timetable for array, _ in answer.via if array == label}
    assert heard == set(range(1, 9))
    assert {answer.keep for answer in sheet.timetable if answer.tick} == {0.3}


@pytest.mark.parametrize("name", design_names())
def test_every_recipe_takes_the_technology_of_every_design(name):
    """A wiring of its own, whatever that of the design: populations, arrays and timetable are the recipe's."""
    for recipe in RECIPES.values():
        ours = recipe.design(load_design(name), 784, 10, ()).datasheet()
        plain = recipe.design(IDEAL, 784, 10, ()).datasheet()
        assert [(a.source, a.target, a.shape) for a in ours.arrays] == [(a.source, a.target, a.shape) for a in plain.arrays]
        assert [line.tick for line in ours.timetable] == [line.tick for line in plain.timetable]


@pytest.mark.parametrize("name", ["ideal", "mild"])
def test_the_label_is_heard_at_twice_the_length_of_other_rows_on_chips_too(name):
    recipe = RECIPES["ff-recurrent"]
    design = recipe.design(load_design(name), 784, 10, ()).revised(population=(*recipe.populations[:2], *SMALL))
    chip, dataset = build.make_chip(design, Streams(0)), suited(pictures("pictures", Streams(0)), design.datasheet())
    learner = LEARNERS.get("ff")(**recipe.settings)
    state = learner.init(chip.datasheet, dataset.task, np.random.default_rng(0))
    labels = np.eye(10, dtype=np.float32)[None, dataset.train_y[:20]]
    trace = chip.read(learner.present(chip, dataset.task, dataset.train_x[:20], labels, state))
    (label,) = [tap for tap in trace.taps if chip.datasheet.arrays[tap.array].source == "label" and tap.tick == 1]
    assert np.sqrt(np.mean(label.pre[:, :10] ** 2)) == pytest.approx(2, rel=0.1)


def test_hidden_sizes_are_refused_where_a_recipe_is_no_chain():
    with pytest.raises(DesignError, match="hidden: expected none for a wiring that is no chain of dense arrays, found 8,8"):
        RECIPES["ff-local"].design(IDEAL, 784, 10, (8, 8))


def test_hidden_sizes_may_be_given_where_a_recipe_is_a_chain():
    sheet = RECIPES["mono"].design(IDEAL, 784, 10, (30, 20)).datasheet()
    assert [sheet.populations[name].size for name in sheet.fed] == [30, 20, 10]


# --- runs -----------------------------------------------------------------------------------------------------------------


@slow_in_plain_python
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs_and_says_what_the_paper_has(recipe, monkeypatch):
    monkeypatch.setattr(data, "load", pictures)
    found = Reproduce(recipe=recipe, epochs=2, alone=True, jobs=1).run()
    (row,) = found.rows
    assert row["learner"] == RECIPES[recipe].learner and row["paper"] == RECIPES[recipe].paper
    assert 0 <= row["test_error"] <= 1 and row["reads"] > 0 and row["wall"] > 0
    shown = {figure.name for figure in found.figures}
    assert {"error-vs-reads", "first-layer-fields", "error-by-population"} <= shown
    assert ("goodness" in shown) == (row["learner"] != "mono")
    assert ("hybrid-images" in shown) == (row["learner"] == "ff_unsupervised")
    assert ("settling" in shown) == (recipe == "ff-recurrent")


def test_a_frozen_chip_and_plain_backprop_stand_beside(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "load", load_tiny)
    options = {"recipe": "ff-supervised", "hidden": (8, 6), "epochs": 9, "jobs": 1, "chips": 2}
    found = Reproduce(**options).run()
    assert [row["learner"] for row in found.rows] == ["ff", "readout", "insilico"]
    own = RECIPES["ff-supervised"]
    assert [row["paper"] for row in found.rows] == [own.paper, None, None]
    assert [row["public"] for row in found.rows] == [own.public, None, None]
    assert all(len(row["test_errors"]) == 2 for row in found.rows)
    wild = Reproduce(**{**options, "design": "wild", "epochs": 1, "alone": True})
    pulses = [Reproduce.work(task, Keeper(tmp_path / task.name)).outcome.pulses for task in wild.tasks(wild.inputs())]
    assert len(set(pulses)) == 2  # two different chips
    assert found.rows[0]["by_head"] is not None and found.rows[1]["by_head"] is None
    used = Reproduce(**options).used_learners()
    assert used["insilico"].epochs == 3  # as the notes say


@pytest.mark.parametrize("fields", [{"dataset": "digits"}, {"shift": 1}, {"quick": True}])
def test_published_errors_stand_beside_what_they_are_of_alone(fields, monkeypatch):
    monkeypatch.setattr(data, "load", load_tiny)
    options = {"recipe": "ff-supervised", "hidden": (8, 6), "epochs": 1, "alone": True, "jobs": 1}
    found = Reproduce(**options, **fields).run()
    assert (found.rows[0]["paper"], found.rows[0]["public"]) == (None, None)
    assert not any(note.startswith(("Paper", "Public")) for note in found.notes)


def test_what_cannot_be_run_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(data, "load", load_tiny)
    too_far = Reproduce(recipe="mono", hidden=(8,), shift=4)
    with pytest.raises(ShapeError, match="shift: expected less than the 4 pixels"):
        too_far.tasks(too_far.inputs())
    monkeypatch.setattr(data, "load", lambda name, streams: dataclasses.replace(load_tiny(name, streams), test_y=None))
    blind = Reproduce(recipe="mono", hidden=(8,), seed=7)
    with pytest.raises(MortalsimError, match="label"):
        blind.tasks(blind.inputs())


def test_a_quick_run_takes_fewer_images_and_a_fifth_of_the_epochs(monkeypatch):
    used = Reproduce(recipe="mono", quick=True).used_learners()
    assert used["mono"].epochs == RECIPES["mono"].epochs // 5
    assert Reproduce(recipe="mono", quick=True, epochs=7).used_learners()["mono"].epochs == 7

    def many(name, streams):
        own = load_tiny(name, streams)
        times = QUICK_IMAGES // len(own.train_x) + 1
        return dataclasses.replace(own, train_x=np.tile(own.train_x, (times, 1)), train_y=np.tile(own.train_y, times))

    monkeypatch.setattr(data, "load", many)
    row = Reproduce(recipe="mono", quick=True, hidden=(4,), epochs=1, alone=True, jobs=1).run().rows[0]
    assert row["reads"] == QUICK_IMAGES


def test_a_shift_reaches_the_training(monkeypatch):
    monkeypatch.setattr(data, "load", load_tiny)
    options = {"recipe": "mono", "hidden": (8,), "epochs": 3, "alone": True, "jobs": 1}
    still, moved = (Reproduce(**options, shift=shift).run().rows[0] for shift in (0, 1))
    assert still["by_chip"][0][-1]["reads"] == moved["by_chip"][0][-1]["reads"]
    assert (still["valid_error"], still["test_error"]) != (moved["valid_error"], moved["test_error"])


# --- from inside ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fields", "ideal"])
def test_fields_stand_where_their_pixels_are(name, monkeypatch):
    """The picture, taken apart, is the oracle's weights, each at its own pixel and in units of the neuron's largest."""
    monkeypatch.setattr(_inside, "DIGITS", 12)
    design, own = build.fitted(name, data.load("digits", Streams(0)), ())
    chip = build.make_chip(design, Streams(0))
    shown = np.array(_inside.first_fields(chip, own.task))
    side, across = 8, _inside.ACROSS
    sheet, weights = chip.datasheet, oracle.weights(chip)
    (place,) = [k for k in sheet.into(sheet.hidden[0]) if sheet.arrays[k].source == sheet.inputs[0]]
    spec, size = sheet.arrays[place], sheet.populations[sheet.hidden[0]].size
    for k, neuron in enumerate(np.linspace(0, size - 1, min(_inside.SHOWN, size)).astype(int)):
        wanted = np.zeros(64)
        if spec.rows is None:
            wanted[:] = weights[place][:64, neuron]
        else:
            block, column = np.argwhere(spec.columns == neuron)[0]
            for row, pixel in enumerate(spec.rows[block]):
                if pixel < 64:
                    wanted[pixel] = weights[place][block, row, column]
        top, left = k // across * (side + 1), k % across * (side + 1)
        np.testing.assert_allclose(
            shown[top : top + side, left : left + side].ravel(), wanted / np.abs(wanted).max(), atol=1e-9
        )


def test_hybrids_stand_behind_their_two_images():
    dataset = pictures("pictures", Streams(0))
    task = dataset.task
    shown = np.array(_inside._mixed(LEARNERS.get("ff_unsupervised")(), dataset))
    first, second, hybrid = (shown[:28, k * 29 : k * 29 + 28] for k in range(3))
    np.testing.assert_allclose(first.ravel(), dataset.train_x[0] / dataset.train_x[:6].max(), atol=1e-3)
    assert np.all((hybrid == first) | (hybrid == second)) and np.any(hybrid != first) and np.any(hybrid != second)
    assert task.image_shape == (28, 28)


def test_a_population_s_own_judgement_is_the_rule_s_where_there_is_one_alone():
    dataset = load_tiny("tiny", Streams(0))
    chip, learner, own, result = trained(IDEAL.revised(sizes=(16, 12, 4)), dataset, "ff", epochs=5, batch_size=10)
    seen = _inside.look_inside(chip, learner, own, result)
    error = error_rate(chip, learner, own.task, own.valid_x, own.valid_y, result.state)
    assert seen.judged == {"h1": pytest.approx(error)}
    other = dataclasses.replace(learner, predict_by="softmax")
    assert seen.by_head == pytest.approx(error_rate(chip, other, own.task, own.test_x, own.test_y, result.state))
    assert seen.right == {} and seen.told["positive h1"][-1] > seen.told["negative h1"][-1]
    assert len(seen.told["positive h1"]) == 5 and seen.told["loss"] == tuple(r.info["loss"] for r in result.history)


def test_goodness_of_the_right_label_is_told_apart_from_the_best_wrong_one():
    scores = np.zeros((2, 3, 2))
    scores[:, 1, 0], scores[:, 2, 0] = (1, 5), (3, 4)  # sample 0 is of class 1; class 2 is the best wrong one at the end
    scores[:, 0, 1], scores[:, 1, 1] = (2, 7), (9, 8)  # sample 1 is of class 0
    labels = np.array([1, 0, 2])
    assert _inside._means(scores, labels, right=True) == (1.5, 6.0)
    assert _inside._means(scores, labels, right=False) == (6.0, 6.0)


def test_a_linear_head_knows_what_random_features_keep():
    dataset = load_tiny("tiny", Streams(0))
    chip, learner, own, result = trained(IDEAL.revised(sizes=(16, 30, 4)), dataset, "mono", epochs=1, batch_size=10)
    seen = _inside.look_inside(chip, learner, own, result)
    assert seen.known["h1"] < 0.3 and seen.judged == {}
    mixed = dataclasses.replace(own, valid_y=np.roll(own.valid_y, 1))
    assert _inside.look_inside(chip, learner, mixed, result).known["h1"] > 0.6


def test_states_are_those_of_a_neutral_label_and_goodness_is_in_units_of_the_threshold():
    dataset = load_tiny("tiny", Streams(0))
    chip, learner, own, result = trained(IDEAL.revised(sizes=(16, 12, 4)), dataset, "ff", epochs=3, batch_size=10)
    neutral = np.full((1, 12, 4), 0.25, np.float32)
    (post,) = chip.read(learner.present(chip, own.task, own.valid_x, neutral, result.state)).late("h1", 1).values()
    states = _inside._states(chip, learner, own, own.valid_x, result)["h1"]
    np.testing.assert_allclose(states, post / np.sqrt(np.mean(post**2, axis=1, keepdims=True)), rtol=1e-3, atol=1e-4)
    right = np.eye(4, dtype=np.float32)[None, np.asarray(own.valid_y)]
    (post,) = chip.read(learner.present(chip, own.task, own.valid_x, right, result.state)).late("h1", 1).values()
    goodness = (post**2).sum(axis=1) / result.state["threshold h1"]
    assert _inside._means(_inside._scores(chip, learner, own, result)["h1"], own.valid_y, right=True) == pytest.approx(
        [goodness.mean()], rel=1e-4
    )
