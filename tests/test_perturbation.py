"""Weight and activity perturbation estimate the gradient without bias, on every kind of chip, and count as they say."""

import numpy as np
import pytest
from batches import RNG, TASK, batch, begin, drive_of, make, watched
from fakes import make_datasheet
from nets import net

from mortalsim.hardware import CurrentNudge, Outer, Replay, Trace
from mortalsim.learners import LEARNERS
from mortalsim.learners.steps import lines
from mortalsim.models import Twin
from mortalsim.objectives import cross_entropy


def mean_update(learner, chip, b, steps, task, length=1.0):
    """The mean of what is asked for, per unit of step, and its standard error, over independent probes at fixed weights.

    ``length``: of the held current, by which a step is divided; the output's own slope is not.
    """
    before = [weights.copy() for weights in chip.weights]
    state, updates, sheet = begin(learner, chip, task), [], chip.datasheet
    count = sum(lines(sheet, name) * sheet.populations[name].size for name in sheet.fed)
    rng = RNG(5)
    for _ in range(steps):
        chip.asked.clear()
        learner.step(chip, task, b, state, rng)
        unit = [count / learner.rate] * len(before)  # of weight perturbation
        for request in chip.asked:
            if isinstance(request, Outer):
                held = 1.0 if learner.exact_output and request.array == len(before) - 1 else length
                unit[request.array] = 1 / (-request.rate * held * len(b.x) * learner.probes)
        moved = [(now - old) * share for now, old, share in zip(chip.weights, before, unit, strict=True)]
        updates.append(np.concatenate([change.ravel() for change in moved]))
        chip.weights = [weights.copy() for weights in before]
    return np.mean(updates, axis=0), np.std(updates, axis=0) / np.sqrt(steps)


def _plain(name):
    """Settings without which what is asked for is the gradient's estimate and nothing else."""
    return {"center": 0.0, "exact_output": False} if name == "ap" else {}


def z_squared(learner, chip, b, task=TASK, steps=500):
    """Mean squared distance of the mean update from the true direction of descent, in standard errors, of live weights."""
    mean, error = mean_update(learner, chip, b, steps, task)
    truth = -np.concatenate([g.ravel() for g in Twin.nominal(chip.datasheet, chip.weights).gradient(b.x, b.targets)])
    # Where an update hardly varies (the output's exact slope) rounding and the finite amplitude are what is left.
    z = (mean - truth) / (error + 2e-3 * np.abs(truth).max())
    return np.mean(z[truth != 0] ** 2)


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
    chip = watched(make_datasheet((6, 5, 3)))
    b = batch(8, sizes=(6, 5, 3))
    learner = LEARNERS.get(name)(**{"rate": 1.0, "temperature": 1.0, "probes": 1} | _plain(name) | settings)
    task = type(TASK)(3)
    assert z_squared(learner, chip, b, task) < 1.6


@pytest.mark.parametrize("kind", ["forked", "blocks", "staged"])
@pytest.mark.parametrize("settings", [{"name": "wp", "amplitude": 1e-3}, {"name": "ap", "amplitude": 0.01}], ids=str)
def test_perturbation_is_unbiased_on_several_arrays_and_blocks(kind, settings):
    settings = dict(settings)
    name = settings.pop("name")
    learner = LEARNERS.get(name)(rate=1.0, temperature=1.0, probes=1, **_plain(name), **settings)
    chip = watched(net(kind, neurons={"curve": "softplus"}, weight_range=50.0).datasheet())
    assert z_squared(learner, chip, batch(8)) < 1.6


def test_wp_is_unbiased_on_a_recurrent_chip():
    learner = LEARNERS.get("wp")(rate=1.0, temperature=1.0, probes=1, amplitude=1e-3)
    chip = watched(net("recurrent", neurons={"curve": "softplus"}, weight_range=50.0).datasheet())
    assert z_squared(learner, chip, batch(8), steps=250) < 1.6


# --- weight perturbation --------------------------------------------------------------------------------------------------


WEIGHTS = 13 * 8 + 9 * 6 + 7 * 4


def test_wp_replays_its_own_nudges_in_one_request():
    chip = watched()
    learner = LEARNERS.get("wp")(probes=3, rate=0.1, amplitude=0.02)
    learner.step(chip, TASK, batch(), begin(learner, chip), RNG(1))
    nudges = [nudge for _, nudge in chip.presented]
    own = 0.02 / np.sqrt(WEIGHTS / 18)  # weights a neuron
    assert [nudge.amplitude for nudge in nudges] == pytest.approx([own, -own] * 3)
    (request,) = chip.asked
    assert isinstance(request, Replay)
    assert list(request.nudge) == nudges[::2]
    assert len({nudge.key for nudge in request.nudge}) == 3


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize(("progress", "factor"), [(0.1, 1.0), (0.75, 0.5), (0.9, 0.2)])
def test_wp_scales_each_nudge_by_its_slope_and_the_schedule_and_reports_the_mean_loss(antithetic, progress, factor):
    chip, b = watched(), batch(progress=progress)
    learner = LEARNERS.get("wp")(probes=3, rate=0.1, amplitude=0.02, antithetic=antithetic, temperature=0.5)
    _, info = learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    losses, fresh = [], make()
    for x, nudge in chip.presented:
        losses.append(cross_entropy(fresh.read(x, nudge).output, b.targets, 0.5)[0].mean(dtype=np.float64))
    plus = np.array(losses[::2] if antithetic else losses[1:])
    minus = np.array(losses[1::2] if antithetic else [losses[0]] * 3)
    (request,) = chip.asked
    own = 0.02 / np.sqrt(WEIGHTS / 18)
    slopes = (plus - minus) / (2 * own if antithetic else own)
    np.testing.assert_allclose(request.scale, -0.1 / WEIGHTS * factor / 3 * slopes / own, rtol=1e-3)
    assert info["loss"] == pytest.approx(np.mean([plus, minus]), rel=1e-5)


# --- activity perturbation ------------------------------------------------------------------------------------------------


def test_ap_shakes_each_sample_for_itself_and_not_the_exact_output():
    chip = watched()
    learner = LEARNERS.get("ap")(amplitude=0.3, probes=1, exact_output=True)
    learner.step(chip, TASK, batch(), begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    assert isinstance(nudge, CurrentNudge) and set(nudge.currents) == {"h1", "h2"}
    for current in nudge.currents.values():
        np.testing.assert_array_equal(current[:10], -current[10:])
        assert set(np.unique(current)) == {np.float32(-0.3), np.float32(0.3)}
        assert len(np.unique(current[:10], axis=0)) > 5
    np.testing.assert_array_equal(x[:10], x[10:])


def test_ap_credits_each_sample_with_its_own_loss_and_reports_the_mean():
    """The error of a sample is its slope times its signs; the rows' input is the mean over both signs."""
    chip, b = watched(), batch()
    learner = LEARNERS.get("ap")(amplitude=0.3, probes=1, rate=0.2, center=0.0, exact_output=False)
    _, info = learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    trace = make().read(x, nudge)
    loss = cross_entropy(trace.output, np.tile(b.targets, (2, 1)))[0]
    slope = (loss[:10] - loss[10:]) / 0.6
    assert [request.array for request in chip.asked] == [0, 1, 2]
    for name, request in zip(("h1", "h2", "out"), chip.asked, strict=True):
        taps = _mean_of_signs(trace)
        assert isinstance(request, Outer)
        assert request.rate == pytest.approx(-0.2 / 10 / drive_of(chip.datasheet, taps, name), rel=1e-4)
        signs = nudge.currents[name][:10] / np.float32(0.3)
        np.testing.assert_allclose(request.post, slope[:, None] * signs, rtol=1e-3, atol=1e-5)
        pre = trace.taps[request.array].pre
        np.testing.assert_allclose(request.pre, (pre[:10] + pre[10:]) / 2, rtol=1e-4, atol=1e-6)
    assert info["loss"] == pytest.approx(loss.mean(), rel=1e-5)


def _mean_of_signs(trace):
    """A trace whose rows carry the mean over the two halves of the samples."""
    size = len(trace.output) // 2
    halved = tuple(tap._replace(pre=(tap.pre[:size] + tap.pre[size:]) / 2) for tap in trace.taps)
    return Trace(None, {}, halved)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("progress", "factor"), [(0.1, 1.0), (0.75, 0.5), (0.9, 0.2)])
def test_ap_steps_fall_as_the_schedule_says(exact, progress, factor):
    rates = []
    for when in (progress, 0.0):
        chip = watched()
        learner = LEARNERS.get("ap")(rate=0.2, probes=2, exact_output=exact)
        learner.step(chip, TASK, batch(progress=when), begin(learner, chip), RNG(1))
        rates.append([request.rate for request in chip.asked])
    assert len(rates[0]) == 3 and max(rates[1]) < 0
    assert rates[0] == pytest.approx(factor * np.array(rates[1]))


def test_physics_aware_and_insilico_follow_the_schedule_too():
    moved = {}
    for name in ("insilico", "physics_aware"):
        for progress in (0.0, 0.75):
            chip = make()
            learner = LEARNERS.get(name)()
            first = begin(learner, chip)
            start = np.concatenate([first[f"weights{array}"].ravel() for array in range(3)])
            state, _ = learner.step(chip, TASK, batch(progress=progress), first, RNG(1))
            moved[progress] = np.concatenate([state[f"weights{array}"].ravel() for array in range(3)]) - start
        np.testing.assert_allclose(moved[0.75], 0.5 * moved[0.0], rtol=1e-2, atol=1e-6)


def test_ap_hides_the_exact_output_from_its_shaking_of_the_rest():
    """With an exact output its arrays are asked for the loss's own slope, averaged over both signs."""
    chip, b = watched(), batch()
    learner = LEARNERS.get("ap")(amplitude=0.3, probes=1, exact_output=True)
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    trace = make().read(x, nudge)
    slope = cross_entropy(trace.output, np.tile(b.targets, (2, 1)))[1]
    np.testing.assert_allclose(chip.asked[-1].post, (slope[:10] + slope[10:]) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_ap_needs_no_hidden_population(exact):
    chip = watched(make_datasheet((12, 4)))
    learner = LEARNERS.get("ap")(rate=1.0, probes=1, amplitude=0.01, center=0.0, exact_output=exact)
    assert z_squared(learner, chip, batch(8)) < 1.6
