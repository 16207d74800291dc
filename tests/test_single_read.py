"""Rules that judge each hidden population by a softmax of its own: what they ask for, by hand, on an exact chip."""

import numpy as np
import pytest
from batches import LINES, RNG, SIZES, TASK, batch, begin, blobs, drive_of, make, watched
from fakes import IdealChip, make_datasheet
from nets import net
from scipy.special import log_softmax, softmax

from mortalsim.checks import ShapeError
from mortalsim.chips import load_design
from mortalsim.hardware import Outer, Task
from mortalsim.learners import LEARNERS
from mortalsim.objectives import cross_entropy
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

RULES = ("mono", "groups")


def plain(name, **kw):
    return LEARNERS.get(name)(**{"center": 0.0, "rate": 0.3, "output_rate": 0.2} | kw)


def unit(post):
    return post / (np.sqrt(np.mean(post**2, axis=1, keepdims=True)) + 1e-6)


def headed(seed=1):
    """A chip with a head behind each of two hidden populations."""
    return load_design("headed").revised(sizes=(12, 8, 6, 4)).datasheet()


@pytest.mark.parametrize("name", RULES)
def test_every_sample_is_read_once_and_carries_no_label(name):
    chip, b = watched(), batch()
    learner = LEARNERS.get(name)()
    learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    ((x, nudge),) = chip.presented
    np.testing.assert_array_equal(x, b.x)
    assert nudge is None and [request.array for request in chip.asked] == [0, 1, 2]
    chip.presented.clear()
    learner.predict(chip, TASK, b.x, begin(learner, chip))
    assert [len(x) for x, _ in chip.presented] == [10]


def test_mono_sends_each_head_s_error_back_through_the_head_alone():
    """h = post / rms, e = softmax(h M) - y, factor n (e M^T) where the neuron is on; head and output by the delta rule."""
    learner, chip, b = plain("mono", head_rate=0.4), watched(), batch()
    state = begin(learner, chip)
    new, info = learner.step(chip, TASK, b, state, RNG(1))
    trace, losses = make().read(b.x), []
    for array, name in enumerate(("h1", "h2")):
        post, head = trace.states[name][0], state[f"head {name}"]
        assert head.std() == pytest.approx(1 / np.sqrt(len(head)), rel=0.35)
        error = softmax(unit(post) @ head, axis=1) - b.targets
        request = chip.asked[array]
        assert isinstance(request, Outer) and request.array == array
        drive = drive_of(chip.datasheet, trace, name)
        assert request.rate == pytest.approx(-0.3 / 10 / drive, rel=1e-4)
        np.testing.assert_allclose(request.post, len(head) * (error @ head.T) * (unit(post) > 0.05), rtol=1e-3, atol=1e-5)
        # The head's own step is that of an array whose rows carry h, whose squared length is the number of neurons.
        np.testing.assert_allclose(
            new[f"head {name}"], head - 0.4 / 10 / len(head) * unit(post).T @ error, rtol=1e-3, atol=1e-6
        )
        losses.append(-np.mean(np.sum(b.targets * log_softmax(unit(post) @ head, axis=1), axis=1)))
    assert info["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    np.testing.assert_allclose(chip.asked[2].post, cross_entropy(trace.output, b.targets)[1], rtol=1e-4, atol=1e-6)
    assert chip.asked[2].rate == pytest.approx(-0.2 / 10 / drive_of(chip.datasheet, trace, "out"), rel=1e-4)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("progress", "factor"), [(0.75, 0.5), (0.9, 0.2)])
def test_steps_fall_as_the_schedule_says(name, progress, factor):
    rates = []
    for when in (0.1, progress):
        chip, learner = watched(), plain(name)
        learner.step(chip, TASK, batch(progress=when), begin(learner, chip), RNG(1))
        rates.append([request.rate for request in chip.asked])
    np.testing.assert_allclose(rates[1], factor * np.array(rates[0]), rtol=1e-5)


def test_groups_tell_each_group_of_neighbours_the_error_of_its_class():
    learner, chip, b = plain("groups", sharpness=3.0, gate=0.2), watched(), batch()
    _, info = learner.step(chip, TASK, b, begin(learner, chip), RNG(1))
    trace, losses = make().read(b.x), []
    for array, (name, owners) in enumerate({"h1": [0, 0, 1, 1, 2, 2, 3, 3], "h2": [0, 0, 1, 2, 2, 3]}.items()):
        activity = unit(trace.states[name][0])
        scores = 3 * np.stack([activity[:, np.array(owners) == c].mean(axis=1) for c in range(4)], axis=1)
        error = softmax(scores, axis=1) - b.targets
        np.testing.assert_allclose(chip.asked[array].post, error[:, owners] * (activity > 0.2), rtol=1e-3, atol=1e-6)
        losses.append(-np.mean(np.sum(b.targets * log_softmax(scores, axis=1), axis=1)))
    assert info["loss"] == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("kind", ["chain", "headless", "one"])
def test_prediction_by_heads_adds_up_log_probabilities_of_all_but_the_first(name, kind):
    """Unless the first is the only one; a chip without an output is judged so in any case."""
    sheet = {"chain": make_datasheet(SIZES), "headless": net("headless").datasheet(), "one": make_datasheet((12, 8, 4))}[
        kind
    ]
    learner = LEARNERS.get(name)(predict_by="output" if kind == "headless" else "heads")
    chip, x = IdealChip(sheet, 1), batch().x
    state = begin(learner, chip)
    trace = chip.read(x)
    names = {"chain": ["h2"], "headless": ["h2"], "one": ["h1"]}[kind]
    parts = [learner.scores(chip, TASK, trace, name, unit(trace.states[name][0]), state) for name in names]
    parts += [] if trace.output is None else [trace.output]
    wanted = sum(log_softmax(part, axis=1) for part in parts)
    np.testing.assert_allclose(learner.predict(chip, TASK, x, state), wanted, rtol=1e-4, atol=1e-5)


def test_prediction_by_the_output_is_the_output():
    learner, chip = LEARNERS.get("mono")(), make()
    np.testing.assert_array_equal(learner.predict(chip, TASK, batch().x, begin(learner, chip)), chip.read(batch().x).output)


# --- heads on the chip ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [0.95, 1.0])
def test_a_head_on_the_host_learns_from_activities_without_the_same_share_of_their_mean(center):
    learner, chip, b = plain("mono", head_rate=0.4, center=center), watched(), batch()
    state = begin(learner, chip)
    new, _ = learner.step(chip, TASK, b, state, RNG(1))
    seen, head = unit(make().read(b.x).states["h1"][0]), state["head h1"]
    error = softmax(seen @ head, axis=1) - b.targets
    less = seen - center * seen.mean(axis=0)
    drive = np.mean(np.sum(less**2, axis=1))
    np.testing.assert_allclose(new["level h1"], seen.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new["head h1"], head - 0.4 / 10 / drive * less.T @ error, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("center", [0.0, 0.9])
def test_the_shadow_is_the_sum_of_what_was_asked_of_the_head(center):
    """On a chip that takes every change as asked: the head's weights less those as fabricated."""
    chip = watched(headed())
    learner = LEARNERS.get("mono")(heads="shadow", center=center, head_rate=2.0)
    state, places = begin(learner, chip), {"h1": 2, "h2": 3}
    assert not any(state[f"head {name}"].any() for name in places)
    before = [weights.copy() for weights in chip.weights]
    for seed in range(4):
        state, _ = learner.step(chip, TASK, batch(seed=seed), state, RNG(1))
    for name, place in places.items():
        spec = chip.datasheet.arrays[place]
        assert (spec.source, spec.target) == (name, f"head_{name}")
        moved = (chip.weights[place] - before[place])[:-1]  # without the bias line
        assert np.abs(moved).max() > 0.01
        np.testing.assert_allclose(state[f"head {name}"], moved, rtol=1e-3, atol=1e-5)


def test_an_error_goes_back_through_the_shadow_or_through_fixed_weights_and_is_the_chip_s_own_head_s():
    for heads in ("shadow", "fixed"):
        chip, b = watched(headed()), batch()
        learner = LEARNERS.get("mono")(heads=heads, center=0.0)
        state = begin(learner, chip)
        state, _ = learner.step(chip, TASK, b, state, RNG(1))
        held, fresh = state["head h1"].copy(), IdealChip(chip.datasheet, 1)
        fresh.weights = [weights.copy() for weights in chip.weights]
        chip.asked.clear()
        state, _ = learner.step(chip, TASK, b, state, RNG(1))
        trace = fresh.read(b.x)
        error = softmax(trace.states["head_h1"][0], axis=1) - b.targets
        request = next(request for request in chip.asked if request.array == 0)
        on = unit(trace.states["h1"][0]) > 0.05
        np.testing.assert_allclose(request.post, len(held) * (error @ held.T) * on, rtol=1e-3, atol=1e-4)
        assert np.array_equal(state["head h1"], held) == (heads == "fixed")


def test_each_kind_of_head_learns():
    data = blobs()
    for heads in ("host", "shadow", "fixed"):
        design = load_design("headed").revised(sizes=(12, 16, 16, 4))
        chip, learner = IdealChip(design.datasheet(), 1), LEARNERS.get("mono")(heads=heads)
        result = train(chip, learner, data, Streams(2), validate_every=0)
        assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.05


def test_heads_on_a_chip_that_has_none_are_refused_in_a_sentence():
    with pytest.raises(ShapeError, match="mono with heads = 'shadow': expected a population of 4 neurons, fed by a hidden"):
        LEARNERS.get("mono")(heads="shadow").init(make_datasheet(SIZES), TASK, RNG(0))
    with pytest.raises(ShapeError, match="expected 3 neurons, one a class, in the head 'head_h1', found 4"):
        LEARNERS.get("mono")(heads="fixed").init(_headless_headed(), Task(3, LINES[:3]), RNG(0))


def _headless_headed():
    design = load_design("headed").revised(sizes=(12, 8, 6, 4))
    fields = design.fields()
    entry = {"weight_range": 1.5}
    arrays = [("in", "h1"), ("h1", "head_h1")]
    populations = [{"name": "in", "shape": [12]}, {"name": "h1", "shape": [8]}, {"name": "head_h1", "shape": [4]}]
    long = {"population": populations, "array": [entry | {"source": a, "target": b} for a, b in arrays]}
    kept = {k: v for k, v in fields.items() if k not in ("sizes", "label", "heads", "feedback")}
    return type(design)(**kept, **long).datasheet()


def test_groups_refuse_a_population_smaller_than_the_classes():
    with pytest.raises(
        ShapeError, match="at least one neuron a class in every hidden population, found 3 in 'h2' for 4 classes"
    ):
        LEARNERS.get("groups")().init(make_datasheet((12, 8, 3, 4)), TASK, RNG(0))


@pytest.mark.parametrize("name", RULES)
def test_dropped_neurons_are_neither_judged_nor_taught_and_the_chip_knows_nothing_of_it(name):
    """A third is dropped in each sample; of the others every neuron that is on learns, and the chip reads the same."""
    chip, whole, b = watched(), watched(), batch(200)
    learner = plain(name, dropout=1 / 3, sharpness=5.0) if name == "groups" else plain(name, dropout=1 / 3)
    state = begin(learner, chip)
    _, info = learner.step(chip, TASK, b, state, RNG(1))
    _, info_of_all = plain(name).step(whole, TASK, b, begin(plain(name), whole), RNG(1))
    np.testing.assert_array_equal(chip.presented[0][0], whole.presented[0][0])
    trace = make().read(b.x)
    for array, population in enumerate(("h1", "h2")):
        on = unit(trace.states[population][0]) > learner.gate
        taught, all_taught = chip.asked[array].post != 0, whole.asked[array].post != 0
        assert np.array_equal(all_taught, on) and not np.any(taught & ~on)
        share = taught[on].mean()
        assert abs(share - 2 / 3) < 5 * np.sqrt(2 / 9 / on.sum())
    assert info["loss"] != info_of_all["loss"]
    np.testing.assert_array_equal(chip.asked[2].post, whole.asked[2].post)  # the output is taught by what the chip says


def test_what_a_dropped_out_head_sees_is_right_in_the_mean():
    learner = plain("mono", dropout=0.4)
    seen = learner._seen(np.ones((4000, 5), np.float32), RNG(0))
    assert set(np.unique(seen)) == {0, np.float32(1) / np.float32(1 - 0.4)}
    assert abs(seen.mean() - 1) < 5 * np.sqrt(0.4 / 0.6 / seen.size)
