"""A read of any shipped design equals a plain float64 computation from the oracle's weights, curves and gains."""

import numpy as np
import pytest
from running import slow_in_plain_python
from scipy import stats

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import Overlaid, WeightNudge
from mortalsim.models import Twin
from mortalsim.models.twin import assumptions
from mortalsim.objectives import cross_entropy, one_hot
from mortalsim.testing import check_chip

RNG = np.random.default_rng
NAMES = ["fields", "recurrent", "tiled", "boxed"]
SILENT = {"read_noise": 0.0, "read_noise_relative": 0.0, "drift": 0.0, "drift_dtod": 0.0}


def silent(name, converters=None, neurons=None, **more):
    """Return a design with its mismatch but without noise; converters of its own, or none that round or clip."""
    off = {"dac_bits": 0, "adc_bits": 0, "input_range": 0.0, "output_range": 0.0}
    return load_design(name).revised(
        device=SILENT,
        neurons={"noise": 0.0, **(neurons or {})},
        converters=off if converters is None else converters,
        **more,
    )


def quantised(y, bits, limit):
    """A signed converter: clipped to its range, then the nearest of 2^bits - 1 levels."""
    y = np.clip(y, -limit, limit) if limit else y
    step = 2 * limit / (2**bits - 2) if bits else 0
    return np.rint(y / step) * step if step else y


def computed(chip, x):
    """Return every state of a read in plain float64: the timetable with loops over blocks, rows and columns."""
    sheet, held = chip.datasheet, oracle.weights(chip)
    states, first = {}, 0
    for name in sheet.inputs:
        size = sheet.populations[name].size
        states[name, 0], first = x[:, first : first + size].astype(float), first + size
    for answer in sheet.timetable:
        if answer.population in chip.boxes:
            (source, at), box = answer.via[0], chip.boxes[answer.population]
            states[answer.population, answer.tick] = np.tanh(states[source, at] @ box.matrix.astype(float))
            continue
        z = sum(current(chip, held, array, states[sheet.arrays[array].source, at]) for array, at in answer.via)
        population = chip.populations[answer.population]
        bank, adc, spec = population.neurons, population.adc, population.parts.converters
        y = np.maximum(bank.gain * z + bank.offset, 0) if answer.population != "out" else bank.gain * z + bank.offset
        y = np.clip(y, -bank.saturation, bank.saturation) * adc.gain.astype(float) + adc.offset
        y = quantised(y, spec.adc_bits, spec.output_range)
        if answer.keep:
            y = answer.keep * states[answer.population, answer.old] + (1 - answer.keep) * y
        states[answer.population, answer.tick] = y
    return {place: state for place, state in states.items() if place[0] not in sheet.inputs}


def current(chip, held, place, v):
    array, spec = chip.arrays[place], chip.datasheet.arrays[place]
    rms = np.sqrt(np.mean(v * v, axis=1, keepdims=True))
    driven = array.normaliser_gain * v / (rms + array.parts.normaliser.epsilon)
    driven = quantised(driven, spec.dac_bits, spec.input_range)
    target = np.zeros((len(v), array.n_target + 1))
    blocks = [held[place]] if spec.rows is None else held[place]
    for k, w in enumerate(blocks):
        for i in range(spec.n_in):
            row = i if spec.rows is None else spec.rows[k, i]
            gain, offset = (bank if spec.rows is None else bank[k] for bank in (array.dac.gain, array.dac.offset))
            line = (
                driven[:, row] * float(gain[i]) + float(offset[i])
                if row < v.shape[1]
                else np.full(len(v), float(row == v.shape[1]))
            )
            for j in range(spec.n_out):
                target[:, j if spec.columns is None else spec.columns[k, j]] += line * w[i, j]
    return target[:, :-1]


def samples(sheet, count=6, seed=0):
    return RNG(seed).random((count, sheet.n_inputs), dtype=np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_read_equals_a_plain_float64_computation_at_every_tick(name):
    """To 1e-5 of full scale (12), for every population and tick."""
    chip = SimulatedChip(silent(name), 4)
    x = samples(chip.datasheet)
    trace, states = chip.read(x), computed(chip, x)
    assert {(n, t) for n, by_tick in trace.states.items() for t in by_tick} == set(states)
    for (population, tick), want in states.items():
        assert np.abs(trace.states[population][tick] - want).max() < 1e-5 * 12, (population, tick)
        assert np.abs(want).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_with_converters_nearly_all_codes_of_the_first_ticks_are_equal_and_the_rest_one_off(name):
    """99.9 % of all first-tick codes over 200 samples; later codes follow from sums that rounding has already moved."""
    chip = SimulatedChip(silent(name, converters={}), 4)
    x = samples(chip.datasheet, 200)
    trace, states = chip.read(x, want="states"), computed(chip, x)
    step, off, total, worst = 24 / 254, 0, 0, 0.0
    for population in chip.datasheet.fed:
        codes = np.rint(trace.states[population][0] / step) - np.rint(states[population, 0] / step)
        first = all(chip.datasheet.arrays[a].source in chip.datasheet.inputs for a in chip.datasheet.into(population))
        off, total = off + int((codes != 0).sum()), total + codes.size
        worst = max(worst, float(np.abs(codes).max()) if first else 0.0)
    assert off / total < 1e-3
    assert worst <= 1


@slow_in_plain_python
@pytest.mark.parametrize("name", [*NAMES, "headless", "fields28"])
def test_every_new_design_conforms(name):
    check_chip(lambda: SimulatedChip(load_design(name), 3), erase=True)


# --- noise -----------------------------------------------------------------------------------------------------------


@slow_in_plain_python
def test_an_array_read_several_times_in_one_read_gets_fresh_noise_each_time():
    """Correlation of the noise of all pairs of ticks and populations over 600 samples; false alarm 0.1 % together."""
    design = load_design("recurrent").revised(
        device={"technology": "linear", "pulses": 0, "read_noise": 1e-6},
        neurons={"noise": 0.0, "curve": "linear"},
        converters={"dac_bits": 0, "adc_bits": 0, "input_range": 0.0, "output_range": 0.0},
        dynamics={"kind": "recurrent", "keep": 0.0},
    )
    chip, x = SimulatedChip(design, 1), np.tile(samples(design.datasheet(), 1), (600, 1))
    trace = chip.read(x)
    noise = {}
    for tap in trace.taps:  # what a neuron gave less what its arrays' products were
        z = tap.pre.astype(float) @ oracle.weights(chip)[tap.array]
        spec = chip.datasheet.arrays[tap.array]
        noise[spec.target, tap.tick] = noise.get((spec.target, tap.tick), 0) + z
    found = []
    for (name, tick), z in noise.items():
        bank, adc = chip.populations[name].neurons, chip.populations[name].adc
        given = (trace.states[name][tick] - adc.offset) / adc.gain
        left = np.where(np.abs(given) < 10, (given - bank.offset) / bank.gain - z, 0)[:, :16]
        assert left.std() > 0.05
        found.append((left - left.mean(0))[:, : min(16, left.shape[1])].ravel()[: 600 * 10])
    r = np.corrcoef(found)[np.triu_indices(len(found), 1)]
    bound = stats.norm.isf(0.001 / 2 / r.size) / np.sqrt(600 * 10 - 3)
    assert np.abs(np.arctanh(r)).max() < bound


# --- slopes ----------------------------------------------------------------------------------------------------------


SMOOTH = {"curve": {"family": "softplus", "softness": 0.5}, "saturation": 0.0}


@pytest.mark.parametrize("name", [*NAMES, "fields28"])
def test_the_oracle_s_slopes_equal_finite_differences(name):
    """Along the gradient of every array, central differences of its own noise-free loss, to 1e-4."""
    chip = SimulatedChip(silent(name, neurons=SMOOTH), 4)
    x = samples(chip.datasheet, 3).astype(float)
    _check_slopes(oracle.model(chip), x)


@pytest.mark.parametrize("name", ["fields", "recurrent", "tiled", "fields28"])
def test_the_nominal_twin_s_slopes_equal_finite_differences(name):
    sheet = silent(name, neurons=SMOOTH).datasheet()
    weights = [RNG(place).standard_normal(spec.shape) / 8 for place, spec in enumerate(sheet.arrays)]
    _check_slopes(Twin.nominal(sheet, weights), samples(sheet, 3).astype(float))


def _check_slopes(model, x):
    targets = one_hot(np.arange(len(x)) % 10, 10).astype(float)
    _, gradient = model.loss_and_gradient(x, targets)
    for place, (array, slope) in enumerate(zip(model.arrays, gradient, strict=True)):
        size = np.linalg.norm(slope)
        assert size > 0, place
        losses = []
        for sign in (1, -1):
            array.weights[...] += sign * 1e-5 / size * slope
            losses.append(cross_entropy(model.forward(x).output, targets)[0].mean())
            array.weights[...] -= sign * 1e-5 / size * slope
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(size, rel=1e-4), place


def test_the_twin_says_that_it_takes_a_box_for_the_identity_and_refuses_one_of_other_sizes():
    design = load_design("boxed")
    (sentence,) = assumptions(design.datasheet())
    assert sentence.startswith("medium is a black box")
    assert not assumptions(load_design("fields").datasheet())
    fields = design.fields()
    fields["population"][2]["shape"] = [32]
    from mortalsim.checks import ShapeError
    from mortalsim.chips.design import build_design

    sheet = build_design(fields, "test").datasheet()
    with pytest.raises(ShapeError, match="'medium' turns 64 numbers into 32"):
        Twin.nominal(sheet, [np.zeros(spec.shape) for spec in sheet.arrays])


# --- shared images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fields", "recurrent", "tiled", "boxed", "headless"])
@pytest.mark.parametrize("nudge", [None, WeightNudge(3, 0.1), WeightNudge(3, 0.1, "rank1")], ids=["none", "signs", "rank1"])
def test_shared_images_give_what_the_plain_array_gives(name, nudge):
    """Label lines in a population of their own or among the pixels; two sets of values, and none at all."""
    design = silent(name)
    sheet = design.datasheet()
    x = samples(sheet, 5)
    lines = np.arange(sheet.n_inputs - 10, sheet.n_inputs)
    labels = np.eye(10, dtype=np.float32)[RNG(1).integers(10, size=(2, 5))]
    for overlaid in (Overlaid(x, lines, labels), Overlaid.repeated(x, 3)):
        one, two = SimulatedChip(design, 3), SimulatedChip(design, 3)
        a, b = one.read(overlaid, nudge), two.read(np.asarray(overlaid), nudge)
        for tap, other in zip(a.taps, b.taps, strict=True):
            assert (tap.array, tap.tick, tap.at) == (other.array, other.tick, other.at)
            np.testing.assert_allclose(tap.pre, other.pre, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(tap.post, other.post, rtol=1e-4, atol=1e-4)
        assert one.meter == two.meter
