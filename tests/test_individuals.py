"""Who a chip is: run seed and number make one individual in every design; noise, clock and meter are separate from it."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from small import SIZES, inputs, small
from structures import STRUCTURES, structured

from mortalsim.checks import RangeError
from mortalsim.chips import Clock, Meter, SimulatedChip, chip_streams, load_design, oracle
from mortalsim.hardware import Delta, Program
from mortalsim.kernels.devices import DOWN, ERROR, HIGH, LOW, MINUS, NU, PLUS, UP, G
from mortalsim.streams import Streams


def frozen(chip):
    """Return everything that fabrication draws, by name, each in its own array."""
    found = {}
    for array in chip.arrays:
        cells = array.crossbar.devices
        found |= {f"devices {array.place} {k}": values for k, values in enumerate(cells.arrays)}
        found |= {f"dac gain {array.place}": array.dac.gain, f"dac offset {array.place}": array.dac.offset}
        found |= {f"port {array.place}": array.weight_gain, f"normaliser {array.place}": np.array(array.normaliser_gain)}
    for name, population in chip.populations.items():
        neurons, tables = population.neurons, population.neurons.tables
        found |= {f"{name} gain": neurons.gain, f"{name} offset": neurons.offset, f"{name} saturation": neurons.saturation}
        found |= {f"{name} values": tables.values, f"{name} slopes": tables.slopes, f"{name} port": population.current_gain}
        found |= {f"{name} adc gain": population.adc.gain, f"{name} adc offset": population.adc.offset}
    return found | {f"{name} medium": box.matrix for name, box in chip.boxes.items()}


def last(trace):
    """Return the states of a read, one after the other."""
    return np.concatenate([state.ravel() for states in trace.states.values() for state in states.values()])


# --- one seed and one number, one individual ---------------------------------------------------------------------------


def test_one_seed_is_one_chip_and_another_seed_another():
    design = small("mild")
    alike, twin, other = SimulatedChip(design, 7), SimulatedChip(design, 7), SimulatedChip(design, 8)
    for a, b, c in zip(*(chip.arrays[0].crossbar.devices.arrays for chip in (alike, twin, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert not np.array_equal(alike.populations["h1"].neurons.gain, other.populations["h1"].neurons.gain)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_chip_is_made_of_a_runs_seed_and_a_number_and_nothing_else_in_every_structure(name):
    design, run = structured(name, neurons={"curve": "wild"}), Streams(7)
    chip, twin, next_one = (SimulatedChip(design, chip_streams(run, number)) for number in (3, 3, 4))
    one, two, other = frozen(chip), frozen(twin), frozen(next_one)
    for part, values in one.items():
        np.testing.assert_array_equal(values, two[part], err_msg=part)
        if values.size and np.ptp(values) > 0:
            assert not np.array_equal(values, other[part]), part
    x = np.random.default_rng(0).random((3, chip.datasheet.n_inputs), dtype=np.float32)
    np.testing.assert_array_equal(last(chip.read(x)), last(twin.read(x)))


def test_a_seed_alone_stands_for_number_0_of_a_run():
    one, two = SimulatedChip(small("mild"), 7), SimulatedChip(small("mild"), chip_streams(Streams(7), 0))
    for part, values in frozen(one).items():
        np.testing.assert_array_equal(values, frozen(two)[part])
    np.testing.assert_array_equal(one.read(inputs(3)).output, two.read(inputs(3)).output)
    assert one.streams == two.streams
    with pytest.raises(RangeError, match="number"):
        chip_streams(Streams(7), -1)


def test_seeds_that_agree_in_their_lower_32_bits_are_different_individuals():
    gains = [SimulatedChip(small("mild"), seed).populations["h1"].neurons.gain for seed in (3, 3 + 2**32, 3 + 2**64)]
    assert len({gain.tobytes() for gain in gains}) == 3


def chain_in_long_form(design):
    """Return the same chain of dense arrays, written out."""
    names = ["in", "h1", "h2", "out"]
    fields = {name: value for name, value in design.fields().items() if name != "sizes"}
    populations = [{"name": name, "shape": [size]} for name, size in zip(names, design.sizes, strict=True)]
    arrays = [{"source": a, "target": b} for a, b in pairwise(names)]
    return type(design)(**fields, population=populations, array=arrays, output="out")


@pytest.mark.parametrize("name", ["mild", "harsh", "wild"])
def test_a_chain_written_out_is_the_same_individual_with_the_same_noise(name):
    short, long = (SimulatedChip(design, chip_streams(Streams(7), 3)) for design in
                   (small(name), chain_in_long_form(small(name))))  # fmt: skip
    for part, values in frozen(short).items():
        np.testing.assert_array_equal(values, frozen(long)[part], err_msg=part)
    for chip in (short, long):
        chip.write(Delta(0, np.full((13, 8), 0.05, np.float32)))
    np.testing.assert_array_equal(short.read(inputs(3)).output, long.read(inputs(3)).output)


def test_designs_of_equal_shapes_scale_the_same_draws_of_one_individual():
    """Mild and harsh differ in every spread: what a number of one is away from its mean, in spreads, it is in the other."""
    mild, harsh = (load_design(name).with_sizes(SIZES) for name in ("mild", "harsh"))
    one, two = (SimulatedChip(design, chip_streams(Streams(7), 3)) for design in (mild, harsh))
    for name in ("h1", "h2", "out"):
        a, b = one.populations[name], two.populations[name]
        for draw in (
            lambda p: np.log(p.neurons.gain) / p.parts.neurons.gain_dtod,
            lambda p: p.neurons.offset / p.parts.neurons.offset_dtod,
            lambda p: np.log(p.neurons.saturation / 12) / p.parts.neurons.saturation_dtod,
            lambda p: (p.adc.gain - 1) / p.parts.converters.gain_dtod,
            lambda p: (p.current_gain - 1) / p.parts.nudges.current_gain_dtod,
        ):
            np.testing.assert_allclose(draw(a), draw(b), atol=1e-4)
            assert np.std(draw(a)) > 0.2
    for a, b in zip(one.arrays, two.arrays, strict=True):
        for draw in (
            lambda array: (array.normaliser_gain - 1) / array.parts.normaliser.gain_dtod,
            lambda array: (array.weight_gain - 1) / array.parts.nudges.weight_gain_dtod,
            lambda array: array.dac.offset / array.parts.converters.offset_dtod,
        ):
            np.testing.assert_allclose(draw(a), draw(b), atol=1e-4)
        normals = [array.crossbar.devices.values(ERROR) / array.crossbar.device.conductance_dtod for array in (a, b)]
        moves = b.crossbar.devices.codes(UP) > 0
        np.testing.assert_allclose(normals[0][moves], normals[1][moves], atol=0.01)  # of each, 16 bits are kept
        # Where the better chip has a stuck device, the worse one has it too.
        assert b.crossbar.devices.stuck()[a.crossbar.devices.stuck()].all()


def test_no_two_places_and_no_two_properties_of_a_chip_share_their_draws():
    """Of four populations and arrays of one size, what was drawn, in spreads from its mean, is another everywhere."""
    spread = {"gain_dtod": 0.01, "offset_dtod": 0.01}
    design = load_design("mild").revised(
        sizes=(12, 12, 12, 12, 12),
        neurons=spread | {"saturation_dtod": 0.01},
        converters=spread,
        nudges={"current_gain_dtod": 0.01, "weight_gain_dtod": 0.01},
        device={"conductance_dtod": 0.01, "bound_dtod": 0.01, "stuck": 0.0},
        normaliser={"gain_dtod": 0.01},
    )
    chip = SimulatedChip(design, 3)
    draws = []
    for population in chip.populations.values():
        neurons, adc = population.neurons, population.adc
        draws += [np.log(neurons.gain), neurons.offset, np.log(neurons.saturation / 12)]
        draws += [adc.gain - 1, adc.offset, population.current_gain - 1]
    for array in chip.arrays:
        cells = array.crossbar.devices
        draws += [array.dac.gain - 1, array.dac.offset, array.weight_gain[0] - 1]
        for device in (PLUS, MINUS):
            draws += [
                (cells.values(trait)[device, 0] / nominal - 1) * scale
                for trait, nominal, scale in ((LOW, 1e-6, 1), (HIGH, 25e-6, 1), (UP, design.device.step, 0.1))
            ]
            draws.append(cells.values(ERROR)[device, 0])
        draws.append(oracle.weights(chip)[array.place][0] * 0.03)
    drawn = np.array(draws) / 0.01
    assert np.abs(drawn).max() < 6 and len(drawn) == 4 * 6 + 4 * 12
    for one in range(len(drawn)):
        for other in range(one):
            assert np.isclose(drawn[one], drawn[other], atol=0.02).sum() < 4, (one, other)
    normalisers = {array.normaliser_gain for array in chip.arrays}
    assert len(normalisers) == 4


def test_every_number_of_a_run_has_a_noise_key_of_its_own():
    """200,000 numbers; 32 bits of the keys alone would give the same to some, as seeds squeezed through 32 bits did."""
    run = Streams(7)
    keys = {chip_streams(run, number).key("noise").tobytes() for number in range(200_000)}
    assert len(keys) == 200_000
    assert len({key[:4] for key in keys}) < 200_000


def test_runs_and_numbers_are_not_mixed_up():
    """Number 23 of run 1 and number 3 of run 12 are written with the same digits."""
    keys = {chip_streams(Streams(seed), number).key("noise").tobytes() for seed in range(130) for number in range(130)}
    assert len(keys) == 130 * 130


# --- devices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"device": {"stuck": 0.3}},
        {"device": {"bound_dtod": 0.0}},
        {"converters": {"gain_dtod": 0.2}},
        {"neurons": {"noise": 0.0}},
        {"nudges": {"current_gain_dtod": 0.0}},
        {"neurons": {"curve": "wild"}},
    ],
)
def test_switching_one_effect_leaves_the_others_as_they_were(change):
    one, two = SimulatedChip(small("mild"), 7), SimulatedChip(small("mild", **change), 7)
    for name in ("h1", "h2", "out"):
        a, b = one.populations[name], two.populations[name]
        np.testing.assert_array_equal(a.neurons.gain, b.neurons.gain)
        np.testing.assert_array_equal(a.neurons.offset, b.neurons.offset)
        if "converters" not in change:
            np.testing.assert_array_equal(a.adc.gain, b.adc.gain)
    for a, b in zip(one.arrays, two.arrays, strict=True):
        moves = b.crossbar.devices.codes(UP) > 0
        for trait in (UP, ERROR, NU):
            np.testing.assert_array_equal(*(part.crossbar.devices.values(trait)[moves] for part in (a, b)))
        if "converters" not in change:
            np.testing.assert_array_equal(a.dac.gain, b.dac.gain)
        np.testing.assert_array_equal(a.weight_gain, b.weight_gain)


def chi_square(values, spread):
    """Two-sided p of the second moment of ``values`` about 0 under a normal law of standard deviation ``spread``."""
    values = np.asarray(values, float)
    statistic = float(np.square(values).sum()) / spread**2
    return 2 * min(stats.chi2.sf(statistic, values.size), stats.chi2.cdf(statistic, values.size))


def test_mismatch_has_the_spread_that_the_design_states():
    """Chi-square test of seven standard deviations, false alarm 0.1 % together."""
    design = load_design("mild").revised(
        sizes=(50, 400),
        device={"conductance_dtod": 0.02, "stuck": 0.0},
        neurons={"gain_dtod": 0.1, "offset_dtod": 0.2, "output_curve": "relu"},
    )
    chip = SimulatedChip(design, 11)
    array, population = chip.arrays[0], chip.populations["out"]
    cells = array.crossbar.devices
    steps = np.mean([cells.values(trait) for trait in (UP, DOWN)], axis=0) / design.device.step
    found = {
        "conductance": (cells.values(ERROR), 0.02),
        "step": (steps - 1, 0.1),
        "gain": (np.log(population.neurons.gain), 0.1),
        "offset": (population.neurons.offset, 0.2),
        "dac": (array.dac.gain - 1, 0.01),
        "adc": (population.adc.gain - 1, 0.01),
        "port": (population.current_gain - 1, 0.05),
    }
    for name, (values, spread) in found.items():
        assert chi_square(values, spread) > 0.001 / len(found), name


def test_bounds_asymmetry_and_saturation_have_the_spread_that_the_design_states():
    """Four chi-square tests, false alarm 0.1 % together."""
    device = {"bound_dtod": 0.05, "asymmetry": 0.2, "asymmetry_dtod": 0.03, "step_dtod": 0.0, "stuck": 0.0}
    neurons = {"saturation": 3.0, "saturation_dtod": 0.1}
    chip = SimulatedChip(load_design("mild").revised(sizes=(50, 400), device=device, neurons=neurons), 12)
    spec, cells = chip.design.device, chip.arrays[0].crossbar.devices
    up, down, low, high = (cells.values(trait).astype(float) for trait in (UP, DOWN, LOW, HIGH))
    found = {
        "low": (low / spec.g_min - 1, 0.05),
        "high": (high / spec.g_max - 1, 0.05),
        "asymmetry": ((up - down) / (up + down) - 0.2, 0.03),
        "saturation": (np.log(chip.populations["out"].neurons.saturation / 3.0), 0.1),
    }
    for name, (values, spread) in found.items():
        assert chi_square(values, spread) > 0.001 / 4, name
    np.testing.assert_allclose(up + down, 2 * spec.step, rtol=3e-5)  # of each, 16 bits are kept


def test_weights_as_fabricated_divide_by_the_lines_that_reach_the_neuron_over_all_arrays():
    """Two inputs of 40 and 24 and a bias: 65 lines, also on tiles whose last rows are grounded; false alarm 0.1 %."""
    mild = load_design("headless").fields() | {"device": {"technology": "linear", "pulses": 0}}
    populations = [{"name": name, "shape": [size]} for name, size in (("a", 40), ("b", 24), ("out", 300))]
    wirings = ({"kind": "tiles", "rows": 16, "columns": 128}, "dense")
    arrays = [{"source": name, "target": "out", "wiring": wiring} for name, wiring in zip("ab", wirings, strict=True)]
    design = type(load_design("headless"))(**mild | {"population": populations, "array": arrays, "weight_range": 8.0})
    chip = SimulatedChip(design, 3)
    for place, (spec, weights) in enumerate(zip(chip.datasheet.arrays, oracle.weights(chip), strict=True)):
        wired = np.ones(spec.shape, bool)
        if spec.rows is not None:
            wired = (spec.rows <= 40)[:, :, None] & (spec.columns < 300)[:, None, :]
        assert wired.sum() == ((41, 24)[place]) * 300
        assert chi_square(weights[wired], 1 / np.sqrt(65)) > 0.0005


def test_stuck_devices_sit_anywhere_between_their_bounds():
    """KS test against the uniform law, false alarm 0.1 %."""
    cells = SimulatedChip(small("mild", device={"stuck": 1.0}).with_sizes((50, 40)), 5).arrays[0].crossbar.devices
    g, low, high = cells.levels(G).astype(float), cells.values(LOW), cells.values(HIGH)
    assert stats.kstest(((g - low) / (high - low)).ravel(), "uniform").pvalue > 0.001


def test_no_static_error_turns_a_conductance_negative():
    chip = SimulatedChip(small("mild", device={"conductance_dtod": 3.0}), 5)
    errors = chip.arrays[0].crossbar.devices.values(ERROR)
    assert errors.min() == -1
    assert errors.max() > 3


# --- noise, clock and meter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_noise_of_its_own_leaves_the_individual_and_changes_reads_and_writes(name):
    design, seed = structured(name, neurons={"noise": 0.5}), chip_streams(Streams(7), 3)
    plain, same, other = (SimulatedChip(design, seed, noise=noise) for noise in (None, seed, 99))
    again = SimulatedChip(design, seed, noise=chip_streams(Streams(99)))
    for part, values in frozen(plain).items():
        np.testing.assert_array_equal(values, frozen(other)[part], err_msg=part)
    x = np.random.default_rng(0).random((3, plain.datasheet.n_inputs), dtype=np.float32)
    reads = [last(chip.read(x)) for chip in (plain, same, other, again)]
    np.testing.assert_array_equal(reads[0], reads[1])
    np.testing.assert_array_equal(reads[2], reads[3])
    assert (reads[0] != reads[2]).mean() > 0.2
    for chip in (plain, same, other, again):
        chip.write(Delta(0, np.full(chip.datasheet.arrays[0].shape, 0.01, np.float32)))
    weights = [oracle.weights(chip)[0] for chip in (plain, same, other, again)]
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[2], weights[3])
    assert (weights[0] != weights[2]).mean() > 0.2


def test_chips_on_one_clock_age_together_and_are_metered_apart():
    clock, design = Clock(), small("mild", device={"drift": 0.05})
    one, two = (SimulatedChip(design, seed, clock=clock) for seed in (3, 4))
    alone = SimulatedChip(design, 4)
    one.wait(1e4)
    alone.wait(1e4)
    fresh = SimulatedChip(design, 4)
    np.testing.assert_array_equal(oracle.weights(two)[0], oracle.weights(alone)[0])
    assert np.median(oracle.weights(two)[0] / oracle.weights(fresh)[0]) < 0.9
    before = clock.now
    one.read(inputs(10))
    assert two.clock.now == clock.now == before + 10 * one.datasheet.seconds_per_read
    assert two.meter == Meter()
    clock.advance(5.0)
    assert one.clock.now == pytest.approx(before + 5.0)
    with pytest.raises(RangeError, match="seconds"):
        clock.advance(-1.0)


def test_a_chip_made_late_on_a_running_clock_has_not_drifted():
    design = small("mild", device={"drift": 0.05})
    late, early = SimulatedChip(design, 3, clock=Clock(1e6)), SimulatedChip(design, 3)
    np.testing.assert_array_equal(oracle.weights(late)[0], oracle.weights(early)[0])
    np.testing.assert_array_equal(late.read(inputs(3)).output, early.read(inputs(3)).output)
    for chip in (late, early):
        chip.wait(1e4)
    np.testing.assert_allclose(oracle.weights(late)[0], oracle.weights(early)[0], rtol=1e-5, atol=1e-7)
    assert not np.allclose(oracle.weights(late)[0], oracle.weights(SimulatedChip(design, 3))[0], rtol=1e-2)


def test_a_meter_that_is_set_back_changes_no_later_read_or_write():
    """Once, write requests were numbered by the meter, so that setting it back repeated the noise of writes."""
    kept, reset = (SimulatedChip(small("harsh", neurons={"noise": 1.0}), 3) for _ in range(2))
    ask = np.full((13, 8), 0.004, np.float32)  # less than a pulse
    changes = []
    for _ in range(3):
        before = oracle.weights(reset)[0]
        for chip in (kept, reset):
            chip.write(Delta(0, ask))
            chip.write(Program(1, np.zeros((9, 6), np.float32)))
        changes.append(oracle.weights(reset)[0] - before)
        reset.meter = Meter()
        np.testing.assert_array_equal(kept.read(inputs(2)).output, reset.read(inputs(2)).output)
        reset.meter.requests = reset.meter.reads = 0
    for one, two in zip(kept.arrays, reset.arrays, strict=True):
        np.testing.assert_array_equal(one.crossbar.devices.state, two.crossbar.devices.state)
    assert np.mean((changes[0] != 0) == (changes[1] != 0)) < 0.9  # another write, other pulses
    assert kept.meter != reset.meter
