"""Unsupervised Forward-Forward: negative data are hybrids of images, labels are seen by the head alone, and it learns."""

import dataclasses

import numpy as np
import pytest
from batches import RNG, TASK, batch, begin, blobs, watched
from fakes import IdealChip

from mortalsim.chips import load_design
from mortalsim.hardware import Outer, Task
from mortalsim.learners import LEARNERS
from mortalsim.learners.ff_unsupervised import _blobs
from mortalsim.objectives import cross_entropy
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train


def make_learner(**kw):
    plain = {"momentum": 0.0, "peer": 0.0, "decay": 0.0, "head_decay": 0.0, "head_center": 0.0}
    return LEARNERS.get("ff_unsupervised")(**plain | kw)


def sheet():
    return load_design("ideal").revised(sizes=(12, 8, 6, 4), into_output="later").datasheet()


def test_hybrids_show_each_image_where_the_mask_is_set_and_the_next_one_elsewhere():
    task = Task(4, (0, 1, 2, 3), (2, 4), tuple(range(4, 12)))
    x = np.repeat(np.arange(1, 7, dtype=np.float32)[:, None], 12, axis=1)
    mixed = make_learner(blurs=1).hybrids(task, x, RNG(0))
    following = np.roll(x, -1, axis=0)
    assert np.all((mixed == x) | (mixed == following))
    assert np.array_equal(mixed[:, :4], x[:, :4])  # what is no image stays
    shares = (mixed[:, 4:] == x[:, 4:]).mean()
    assert 0.3 < shares < 0.7


def test_a_mask_s_blobs_grow_with_blurring_and_halve_the_image():
    """Neighbours agree in half of all places at no blur, and ever more often; channels share a mask. 5 standard errors."""
    agree = []
    for blurs in (0, 1, 4, 10):
        masks = _blobs(200, (28, 28), blurs, RNG(1))
        agree.append(np.mean(masks == np.roll(masks, 1, axis=2)))
        assert abs(masks.mean() - 0.5) < 0.12
    assert abs(agree[0] - 0.5) < 5 * 0.5 / np.sqrt(200 * 28 * 28)
    assert np.all(np.diff(agree) > 0.05) and agree[-1] > 0.85
    colours = _blobs(3, (5, 6, 3), 2, RNG(1))
    assert colours.shape == (3, 5, 6, 3) and np.array_equal(colours[..., 0], colours[..., 2])


def test_images_are_positive_and_hybrids_negative_and_the_output_waits():
    chip, b = watched(sheet()), batch()
    learner = make_learner(threshold="width", temperature=1.0)
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, _),) = chip.presented
    np.testing.assert_array_equal(x[:10], b.x)
    np.testing.assert_array_equal(x[10:], learner.hybrids(TASK, b.x, RNG(1)))
    assert [request.array for request in chip.asked] == [0, 1]
    assert all((request.post[:10] >= 0).all() and (request.post[10:] <= 0).all() for request in chip.asked)


def test_no_label_is_looked_at_before_the_head_learns():
    """The same steps with all labels exchanged ask for the same."""
    asked = []
    for turn in (0, 1):
        chip, b, learner = watched(sheet()), batch(), make_learner()
        b = dataclasses.replace(b, targets=np.roll(b.targets, turn, axis=1))
        learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
        asked.append(np.concatenate([request.post.ravel() for request in chip.asked]))
    np.testing.assert_array_equal(*asked)


@pytest.mark.parametrize(("progress", "factor"), [(0.65, 1.0), (0.8, 1.0), (0.9, 0.5)])
def test_then_the_output_alone_learns_by_the_delta_rule_with_a_schedule_of_its_own(progress, factor):
    chip, b = watched(sheet()), batch(progress=progress)
    learner = make_learner(unlabelled=0.6, head_rate=0.2)
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, _),) = chip.presented
    np.testing.assert_array_equal(x, b.x)
    trace = IdealChip(sheet(), 1).read(b.x)
    assert {chip.datasheet.arrays[request.array].target for request in chip.asked} == {"out"}
    lines = sum(tap.pre.shape[1] for tap in trace.taps if chip.datasheet.arrays[tap.array].target == "out")
    for request in chip.asked:
        assert isinstance(request, Outer)
        np.testing.assert_allclose(-10 * request.post, cross_entropy(trace.output, b.targets)[1], rtol=1e-4, atol=1e-6)
        assert request.rate == pytest.approx(0.2 * factor / lines, rel=0.3)


def test_it_learns_four_easy_classes():
    data = blobs()
    data.image_shape, data.image_lines = (2, 4), tuple(range(8))
    chip = IdealChip(load_design("ideal").revised(sizes=(12, 16, 16, 4), into_output="later").datasheet(), 1)
    learner = LEARNERS.get("ff_unsupervised")(epochs=40, batch_size=20, blurs=1)
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.05
