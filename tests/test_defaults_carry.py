"""Defaults mean the same on chips of other widths, on more input lines, and on data of another scale."""

from types import SimpleNamespace

import numpy as np
import pytest
from batches import RNG
from fakes import IdealChip, make_datasheet
from running import slow_in_plain_python

from mortalsim import build
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

RULES = ("ff", "mono", "groups", "ap", "learned_feedback", "physics_aware")


def blobs(lines, scale=1.0, common=0.0):
    """Four classes that differ on a third of the lines; ``common``: size of what all samples share on all lines."""
    rng = RNG(0)
    y = np.arange(600) % 4
    means = rng.random((4, lines)) * (rng.random(lines) < 0.3)
    x = np.zeros((600, lines + 4), np.float32)
    x[:, :lines] = scale * (means[y] + 0.2 * rng.random((600, lines)) + common)
    return SimpleNamespace(
        train_x=x[:500],
        train_y=y[:500],
        valid_x=x[500:],
        valid_y=y[500:],
        classes=4,
        label_lines=tuple(range(lines, lines + 4)),
    )


@slow_in_plain_python
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("lines", "width", "more"),
    [(30, 40, {}), (30, 400, {}), (600, 40, {}), (600, 400, {}), (30, 40, {"scale": 0.01}), (30, 40, {"scale": 200.0})],
    ids=str,
)
def test_defaults_learn_four_classes_at_any_width_number_of_lines_and_scale(name, lines, width, more):
    """20 epochs, where guessing is wrong on 75 %."""
    data = blobs(lines, **more)
    chip = IdealChip(make_datasheet((lines + 4, width, width, 4)), 1)
    learner = LEARNERS.get(name)(epochs=20)
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.1


@slow_in_plain_python
def test_mono_keeps_a_chip_that_it_lost_when_the_bias_lines_had_all_that_rows_have_in_common():
    """The chip made 68 % errors with a center of 1."""
    data = build.load_data("digits", Streams(0))
    design = build.design_for(build.find_design("wild"), data, (256, 256))
    chip = build.make_chip(design, Streams(0).child("tuning chips", 0), 1)
    learner = LEARNERS.get("mono")(rate=0.2, epochs=15)
    result = train(chip, learner, data, Streams(0).child("tuning", "digits", 1, 0), validate_every=0)
    assert error_rate(chip, learner, data.task, data.valid_x, data.valid_y, result.state) <= 0.07


@slow_in_plain_python
@pytest.mark.parametrize("name", ["mono", "groups", "ap", "learned_feedback"])
def test_rules_that_centre_bear_inputs_with_a_large_common_part(name):
    data = blobs(100, common=1.0)
    chip = IdealChip(make_datasheet((104, 60, 60, 4)), 1)
    learner = LEARNERS.get(name)(epochs=20)
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.1
