"""Rules on a chip that settles: what each tick counts for, and where the estimate still is the gradient."""

import numpy as np
import pytest
from batches import LINES, RNG, TASK, batch, begin, drive_of
from fakes import IdealChip, Watched
from nets import net
from scipy.special import expit
from test_perturbation import mean_update

from mortalsim.hardware import Outer
from mortalsim.learners import LEARNERS
from mortalsim.models import Twin
from mortalsim.objectives import cross_entropy, goodness

TICKS = 4
LENGTH = 2.0  # of a current of 1 that is held through four ticks


def chip_of(kind=IdealChip, **fields):
    """A damped recurrent chip: in and label are clamped, h1 and h2 settle, out follows h2."""
    return kind(net("recurrent", weight_range=50.0, **fields).datasheet(), 1)


def plain_ff(**kw):
    return LEARNERS.get("ff")(
        **{
            "momentum": 0.0,
            "peer": 0.0,
            "decay": 0.0,
            "head_decay": 0.0,
            "temperature": 1.0,
            "threshold": "width",
            "center": 0.0,
            "head_center": 0.0,
            "rate": 0.3,
        }
        | kw
    )


# --- activity perturbation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_ap_descends_the_slope_by_a_held_current(exact):
    """Held through T ticks, a current acts at each: its slope is the sum of the twin's over the ticks, per unit of length
    sqrt(T), times the rows' mean. Where the source is clamped that is the gradient over sqrt(T)."""
    chip, b = chip_of(Watched, neurons={"curve": "softplus"}), batch(8)
    learner = LEARNERS.get("ap")(rate=1.0, probes=1, amplitude=0.01, exact_output=exact, center=0.0)
    twin = Twin.nominal(chip.datasheet, chip.weights)
    trace, gradient, truth = twin.forward(b.x), twin.gradient(b.x, b.targets), []
    slope = cross_entropy(trace.output, b.targets)[1] / 8
    slopes = twin.backward(trace, slope)
    for array, spec in enumerate(chip.datasheet.arrays):
        pre = np.mean([tap.pre for tap in trace.of(array)], axis=0)
        held = sum(error for (name, _), error in slopes.items() if name == spec.target)
        truth.append(-pre.T @ (slope if exact and spec.target == "out" else held / LENGTH))
        if array in (0, 3):  # in to h1, label to h2
            np.testing.assert_allclose(truth[-1], -gradient[array] / LENGTH, rtol=1e-3, atol=1e-6)
        else:
            assert np.sum(truth[-1] * gradient[array]) < 0  # downhill all the same
    mean, error = mean_update(learner, chip, b, 500, TASK, length=LENGTH)
    truth = np.concatenate([t.ravel() for t in truth])
    z = (mean - truth) / (error + 2e-3 * np.abs(truth).max())
    assert np.mean(z**2) < 1.6  # 0.3 to 0.9 for ten other draws: the weights of a neuron share its noise


@pytest.mark.parametrize("exact", [False, True])
def test_ap_hears_the_mean_over_ticks_and_divides_by_the_length_of_what_it_holds(exact):
    chip, b = chip_of(Watched), batch()
    learner = LEARNERS.get("ap")(probes=1, rate=0.2, amplitude=0.1, exact_output=exact, center=0.0)
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    assert set(nudge.currents) == ({"h1", "h2"} if exact else {"h1", "h2", "out"})
    trace = chip_of().read(x, nudge)
    loss, slope = cross_entropy(trace.output, np.tile(b.targets, (2, 1)))
    slopes = (loss[:10] - loss[10:]) / 0.2
    assert [request.array for request in chip.asked] == [0, 1, 2, 3, 4]
    for request in chip.asked:
        taps = trace.of(request.array)
        pre = np.mean([tap.pre for tap in taps], axis=0)
        np.testing.assert_allclose(request.pre, (pre[:10] + pre[10:]) / 2, rtol=1e-4, atol=1e-6)
        name = chip.datasheet.arrays[request.array].target
        drive = _mean_drive(chip.datasheet, trace, name)
        if exact and name == "out":
            assert request.rate == pytest.approx(-0.2 / 10 / drive, rel=1e-4)  # the loss's own slope, whatever the ticks
            np.testing.assert_allclose(request.post, (slope[:10] + slope[10:]) / 2, rtol=1e-4, atol=1e-6)
        else:
            assert request.rate == pytest.approx(-0.2 / 10 / LENGTH / drive, rel=1e-4)
            signs = nudge.currents[name][:10] / np.float32(0.1)
            np.testing.assert_allclose(request.post, slopes[:, None] * signs, rtol=1e-3, atol=1e-4)


def _mean_drive(sheet, trace, name):
    """Squared length of the means over ticks and both signs of what drives a neuron."""
    total = 0.0
    for array in sheet.into(name):
        pre = np.mean([tap.pre for tap in trace.of(array)], axis=0)
        total += np.mean(np.sum(((pre[:10] + pre[10:]) / 2) ** 2, axis=1))
    return total


# --- Forward-Forward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("learn", "ticks"), [(0, (0, 1, 2, 3)), (2, (2, 3)), (1, (3,)), (9, (0, 1, 2, 3))])
def test_ff_learns_the_goodness_of_each_late_tick_as_a_mean(learn, ticks):
    chip, learner = chip_of(Watched), plain_ff(learn_ticks=learn)
    _, info = learner.step(chip, TASK, batch(), begin(learner, chip), RNG(1))
    both, _ = chip.presented[-1]
    fresh = chip_of()
    trace, sheet = fresh.read(both), fresh.datasheet
    wrong = []
    for name in sheet.hidden:
        factors = {}
        for tick in ticks:
            post = trace.states[name][tick]
            distance = (goodness(post) - post.shape[1]) / np.sqrt(post.shape[1])
            coefficient = np.concatenate([expit(-distance[:10]), -expit(distance[10:])])
            (line,) = [line for line in sheet.timetable if (line.population, line.tick) == (name, tick)]
            old = trace.states[name][line.old] if line.keep else 0
            computed = (post - line.keep * old) / (1 - line.keep)  # a neuron that is off by now learns nothing
            factors[tick] = coefficient[:, None] * computed / (10 * len(ticks))
            wrong.append(np.mean(goodness(post[10:]) > goodness(post[:10])))
        for array in sheet.into(name):
            taps = [tap for tap in trace.of(array) if tap.tick in ticks]
            expected = 0.3 / drive_of(sheet, trace, name, ticks) * sum(tap.pre.T @ factors[tap.tick] for tap in taps)
            (request,) = (request for request in chip.asked if request.array == array)
            found = request.rate * (request.pre.T @ request.post)
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert info["pair_errors"] == pytest.approx(np.mean(wrong))


@pytest.mark.parametrize("score", [0, 1, 3])
def test_ff_predicts_by_the_goodness_of_late_ticks(score):
    chip, learner, x = chip_of(), plain_ff(score_ticks=score), batch().x
    scores = learner.predict(chip, TASK, x, begin(learner, chip))
    for label in range(4):
        labelled = x.copy()
        labelled[:, LINES] = np.eye(4)[label]
        states = chip.read(labelled).late("h2", score)
        assert len(states) == (score or TICKS)
        np.testing.assert_allclose(scores[:, label], sum(map(goodness, states.values())), rtol=1e-4)


@pytest.mark.parametrize("first", [False, True])
def test_ff_counts_the_first_population_s_goodness_where_it_is_asked_to(first):
    chip, learner, x = chip_of(), plain_ff(score_first=first), batch().x
    scores = learner.predict(chip, TASK, x, begin(learner, chip))
    labelled = x.copy()
    labelled[:, LINES] = np.eye(4)[2]
    states = chip.read(labelled).states
    wanted = sum(goodness(post) for name in ("h1", "h2")[not first :] for post in states[name].values())
    np.testing.assert_allclose(scores[:, 2], wanted, rtol=1e-4)


def test_ff_trains_the_head_at_its_last_tick_alone():
    chip, learner = chip_of(Watched), plain_ff(head_rate=0.2)
    b = batch()
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    request, trace = chip.asked[0], chip_of().read(chip.presented[0][0])
    last = max(trace.states["out"])
    assert isinstance(request, Outer) and request.array == 4
    assert request.rate == pytest.approx(0.2 / drive_of(chip.datasheet, trace, "out", (last,)), rel=1e-4)
    np.testing.assert_allclose(request.pre, trace.of(4)[-1].pre, rtol=1e-5)
    np.testing.assert_allclose(-10 * request.post, cross_entropy(trace.output, b.targets)[1], rtol=1e-4, atol=1e-6)


def test_a_damped_state_keeps_its_share_of_the_old_one():
    """New state = 0.3 old + 0.7 computed, all at once from the states of the tick before (Hinton 2022, section 3.5)."""
    chip, b = chip_of(), batch(3)
    trace, label = chip.read(b.x), b.x[:, 8:]

    def unit(v):
        return v / (np.sqrt(np.mean(v * v, axis=1, keepdims=True)) + 1e-6)

    def with_bias(v):
        return np.concatenate([unit(v), np.ones((3, 1))], axis=1)

    w, states = chip.weights, trace.states
    first = np.maximum(with_bias(b.x[:, :8]) @ w[0], 0)
    np.testing.assert_allclose(states["h1"][0], first, rtol=1e-4, atol=1e-5)
    for tick in (1, 2, 3):
        now = {name: states[name][tick - 1] for name in ("h1", "h2", "out")}
        h1 = np.maximum(with_bias(b.x[:, :8]) @ w[0] + unit(now["h2"]) @ w[1], 0)
        h2 = np.maximum(with_bias(now["h1"]) @ w[2] + unit(label) @ w[3], 0)
        out = with_bias(now["h2"]) @ w[4]
        for name, computed in (("h1", h1), ("h2", h2), ("out", out)):
            expected = 0.3 * now[name] + 0.7 * computed
            np.testing.assert_allclose(states[name][tick], expected, rtol=1e-4, atol=1e-5)
