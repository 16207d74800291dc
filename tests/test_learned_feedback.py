"""Learned feedback finds what each neuron does to the output, and sends errors back by it, whatever the neurons' curves."""

import numpy as np
import pytest
from batches import RNG, TASK, batch, begin, drive_of, watched
from fakes import IdealChip, make_datasheet

from mortalsim.hardware import CurrentNudge, Outer, TransferCurve
from mortalsim.learners import LEARNERS
from mortalsim.models import Twin
from mortalsim.objectives import cross_entropy

_Z = np.linspace(-6, 6, 257)
TANH = TransferCurve(-6, _Z[1] - _Z[0], np.tanh(_Z).astype(np.float32), (1 - np.tanh(_Z) ** 2).astype(np.float32))
FALLING = TransferCurve(-6, _Z[1] - _Z[0], -np.tanh(_Z).astype(np.float32), -(1 - np.tanh(_Z) ** 2).astype(np.float32))
SIZES = (12, 8, 4)


def chip_of(curve):
    return watched(make_datasheet(SIZES, curve=curve, normaliser="none", weight_range=50.0))


def test_one_read_of_both_signs_shakes_every_hidden_neuron_and_no_other():
    chip, b = watched(), batch()
    learner = LEARNERS.get("learned_feedback")(amplitude=0.3)
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    assert isinstance(nudge, CurrentNudge) and set(nudge.currents) == {"h1", "h2"} and len(x) == 20
    for current in nudge.currents.values():
        np.testing.assert_array_equal(current[:10], -current[10:])
        assert set(np.unique(current)) == {np.float32(-0.3), np.float32(0.3)}
    np.testing.assert_array_equal(x[:10], x[10:])
    np.testing.assert_array_equal(x[:10], b.x)


@pytest.mark.parametrize("curve", [TANH, FALLING], ids=["rising", "falling"])
def test_feedback_becomes_the_weights_to_the_output(curve):
    """Without a normaliser the output rises by a hidden neuron's weight: correlation above 0.99 after 300 still steps."""
    chip, learner = chip_of(curve), LEARNERS.get("learned_feedback")(rate=0.0, output_rate=0.0, amplitude=0.05)
    state, rng = begin(learner, chip), RNG(5)
    for seed in range(300):
        state, _ = learner.step(chip, TASK, batch(20, seed=seed), state, rng)
    weights = chip.weights[1][:-1].T
    assert state["feedback h1"].shape == weights.shape == (4, 8)
    assert np.corrcoef(state["feedback h1"].ravel(), weights.ravel())[0, 1] > 0.99
    assert int(state["steps"][0]) == 300


@pytest.mark.parametrize("curve", [TANH, FALLING], ids=["rising", "falling"])
def test_what_is_asked_for_is_the_gradient_s_direction_once_feedback_is_known(curve):
    """Cosine above 0.95 with the true gradient of the first array, for curves that rise and for curves that fall."""
    chip, learner = (
        chip_of(curve),
        LEARNERS.get("learned_feedback")(center=0.0, rate=1e-6, output_rate=0.0, amplitude=0.05),
    )
    state, rng = begin(learner, chip), RNG(5)
    for seed in range(200):
        state, _ = learner.step(chip, TASK, batch(20, seed=seed), state, rng)
    chip.asked.clear()
    b = batch(200, seed=0)
    truth = Twin.nominal(chip.datasheet, chip.weights).gradient(b.x, b.targets)[0]
    learner.step(chip, TASK, b, state, rng)
    request = next(request for request in chip.asked if request.array == 0)
    assert isinstance(request, Outer)
    asked = np.sign(request.rate) * (request.pre.T @ request.post)
    assert np.sum(asked * -truth) / np.linalg.norm(asked) / np.linalg.norm(truth) > 0.95


def test_the_output_is_trained_by_the_delta_rule_on_the_mean_of_both_signs():
    chip, b = watched(), batch()
    learner = LEARNERS.get("learned_feedback")(output_rate=0.2, center=0.0)
    _, info = learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    trace = IdealChip(chip.datasheet, 1).read(x, nudge)
    rest = (trace.output[:10] + trace.output[10:]) / 2
    loss, slope = cross_entropy(rest, b.targets)
    request = chip.asked[-1]
    np.testing.assert_allclose(request.post, slope, rtol=1e-4, atol=1e-6)
    pre = next(tap.pre for tap in trace.taps if tap.array == request.array)
    np.testing.assert_allclose(request.pre, (pre[:10] + pre[10:]) / 2, rtol=1e-4, atol=1e-6)
    halved = trace.__class__(None, {}, tuple(tap._replace(pre=(tap.pre[:10] + tap.pre[10:]) / 2) for tap in trace.taps))
    assert request.rate == pytest.approx(-0.2 / 10 / drive_of(chip.datasheet, halved, "out"), rel=1e-4)
    assert info["loss"] == pytest.approx(loss.mean(), rel=1e-5)


def test_feedback_is_at_first_the_mean_of_all_estimates_and_later_forgets():
    """Share max(forget, 1 / steps): with forget 0.25 the first four estimates weigh 1, 1/2, 1/3, 1/4, then 1/4 each."""
    chip, b = chip_of(TANH), batch()
    fast, slow = (LEARNERS.get("learned_feedback")(rate=0.0, output_rate=0.0, forget=f) for f in (1.0, 0.25))
    state, rng, estimates, found = begin(slow, chip), RNG(3), [], []
    for _ in range(6):
        draw = rng.bit_generator.state
        twin = RNG(0)
        twin.bit_generator.state = draw  # the same signs
        estimates.append(fast.step(chip, TASK, b, begin(fast, chip), twin)[0]["feedback h1"])
        state, _ = slow.step(chip, TASK, b, state, rng)
        found.append(state["feedback h1"].copy())
    wanted = np.zeros_like(found[0])
    for place, estimate in enumerate(estimates):
        wanted = wanted + max(0.25, 1 / (place + 1)) * (estimate - wanted)
        np.testing.assert_allclose(found[place], wanted, rtol=1e-4, atol=1e-6)
