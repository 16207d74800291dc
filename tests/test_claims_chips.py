"""What is claimed of chips: each test fails if the sentence that it bears stops being true."""

import re

import numpy as np
import pytest
from nets import net
from running import slow_in_plain_python
from small import RNG, small
from structures import STRUCTURES, structured

from mortalsim.checks import ChipFault, DesignError, RangeError, ShapeError
from mortalsim.chips import Meter, SimulatedChip, load_design, netlist, oracle
from mortalsim.chips.design import build_design
from mortalsim.chips.wiring import WIRINGS
from mortalsim.chips.wiring.patches import patches
from mortalsim.circuits.curves import CURVES
from mortalsim.circuits.stages import STAGES
from mortalsim.devices import DEVICES
from mortalsim.hardware import Delta, Outer, Overlaid, Program, Replay, Shrink, WeightNudge
from mortalsim.models import Twin

UNLIMITED = {"dac_bits": 0, "adc_bits": 0, "input_range": 0, "output_range": 0}


def test_wild_neurons_have_slopes_of_unit_mean_where_they_are_on_and_of_the_mean_leak_where_they_are_off():
    """The factor of roughness is lognormal, of mean 1 and log spread r: 3000 neurons, 5 standard errors."""
    r, leak, n = 0.7, 0.05, 3000
    wild = CURVES.get("wild")(roughness=r, leak=leak, onset=0.0, softness=0.05)
    ends = np.tile(np.float64([[-7.5], [7.5]]), (1, n))  # far from where they turn on, on either side
    off, on = wild.fabricate(n, RNG(1)).respond(ends)[1]
    rough = np.sqrt(np.exp(r**2) - 1)  # the factor's standard deviation; that of the leak is its mean
    assert on.mean() == pytest.approx(1, abs=5 * rough / np.sqrt(n))
    assert np.log(on).std() == pytest.approx(r, abs=5 * r / np.sqrt(2 * n))
    spread = leak * np.sqrt(2 * np.exp(r**2) - 1)
    assert off.mean() == pytest.approx(leak, abs=5 * spread / np.sqrt(n))


def test_the_roughness_of_wild_neurons_has_the_wavelength_that_is_asked_for():
    """Correlation of log slopes exp(-d^2 / 2 w^2) at distance d: 3000 neurons, 5 standard errors."""
    n = 3000
    for wavelength in (1.0, 2.0):
        wild = CURVES.get("wild")(roughness=0.7, wavelength=wavelength, onset=0.0, softness=0.05, leak=0.0)
        places = np.tile(np.float64([[3.0], [3.5], [4.0], [5.0]]), (1, n))
        found = np.corrcoef(np.log(wild.fabricate(n, RNG(1)).respond(places)[1]))[0]
        for r, distance in zip(found, (0.0, 0.5, 1.0, 2.0), strict=True):
            wanted = np.exp(-((distance / wavelength) ** 2) / 2)
            assert r == pytest.approx(wanted, abs=5 * (1 - wanted**2) / np.sqrt(n) + 1e-5)


def test_wild_neurons_turn_on_at_places_and_over_spans_of_their_own():
    """Without roughness and leak a slope is a logistic: from where it is 1/4, 1/2 and 3/4 come onset and softness."""
    n = 400
    tables = CURVES.get("wild")(roughness=0.0, leak=0.0, onset=0.5, softness=0.8).fabricate(n, RNG(1))
    v = np.linspace(-8, 8, 3201)
    slopes = tables.respond(np.tile(v[:, None], (1, n)))[1]
    quarter, half, three = (v[np.argmax(slopes >= level, axis=0)] for level in (0.25, 0.5, 0.75))
    assert half.mean() == pytest.approx(0, abs=5 * 0.5 / np.sqrt(n)) and half.std() == pytest.approx(
        0.5, rel=5 / np.sqrt(2 * n)
    )
    softness = np.log((three - quarter) / np.log(9))
    assert softness.mean() == pytest.approx(np.log(0.8), abs=5 * 0.5 / np.sqrt(n) + 0.03)
    assert softness.std() == pytest.approx(0.5, rel=5 / np.sqrt(2 * n))


def test_devices_whose_bounds_would_cross_keep_a_tenth_of_the_nominal_range():
    """Where bounds spread as far as they are apart: no device conducts less than nothing, and each can be moved."""
    device = {"technology": "linear", "pulses": 0, "g_min": 2e-6, "g_max": 12e-6, "bound_dtod": 0.8}
    chip = SimulatedChip(small("ideal", device=device), 3)
    ends = []
    for change in (100, -100):  # G+ up and G- down as far as they go, then the other way
        chip.write(Delta(0, np.full((13, 8), change, np.float32)))
        ends.append(oracle.conductances(chip)[0])
    ranges = np.stack([ends[0][0] - ends[1][0], ends[1][1] - ends[0][1]])
    assert np.minimum(*ends).min() == 0 and ranges.min() == pytest.approx(1e-6, rel=1e-3)
    assert 0.05 < np.isclose(ranges, 1e-6, rtol=1e-3).mean() < 0.5


def test_nominal_read_noise_is_that_of_the_noisiest_neuron(monkeypatch):
    """Three lines reach all six neurons, five more the first four: 8 lines of 2 x 0.1^2 each."""
    first_four = np.arange(5)[None], np.arange(4)[None]
    real = WIRINGS.get
    monkeypatch.setattr(WIRINGS, "get", lambda name: (lambda a, b, bias: first_four) if name == "four" else real(name))
    shapes = [{"name": name, "shape": [size]} for name, size in (("a", 3), ("b", 5), ("out", 6))]
    arrays = [{"source": "a", "target": "out"}, {"source": "b", "target": "out", "wiring": "four"}]
    device = {"technology": "linear", "pulses": 0, "g_min": 1e-6, "g_max": 9e-6, "read_noise": 0.4e-6}
    fields = {"name": "m", "population": shapes, "array": arrays, "output": "out", "device": device, "weight_range": 2.0}
    assert build_design(fields, "design").datasheet().populations["out"].read_noise == pytest.approx((8 * 0.02) ** 0.5)


@pytest.mark.parametrize("name", STRUCTURES)
def test_values_may_be_written_over_any_single_line(name):
    """Of one input population or another, its first line or its last."""
    design = structured(name, converters=UNLIMITED)
    n = design.datasheet().n_inputs
    images, values = RNG(1).random((3, n), dtype=np.float32), RNG(2).random((2, 3, 1), dtype=np.float32)
    for line in range(n):
        x = Overlaid(images, [line], values)
        one, two = (SimulatedChip(design, 3) for _ in range(2))
        got, want = one.read(x), two.read(np.asarray(x))
        for a, b in zip(got.taps, want.taps, strict=True):
            np.testing.assert_allclose(a.pre, b.pre, atol=2e-5)
            np.testing.assert_allclose(a.post, b.post, atol=2e-5)


@pytest.mark.parametrize(("pre", "post"), [(1e20, 1e20), (-1e20, 1e20), (1e20, -1e20), (-1e20, -1e20)])
def test_products_that_a_float_cannot_hold_are_refused_before_anything_is_written(pre, post):
    chip = SimulatedChip(small("ideal"), 3)
    rows, columns = np.full((2, 13), pre, np.float32), np.full((2, 8), post, np.float32)
    with pytest.raises(RangeError, match=re.escape("pre, post: expected sums of products up to 3.4")):
        chip.write(Outer(0, rows, columns, 1.0))
    rows[:, 1:], columns[:, 1:] = 0, 0  # one weight is enough
    with pytest.raises(RangeError, match="Scale them down"):
        chip.write(Outer(0, rows, columns, 1.0))
    assert chip.meter.requests == chip.meter.pulses == 0
    chip.write(Outer(0, rows / 1e10, columns / 1e10, 1e-20))


def test_a_design_has_no_more_populations_and_arrays_than_there_are_random_numbers_for(monkeypatch):
    monkeypatch.setattr(netlist, "PLACES", 4)
    small("ideal")  # four populations
    with pytest.raises(DesignError, match="expected at most 4 of each, found 5 and 4"):
        small("ideal").revised(sizes=(3, 3, 3, 3, 3))


@pytest.mark.parametrize("far", [1.01e9, -1.01e9, float("nan"), float("inf")])
def test_factors_of_requests_end_at_a_thousand_million(far):
    chip, near = SimulatedChip(small("ideal"), 3), float(np.copysign(1e9, far))
    ones, signs = np.ones((13, 8), np.float32), WeightNudge(3, 1e-9)
    for name, ask in (
        ("rate", lambda factor: Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), factor)),
        ("scale", lambda factor: Delta(0, ones, factor)),
        ("scale", lambda factor: Replay(signs, factor)),
    ):
        chip.write(ask(near))
        before = oracle.weights(chip)[0]
        with pytest.raises(RangeError, match=f"{name}: expected a number between -1e[+]09 and 1e[+]09"):
            chip.write(ask(far))
        np.testing.assert_array_equal(oracle.weights(chip)[0], before)


@pytest.mark.parametrize("factor", [-0.01, 1.01])
def test_weights_shrink_by_factors_from_none_to_all(factor):
    chip = SimulatedChip(small("ideal"), 3)
    with pytest.raises(RangeError, match="factor: expected a number between 0 and 1"):
        chip.write(Shrink(0, factor))
    before = oracle.weights(chip)[0]
    for allowed in (1.0, 0.5, 0.0):
        chip.write(Shrink(0, allowed))
        np.testing.assert_allclose(oracle.weights(chip)[0], allowed * before, atol=1e-6)
        chip.write(Program(0, before))


def test_programming_takes_its_pulses_row_after_row_and_a_round_of_reading_before_and_after():
    """Four pulses on each device of 13 rows, steps all alike: the second round finds every pair at its target."""
    device = {"pulses": 100, "slope_up": 0.0, "slope_down": 0.0}
    chip = SimulatedChip(small("ideal", device=device, initial_spread=0.0), 3)
    spec = chip.datasheet.arrays[0]
    chip.write(Program(0, oracle.weights(chip)[0] + 2 * 4 * spec.weight_step))
    assert chip.meter.pulses == 4 * 2 * 13 * 8
    waves = 2 * 13 * chip.design.costs.read_seconds
    assert chip.meter.seconds == pytest.approx(13 * 4 * spec.seconds_per_pulse + waves)
    assert chip.meter.reads == 0 and chip.meter.requests == 1


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_a_block_s_normaliser_divides_by_the_length_of_the_lines_that_it_sees(rows):
    """Seven inputs and a bias in tiles of so many rows, of which the last may see one line alone, or the bias alone."""
    shapes = [{"name": "in", "shape": [7]}, {"name": "out", "shape": [3]}]
    wiring = {"kind": "tiles", "rows": rows, "columns": 3}
    array = {"source": "in", "target": "out", "wiring": wiring, "normaliser": "block"}
    fields = {"name": "m", "population": shapes, "array": [array], "output": "out"}
    chip = SimulatedChip(build_design({**fields, "device": {"technology": "linear", "pulses": 0}}, "design"), 3)
    x, weights = RNG(1).random((6, 7), dtype=np.float32), oracle.weights(chip)[0]
    lines, wanted = np.concatenate([x, np.ones((6, 1))], axis=1), 0.0
    for block, start in enumerate(range(0, 8, rows)):
        seen = lines[:, start : start + rows]
        own = seen[:, : max(0, 7 - start)]
        length = np.sqrt(np.mean(own**2, axis=1, keepdims=True)) if own.size else 1.0
        carried = np.where(np.arange(start, start + seen.shape[1]) < 7, seen / length, seen)
        wanted = wanted + carried @ weights[block][: seen.shape[1]]
    np.testing.assert_allclose(chip.read(x).output, wanted, atol=1e-4)
    np.testing.assert_allclose(Twin.nominal(chip.datasheet, oracle.weights(chip)).forward(x).output, wanted, atol=1e-4)


def test_steps_of_the_fit_to_resistive_memory_fall_to_nothing_and_no_further():
    """Up: 1 + 1.18445 e^(5 z), down: 1 + 0.081404 e^(-5 z), z from 0 to -1 over the range; other signs end at 0."""
    u = np.linspace(0, 1, 11)
    fit = DEVICES.get("exponential")()
    np.testing.assert_allclose(fit.up(u), 1 + 1.18445 * np.exp(-5 * u), rtol=1e-6)
    np.testing.assert_allclose(fit.down(u), 1 + 0.081404 * np.exp(5 * u), rtol=1e-6)
    ending = DEVICES.get("exponential")(a_up=2.0, a_down=0.1)
    np.testing.assert_allclose(ending.up(u), np.maximum(1 - 2 * np.exp(-5 * u), 0), rtol=1e-6)
    np.testing.assert_allclose(ending.down(u), np.maximum(1 - 0.1 * np.exp(5 * u), 0), rtol=1e-6)
    assert ending.up(u)[0] == ending.down(u)[-1] == 0


def test_a_pulse_never_moves_a_device_backwards_however_much_steps_differ():
    """Steps of a spread as large as themselves: those below 0 count by their size."""
    device = {"pulses": 100, "step_dtod": 1.0, "slope_up": 0.0, "slope_down": 0.0}
    chip = SimulatedChip(small("ideal", device=device, initial_spread=0.0), 3)
    before = oracle.conductances(chip)[0]
    chip.write(Delta(0, np.full((13, 8), 8 * chip.datasheet.arrays[0].weight_step, np.float32)))
    up, down = (oracle.conductances(chip)[0] - before) / chip.design.device.step / 4  # four pulses on each of a pair
    sizes = np.concatenate([up.ravel(), -down.ravel()])
    assert sizes.min() > 0
    # |1 + normal| has mean 1.167 and standard deviation 0.804; 208 devices, 5 standard errors.
    assert sizes.mean() == pytest.approx(1.167, abs=5 * 0.804 / np.sqrt(sizes.size))


def test_continuous_devices_take_changes_without_pulses_time_or_energy():
    chip, ones = SimulatedChip(small("ideal"), 3), np.ones((13, 8), np.float32)
    for request in (
        Delta(0, ones, 0.01),
        Outer(0, ones[:1, :1].repeat(13, 1), ones[:1], 0.01),
        Shrink(0, 0.9),
        Replay(WeightNudge(3, 0.01), 1.0),
    ):
        chip.write(request)
    assert chip.meter == Meter(requests=4) and chip.clock.now == 0


@pytest.mark.parametrize(("drift", "spread"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)])
def test_only_devices_that_drift_keep_the_time_of_their_last_write(drift, spread):
    device = {"technology": "linear", "pulses": 0, "drift": drift, "drift_dtod": spread}
    chip, plain = (SimulatedChip(small("ideal", device=own), 3) for own in (device, {"technology": "linear", "pulses": 0}))
    assert chip.design.device.drifts is (drift + spread > 0)
    assert (chip.snapshot()["state.0"].size > plain.snapshot()["state.0"].size) is (drift + spread > 0)


@pytest.mark.parametrize("t0", [0.01, 20.0, 1e4])
def test_drift_is_followed_on_every_scale_of_time(t0):
    """G (1 + t / t0)^-nu from a time much shorter than t0 to one much longer; weights fall as conductances do."""
    device = {"technology": "linear", "pulses": 0, "drift": 0.1, "drift_t0": t0}
    chip = SimulatedChip(small("ideal", device=device), 3)
    before, x, passed = oracle.weights(chip)[0], np.ones((1, 12), np.float32), 0.0
    for wait in (0.01, 0.3, 3.0, 1000.0):
        chip.wait(wait * t0)
        passed += wait
        chip.read(x)
        np.testing.assert_allclose(oracle.weights(chip)[0], before * (1 + passed) ** -0.1, rtol=1e-3, atol=1e-5)


@slow_in_plain_python
def test_a_read_that_was_presented_before_a_write_is_answered_with_the_weights_after_it():
    """So large that products of the last read are kept."""
    quiet = {"read_noise": 0.0, "read_noise_relative": 0.0, "drift": 0.0, "drift_dtod": 0.0}
    design = load_design("mild").revised(sizes=(150, 1000, 2), device=quiet, converters=UNLIMITED, neurons={"noise": 0.0})
    chip, x = SimulatedChip(design, 3), RNG(1).random((200, 150), dtype=np.float32)
    first = [chip.read(x).output for _ in range(2)]
    np.testing.assert_allclose(first[0], first[1], atol=1e-5)
    for request in (Delta(0, np.full((151, 1000), 0.05, np.float32)), Replay(WeightNudge(3, 0.05), 1.0), Shrink(0, 0.5)):
        chip.write(request)
        found = chip.read(x).output
        np.testing.assert_allclose(found, oracle.model(chip).forward(x.astype(float)).output, rtol=1e-3, atol=1e-3)
        assert np.abs(found - first[0]).max() > 0.05


@slow_in_plain_python
def test_a_wide_block_is_read_in_pieces_as_a_wide_dense_array_is():
    """1600 columns, 120 samples: enough work for two pieces; reads, nudged or not, but for rounding."""
    chips = []
    for wiring in ("dense", {"kind": "tiles", "rows": 100, "columns": 1600}):
        shapes = [{"name": "in", "shape": [99]}, {"name": "out", "shape": [1600]}]
        fields = {"name": "m", "population": shapes, "array": [{"source": "in", "target": "out", "wiring": wiring}]}
        chips.append(SimulatedChip(build_design({**fields, "device": {"technology": "linear", "pulses": 0}}, "design"), 3))
    x = RNG(1).random((120, 99), dtype=np.float32)
    for nudge in (None, WeightNudge(3, 0.05), WeightNudge(3, 0.05, "rank1")):
        one, two = (chip.read(x, nudge).states["out"][0] for chip in chips)
        np.testing.assert_allclose(one, two, atol=2e-5)


@pytest.mark.parametrize("neurons", [1, 2, 3])
def test_each_wild_neuron_answers_by_its_own_curve(neurons):
    tables, z = CURVES.get("wild")().fabricate(neurons, RNG(1)), np.linspace(-3, 3, 41)
    values, _ = tables.respond(np.tile(z[:, None], (1, neurons)))
    for neuron in range(neurons):
        np.testing.assert_allclose(values[:, neuron], tables.curve(neuron)(z), atol=1e-5)
    assert neurons == 1 or np.abs(values[:, 0] - values[:, 1]).max() > 0.1


def test_a_wild_neuron_never_leaks_more_than_half():
    """An exponential law of mean 0.4 would pass a half in three neurons of ten."""
    tables = CURVES.get("wild")(roughness=0.0, leak=0.4, onset=0.0, softness=0.05).fabricate(200, RNG(1))
    leaks = tables.respond(np.full((1, 200), -7.5))[1]
    assert leaks.max() == pytest.approx(0.5, abs=1e-3) and 0.2 < np.isclose(leaks, 0.5, atol=1e-3).mean() < 0.4


@pytest.mark.parametrize(("share", "gain"), [(0.0, 1.0), (1.0, 1.0), (0.3, 1.7)])
def test_a_mixing_medium_passes_a_share_straight_and_mixes_the_rest(share, gain):
    """What is straight is repeated where there are more outputs; M has entries N(0, 1) / sqrt(n_in), 5 standard errors."""
    n_in, n_out = 30, 40
    box = STAGES.get("mixing")(share=share, gain=gain).fabricate(n_in, n_out, RNG(1))
    matrix = np.arctanh(box.answer(np.float64(0.01) * np.eye(n_in))) / 0.01 / gain
    straight = np.array([[float(i == j % n_in) for j in range(n_out)] for i in range(n_in)])
    mixed = matrix - (1 - share) * straight
    error = share / np.sqrt(n_in)
    assert mixed.std() == pytest.approx(error, abs=5 * error / np.sqrt(2 * mixed.size) + 1e-6)
    assert abs(mixed[straight > 0].mean()) < 5 * error / np.sqrt(n_out) + 1e-5


def test_a_recurrent_chip_may_have_its_first_pass_alone():
    assert net("recurrent", dynamics={"kind": "recurrent", "ticks": 0, "keep": 0.3}).datasheet().ticks("h1") == 1
    with pytest.raises(DesignError, match="ticks"):
        net("recurrent", dynamics={"kind": "recurrent", "ticks": -1, "keep": 0.3})


def test_a_last_window_may_overhang_the_border_but_not_lie_beyond_it():
    """Windows of 3 every 4: the second begins at pixel 4, which is the fifth."""
    rows, _ = patches((5, 3), (2, 1, 1), 3, 4)
    assert ((rows[1, :-1] < 15).sum(), rows.shape) == (3, (2, 10))
    with pytest.raises(ShapeError, match="windows of 3 every 4, 0 before the border, on 4 pixels make 1 places, found 2"):
        patches((4, 3), (2, 1, 1), 3, 4)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of kernels that run as plain Python
def test_an_output_that_overflows_is_told_though_all_before_it_is_finite(monkeypatch):
    """Means of 4e37 are as large; twice the sum of six of them is more than a float32 can hold."""
    monkeypatch.setattr("mortalsim.chips.simulated.LARGEST_INPUT", np.inf)
    chip, x = SimulatedChip(small("ideal", normaliser={"present": False}), 3), np.full((2, 12), 4e37, np.float32)
    for array, (rows, columns) in enumerate(((13, 8), (9, 6), (7, 4))):
        chip.write(Program(array, np.full((rows, columns), 1 / rows, np.float32)))
    assert np.isfinite(chip.read(x).output).all() and chip.read(x).output.min() > 1e37
    chip.write(Program(2, np.full((7, 4), 2.0, np.float32)))
    with np.errstate(over="ignore"), pytest.raises(ChipFault, match=r"gave NaN or infinity at turn \d, in 'out'"):
        chip.read(x)


def test_rows_written_together_take_as_long_as_the_slowest_and_one_after_the_other_as_long_as_all():
    """1 to 13 pulses on the devices of 13 rows; float32 may make one fewer of them once in 10^7."""
    device = {"pulses": 100, "slope_up": 0.0, "slope_down": 0.0}
    design = small("ideal", device=device, initial_spread=0.0)
    step, pulse = 2 * design.datasheet().arrays[0].weight_step, design.datasheet().arrays[0].seconds_per_pulse
    pulses = np.arange(1, 14, dtype=np.float32)[None]
    for ask, slots in (
        (lambda: Outer(0, pulses, np.full((1, 8), step, np.float32), 1.0), 13),
        (lambda: Delta(0, np.float32(step) * np.repeat(pulses.T, 8, axis=1)), sum(range(1, 14))),
    ):
        chip = SimulatedChip(design, 3)
        chip.write(ask())
        assert chip.meter.pulses == 2 * 8 * sum(range(1, 14))
        assert chip.meter.seconds == pytest.approx(slots * pulse)


@pytest.mark.parametrize(
    ("name", "fields", "up", "down"),
    [
        ("linear", {"slope_up": 0.2, "slope_down": 0.5}, lambda v: 1 - 0.2 * v, lambda v: 1 + 0.5 * v),
        ("soft_bounds", {}, lambda v: 1 - v, lambda v: 1 + v),
        ("power", {"gamma_up": 2.0, "gamma_down": 0.5}, lambda v: (1 - v) ** 2, lambda v: (1 + v) ** 0.5),
    ],
)
def test_steps_follow_their_law_over_the_range(name, fields, up, down):
    """v from -1 at the lower bound to 1 at the upper one; in units of the step in the middle."""
    device, u = DEVICES.get(name)(**fields), np.linspace(0, 1, 21)
    np.testing.assert_allclose(device.up(u), up(2 * u - 1), atol=1e-12)
    np.testing.assert_allclose(device.down(u), down(2 * u - 1), atol=1e-12)
    assert device.up(np.float64(0.5)) == device.down(np.float64(0.5)) == 1
