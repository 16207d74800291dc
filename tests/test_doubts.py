"""A run that learns nothing says so, and one that learns does not: every doubt on a case and on its healthy twin."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from batches import LINES, SIZES
from fakes import IdealChip, make_datasheet
from running import slow_in_plain_python

from mortalsim import build, data
from mortalsim.chips import load_design
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.training import Hooks, doubts, loop, train

GUESSING = float(np.log(10))


def counts(right: int, wrong: int, classes: int = 10) -> np.ndarray:
    """Return a confusion of equally frequent classes, of whose samples so many are answered right and wrong."""
    found = np.full((classes, classes), wrong // (classes - 1))
    np.fill_diagonal(found, right)
    return found


def test_a_loss_that_stays_at_guessing_is_doubted():
    assert "rate" in doubts.flat_loss([2.31, 2.30, 2.32, 2.29], GUESSING)
    assert doubts.flat_loss([2.31, 2.30, 2.2], GUESSING) is None and doubts.flat_loss([2.31, 2.3], GUESSING) is None
    assert doubts.flat_loss([9.0] * 5, None) is None


@pytest.mark.parametrize("name", LEARNERS.names())
def test_the_loss_of_guessing_is_what_a_step_reports_while_all_classes_get_the_same(name):
    """Measured on a chip whose weights are zero: every rule in its own units."""
    learner = LEARNERS.get(name)(**({"temperature": 0.7} if name in ("ap", "wp") else {}))
    chip = IdealChip(make_datasheet(SIZES), 1, 0.0)
    for weights in chip.weights:
        weights[:] = 0
    x, y = np.random.default_rng(0).random((40, 12), dtype=np.float32), np.arange(40) % 4
    fields = {"train_x": x, "train_y": y, "valid_x": x, "valid_y": None, "classes": 4, "label_lines": LINES}
    seen: list[float] = []
    hooks = Hooks(on_step=lambda session: seen.append(session.standing.info["loss"]))
    if name in ("insilico", "physics_aware", "ff_unsupervised"):
        return  # twins begin with weights of their own; without labels there is no guessing
    train(chip, learner, SimpleNamespace(**fields), Streams(0), validate_every=0, hooks=hooks)
    guessing = learner.guessing_loss(chip.datasheet, 4)
    assert 0.98 * guessing <= seen[0] <= 1.1 * guessing  # probes of the output add a little


def test_answers_of_one_class_are_doubted():
    all_three = np.zeros((4, 4), int)
    all_three[:, 3] = 5
    assert "every one of 20 answers on the test is class 3" in doubts.one_answer(all_three, "the test")
    assert doubts.one_answer(counts(5, 9), "x") is None
    assert doubts.one_answer(np.diag([9, 0, 0]), "x") is None  # there is but one class


def test_an_error_like_guessing_is_doubted_and_a_rare_class_is_named_as_a_cause():
    assert "rate" in doubts.like_guessing(counts(2, 18), "validation")
    assert doubts.like_guessing(counts(10, 9), "validation") is None
    rare = np.array([[95, 0], [5, 0]])
    assert "one class is rare" in doubts.like_guessing(rare, "the test")
    assert doubts.like_guessing(np.zeros((3, 3), int), "x") is None


def test_the_level_of_the_guessing_test_is_what_it_says():
    rng = np.random.default_rng(0)

    def doubted(chance: float, samples: int) -> float:
        right = rng.binomial(samples, chance, 4000)
        found = []
        for one in right:
            table = np.zeros((10, 10), int)
            table[:, 0] = samples // 10
            hits = min(int(one), samples)
            table[0, 0] += hits - samples // 10  # as many right as drawn, whatever the class
            table = np.diag(np.full(10, samples // 10)) if hits == samples else table
            base = np.zeros((10, 10), int)
            for k in range(10):
                own = hits // 10 + (k < hits % 10)
                base[k, k], base[k, (k + 1) % 10] = own, samples // 10 - own
            found.append(doubts.like_guessing(base, "x") is not None)
        return float(np.mean(found))

    assert doubted(0.1, 100) > 0.985  # of guessers, at least 99 in 100 less the error of 4,000 draws
    assert doubted(0.55, 100) == 0.0


def test_a_label_over_ink_is_doubted_and_one_over_dark_pixels_is_not():
    rng = np.random.default_rng(0)
    x = rng.random((500, 20), dtype=np.float32)
    x[:, :4] = 0
    x[:10, 0] = 1  # two in a hundred
    assert doubts.ink_under_the_label(x, (0, 1, 2, 3)) is None and doubts.ink_under_the_label(x, None) is None
    x[:100, 1] = 1
    assert "20% of the images have ink" in doubts.ink_under_the_label(x, (0, 1, 2, 3))


def test_clipped_inputs_are_counted_and_doubted():
    sheet = load_design("mild").with_sizes((8, 4, 2)).revised(
        normaliser={"present": False}, converters={"input_range": 3.0}).datasheet()  # fmt: skip
    x = np.ones((100, 8), np.float32)
    assert doubts.clipped(x, sheet) is None
    x[:, :2] = 9
    assert "25% of the inputs that are not zero are clipped by the converters of 'in'" in doubts.clipped(x, sheet)
    assert doubts.clipped(x, load_design("ideal").with_sizes((8, 4, 2)).datasheet()) is None  # no converters


@pytest.mark.parametrize("name", ["ideal", "mild", "harsh", "wild", "fields", "tiled", "recurrent"])
def test_shipped_designs_on_shipped_data_are_not_doubted(name):
    design, digits = build.fitted(name, build.load_data("digits", 0))
    assert doubts.clipped(digits.train_x, design.datasheet()) is None
    assert doubts.ink_under_the_label(digits.train_x, digits.label_lines) is None
    assert doubts.other_scale(digits.train_x, digits.test_x, "the test") is None
    assert doubts.label_lost(digits.train_x, 1.0) is None


def test_another_scale_is_doubted_both_ways_and_a_label_that_is_lost():
    x = np.random.default_rng(0).random((300, 6), dtype=np.float32)
    assert "divide pixels" in doubts.other_scale(x, 255 * x, "the test") and doubts.other_scale(255 * x, x, "the test")
    assert doubts.other_scale(x, 3 * x, "the test") is None
    assert "Raise label_strength" in doubts.label_lost(255 * x, 1.0) and doubts.label_lost(255 * x, 0.0) is None


def small(scale: float = 1.0) -> SimpleNamespace:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (rng.random((120, 12), dtype=np.float32) + 2 * np.eye(12, dtype=np.float32)[y + 4]) * np.float32(scale)
    return SimpleNamespace(train_x=x, train_y=y, valid_x=x, valid_y=y, classes=3, label_lines=(0, 1, 2))


@slow_in_plain_python
def test_a_training_that_stands_still_says_so_early_once_and_at_the_end(monkeypatch):
    """A rate of zero learns nothing; the same training with a rate is silent."""
    run = Streams(0)
    design = build.design_for("mild", data.load("digits", run)).with_sizes((12, 8, 3))
    said: list[str] = []
    learner = LEARNERS.get("ap")(epochs=12, rate=0.0, batch_size=20)
    hooks = Hooks(on_warning=said.append)
    result = train(build.make_chip(design, run), learner, small(), run, validate_every=1, hooks=hooks)
    assert len(result.warnings) == 2 and all(":" in sentence for sentence in said) and ", epoch 4: " in said[0]
    assert len(said) == 2  # each kind once
    learner = LEARNERS.get("ap")(epochs=12, batch_size=20)
    assert train(build.make_chip(design, run), learner, small(), run).warnings == ()
    logged: list[str] = []
    monkeypatch.setattr(loop.LOG, "warning", logged.append)
    ff = LEARNERS.get("ff")(epochs=2, batch_size=20, label_strength=0.01)
    result = train(build.make_chip(design, run), ff, small(255.0), run)
    assert logged == [f"ff: {sentence}" for sentence in result.warnings]  # without anybody to tell, it goes to the log
    assert any("inputs are large" in sentence for sentence in logged)


def test_the_standing_inside_an_epoch_is_the_mean_over_the_steps_taken():
    learner, seen = LEARNERS.get("ap")(epochs=2, batch_size=20, rate=0.0), []
    hooks = Hooks(on_step=lambda session: seen.append(session.standing.info["loss"]))
    result = train(IdealChip(make_datasheet((12, 8, 3)), 1), learner, small(), Streams(0), hooks=hooks)
    assert len(seen) == 12 and seen[5] == pytest.approx(result.history[0].info["loss"])
    assert max(seen) < 1.6 * min(seen)  # no step counts for less than it is


@slow_in_plain_python
def test_a_rule_that_writes_at_the_end_alone_is_not_doubted_before():
    """Its loss falls from the start; its chip answers like a guesser until it is programmed."""
    run, said = Streams(0), []
    design = build.design_for("mild", data.load("digits", run)).with_sizes((12, 8, 3))
    learner = LEARNERS.get("insilico")(epochs=15, rate=0.02)
    hooks = Hooks(on_warning=said.append)
    result = train(build.make_chip(design, run), learner, small(), run, validate_every=1, hooks=hooks)
    errors = [record.valid_error for record in result.history]
    assert min(errors[:-1]) > 0.3 and errors[-1] < 0.2 and said == [] and result.warnings == ()


def test_few_samples_that_are_all_right_are_not_doubted():
    assert doubts.like_guessing(np.diag([3, 3]), "validation") is None
