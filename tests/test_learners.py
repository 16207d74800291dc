"""Every rule learns, says what it needs, and refuses in a sentence what it cannot serve; the baselines are what they say."""

import dataclasses
import re

import numpy as np
import pytest
from batches import FAST, RNG, SIZES, TASK, batch, begin, blobs, drive_of, make, watched
from fakes import IdealChip, make_datasheet
from nets import NETS, net

from mortalsim.checks import MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.hardware import Outer, Port, Program, Task
from mortalsim.learners import LEARNERS, Batch
from mortalsim.learners.base import random_weights
from mortalsim.learners.schedules import half_linear
from mortalsim.models import Twin
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

BLIND = ("ff", "ap", "wp", "readout", "mono", "groups", "learned_feedback")
DIRECT = ("ap", "wp", "insilico", "physics_aware", "learned_feedback")


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_rule_learns_four_easy_classes(name):
    chip, data = make((12, 16, 16, 4)), blobs()
    learner = LEARNERS.get(name)(**FAST.get(name, {}))
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.1


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in LEARNERS.names() for kind in ("forked", "blocks")]
    + [(name, kind) for name in ("ff", "insilico", "physics_aware") for kind in ("block_normaliser", "recurrent", "staged")]
    + [("ap", "recurrent"), ("wp", "staged")],
)
def test_every_rule_learns_on_chips_that_are_no_chains(name, kind):
    """Several arrays into a neuron, blocks, ticks, a stage: on six hidden neurons, where guessing is wrong on 75 %.

    A leaky curve keeps so small a population from falling silent, where a normaliser's slope is a million.
    """
    curve = {"curve": "leaky"} if name == "physics_aware" else {}
    chip, data = IdealChip(net(kind, neurons=curve).datasheet(), 3), blobs()
    learner = LEARNERS.get(name)(**FAST.get(name, {}))
    learner = dataclasses.replace(learner, epochs=max(1, learner.epochs // 2))
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.3


@pytest.mark.parametrize("name", ["ff", "readout", "mono", "groups"])
def test_rules_that_need_no_output_learn_without_one(name):
    chip, data = IdealChip(net("headless").datasheet(), 3), blobs()
    learner = LEARNERS.get(name)(**FAST.get(name, {}))
    result = train(chip, learner, data, Streams(2), validate_every=0)
    assert error_rate(chip, learner, result.task, data.valid_x, data.valid_y, result.state) <= 0.3


# --- what a rule needs and refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS.names())
def test_missing_ports_are_refused_in_a_sentence(name):
    learner = LEARNERS.get(name)()
    assert learner.ports
    for port in learner.ports:
        with pytest.raises(MissingPort, match=f"{name} needs the port {port.value}"):
            learner.init(make_datasheet(SIZES, ports=frozenset(Port) - {port}), TASK, RNG(0))


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({}, "taps outer delta shrink"),
        ({"momentum": 0.0}, "taps outer shrink"),
        ({"decay": 0.0}, "taps outer delta shrink"),
        ({"decay": 0.0, "head_decay": 0.0}, "taps outer delta"),
        ({"momentum": 0.0, "decay": 0.0, "head_decay": 0.0}, "taps outer"),
    ],
    ids=str,
)
def test_ports_of_ff_are_those_that_its_settings_use(settings, ports):
    learner = LEARNERS.get("ff")(**settings, shrink_every=1)
    assert {port.value for port in learner.ports} == set(ports.split())
    chip = watched(make_datasheet(SIZES, ports=frozenset(learner.ports)))
    learner.step(chip, TASK, batch(), begin(learner, chip), RNG(1))
    asked = {type(request).__name__.lower() for request in chip.asked}
    assert asked == set(ports.split()) - {"taps"}


@pytest.mark.parametrize("name", DIRECT)
def test_rules_that_look_at_the_output_refuse_chips_without_one_and_other_classes(name):
    learner = LEARNERS.get(name)()
    with pytest.raises(ShapeError, match=f"{name} needs an output, which the design 'headless' lacks"):
        learner.init(net("headless").datasheet(), TASK, RNG(0))
    with pytest.raises(ShapeError, match=r"as the output 'out' has neurons = 4, found 3\."):
        learner.init(make_datasheet(SIZES), Task(3), RNG(0))


@pytest.mark.parametrize("name", LEARNERS.names())
def test_unlabelled_tasks_and_batches_are_refused(name):
    learner, chip = LEARNERS.get(name)(), make()
    with pytest.raises(ShapeError, match=r"classes|label"):
        learner.init(chip.datasheet, Task(0), RNG(0))
    state = begin(learner, chip)
    with pytest.raises(ShapeError, match=f"{name}: expected a batch with targets, found an unlabelled one"):
        learner.step(chip, TASK, Batch(batch().x, None, 0.1), state, RNG(0))


@pytest.mark.parametrize("name", ["ff", "readout", "mono", "groups", "learned_feedback"])
def test_rules_of_hidden_populations_refuse_chips_without_one(name):
    with pytest.raises(ShapeError, match=f"{name} needs a hidden population, which the design 'fake' lacks"):
        LEARNERS.get(name)().init(make_datasheet((12, 4)), TASK, RNG(0))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task(4), "a line for each label, found 4 classes and label_lines = None"),
        (Task(1, (0,)), "at least 2 classes"),
        (Task(4, (0, 1, 2, 12)), "positions below n_inputs = 12, found [0, 1, 2, 12]"),
        (Task(3, (0, 1, 2)), "classes: expected as many as the output"),
    ],
    ids=str,
)
def test_ff_refuses_labels_that_do_not_fit(task, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        LEARNERS.get("ff")().init(make_datasheet(SIZES), task, RNG(0))


def test_ff_cannot_predict_by_a_head_that_is_not_there():
    learner = LEARNERS.get("ff")(predict_by="softmax")
    with pytest.raises(ShapeError, match="predict_by = 'softmax' needs an output"):
        learner.init(net("headless").datasheet(), TASK, RNG(0))


def test_wp_refuses_a_pattern_that_the_chip_has_not():
    with pytest.raises(UnknownName, match=r"pattern: expected one of rank1, signs; found 'sgns'\. Did you mean 'signs'"):
        LEARNERS.get("wp")(pattern="sgns").init(make_datasheet(SIZES), TASK, RNG(0))


@pytest.mark.parametrize("name", ["insilico", "physics_aware"])
def test_rules_with_a_twin_refuse_a_stage_that_it_cannot_stand_for(name):
    populations = [p | {"shape": [5]} if p["name"] == "box" else p for p in NETS["staged"]["population"]]
    sheet = net("staged", population=populations).datasheet()
    with pytest.raises(ShapeError, match="'box' turns 7 numbers into 5, and the data sheet does not say how"):
        LEARNERS.get(name)().init(sheet, TASK, RNG(0))
    for blind in BLIND:
        assert isinstance(LEARNERS.get(blind)().init(sheet, TASK, RNG(0)), dict)


def test_unknown_learner_and_nonsense_settings():
    with pytest.raises(UnknownName, match="Did you mean 'insilico'"):
        LEARNERS.get("insilco")
    assert LEARNERS.summaries()["wp"].startswith("Weight perturbation")
    nonsense = [("ff", "epochs"), ("wp", "amplitude"), ("ap", "probes"), ("readout", "ridge"), ("ff", "shrink_every")]
    for name, setting in nonsense:
        with pytest.raises(RangeError, match=setting):
            LEARNERS.get(name)(**{setting: 0})
    for setting, value in [("rate", -1.0), ("rate", float("nan")), ("skip", 1.5), ("momentum", 1.0), ("learn_ticks", -1)]:
        with pytest.raises(RangeError, match=setting):
            LEARNERS.get("ff")(**{setting: value})
    for value in (2.5, "7", 0):
        with pytest.raises(RangeError, match="batch_size"):
            LEARNERS.get("ap")(batch_size=value)
    with pytest.raises(RangeError, match="predict_by: expected one of 'goodness', 'softmax', found 'votes'"):
        LEARNERS.get("ff")(predict_by="votes")


# --- what rules share -----------------------------------------------------------------------------------------------------


def test_half_linear_is_one_then_falls_to_zero():
    assert [half_linear(p) for p in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]


@pytest.mark.parametrize("kind", ["forked", "blocks"])
def test_random_weights_give_currents_of_unit_size_whatever_feeds_a_neuron(kind):
    """Rows of unit mean square give every neuron a current of variance 1, summed over all arrays and blocks."""
    sheet = net(kind, weight_range=100.0).datasheet()
    total = {name: np.zeros((600, sheet.populations[name].size)) for name in sheet.fed}
    for seed in range(600):
        for spec, weights in zip(sheet.arrays, random_weights(sheet, RNG(seed)), strict=True):
            n, m = (sheet.populations[end].size for end in (spec.source, spec.target))
            assert weights.shape == spec.shape and weights.dtype == np.float32
            rows = spec.gather(np.ones((1, n), np.float32))
            bias = np.array([spec.rows == n if spec.rows is not None else np.arange(spec.n_in) == n])
            assert (weights[np.reshape(bias, spec.shape[:-1])] == 0).all()
            total[spec.target][seed] += spec.collect(rows @ weights, m)[0]
    for currents in total.values():  # the variance of 600 draws has a standard error of 5.8 %: 5 of them
        np.testing.assert_allclose(currents.var(axis=0), 1, atol=0.29)


# --- baselines ------------------------------------------------------------------------------------------------------------


def test_readout_is_ridge_regression_and_never_writes():
    chip, data = watched(), batch(30)
    learner = LEARNERS.get("readout")(ridge=1e-2)
    state, _ = learner.step(chip, TASK, data, begin(learner, chip), RNG(1))
    taps = chip.read(data.x).taps
    f = np.concatenate([taps[0].post, taps[1].post, np.ones((30, 1))], axis=1)
    penalty = 1e-2 * np.trace(f.T @ f) / f.shape[1] * np.eye(f.shape[1])
    penalty[-1, -1] = 0
    np.testing.assert_allclose(state["head"], np.linalg.solve(f.T @ f + penalty, f.T @ data.targets), rtol=1e-3, atol=1e-4)
    assert not chip.asked


def test_readout_takes_each_population_s_last_state():
    chip, data = IdealChip(net("recurrent").datasheet(), 1), batch(30)
    learner = LEARNERS.get("readout")()
    state, _ = learner.step(chip, TASK, data, begin(learner, chip), RNG(1))
    states = chip.read(data.x).states
    f = np.concatenate([states["h1"][3], states["h2"][3], np.ones((30, 1))], axis=1)
    np.testing.assert_allclose(state["squares"], f.T @ f, rtol=1e-4)


def test_insilico_touches_the_chip_once_at_the_end():
    chip, learner = watched(), LEARNERS.get("insilico")()
    state = begin(learner, chip)
    for final in (False, False, True):
        assert not chip.asked and not chip.presented
        state, _ = learner.step(chip, TASK, dataclasses.replace(batch(), final=final), state, RNG(1))
    assert [type(request) for request in chip.asked] == [Program] * 3
    for array, weights in enumerate(chip.weights):
        np.testing.assert_array_equal(weights, state[f"weights{array}"])


@pytest.mark.parametrize("kind", [None, "forked", "blocks"])
def test_insilico_is_adam(kind):
    """Kingma and Ba 2015, algorithm 1, in float64 for three batches."""
    chip = make() if kind is None else IdealChip(net(kind).datasheet(), 1)
    learner = LEARNERS.get("insilico")(rate=0.01)
    state = begin(learner, chip)
    w = [state[f"weights{array}"].astype(float) for array in range(len(chip.datasheet.arrays))]
    m, v = [np.zeros(a.shape) for a in w], [np.zeros(a.shape) for a in w]
    for t in (1, 2, 3):
        b = batch(seed=t)
        state, info = learner.step(chip, TASK, b, state, RNG(1))
        loss, gradient = Twin.nominal(chip.datasheet, w).loss_and_gradient(b.x.astype(float), b.targets)
        assert info["loss"] == pytest.approx(loss, rel=1e-4)
        for k, g in enumerate(gradient):
            m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g**2
            step = 0.01 * (m[k] / (1 - 0.9**t)) / (np.sqrt(v[k] / (1 - 0.999**t)) + 1e-8)
            w[k] = w[k] - step
            # Slopes that are all but zero are divided by their own size: rounding shows in them alone.
            clear = np.abs(g) > 1e-5
            np.testing.assert_allclose(state[f"weights{k}"][clear], w[k][clear], atol=2e-4)
            w[k] = state[f"weights{k}"].astype(float)


def test_the_weights_of_both_baselines_stay_within_the_chip_s_range():
    for name, rate in (("insilico", 1.0), ("physics_aware", 6000.0)):
        chip, learner = make(weight_range=0.5), LEARNERS.get(name)(rate=rate)
        state = begin(learner, chip)
        for seed in range(3):
            state, _ = learner.step(chip, TASK, batch(seed=seed), state, RNG(1))
        weights = np.concatenate([state[f"weights{array}"].ravel() for array in range(3)])
        assert np.abs(weights).max() == 0.5 and np.abs(weights).min() < 0.5


@pytest.mark.parametrize("kind", [None, "forked", "blocks", "block_normaliser", "recurrent", "staged"])
def test_physics_aware_is_backprop_on_a_chip_that_is_as_promised(kind):
    # A leaky curve, so that no population falls silent: a normaliser's slope is 1e6 there.
    leaky = None if kind is None else net(kind, neurons={"curve": "leaky"}).datasheet()
    chip, b = make() if leaky is None else IdealChip(leaky, 1), batch()
    learner = LEARNERS.get("physics_aware")(rate=0.5)
    state = begin(learner, chip)
    arrays = range(len(chip.datasheet.arrays))
    before = [state[f"weights{array}"] for array in arrays]
    twin = IdealChip(chip.datasheet, 1)
    twin.weights = [weights.copy() for weights in before]
    trace = twin.read(b.x)
    state, info = learner.step(chip, TASK, b, state, RNG(1))
    loss, gradient = Twin.nominal(chip.datasheet, before).loss_and_gradient(b.x, b.targets)
    assert info["loss"] == pytest.approx(loss, rel=1e-4)
    for array in arrays:
        step = 0.5 / drive_of(chip.datasheet, trace, chip.datasheet.arrays[array].target)
        np.testing.assert_allclose(chip.weights[array], before[array] - step * gradient[array], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(chip.weights[array], state[f"weights{array}"], rtol=1e-5, atol=1e-6)


def test_physics_aware_programs_again_when_due():
    for sync_every, due in ((2, [True, False] * 2), (0, [True, False, False, False])):
        chip, learner = watched(), LEARNERS.get("physics_aware")(sync_every=sync_every)
        state = begin(learner, chip)
        for _ in range(4):
            state, _ = learner.step(chip, TASK, batch(), state, RNG(1))
        programmed = [type(request) for request in chip.asked]
        assert programmed == [kind for now in due for kind in ([Program] * 3 * now + [Outer] * 3)]
