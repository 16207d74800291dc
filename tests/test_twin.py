"""The twin's derivative equals finite differences, whatever a chip's neurons, wires, ticks and stages are like."""

import numpy as np
import pytest
from batches import batch
from fakes import IdealChip, make_datasheet
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import NETS, net

from mortalsim.checks import ShapeError
from mortalsim.chips import design_names, load_design
from mortalsim.circuits.stages.mixing import Medium
from mortalsim.hardware import TransferCurve
from mortalsim.models import ArrayModel, PopulationModel, Twin
from mortalsim.models.twin import assumptions
from mortalsim.objectives import cross_entropy, one_hot

SIZES = (5, 4, 4, 3)
CHAINS = {"source": make_datasheet(SIZES), "none": make_datasheet(SIZES, normaliser="none")}
SHEETS = CHAINS | {name: net(name).datasheet() for name in NETS if name != "headless"}


class Tanh:
    """One slope per neuron."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, z):
        return np.tanh(self.scale * z)

    def derivative(self, z):
        return self.scale * (1 - np.tanh(self.scale * z) ** 2)


def random_twin(sheet, seed, limit=np.inf):
    """A model in which everything has a value of its own, and samples with targets for it."""
    rng = np.random.default_rng(seed)
    arrays, populations, stages = [], {}, {}
    for spec in sheet.arrays:
        gain, offset = np.ones((*spec.shape[:-2], 1, spec.n_in)), np.zeros((*spec.shape[:-2], 1, spec.n_in))
        lines = np.arange(spec.n_in) if spec.rows is None else spec.rows[:, None, :]
        driven = np.broadcast_to(lines < sheet.populations[spec.source].size, gain.shape)
        gain[driven], offset[driven] = rng.uniform(0.8, 1.2, driven.sum()), 0.1 * rng.standard_normal(driven.sum())
        if spec.rows is None:
            gain, offset = gain[0], offset[0]
        weights = rng.standard_normal(spec.shape)
        arrays.append(ArrayModel(weights, rng.uniform(0.8, 1.2), -limit, limit, gain, offset))
    for name in sheet.fed:
        n = sheet.populations[name].size
        populations[name] = PopulationModel(Tanh(rng.uniform(0.5, 2, n)), rng.uniform(0.5, 2, n), rng.standard_normal(n))
    for name in sheet.stages:
        n = sheet.populations[name].size
        stages[name] = Medium(rng.standard_normal((n, n)))
    classes = sheet.populations[sheet.output].size
    x, targets = rng.standard_normal((6, sheet.n_inputs)), one_hot(np.arange(6) % classes, classes)
    return Twin(sheet, tuple(arrays), populations, stages), x, targets


@pytest.mark.parametrize("kind", SHEETS)
@given(seed=st.integers(0, 2**32 - 1), limit=st.sampled_from([np.inf, 0.8]))
@settings(max_examples=8)
def test_gradient_equals_finite_differences(kind, seed, limit):
    twin, x, targets = random_twin(SHEETS[kind], seed, limit)
    gradient = twin.gradient(x, targets)
    h = 1e-6
    for model, slope in zip(twin.arrays, gradient, strict=True):
        direction = np.random.default_rng(seed).standard_normal(slope.shape)
        model.weights[...] += h * direction
        plus = twin.loss_and_gradient(x, targets)[0]
        model.weights[...] -= 2 * h * direction
        minus = twin.loss_and_gradient(x, targets)[0]
        model.weights[...] += h * direction
        # A step across a clipping corner would cost a relative error of order h times the number of corners met.
        assert np.sum(slope * direction) == pytest.approx((plus - minus) / (2 * h), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", SHEETS)
def test_slopes_are_those_by_a_current_at_one_tick(kind):
    """A current into one population at one tick, by hand: the model's offset is moved for that answer alone."""
    sheet = SHEETS[kind]
    twin, x, targets = random_twin(sheet, 3)
    trace = twin.forward(x)
    slopes = twin.backward(trace, cross_entropy(trace.output, targets)[1])
    gains = twin.gains(trace)
    assert set(slopes) <= set(gains) == {(a.population, a.tick) for a in sheet.timetable if a.population not in sheet.stages}
    direction = np.random.default_rng(1).standard_normal
    for name in sheet.fed:
        for tick in [tick for population, tick in slopes if population == name]:
            added = direction(slopes[name, tick].shape)
            losses = [_loss_with_current(twin, x, targets, (name, tick), sign * 1e-6 * added) for sign in (1, -1)]
            assert np.sum(slopes[name, tick] * added) == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-5)


def _loss_with_current(twin, x, targets, where, current):
    """The summed loss with a current that reaches one population at one tick."""
    name, tick = where
    model, calls = twin.populations[name], []

    def curve(z):
        calls.append(len(calls))
        return model.curve(z + model.gain * current if calls[-1] == tick else z)

    others = dict(twin.populations) | {name: PopulationModel(curve, model.gain, model.offset)}
    return cross_entropy(Twin(twin.sheet, twin.arrays, others, twin.stages).forward(x).output, targets)[0].sum()


@pytest.mark.parametrize("kind", [*NETS, "chain", "unnormalised"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=5)
def test_nominal_twin_equals_the_ideal_chip(kind, seed):
    chains = {"chain": make_datasheet(SIZES), "unnormalised": make_datasheet(SIZES, normaliser="none", input_range=0.7)}
    chip = IdealChip(chains[kind] if kind in chains else net(kind).datasheet(), seed)
    x = np.random.default_rng(seed).random((7, chip.datasheet.n_inputs), dtype=np.float32)
    modelled, true = Twin.nominal(chip.datasheet, chip.weights).forward(x), chip.read(x)
    assert [(tap.array, tap.tick, tap.at) for tap in modelled.taps] == [(tap.array, tap.tick, tap.at) for tap in true.taps]
    assert {name: set(states) for name, states in modelled.states.items()} == {n: set(s) for n, s in true.states.items()}
    for tap, other in zip(modelled.taps, true.taps, strict=True):
        np.testing.assert_allclose(tap.pre, other.pre, rtol=1e-5, atol=2e-3)  # the printed relu is round within 1e-3 of 0
        np.testing.assert_allclose(tap.post, other.post, rtol=1e-5, atol=2e-3)
    assert (modelled.output is None) == (chip.datasheet.output is None)


@pytest.mark.parametrize("name", [name for name in design_names() if name != "fields28"])
def test_every_shipped_design_has_a_nominal_twin(name):
    sheet = load_design(name).datasheet()
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(spec.shape).astype(np.float32) / np.float32(np.sqrt(spec.n_in)) for spec in sheet.arrays]
    twin, x = Twin.nominal(sheet, weights), rng.random((3, sheet.n_inputs), dtype=np.float32)
    chip = IdealChip(sheet)
    chip.weights = weights
    for one, other in zip(twin.forward(x).taps, chip.read(x).taps, strict=True):
        np.testing.assert_allclose(one.post, other.post, rtol=1e-4, atol=1e-4)
    if sheet.output is not None:
        for spec, g in zip(sheet.arrays, twin.gradient(x, one_hot(np.arange(3), 10)), strict=True):
            assert (np.abs(g).max() > 0) != spec.target.startswith("head_")  # heads lead nowhere


def test_what_nobody_promises_is_taken_for_the_identity_and_said():
    (sentence,) = assumptions(net("staged").datasheet())
    assert sentence.startswith("box is a black box") and sentence.endswith("the twin takes it for identity.")
    assert assumptions(net("forked").datasheet()) == ()


def test_a_gradient_needs_an_output():
    chip = IdealChip(net("headless").datasheet())
    with pytest.raises(ShapeError, match="a gradient needs an output, which the design 'headless' lacks"):
        twin = Twin.nominal(chip.datasheet, chip.weights)
        twin.backward(twin.forward(batch().x), np.ones((10, 4)))


def test_tabulated_curve_and_silent_input_have_finite_gradients():
    z = np.linspace(-2, 2, 9)
    curve = TransferCurve(-2, 0.5, np.tanh(z), 1 - np.tanh(z) ** 2)
    twin = Twin.nominal(make_datasheet((5, 4, 3), curve=curve), [np.ones((6, 4)), np.ones((5, 3))])
    gradient = twin.gradient(np.zeros((2, 5)), one_hot(np.array([0, 1]), 3))
    assert all(np.isfinite(slope).all() for slope in gradient)


@pytest.mark.parametrize("kind", SHEETS)
def test_float32_stays_float32(kind):
    chip = IdealChip(SHEETS[kind])
    classes = chip.datasheet.populations["out"].size
    x = np.ones((2, chip.datasheet.n_inputs), np.float32)
    gradient = Twin.nominal(chip.datasheet, chip.weights).gradient(x, one_hot(np.array([0, 1]), classes))
    assert {slope.dtype for slope in gradient} == {np.dtype(np.float32)}


def test_wrong_weights_are_named():
    with pytest.raises(ShapeError, match=r"one array of weights per crossbar = \[\(6, 4\), \(5, 4\), \(5, 3\)\]"):
        Twin.nominal(make_datasheet(SIZES), [np.zeros((5, 4))])


def test_a_gradient_of_a_chip_without_an_output_is_refused_in_a_sentence():
    sheet = net("headless").datasheet()
    twin = Twin.nominal(sheet, [np.zeros(spec.shape, np.float32) for spec in sheet.arrays])
    with pytest.raises(ShapeError, match="a gradient needs an output"):
        twin.gradient(np.zeros((2, sheet.n_inputs), np.float32), one_hot(np.array([0, 1]), 2))
