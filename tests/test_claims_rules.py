"""What is claimed of the learning rules: each test fails if the sentence that it bears stops being true."""

import dataclasses

import numpy as np
import pytest
from batches import RNG, TASK, batch, begin, make, watched
from fakes import Watched, make_datasheet
from nets import net
from small import small

from mortalsim.checks import RangeError
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.experiments._trial import make_learner
from mortalsim.hardware import Shrink, Task
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import random_weights
from mortalsim.learners.steps import ask
from mortalsim.objectives import cross_entropy, goodness


@pytest.mark.parametrize("antithetic", [True, False])
def test_activity_perturbation_reports_the_mean_loss_of_all_its_probes(antithetic):
    chip, b = watched(), batch()
    learner = LEARNERS.get("ap")(amplitude=0.3, probes=3, antithetic=antithetic)
    _, info = learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    fresh = make()
    if antithetic:
        both = np.tile(b.targets, (2, 1))
        losses = [cross_entropy(fresh.read(x, nudge).output, both)[0].mean() for x, nudge in chip.presented]
        assert info["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    else:  # each probe is compared with the same undisturbed read
        rest, *probed = (cross_entropy(fresh.read(x, nudge).output, b.targets)[0].mean() for x, nudge in chip.presented)
        assert len(probed) == 3 and info["loss"] == pytest.approx((np.mean(probed) + rest) / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["ap", "wp"])
def test_a_softened_student_learns_from_outputs_softened_by_that_temperature(name):
    learner = LEARNERS.get(name)(temperature=1.0, amplitude=1e-4)
    softened = learner.softened(3.0)
    assert softened == dataclasses.replace(learner, temperature=3.0)
    chip, b = make(), batch()
    _, info = softened.step(chip, TASK, b, begin(learner, chip), RNG(1))
    wanted = cross_entropy(make().read(b.x).output, b.targets, 3.0)[0].mean()
    assert info["loss"] == pytest.approx(wanted, rel=1e-3)
    assert abs(wanted - cross_entropy(make().read(b.x).output, b.targets)[0].mean()) > 1


@pytest.mark.parametrize("name", sorted(set(LEARNERS.names()) - {"ap", "wp"}))
def test_all_other_rules_learn_from_soft_targets_as_they_are(name):
    assert LEARNERS.get(name)().softened(3.0) is None


@pytest.mark.parametrize(("progress", "factor"), [(0.1, 1.0), (0.75, 0.5), (0.9, 0.2)])
def test_the_oracle_descends_the_true_gradient_by_steps_that_fall_as_the_schedule_says(progress, factor):
    chip, b = SimulatedChip(small("ideal", weight_range=20.0), 3), batch(progress=progress)
    before = oracle.weights(chip)
    loss, gradients = oracle.loss_and_gradient(chip, b.x, b.targets)
    learner = make_learner("oracle", settings={"rate": 0.05})
    _, info = learner.step(chip, TASK, b, {}, RNG(1))
    assert info["loss"] == pytest.approx(loss, rel=1e-4)
    assert chip.meter.reads == len(b.x)
    for old, new, gradient in zip(before, oracle.weights(chip), gradients, strict=True):
        assert np.abs(gradient).max() > 0.01
        step = 0.05 / len(old)  # a chain: every row drives every neuron
        np.testing.assert_allclose(new - old, -step * factor * gradient, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(learner.predict(chip, TASK, b.x, {}), chip.read(b.x).output)


def test_readout_reports_the_mean_loss_of_its_head_as_it_was_before_the_batch():
    chip, learner = make(), LEARNERS.get("readout")()
    first, info = learner.step(chip, TASK, batch(seed=1), begin(learner, chip), RNG(1))
    assert info["loss"] == pytest.approx(np.log(4))  # a head of zeros knows nothing
    b = batch(seed=2)
    _, info = learner.step(chip, TASK, b, first, RNG(1))
    wanted, _ = cross_entropy(learner.predict(chip, TASK, b.x, first), b.targets)
    assert info["loss"] == pytest.approx(wanted.mean(), rel=1e-4)


def test_readout_s_head_knows_every_sample_in_the_end():
    """Ridge regression on all 61 samples, though the last step adds less than a fifth."""
    chip, learner = make(), LEARNERS.get("readout")(ridge=1e-2)
    state, features, targets = begin(learner, chip), [], []
    early, _ = learner.step(chip, TASK, batch(40), state, RNG(1))
    assert early["head"].any()  # it does not wait for the end
    for turn in range(7):
        b = batch(10 if turn < 6 else 1, seed=turn, final=turn == 6)
        state, _ = learner.step(chip, TASK, b, state, RNG(1))
        hidden = [post for name in chip.datasheet.hidden for post in chip.read(b.x, want="states").late(name, 1).values()]
        features.append(np.concatenate([*hidden, np.ones((len(b.x), 1))], axis=1))
        targets.append(b.targets)
    x, y = np.concatenate(features).astype(np.float64), np.concatenate(targets)
    penalty = 1e-2 * np.trace(x.T @ x) / x.shape[1] * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-9
    np.testing.assert_allclose(state["head"], np.linalg.solve(x.T @ x + penalty, x.T @ y), rtol=1e-3, atol=1e-5)


def test_starting_weights_end_at_the_chip_s_range():
    for weights in random_weights(make(weight_range=0.3).datasheet, RNG(1)):
        assert weights.max() == np.float32(0.3) == -weights.min()


def test_two_classes_are_enough_for_forward_forward_and_one_is_not():
    learner, sheet = LEARNERS.get("ff")(), make((12, 8, 6, 2)).datasheet
    learner.init(sheet, Task(2, (10, 11)), RNG(0))
    chip, b = watched(make_datasheet((12, 8, 6, 2))), batch(8, sizes=(12, 2))
    learner.step(chip, Task(2, (10, 11)), b, begin(learner, chip, Task(2, (10, 11))), RNG(1))
    positive, negative = np.split(chip.presented[1][0][:, 10:], 2)
    np.testing.assert_array_equal(positive, b.x.max() * b.targets)
    np.testing.assert_array_equal(negative, b.x.max() * (1 - b.targets))  # the only wrong label that there is


def test_starting_weights_of_a_neuron_with_one_line_are_standard_normal():
    """4000 neurons; the standard deviation within 5 standard errors."""
    weights, _ = random_weights(make((1, 4000, 2), weight_range=9.0).datasheet, RNG(1))
    assert weights[0].std() == pytest.approx(1, abs=5 / np.sqrt(8000))


def test_a_sample_counts_if_it_is_heard_at_any_tick():
    """An input that is held feeds the same at every tick, so that its products are asked for once, of all samples heard."""
    chip = Watched(net("recurrent", weight_range=50.0).datasheet(), 1)
    trace = chip.read(batch(6).x)
    heard = {1: np.array([True, True, False, False, False, False]), 2: np.array([False, True, True, False, False, False])}
    factors = {tick: RNG(tick).random((6, 7), dtype=np.float32) * mask[:, None] for tick, mask in heard.items()}
    ask(chip, trace, "h1", factors, 0.1, heard=heard)
    held, loop = chip.asked  # from the inputs, and from h2
    assert len(held.pre) == 3 and len(loop.pre) == 2 + 2
    own = trace.of(held.array)[0].pre
    np.testing.assert_allclose(held.pre.T @ held.post, own.T @ (factors[1] + factors[2]), rtol=1e-5, atol=1e-6)
    wanted = sum(tap.pre.T @ factors[tap.tick] for tap in trace.of(loop.array) if tap.tick in factors)
    np.testing.assert_allclose(loop.pre.T @ loop.post, wanted, rtol=1e-5, atol=1e-6)


def test_the_running_threshold_of_forward_forward_is_nine_tenths_old():
    """From the first batch's mean goodness on: 0.9 old + 0.1 new."""
    learner = LEARNERS.get("ff")(threshold="running", decay=0.0, head_decay=0.0)
    chip = watched()
    state, levels = begin(learner, chip), []
    for seed in (1, 2, 3):
        chip.weights[0] *= 1.4  # so that there is something to follow
        fresh = make()
        fresh.weights = [weights.copy() for weights in chip.weights]
        chip.presented.clear()
        state, _ = learner.step(chip, TASK, batch(seed=seed), state, RNG(seed))
        new = goodness(fresh.read(chip.presented[1][0]).states["h1"][0]).mean()
        levels.append(new if not levels else 0.9 * levels[-1] + 0.1 * new)
        assert state["threshold h1"][0] == pytest.approx(levels[-1], rel=1e-4)
    assert np.ptp(levels) > 0.2


@pytest.mark.parametrize("every", [1, 2, 3])
def test_weight_decay_is_asked_for_every_so_many_steps(every):
    chip, learner = watched(), LEARNERS.get("ff")(shrink_every=every)
    state, when = begin(learner, chip), []
    for step in range(1, 7):
        chip.asked.clear()
        state, _ = learner.step(chip, TASK, batch(), state, RNG(1))
        when += [step] * any(isinstance(request, Shrink) for request in chip.asked)
    assert when == list(range(every, 7, every))


@pytest.mark.parametrize("name", ["ap", "wp"])
def test_perturbation_needs_an_amplitude(name):
    LEARNERS.get(name)(amplitude=1e-9)
    for amplitude in (0.0, 0.9e-9):
        with pytest.raises(RangeError, match="amplitude: expected a number from 1e-09 to 1e\\+06, found"):
            LEARNERS.get(name)(amplitude=amplitude)
