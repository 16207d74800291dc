"""What reads and writes cost, and the noise that a data sheet promises: every figure worked out by hand.

All chips here have pairs of 5 uS mid range, read at 0.2 V for 100 ns: 2 x 5e-6 x 0.04 x 1e-7 = 0.04 pJ a pair; an input
conversion takes 0.1 pJ, an output conversion 1 pJ. A weight of 1 is 4 uS.
"""

import numpy as np
import pytest
from scipy import stats
from small import RNG, inputs, small
from structures import structured

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import Delta, Outer, Program, Replay, Shrink, WeightNudge

PAIR, DAC, ADC, WAVE = 0.04e-12, 0.1e-12, 1e-12, 100e-9

DEVICE = {
    "technology": "linear", "g_min": 1e-6, "g_max": 9e-6, "pulses": 100, "read_volts": 0.2, "read_noise": 0.4e-6,
    "read_noise_relative": 0.08, "pulse_volts": 2.0, "pulse_seconds": 100e-9, "slope_up": 0.0, "slope_down": 0.0,
}  # fmt: skip
HAND = {
    "device": DEVICE,
    "weight_range": 2.0,
    "neurons": {"noise": 0.5},
    "costs": {"read_seconds": 100e-9, "dac_joules": 0.1e-12, "adc_joules": 1e-12},
}


def dense(**fields):
    """Return a chain of 12, 8, 6 and 4 with the figures above."""
    return load_design("ideal").revised(sizes=(12, 8, 6, 4), **HAND).revised(**fields)


def by_hand(name, **fields):
    """Return a structure with the figures above; ``partial_sums`` of all arrays may be given."""
    design = structured(name, **HAND)
    if "partial_sums" in fields:
        partial = fields.pop("partial_sums")
        fields["array"] = [entry | {"partial_sums": partial} for entry in design.fields()["array"]]
    return design.revised(**fields)


# --- reads ---------------------------------------------------------------------------------------------------------------


def test_a_read_of_three_dense_arrays():
    sheet = dense().datasheet()
    pairs = 13 * 8 + 9 * 6 + 7 * 4
    lines = 13 + 9 + 7
    assert sheet.seconds_per_read == pytest.approx(3 * WAVE)
    assert sheet.joules_per_read == pytest.approx(pairs * PAIR + lines * DAC + (8 + 6 + 4) * ADC, rel=1e-9, abs=0)
    assert sheet.joules_per_read == pytest.approx(28.34e-12, rel=1e-9, abs=0)


def test_a_read_of_fields():
    """Nine windows of 2 x 2 on 16 pixels, a label beside them, four windows on 3 x 3 places of 2 channels, a dense head."""
    sheet = by_hand("fields").datasheet()
    pairs = 9 * (4 + 1) * 2 + 4 * 18 + 4 * (8 + 1) * 3 + 13 * 4
    lines = 9 * (4 + 1) + 4 + 4 * (8 + 1) + 13
    assert sheet.seconds_per_read == pytest.approx(3 * WAVE)  # blocks and the two arrays into h1 answer at once
    assert sheet.joules_per_read == pytest.approx(pairs * PAIR + lines * DAC + (18 + 12 + 4) * ADC, rel=1e-9, abs=0)


def test_a_read_of_a_recurrent_chip():
    """A first pass and six ticks: three waves and six; what drives an array is converted once, however many ticks use it.

    Pixels (8) and h2 (5) feed h1 (6), h1 and a label (4) feed h2, h2 feeds the output (4).
    """
    sheet = by_hand("recurrent").datasheet()
    assert sheet.ticks("h1") == sheet.ticks("h2") == sheet.ticks("out") == 7
    first = 9 * 6 + (7 * 5 + 4 * 5) + 6 * 4  # h2 has no state yet that h1 could answer to
    tick = (9 * 6 + 5 * 6) + (7 * 5 + 4 * 5) + 6 * 4
    # Clamped inputs drive their arrays once; h2's states of ticks 0 to 5 drive two arrays, h1's of ticks 0 to 5 one.
    lines = 9 + 4 + 6 * 5 + 6 * 7 + 6 * 6
    assert sheet.seconds_per_read == pytest.approx(9 * WAVE)
    joules = (first + 6 * tick) * PAIR + lines * DAC + 7 * (6 + 5 + 4) * ADC
    assert sheet.joules_per_read == pytest.approx(joules, rel=1e-9, abs=0)
    assert joules == pytest.approx(161.54e-12, rel=1e-9, abs=0)


def test_a_read_of_tiles_does_not_pay_for_grounded_rows_and_idle_columns():
    """Tiles of 4 x 4: nine lines of six neurons, seven of five, six of four; half of the columns of some feed nobody."""
    analog, digital = (by_hand("tiled", partial_sums=kind).datasheet() for kind in ("analog", "digital"))
    assert [spec.shape for spec in analog.arrays] == [(6, 4, 4), (4, 4, 4), (2, 4, 4)]
    pairs = 9 * 6 + 7 * 5 + 6 * 4
    lines = 2 * 9 + 2 * 7 + 6  # each line once for the tiles of every four columns
    assert analog.seconds_per_read == pytest.approx(3 * WAVE)
    assert analog.joules_per_read == pytest.approx(pairs * PAIR + lines * DAC + (6 + 5 + 4) * ADC, rel=1e-9, abs=0)
    # Digitally, each of three, two and two tiles converts the sums of its own rows as well.
    assert digital.joules_per_read == pytest.approx(analog.joules_per_read + (3 * 6 + 2 * 5 + 2 * 4) * ADC, rel=1e-9, abs=0)


def test_a_read_of_a_chip_with_a_black_box():
    """The box is one more wave; it holds no device and no converter."""
    sheet = by_hand("boxed").datasheet()
    assert sheet.seconds_per_read == pytest.approx(4 * WAVE)
    assert sheet.joules_per_read == pytest.approx(
        (9 * 6 + 7 * 5 + 6 * 4) * PAIR + (9 + 7 + 6) * DAC + (6 + 5 + 4) * ADC, rel=1e-9, abs=0
    )


@pytest.mark.parametrize("name", ["boxed", "fields", "headless", "recurrent", "tiled"])
def test_a_meter_counts_what_the_data_sheet_says(name):
    chip = SimulatedChip(by_hand(name), 3)
    sheet = chip.datasheet
    for samples in (3, 4):
        chip.read(RNG(0).random((samples, sheet.n_inputs), dtype=np.float32))
    assert chip.meter.reads == 7
    assert chip.meter.seconds == chip.clock.now == pytest.approx(7 * sheet.seconds_per_read)
    assert chip.meter.joules == pytest.approx(7 * sheet.joules_per_read, rel=1e-9, abs=0)
    assert chip.meter.requests == chip.meter.pulses == 0


# --- noise -----------------------------------------------------------------------------------------------------------------


def test_nominal_read_noise_counts_the_driven_lines_of_all_arrays_into_a_population():
    """A line adds 2 x 0.1^2 by constant and 2 x 0.1^2 by relative noise, a neuron 0.5^2; arrays of different widths."""
    lines = {
        "dense": {"h1": 12, "h2": 8, "out": 6},
        "fields": {"h1": 4 + 4, "h2": 8, "out": 12},
        "recurrent": {"h1": 8 + 5, "h2": 6 + 4, "out": 5},
        "headless": {"h1": 8 + 4, "h2": 6},
        "tiled": {"h1": 8, "h2": 6, "out": 5},
    }
    for name, into in lines.items():
        sheet = (dense() if name == "dense" else by_hand(name)).datasheet()
        for population, count in into.items():
            found = sheet.populations[population].read_noise
            assert found == pytest.approx((0.25 + 0.04 * count) ** 0.5), (name, population)
        assert all(sheet.populations[name].read_noise == 0 for name in sheet.inputs)


def test_nominal_read_noise_of_an_array_of_its_own_technology():
    """The second array's unit is 2 uS a weight, so that its lines add 2 x 0.2^2 each by constant noise alone."""
    design = dense(device={"read_noise_relative": 0.0})
    whole = {name: value for name, value in by_hand("headless").fields().items() if name not in ("population", "array")}
    populations = [{"name": name, "shape": [size]} for name, size in (("a", 5), ("b", 3), ("out", 4))]
    arrays = [{"source": "a", "target": "out"}, {"source": "b", "target": "out", "weight_range": 4.0}]
    whole |= {"device": design.fields()["device"], "population": populations, "array": arrays}
    sheet = type(design)(**whole).datasheet()
    assert sheet.populations["out"].read_noise == pytest.approx((0.25 + 5 * 0.02 + 3 * 0.08) ** 0.5)
    assert [spec.weight_step for spec in sheet.arrays] == pytest.approx([0.02, 0.04])


@pytest.mark.parametrize(
    ("name", "partial"), [("fields", "analog"), ("fields", "digital"), ("tiled", "analog"), ("tiled", "digital"),
                          ("recurrent", "analog")]
)  # fmt: skip
def test_noise_of_a_population_is_that_of_all_lines_that_reach_it(name, partial):
    """A chi-square test a neuron of h1 over 1500 samples of one read; false alarm 0.1 % a case, correlations too."""
    off = {"dac_bits": 0, "adc_bits": 0, "input_range": 0, "output_range": 0, "gain_dtod": 0, "offset_dtod": 0}
    neurons = {"noise": 0.5, "curve": "linear", "gain_dtod": 0, "offset_dtod": 0, "saturation": 0}
    design = by_hand(name, partial_sums=partial, converters=off, neurons=neurons)
    if name == "recurrent":
        design = design.revised(dynamics={"ticks": 1})  # of which the second is that in which two arrays feed h1
    chip = SimulatedChip(design, 3)
    sheet, samples = chip.datasheet, 1500
    trace = chip.read(np.tile(RNG(0).random((1, sheet.n_inputs), dtype=np.float32), (samples, 1)))
    mean, variance, tick = 0.0, 0.25, max(trace.states["h1"])
    for tap in trace.taps:
        spec = sheet.arrays[tap.array]
        if spec.target == "h1" and tap.tick == tick:
            pre, g = tap.pre.astype(float), oracle.conductances(chip)[tap.array]
            own = ((0.4e-6**2 + (0.08 * g) ** 2) / 4e-6**2).sum(axis=0)
            size = sheet.populations["h1"].size
            mean = mean + spec.collect(pre @ oracle.weights(chip)[tap.array], size)
            variance = variance + spec.collect(pre**2 @ own, size)
    new = trace.states["h1"][tick]
    if name == "recurrent":
        new = (new - design.dynamics.keep * trace.states["h1"][0]) / (1 - design.dynamics.keep)
    statistic = ((new.astype(float) - mean) ** 2 / variance).sum(axis=0)
    p = 2 * np.minimum(stats.chi2.sf(statistic, samples), stats.chi2.cdf(statistic, samples))
    assert p.min() > 0.001 / len(p)
    rest = (new - mean) / np.sqrt(variance)  # and each neuron's is its own
    z = np.arctanh(np.corrcoef(rest.T)[np.triu_indices(len(p), 1)]) * np.sqrt(samples - 3)
    assert np.abs(z).max() < stats.norm.isf(0.0005 / len(z))


# --- writes ----------------------------------------------------------------------------------------------------------------


def test_verification_takes_time_and_energy_but_no_samples():
    """A target that is met at once: one round of 13 rows, each driving 2 x 8 devices and converting 1 row and 8 columns."""
    chip = SimulatedChip(small("ideal", device={"pulses": 100}), 3)
    chip.write(Program(0, oracle.weights(chip)[0]))
    assert chip.meter.pulses == 0
    assert chip.meter.reads == 0
    assert chip.clock.now == chip.meter.seconds == pytest.approx(13 * 100e-9)
    assert chip.meter.joules == pytest.approx(13 * (16 * 13e-6 * 0.04 * 100e-9 + 8 * 1e-12 + 0.1e-12), rel=1e-9, abs=0)


def test_verification_of_tiles_does_not_pay_for_grounded_rows_and_idle_columns():
    """Nine lines, each in a tile for every four columns, of which the second has two that feed somebody."""
    chip = SimulatedChip(by_hand("tiled", device={"read_noise": 0.0, "read_noise_relative": 0.0}), 3)
    chip.write(Program(0, oracle.weights(chip)[0]))
    assert chip.meter.pulses == 0
    assert chip.meter.seconds == pytest.approx(2 * 9 * WAVE)
    assert chip.meter.joules == pytest.approx(9 * 6 * (PAIR + ADC) + 2 * 9 * DAC, rel=1e-9, abs=0)


def test_delta_is_charged_row_after_row_and_outer_in_parallel():
    """4.5 pulses a device: the longest train of 16 devices is 5 but in one case of 65536."""
    chip = SimulatedChip(small("mild"), 3)
    pulse, ask = chip.datasheet.arrays[0].seconds_per_pulse, 4.5 / chip.design.technology.pulses_per_weight
    chip.write(Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), ask))
    assert chip.meter.seconds == pytest.approx(5 * pulse)
    chip.write(Delta(0, np.full((13, 8), ask, np.float32)))
    assert chip.meter.seconds == pytest.approx((5 + 13 * 5) * pulse)


def test_time_passes_with_every_read_and_write():
    chip = SimulatedChip(small("mild"), 3)
    sheet = chip.datasheet
    spec = sheet.arrays[0]
    chip.read(inputs(10))
    assert chip.clock.now == pytest.approx(10 * sheet.seconds_per_read)
    ask = 4.5 / chip.design.technology.pulses_per_weight
    chip.write(Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), ask))
    assert chip.clock.now == pytest.approx(10 * sheet.seconds_per_read + 5 * spec.seconds_per_pulse)
    assert chip.meter.seconds == pytest.approx(chip.clock.now)
    assert chip.meter.joules == pytest.approx(
        10 * sheet.joules_per_read + chip.meter.pulses * spec.joules_per_pulse, rel=1e-9, abs=0
    )


def mixed():
    """Return a chain of 5, 3 and 4 whose second array has another technology: 50 steps, 300 ns, 3 V, 2 to 12 uS."""
    design = dense()
    whole = {name: value for name, value in design.fields().items() if name != "sizes"}
    populations = [{"name": name, "shape": [size]} for name, size in (("in", 5), ("h1", 3), ("out", 4))]
    other = {
        "technology": "soft_bounds", "g_min": 2e-6, "g_max": 12e-6, "pulses": 50, "pulse_seconds": 300e-9,
        "pulse_volts": 3.0, "read_volts": 0.1,
    }  # fmt: skip
    arrays = [{"source": "in", "target": "h1"}, {"source": "h1", "target": "out", "device": other, "weight_range": 1.0}]
    return type(design)(**whole, population=populations, array=arrays, output="out")


#: V^2 G t: 2 V, 5 uS and 100 ns; 3 V, 7 uS and 300 ns. A weight of 1 is 4 uS / (2 x 0.08 uS) = 25 pulses on each
#: device of the first array, and 10 uS / (2 x 0.2 uS) = 25 of the second.
PULSE, OTHER = 4 * 5e-6 * 100e-9, 9 * 7e-6 * 300e-9


def test_each_array_is_charged_with_the_pulses_of_its_own_technology():
    """A change of 0.16 is 4 pulses on each device; float32 makes it 4 - 1e-7 at most, which would be 3 once in 10^7."""
    sheet = mixed().datasheet()
    assert [spec.seconds_per_pulse for spec in sheet.arrays] == pytest.approx([100e-9, 300e-9])
    assert [spec.joules_per_pulse for spec in sheet.arrays] == pytest.approx([PULSE, OTHER], rel=1e-9, abs=0)
    for place, seconds, joules in ((0, 100e-9, PULSE), (1, 300e-9, OTHER)):
        rows, columns = sheet.arrays[place].shape
        chip = SimulatedChip(mixed(), 3)
        chip.write(Delta(place, np.full((rows, columns), 0.16, np.float32)))
        assert chip.meter.pulses == 4 * 2 * rows * columns
        assert chip.meter.seconds == chip.clock.now == pytest.approx(rows * 4 * seconds)
        assert chip.meter.joules == pytest.approx(4 * 2 * rows * columns * joules, rel=1e-9, abs=0)
        chip = SimulatedChip(mixed(), 3)
        chip.write(Outer(place, np.ones((1, rows), np.float32), np.ones((1, columns), np.float32), 0.16))
        assert chip.meter.seconds == pytest.approx(4 * seconds)
        assert chip.meter.joules == pytest.approx(4 * 2 * rows * columns * joules, rel=1e-9, abs=0)
        chip = SimulatedChip(mixed(), 3)
        chip.write(Shrink(place, 1.0))
        assert chip.meter.seconds == chip.meter.joules == 0


def test_reads_and_verification_are_charged_with_the_technology_of_each_array():
    """A pair of the second array takes 2 x 7 uS x 0.01 V^2 x 100 ns = 0.014 pJ."""
    sheet = mixed().datasheet()
    joules = 18 * PAIR + 16 * 0.014e-12 + (6 + 4) * DAC + (3 + 4) * ADC
    assert sheet.joules_per_read == pytest.approx(joules, rel=1e-9, abs=0)
    chip = SimulatedChip(mixed(), 3)
    chip.write(Program(1, oracle.weights(chip)[1]))
    assert chip.meter.pulses == 0
    assert chip.meter.joules == pytest.approx(4 * (4 * (0.014e-12 + ADC) + DAC), rel=1e-9, abs=0)


def test_a_replay_takes_as_long_as_its_slowest_array():
    """All arrays are written at once: 4 pulses of 300 ns hide 4 of 100 ns; alone, the first array takes 4 of 100 ns."""
    for arrays, seconds, pulses, joules in (
        (None, 4 * 300e-9, 8 * (18 + 16), 8 * (18 * PULSE + 16 * OTHER)),
        ((1,), 4 * 300e-9, 8 * 16, 8 * 16 * OTHER),
        ((0,), 4 * 100e-9, 8 * 18, 8 * 18 * PULSE),
        ((), 0.0, 0, 0.0),
    ):
        chip = SimulatedChip(mixed(), 3)
        chip.write(Replay(WeightNudge(3, 0.16, arrays=arrays), 1.0))
        assert chip.meter.pulses == pulses
        assert chip.meter.seconds == chip.clock.now == pytest.approx(seconds)
        assert chip.meter.joules == pytest.approx(joules, rel=1e-9, abs=0)
        assert chip.meter.requests == 1
    # Of the first array 16 pulses, of the second 4: now the first is the slowest.
    chip = SimulatedChip(mixed(), 3)
    chip.write(Replay(WeightNudge(3, 0.16), {"h1": np.full(3, 4.0, np.float32), "out": np.ones(4, np.float32)}))
    assert chip.meter.seconds == pytest.approx(16 * 100e-9)


def test_writes_of_tiles_do_not_pay_for_grounded_rows_and_idle_columns():
    """Nine lines of six neurons in 12 x 8 places; each line is written once for every four columns."""
    chip = SimulatedChip(by_hand("tiled", device={"stuck": 0.0, "step_dtod": 0.0}), 3)
    chip.write(Delta(0, np.full((6, 4, 4), 0.16, np.float32)))
    assert chip.meter.pulses == 4 * 2 * 9 * 6
    assert chip.meter.seconds == pytest.approx(2 * 9 * 4 * 100e-9)
    assert chip.meter.joules == pytest.approx(4 * 2 * 9 * 6 * PULSE, rel=1e-9, abs=0)
