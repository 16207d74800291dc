"""Each rule does what its paper says, on a chip whose arithmetic is exact."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import IdealChip, make_datasheet

from mortalsim.checks import MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.hardware import CurrentNudge, Delta, Outer, Port, Program, Replay, Shrink
from mortalsim.learners import LEARNERS, Batch
from mortalsim.learners.base import half_linear
from mortalsim.objectives import cross_entropy, goodness, one_hot
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train
from mortalsim.twin import Twin

SIZES = (12, 8, 6, 4)
RNG = np.random.default_rng


def make(sizes=SIZES, seed=1, **kw):
    return IdealChip(make_datasheet(sizes, **kw), seed)


def batch(size=10, progress=0.1, seed=0, sizes=SIZES):
    x = RNG(seed).random((size, sizes[0]), dtype=np.float32)
    return Batch(x, one_hot(np.arange(size) % sizes[-1], sizes[-1]), progress)


class Watched(IdealChip):
    """Keeps what it is asked."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.asked, self.presented = [], []

    def read(self, x, nudge=None):
        self.presented.append((np.array(x), nudge))
        return super().read(x, nudge)

    def write(self, request):
        self.asked.append(request)
        super().write(request)


def blobs(seed=0):
    """Four easy classes in 12 dimensions, of which the last four are empty."""
    rng = RNG(seed)
    y = np.arange(240) % 4
    x = np.zeros((240, 12), np.float32)
    x[:, :8] = rng.random((4, 8))[y] + 0.1 * rng.random((240, 8))
    return SimpleNamespace(train_x=x[:200], train_y=y[:200], valid_x=x[200:], valid_y=y[200:], classes=4)


FAST = {
    "ff": {"epochs": 40, "rate": 0.2, "batch_size": 20, "label_lines": (8, 9, 10, 11)},
    "ap": {"epochs": 20, "rate": 0.3, "batch_size": 20},
    "wp": {"rate": 0.5, "amplitude": 0.03, "epochs": 40, "probes": 8},
    "physics_aware": {"epochs": 15, "rate": 0.3, "batch_size": 20},
    "insilico": {"epochs": 20, "rate": 0.01, "batch_size": 20},
}


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_rule_learns_four_easy_classes(name):
    chip, data = make((12, 16, 16, 4)), blobs()
    learner = LEARNERS.get(name)(**FAST.get(name, {}))
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, data.valid_x, data.valid_y, result.state) <= 0.1


@pytest.mark.parametrize("name", LEARNERS.names())
def test_missing_ports_are_refused_in_a_sentence(name):
    learner = LEARNERS.get(name)()
    for port in learner.ports:
        with pytest.raises(MissingPort, match=f"{name} needs the port {port.value}"):
            learner.init(make_datasheet(SIZES, ports=frozenset(Port) - {port}), RNG(0))


def test_unknown_learner_and_nonsense_settings():
    with pytest.raises(UnknownName, match="Did you mean 'insilico'"):
        LEARNERS.get("insilco")
    assert LEARNERS.summaries()["wp"].startswith("Weight perturbation")
    for name, setting in [("ff", "epochs"), ("wp", "amplitude"), ("ap", "probes"), ("readout", "ridge")]:
        with pytest.raises(RangeError, match=setting):
            LEARNERS.get(name)(**{setting: 0})
    with pytest.raises(UnknownName, match="predict_by"):
        LEARNERS.get("ff")(predict_by="votes")


def test_half_linear_is_one_then_falls_to_zero():
    assert [half_linear(p) for p in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]


# --- Forward-Forward ------------------------------------------------------------------------------------------------------


def bare(**kw):
    plain = {"peer": 0.0, "decay": 0.0, "head_decay": 0.0, "momentum": 0.0, "temperature": 1.0}
    return LEARNERS.get("ff")(**plain | kw)


def test_ff_update_is_the_published_one():
    """(1 - p) s on positive data, -p s on negative data (ffnew.m 147-148, 205-207), head by the delta rule."""
    learner, chip, b = bare(rate=0.3, head_rate=0.2), Watched(make_datasheet(SIZES), 1), batch()
    learner.step(chip, b, learner.init(chip.datasheet, RNG(0)), RNG(1))
    (neutral, _), (both, _) = chip.presented
    fresh = make()
    taps, head_taps = fresh.read(both).taps, fresh.read(neutral).taps
    for request in chip.asked[1:]:
        assert isinstance(request, Outer) and request.rate == pytest.approx(0.3)
        good, bad = taps[request.array].post[:10], taps[request.array].post[10:]
        p_good, p_bad = (1 / (1 + np.exp(s.shape[1] - goodness(s))) for s in (good, bad))
        np.testing.assert_allclose(10 * request.post[:10], (1 - p_good)[:, None] * good, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(10 * request.post[10:], -p_bad[:, None] * bad, rtol=1e-4, atol=1e-6)
    head = chip.asked[0]
    assert head.array == 2 and head.rate == pytest.approx(-0.2 / 10)
    np.testing.assert_allclose(head.post, cross_entropy(head_taps[2].post, b.targets)[1], rtol=1e-4, atol=1e-6)


def test_ff_presents_right_neutral_and_wrong_labels():
    learner, chip, b = bare(label_lines=(11, 3, 4, 5), label_strength=2.0), Watched(make_datasheet(SIZES), 1), batch(40)
    learner.step(chip, b, learner.init(chip.datasheet, RNG(0)), RNG(1))
    (neutral, _), (both, _) = chip.presented
    lines, negative = [11, 3, 4, 5], both[40:]
    np.testing.assert_array_equal(both[:40, lines], 2 * b.targets)
    np.testing.assert_array_equal(neutral[:, lines], 0.5)
    assert np.all(negative[:, lines].sum(axis=1) == 2)
    assert np.all((negative[:, lines] * b.targets) == 0)  # never the right one
    rest = [i for i in range(12) if i not in lines]
    np.testing.assert_array_equal(negative[:, rest], b.x[:, rest])


def test_ff_momentum_is_a_running_mean_sent_as_delta():
    chips = [Watched(make_datasheet(SIZES), 1) for _ in range(2)]
    for chip, momentum in zip(chips, (0.0, 0.9), strict=True):
        learner = bare(momentum=momentum)
        learner.step(chip, batch(), learner.init(chip.datasheet, RNG(0)), RNG(1))
    for outer, delta in zip(chips[0].asked[1:], chips[1].asked[1:], strict=True):
        assert isinstance(delta, Delta)
        assert delta.scale == outer.rate
        np.testing.assert_allclose(delta.matrix, 0.1 * (outer.pre.T @ outer.post), rtol=1e-4, atol=1e-7)


def test_ff_peer_term_lifts_a_dead_neuron():
    """Ungated: a neuron that is always off gets a positive update, though its activity is zero (ffnew.m 150-151)."""
    chip = Watched(make_datasheet(SIZES), 1)
    chip.weights[0][:, 3] = -1
    learner = bare(peer=0.03)
    learner.step(chip, batch(), learner.init(chip.datasheet, RNG(0)), RNG(1))
    post = next(request.post for request in chip.asked[1:] if request.array == 0)
    assert len(post) == 21 and post[20, 3] > 0 and np.all(post[:20, 3] == 0)  # one row for what all samples share


def test_ff_skips_samples_that_hardly_count():
    """Rows with a coefficient below ``skip`` are left out; the others are as they were."""
    asked = []
    for skip in (0.0, 0.4):
        chip = Watched(make_datasheet(SIZES), 1)
        learner = bare(skip=skip)
        learner.step(chip, batch(), learner.init(chip.datasheet, RNG(0)), RNG(1))
        asked.append(next(request for request in chip.asked if request.array == 0))
    every, some = asked
    kept = [row for row in range(20) if any(np.array_equal(every.post[row], other) for other in some.post)]
    np.testing.assert_array_equal(every.post[kept], some.post)
    np.testing.assert_array_equal(every.pre[kept], some.pre)
    good, bad = np.split(goodness(make().read(chip.presented[1][0]).taps[0].post), 2)
    coefficients = np.concatenate([1 / (1 + np.exp(good - 16)), 1 / (1 + np.exp(16 - bad))])
    assert kept == list(np.flatnonzero(coefficients >= 0.4)) and 0 < len(kept) < 20


def test_ff_asks_for_nothing_where_every_sample_is_skipped():
    chip = Watched(make_datasheet(SIZES), 1)
    learner = bare(skip=1.0)
    learner.step(chip, batch(), learner.init(chip.datasheet, RNG(0)), RNG(1))
    assert [request.array for request in chip.asked] == [2]


def test_ff_decay_is_asked_for_lazily_and_in_full():
    chip = Watched(make_datasheet(SIZES), 1)
    learner = bare(decay=0.1, head_decay=0.2, shrink_every=3, rate=0.1, head_rate=0.5)
    state = learner.init(chip.datasheet, RNG(0))
    for _ in range(7):
        state, _ = learner.step(chip, batch(), state, RNG(1))
    shrinks = [request for request in chip.asked if isinstance(request, Shrink)]
    assert [shrink.array for shrink in shrinks] == [0, 1, 2] * 2
    np.testing.assert_allclose([s.factor for s in shrinks], np.exp([-0.03, -0.03, -0.3] * 2))


def test_ff_labels_follow_soft_targets():
    """10,000 draws; the bound is 5 standard errors, false alarm below 1e-6 per class."""
    learner, chip = bare(), Watched(make_datasheet(SIZES), 1)
    targets = np.tile(np.float32([0.7, 0.2, 0.1, 0.0]), (10_000, 1))
    b = Batch(np.ones((10_000, 12), np.float32), targets, 0.1)
    learner.step(chip, b, learner.init(chip.datasheet, RNG(0)), RNG(1))
    share = chip.presented[1][0][:10_000, :4].mean(axis=0)
    assert np.all(np.abs(share - targets[0]) <= 5 * np.sqrt(targets[0] * (1 - targets[0]) / 10_000))


def test_ff_normalises_for_a_chip_that_does_not_and_predicts_either_way():
    chip = Watched(make_datasheet(SIZES, normalised=False), 1)
    for by, samples in (("goodness", 40), ("softmax", 10)):
        learner = bare(predict_by=by)
        chip.presented.clear()
        scores = learner.predict(chip, batch().x, learner.init(chip.datasheet, RNG(0)))
        assert scores.shape == (10, 4) and sum(len(x) for x, _ in chip.presented) == samples
        np.testing.assert_allclose(np.mean(chip.presented[0][0] ** 2, axis=1), 1, rtol=1e-4)


def test_ff_running_threshold_settles_between_good_and_bad():
    learner, chip, b = bare(threshold="running", rate=0.1), make(), batch()
    state = learner.init(chip.datasheet, RNG(0))
    for _ in range(30):
        state, _ = learner.step(chip, b, state, RNG(1))
    level = goodness(chip.read(b.x).taps[0].post).mean()
    assert 0.5 * level < state["threshold0"][0] < 2 * level


def test_ff_refuses_wrong_label_lines():
    for lines in [(0, 1, 2), (0, 1, 2, 12)]:
        with pytest.raises(ShapeError, match="label_lines"):
            bare(label_lines=lines).init(make_datasheet(SIZES), RNG(0))


# --- perturbation ---------------------------------------------------------------------------------------------------------


def mean_update(learner, chip, b, steps):
    """The mean of what is asked for, and its standard error, over independent probes at fixed weights."""
    before = [weights.copy() for weights in chip.weights]
    state, updates = learner.init(chip.datasheet, RNG(0)), []
    rng = RNG(5)
    for _ in range(steps):
        learner.step(chip, b, state, rng)
        updates.append(np.concatenate([(now - old).ravel() for now, old in zip(chip.weights, before, strict=True)]))
        chip.weights = [weights.copy() for weights in before]
    return np.mean(updates, axis=0), np.std(updates, axis=0) / np.sqrt(steps)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "wp", "amplitude": 1e-3},
        {"name": "wp", "amplitude": 1e-3, "pattern": "rank1"},
        {"name": "wp", "antithetic": False, "probes": 2, "amplitude": 1e-3},
        {"name": "ap", "exact_output": False, "amplitude": 0.01},
        {"name": "ap", "exact_output": True, "amplitude": 0.01},
        {"name": "ap", "antithetic": False, "probes": 2, "amplitude": 1e-3},
    ],
    ids=str,
)
def test_perturbation_estimates_the_gradient_without_bias(settings):
    """Mean squared z of all weights over 500 probes: 1 for an unbiased estimate; 1.6 is over 5 standard deviations away."""
    settings = dict(settings)
    name = settings.pop("name")
    chip = make((6, 5, 3))
    b = batch(8, sizes=(6, 5, 3))
    learner = LEARNERS.get(name)(**{"rate": 1.0, "temperature": 1.0, "probes": 1} | settings)
    mean, error = mean_update(learner, chip, b, 500)
    truth = -np.concatenate([g.ravel() for g in Twin.nominal(chip.datasheet, chip.weights).gradient(b.x, b.targets)])
    # Where an update hardly varies (the output's exact slope) rounding and the finite amplitude are what is left.
    z = (mean - truth) / (error + 2e-3 * np.abs(truth).max())
    assert np.mean(z**2) < 1.6


def test_wp_replays_its_own_nudges_in_one_request():
    chip = Watched(make_datasheet(SIZES), 1)
    learner = LEARNERS.get("wp")(probes=3, rate=0.1, amplitude=0.02)
    learner.step(chip, batch(), learner.init(chip.datasheet, RNG(0)), RNG(1))
    nudges = [nudge for _, nudge in chip.presented]
    assert [nudge.amplitude for nudge in nudges] == [0.02, -0.02] * 3
    (request,) = chip.asked
    assert isinstance(request, Replay)
    assert list(request.nudge) == nudges[::2]


def test_ap_shakes_each_sample_for_itself_and_not_the_exact_output():
    chip = Watched(make_datasheet(SIZES), 1)
    learner = LEARNERS.get("ap")(amplitude=0.3, probes=1, exact_output=True)
    learner.step(chip, batch(), {}, RNG(1))
    ((x, nudge),) = chip.presented
    assert isinstance(nudge, CurrentNudge) and nudge.currents[-1] is None
    for current in nudge.currents[:-1]:
        np.testing.assert_array_equal(current[:10], -current[10:])
        assert set(np.unique(current)) == {np.float32(-0.3), np.float32(0.3)}
        assert len(np.unique(current[:10], axis=0)) > 5
    np.testing.assert_array_equal(x[:10], x[10:])


# --- baselines ------------------------------------------------------------------------------------------------------------


def test_readout_is_ridge_regression_and_never_writes():
    chip, data = Watched(make_datasheet(SIZES), 1), batch(30)
    learner = LEARNERS.get("readout")(ridge=1e-2)
    state, _ = learner.step(chip, data, learner.init(chip.datasheet, RNG(0)), RNG(1))
    taps = chip.read(data.x).taps
    f = np.concatenate([taps[0].post, taps[1].post, np.ones((30, 1))], axis=1)
    penalty = 1e-2 * np.trace(f.T @ f) / f.shape[1] * np.eye(f.shape[1])
    penalty[-1, -1] = 0
    np.testing.assert_allclose(state["head"], np.linalg.solve(f.T @ f + penalty, f.T @ data.targets), rtol=1e-3, atol=1e-4)
    assert not chip.asked


def test_insilico_touches_the_chip_once_at_the_end():
    chip, learner = Watched(make_datasheet(SIZES), 1), LEARNERS.get("insilico")()
    state = learner.init(chip.datasheet, RNG(0))
    for final in (False, False, True):
        assert not chip.asked and not chip.presented
        state, _ = learner.step(chip, dataclasses.replace(batch(), final=final), state, RNG(1))
    assert [type(request) for request in chip.asked] == [Program] * 3
    for array, weights in enumerate(chip.weights):
        np.testing.assert_array_equal(weights, state[f"weights{array}"])


def test_physics_aware_is_backprop_on_a_chip_that_is_as_promised():
    chip, b = make(), batch()
    learner = LEARNERS.get("physics_aware")(rate=0.5)
    state = learner.init(chip.datasheet, RNG(0))
    before = [state[f"weights{array}"] for array in range(3)]
    state, _ = learner.step(chip, b, state, RNG(1))
    gradient = Twin.nominal(chip.datasheet, before).gradient(b.x, b.targets)
    for array, weights in enumerate(chip.weights):
        np.testing.assert_allclose(weights, before[array] - 0.5 * gradient[array], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(weights, state[f"weights{array}"], rtol=1e-5, atol=1e-6)


def test_physics_aware_programs_again_when_due():
    chip, learner = Watched(make_datasheet(SIZES), 1), LEARNERS.get("physics_aware")(sync_every=2)
    state = learner.init(chip.datasheet, RNG(0))
    for _ in range(4):
        state, _ = learner.step(chip, batch(), state, RNG(1))
    assert [isinstance(request, Program) for request in chip.asked] == ([True] * 3 + [False] * 6) * 2
    assert replace(learner, sync_every=0).sync_every == 0
