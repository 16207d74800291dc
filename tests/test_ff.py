"""Forward-Forward does what Hinton's MATLAB does, on a chip whose arithmetic is exact."""

import numpy as np
import pytest
from batches import LINES, RNG, SIZES, TASK, batch, begin, blobs, drive_of, make, watched
from fakes import IdealChip, make_datasheet
from nets import net
from scipy.special import softmax

from mortalsim.hardware import Delta, Outer, Shrink, Task
from mortalsim.learners import LEARNERS, Batch
from mortalsim.learners._goodness import GOODNESS
from mortalsim.objectives import cross_entropy, goodness
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train


def bare(**kw):
    plain = {
        "peer": 0.0,
        "decay": 0.0,
        "head_decay": 0.0,
        "momentum": 0.0,
        "temperature": 1.0,
        "threshold": "width",
        "center": 0.0,
        "head_center": 0.0,
    }
    return LEARNERS.get("ff")(**plain | kw)


def step(learner, chip, b=None, task=TASK, state=None):
    """Take one step, from the beginning unless a state is given."""
    state = begin(learner, chip, task) if state is None else state
    return learner.step(chip, task, b or batch(), state, RNG(1))


def test_ff_update_is_the_published_one():
    """(1 - p) s on positive data, -p s on negative data (ffnew.m 147-148, 205-207), head by the delta rule.

    A temperature of 1 is the width over its own root: the goodness of random data is spread by as much.
    """
    learner, chip, b = bare(rate=0.3, head_rate=0.2), watched(), batch()
    step(learner, chip, b)
    (neutral, _), (both, _) = chip.presented
    fresh = make()
    pairs, heads = fresh.read(both), fresh.read(neutral)
    taps, head_taps = pairs.taps, heads.taps
    for name, request in zip(("h1", "h2"), chip.asked[1:], strict=True):
        drive = drive_of(chip.datasheet, pairs, name)
        assert isinstance(request, Outer) and request.rate == pytest.approx(0.3 / drive, rel=1e-5)
        good, bad = taps[request.array].post[:10], taps[request.array].post[10:]
        p_good, p_bad = (1 / (1 + np.exp((s.shape[1] - goodness(s)) / s.shape[1] ** 0.5)) for s in (good, bad))
        np.testing.assert_allclose(10 * request.post[:10], (1 - p_good)[:, None] * good, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(10 * request.post[10:], -p_bad[:, None] * bad, rtol=1e-4, atol=1e-6)
    head = chip.asked[0]
    assert head.array == 2 and head.rate == pytest.approx(0.2 / drive_of(chip.datasheet, heads, "out"), rel=1e-5)
    np.testing.assert_allclose(-10 * head.post, cross_entropy(head_taps[2].post, b.targets)[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("center", [0.0, 0.5, 1.0])
def test_ff_leaves_a_share_of_what_rows_have_in_common_to_the_bias_lines_and_another_in_its_head(center):
    learner, chip = bare(center=center, head_center=center / 2), watched()
    step(learner, chip)
    (neutral, _), (both, _) = chip.presented
    for request in chip.asked:
        plain = make().read(neutral if request.array == 2 else both).taps[request.array].pre
        share = center / 2 if request.array == 2 else center
        expected = (1 - share) * plain[:, :-1].mean(axis=0)
        np.testing.assert_allclose(request.pre[:, :-1].mean(axis=0), expected, rtol=1e-3, atol=1e-5)
    assert [request.array for request in chip.asked] == [2, 0, 1]


def test_ff_presents_right_neutral_and_wrong_labels():
    lines = [11, 3, 4, 5]
    learner, chip, b = bare(label_strength=2.0), watched(), batch(40)
    step(learner, chip, b, Task(4, tuple(lines)))
    (neutral, _), (both, _) = chip.presented
    negative, strength = both[40:], 2 * b.x.max()  # in units of the largest input
    np.testing.assert_array_equal(both[:40, lines], strength * b.targets)
    np.testing.assert_array_equal(neutral[:, lines], strength / 4)
    assert np.all(negative[:, lines].sum(axis=1) == strength)
    assert np.all((negative[:, lines] * b.targets) == 0)  # never the right one
    rest = [i for i in range(12) if i not in lines]
    np.testing.assert_array_equal(negative[:, rest], b.x[:, rest])


def test_ff_wrong_labels_are_hard():
    """Drawn in proportion to the head's softmax over the wrong classes: 10,000 draws, 5 standard errors a class."""
    learner, chip, size = bare(), watched(), 10_000
    chip.weights[2] *= 3  # so that the head has opinions
    x = np.tile(batch(1).x, (size, 1))
    step(learner, chip, Batch(x, np.tile(np.float32([0, 0, 1, 0]), (size, 1)), 0.1))
    (neutral, _), (both, _) = chip.presented
    guess = make()
    guess.weights[2] *= 3
    p = softmax(np.where([0, 0, 1, 0], -np.inf, guess.read(neutral[:1]).output[0]))
    share = (both[size:, LINES] / x.max()).mean(axis=0)
    assert np.ptp(p[p > 0]) > 0.2  # uniform ones would show
    assert share[2] == 0 and np.all(np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / size))


def test_ff_wrong_labels_without_a_head_are_equally_likely():
    learner, chip, size = bare(), watched(net("headless").datasheet()), 10_000
    targets, x = np.tile(np.float32([0, 0, 1, 0]), (size, 1)), batch(1).x
    step(learner, chip, Batch(np.tile(x, (size, 1)), targets, 0.1))
    ((both, _),) = chip.presented
    share = (both[size:, LINES] / x.max()).mean(axis=0)
    np.testing.assert_allclose(share, [1 / 3, 1 / 3, 0, 1 / 3], atol=5 * np.sqrt(2 / 9 / size))


def test_ff_momentum_is_a_running_mean_sent_as_delta():
    chips = [watched() for _ in range(2)]
    for chip, momentum in zip(chips, (0.0, 0.9), strict=True):
        step(bare(momentum=momentum), chip)
    for outer, delta in zip(chips[0].asked[1:], chips[1].asked[1:], strict=True):
        assert isinstance(delta, Delta)
        assert delta.scale == outer.rate
        np.testing.assert_allclose(delta.matrix, 0.1 * (outer.pre.T @ outer.post), rtol=1e-4, atol=1e-7)


def test_ff_momentum_remembers_the_steps_before():
    """Mean of the products, weight 0.9 for the past: with the chip held still, step t asks for 1 - 0.9^t of one product."""
    chip, learner = watched(), bare(momentum=0.9)
    state, held = begin(learner, chip), [w.copy() for w in chip.weights]
    asked = []
    for _ in range(3):
        chip.weights = [w.copy() for w in held]
        chip.asked.clear()
        state, _ = step(learner, chip, state=state)
        asked.append(np.concatenate([r.matrix.ravel().copy() for r in chip.asked if isinstance(r, Delta)]))
    np.testing.assert_allclose(asked[1], 1.9 * asked[0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(asked[2], 2.71 * asked[0], rtol=1e-3, atol=1e-6)


def test_ff_peer_term_lifts_a_dead_neuron():
    """Ungated: a neuron that is always off gets a positive update, though its activity is zero (ffnew.m 150-151)."""
    chip = watched()
    chip.weights[0][:, 3] = -1
    step(bare(peer=0.03), chip)
    post = next(request.post for request in chip.asked[1:] if request.array == 0)
    assert len(post) == 21 and post[20, 3] > 0 and np.all(post[:20, 3] == 0)  # one row for what all samples share


def test_ff_peer_mean_is_nine_tenths_old_and_the_pull_is_towards_the_population_s():
    """Running mean over positive data, from 0.5 on: 0.9 old + 0.1 new (ffnew.m 150); all samples together make one row."""
    chip, learner = watched(), bare(peer=0.03)
    state, expected = begin(learner, chip), np.full(8, 0.5)
    for _ in range(2):
        chip.asked.clear(), chip.presented.clear()
        weights = chip.weights[0].copy()
        state, _ = step(learner, chip, state=state)
        fresh = make()
        fresh.weights[0] = weights
        tap = fresh.read(chip.presented[-1][0]).taps[0]
        expected = 0.9 * expected + 0.1 * tap.post[:10].mean(axis=0)
        np.testing.assert_allclose(state["mean h1"], expected, rtol=1e-5)
        request = next(request for request in chip.asked if isinstance(request, Outer) and request.array == 0)
        np.testing.assert_allclose(request.pre[-1], tap.pre[:10].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(request.post[-1], 0.03 * (expected.mean() - expected), rtol=1e-4, atol=1e-7)


def test_ff_skips_samples_that_hardly_count():
    """Rows with a coefficient below ``skip`` are left out; the others are as they were."""
    asked = []
    for skip in (0.0, 0.4):
        chip = watched()
        step(bare(skip=skip), chip)
        asked.append(next(request for request in chip.asked if request.array == 0))
    every, some = asked
    kept = [row for row in range(20) if any(np.array_equal(every.post[row], other) for other in some.post)]
    np.testing.assert_array_equal(every.post[kept], some.post)
    np.testing.assert_array_equal(every.pre[kept], some.pre)
    good, bad = np.split(goodness(make().read(chip.presented[1][0]).taps[0].post), 2)
    coefficients = np.concatenate([1 / (1 + np.exp((good - 8) / 8**0.5)), 1 / (1 + np.exp((8 - bad) / 8**0.5))])
    assert kept == list(np.flatnonzero(coefficients >= 0.4)) and 0 < len(kept) < 20


def test_ff_asks_for_nothing_where_every_sample_is_skipped():
    chip = watched()
    step(bare(skip=1.0), chip)
    assert [request.array for request in chip.asked] == [2]


def test_ff_decay_is_asked_for_lazily_and_in_full():
    chip = watched()
    learner = bare(decay=0.1, head_decay=0.2, shrink_every=3, rate=0.1, head_rate=0.5)
    state = begin(learner, chip)
    for _ in range(7):
        state, _ = step(learner, chip, state=state)
    shrinks = [request for request in chip.asked if isinstance(request, Shrink)]
    assert [shrink.array for shrink in shrinks] == [0, 1, 2] * 2
    # A factor makes up for the steps asked for since the last one: the head's come first in each step.
    rates = np.reshape([request.rate for request in chip.asked if isinstance(request, Outer)], (7, 3))[:6, [1, 2, 0]]
    due = rates.reshape(2, 3, 3).sum(axis=1) * [0.1, 0.1, 0.2]
    np.testing.assert_allclose([s.factor for s in shrinks], np.exp(-due.ravel()), rtol=1e-6)


def test_ff_labels_follow_soft_targets():
    """10,000 draws; the bound is 5 standard errors, false alarm below 1e-6 per class."""
    learner, chip = bare(), watched()
    targets = np.tile(np.float32([0.7, 0.2, 0.1, 0.0]), (10_000, 1))
    step(learner, chip, Batch(np.ones((10_000, 12), np.float32), targets, 0.1))
    share = chip.presented[1][0][:10_000, LINES].mean(axis=0)
    assert np.all(np.abs(share - targets[0]) <= 5 * np.sqrt(targets[0] * (1 - targets[0]) / 10_000))


@pytest.mark.parametrize(("progress", "factor"), [(0.1, 1.0), (0.75, 0.5), (0.9, 0.2)])
def test_ff_steps_fall_as_the_schedule_says(progress, factor):
    chip, learner = watched(), bare(rate=0.3, head_rate=0.2, decay=0.1, head_decay=0.1, shrink_every=1)
    step(learner, chip, batch(progress=progress))
    (neutral, _), (both, _) = chip.presented
    sheet, pairs = chip.datasheet, make().read(both)
    rates = [0.3 / drive_of(sheet, pairs, "h1"), 0.3 / drive_of(sheet, pairs, "h2")]
    rates.append(0.2 / drive_of(sheet, make().read(neutral), "out"))
    head, *hidden = (request.rate for request in chip.asked if isinstance(request, Outer))
    assert [*hidden, head] == pytest.approx(factor * np.array(rates), rel=1e-5)
    factors = [np.log(request.factor) for request in chip.asked if isinstance(request, Shrink)]
    assert factors == pytest.approx(-0.1 * factor * np.array(rates), rel=1e-5)


def test_ff_reports_its_head_s_loss_and_the_share_of_pairs_in_the_wrong_order():
    chip, b = watched(), batch(40)
    _, info = step(bare(), chip, b)
    (neutral, _), (both, _) = chip.presented
    fresh = make()
    trace = fresh.read(both)
    wrong = [np.mean(goodness(post[40:]) > goodness(post[:40])) for post in (trace.states["h1"][0], trace.states["h2"][0])]
    assert 0 < wrong[0] != wrong[1]
    assert info["pair_errors"] == pytest.approx(np.mean(wrong))
    assert info["loss"] == pytest.approx(cross_entropy(fresh.read(neutral).output, b.targets)[0].mean(), rel=1e-4)
    headless = IdealChip(net("headless").datasheet(), 1)
    _, info = step(bare(), headless, b)
    assert info["loss"] == info["pair_errors"]


@pytest.mark.parametrize("sizes", [(12, 8, 6, 5, 4), (12, 8, 6, 4), (12, 8, 4)], ids=str)
def test_ff_predicts_by_the_goodness_of_all_hidden_populations_but_the_first(sizes):
    """Unless it is the only one (ffnew.m 262-270); the label of largest goodness, one read a class."""
    chip, x = make(sizes), batch().x
    learner = bare()
    scores = learner.predict(chip, TASK, x, begin(learner, chip))
    names = [f"h{place}" for place in range(1, len(sizes) - 1)]
    for label in range(4):
        labelled = x.copy()
        labelled[:, LINES] = np.eye(4)[label]
        states = chip.read(labelled).states
        by_hand = sum(goodness(states[name][0]) for name in names[min(1, len(names) - 1) :])
        np.testing.assert_allclose(scores[:, label], by_hand, rtol=1e-5)


def test_ff_predicts_many_images_in_parts_with_the_same_result():
    chip, learner = make(), bare()
    x, state = RNG(3).random((1203, 12), dtype=np.float32), begin(bare(), make())
    together = learner.predict(chip, TASK, x, state)
    apart = np.concatenate([learner.predict(chip, TASK, part, state) for part in (x[:7], x[7:])])
    np.testing.assert_allclose(together, apart, rtol=1e-5)


def test_ff_normalises_for_a_chip_that_does_not_and_predicts_either_way():
    chip = watched(make_datasheet(SIZES, normaliser="none"))
    for by, samples in (("goodness", 40), ("softmax", 10)):
        learner = bare(predict_by=by)
        chip.presented.clear()
        scores = learner.predict(chip, TASK, batch().x, begin(learner, chip))
        assert scores.shape == (10, 4) and sum(len(x) for x, _ in chip.presented) == samples
        np.testing.assert_allclose(np.mean(chip.presented[0][0] ** 2, axis=1), 1, rtol=1e-4)


def test_ff_running_threshold_settles_between_good_and_bad():
    learner, chip, b = bare(threshold="running", rate=0.1), make(), batch()
    state = begin(learner, chip)
    for _ in range(30):
        state, _ = step(learner, chip, b, state=state)
    level = goodness(chip.read(b.x).taps[0].post).mean()
    assert 0.5 * level < state["threshold h1"][0] < 2 * level
    assert state["threshold h1"][0] != 8  # the width, from which it began


def test_ff_threshold_begins_where_the_chip_s_goodness_is():
    """The mean goodness of the first step's pairs, whatever the chip's gain; it stays there."""
    for gain in (1.0, 30.0):
        chip, learner = watched(make_datasheet(SIZES, weight_range=100.0)), bare(threshold="chip", rate=0.0)
        for weights in chip.weights[:2]:
            weights *= gain
        fresh = make(weight_range=100.0)
        fresh.weights = [weights.copy() for weights in chip.weights]
        state, _ = step(learner, chip)
        levels = [
            goodness(post[0]).mean() for name, post in fresh.read(chip.presented[1][0]).states.items() if name != "out"
        ]
        assert [state[f"threshold {name}"][0] for name in ("h1", "h2")] == pytest.approx(levels, rel=1e-4)
        state, _ = step(learner, chip, state=state)
        assert [state[f"threshold {name}"][0] for name in ("h1", "h2")] == pytest.approx(levels, rel=1e-4)


def test_ff_pairs_are_told_apart_as_sharply_at_any_gain_and_width():
    """Coefficients depend on goodness over threshold alone: a chip with ten times the gain is asked for the same, scaled."""
    posts = []
    for gain in (1.0, 10.0):
        chip = watched(make_datasheet(SIZES, weight_range=100.0))
        chip.weights[0] *= gain  # the second population sees rows divided by their root mean square
        step(bare(threshold="chip"), chip)
        post = next(request.post for request in chip.asked if request.array == 0)
        posts.append(post / gain)
    np.testing.assert_allclose(posts[0], posts[1], rtol=1e-3, atol=1e-6)


def test_ff_margin_pushes_pairs_apart_and_no_further_than_that():
    """SymBa: a pair's push is the logistic of how far the wrong one is ahead; both its members get the same."""
    chip, b = watched(), batch()
    step(bare(objective="margin", threshold="chip"), chip, b)
    s = make().read(chip.presented[1][0]).states["h1"][0]
    good, bad = np.split(goodness(s), 2)
    heat = goodness(s).mean() / np.sqrt(s.shape[1])
    push = 1 / (1 + np.exp((good - bad) / heat))
    post = next(request.post for request in chip.asked if request.array == 0)
    np.testing.assert_allclose(10 * post, np.concatenate([push, -push])[:, None] * s, rtol=1e-3, atol=1e-6)


def test_ff_collaboration_adds_a_share_of_the_other_populations_margins():
    chip, b = watched(), batch()
    step(bare(collaboration=0.5), chip, b)
    states = make().read(chip.presented[1][0]).states
    s, t = states["h1"][0], states["h2"][0]
    margin = (goodness(s) - 8) / 8**0.5 + 0.5 * (goodness(t) - 6) / 6**0.5
    sign = np.repeat([1, -1], 10)
    wanted = sign / (1 + np.exp(sign * margin))
    post = next(request.post for request in chip.asked if request.array == 0)
    np.testing.assert_allclose(10 * post, wanted[:, None] * s, rtol=1e-3, atol=1e-6)


def test_goodness_of_the_largest_counts_their_squares_and_teaches_them_alone():
    post = np.float32([[3, -1, 2, 0], [0, 0, 0, 1]])
    value, direction = GOODNESS["top"](post, 0.5)
    np.testing.assert_allclose(value, [13, 1])
    np.testing.assert_array_equal(direction, [[3, 0, 2, 0], [0, 0, 0, 1]])
    value, direction = GOODNESS["squares"](post, 0.5)
    np.testing.assert_allclose(value, [14, 1])
    np.testing.assert_array_equal(direction, post)


def test_goodness_of_bursts_does_not_change_with_the_gain_and_rises_along_its_direction():
    post = RNG(0).standard_normal((5, 20)).astype(np.float32)
    value, direction = GOODNESS["bursts"](post, 0.1)
    np.testing.assert_allclose(GOODNESS["bursts"](7 * post, 0.1).value, value, rtol=1e-5)
    up, down = (GOODNESS["bursts"](post + sign * np.float32(1e-2) * direction, 0.1).value for sign in (1, -1))
    slope = (np.log(up) - np.log(down)) / 2e-2
    # The direction is the logarithm's derivative times half the mean square times the number of neurons.
    np.testing.assert_allclose(slope, 2 * np.sum(direction**2, axis=1) / np.sum(post**2, axis=1), rtol=2e-2)
    silent = GOODNESS["bursts"](np.zeros((2, 4), np.float32), 0.1)
    assert not silent.value.any() and not silent.direction.any()


@pytest.mark.parametrize(
    "settings",
    [
        {"goodness": "top", "top": 0.3},
        {"goodness": "bursts"},
        {"objective": "margin"},
        {"collaboration": 0.3},
        {"center": 1.0},
    ],
    ids=str,
)
def test_ff_learns_with_every_option(settings):
    data = blobs()
    learner = LEARNERS.get("ff")(epochs=40, batch_size=20, rate=3.0, **settings)
    chip = make((12, 16, 16, 4))
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.1
