"""Netlists: the short and the long form, and what one array or population may have for itself."""

import numpy as np
import pytest

from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.design import build_design
from mortalsim.data import Dataset, suited
from mortalsim.hardware import Delta

RNG = np.random.default_rng


def long_form(name, populations, arrays, **more):
    """Return a design with the devices and circuits of a shipped one and populations and arrays of its own."""
    fields = {key: value for key, value in load_design(name).fields().items() if key not in ("sizes", "population", "array")}
    return build_design(fields | {"population": populations, "array": arrays, "output": "out"} | more, "test")


CHAIN = [
    {"name": "in", "shape": [12]},
    {"name": "h1", "shape": 8},
    {"name": "h2", "shape": [6]},
    {"name": "out", "shape": [4]},
]
ARRAYS = [{"source": "in", "target": "h1"}, {"source": "h1", "target": "h2"}, {"source": "h2", "target": "out"}]


def with_entry(entries, place, **fields):
    return [{**entry, **fields} if k == place else entry for k, entry in enumerate(entries)]


@pytest.mark.parametrize("name", ["mild", "wild", "harsh", "ideal"])
def test_the_short_form_is_the_long_form_of_a_chain(name):
    short, long = load_design(name).with_sizes((12, 8, 6, 4)), long_form(name, CHAIN, ARRAYS)
    one, two = SimulatedChip(short, 3), SimulatedChip(long, 3)
    x = RNG(0).random((5, 12), dtype=np.float32)
    for chip in (one, two):
        chip.write(Delta(0, np.full((13, 8), 0.05)))
    np.testing.assert_array_equal(one.read(x).output, two.read(x).output)
    assert one.datasheet.joules_per_read == two.datasheet.joules_per_read
    assert short.long is False and long.long is True
    assert build_design(long.fields(), "copy") == long


def test_one_array_has_another_technology():
    head = {"technology": "soft_bounds", "pulses": 50, "g_min": 1e-6, "g_max": 9e-6}
    design = long_form("mild", CHAIN, with_entry(ARRAYS, 2, device=head, weight_range=0.5))
    specs = design.datasheet().arrays
    assert specs[2].weight_step == pytest.approx(0.5 / 50) and specs[0].weight_step == pytest.approx(1.5 / 1000)
    assert (specs[2].target_range, specs[0].target_range) == (0.5, 1.5)
    chip = SimulatedChip(design, 0)
    assert type(chip.arrays[2].crossbar.device).__name__ == "SoftBounds"
    assert oracle.conductances(chip)[2].max() < 1.1e-5 < oracle.conductances(chip)[0].max()


def test_one_array_has_some_other_fields_of_the_design_s_technology():
    design = long_form("mild", CHAIN, with_entry(ARRAYS, 1, device={"stuck": 1.0}))
    chip = SimulatedChip(design, 0)
    assert [array.crossbar.devices.stuck().mean() for array in chip.arrays][1] == 1.0
    assert chip.arrays[0].crossbar.devices.stuck().mean() < 0.05
    assert chip.arrays[1].crossbar.device.pulses == 1000


def test_hidden_populations_have_converters_and_neurons_of_their_own():
    own = {
        "converters": {"adc_bits": 3, "output_range": 3.0, "adc_unipolar": True},
        "neurons": {"noise": 0.0, "curve": "tanh"},
    }
    design = long_form("ideal", with_entry(CHAIN, 1, **own), ARRAYS)
    trace = SimulatedChip(design, 0).read(RNG(0).normal(size=(40, 12)))
    levels = np.unique(trace.states["h1"][0])
    np.testing.assert_allclose(levels * 7 / 3, np.rint(levels * 7 / 3), atol=1e-5)
    assert levels.min() == 0 and 3 < levels.size <= 8
    assert np.unique(trace.states["h2"][0]).size > 50
    sheet = design.datasheet()
    assert (sheet.populations["h1"].adc_bits, sheet.populations["h2"].adc_bits) == (3, 0)
    assert sheet.populations["h1"].unipolar and not sheet.populations["h2"].unipolar


@pytest.mark.parametrize(
    ("bits", "unipolar", "levels"),
    [
        (1, False, [-2, 2]),
        (1, True, [0, 2]),
        (2, False, [-2, 0, 2]),
        (2, True, [0, 2 / 3, 4 / 3, 2]),
        (3, False, np.arange(-3, 4) * 2 / 3),
    ],
)
def test_converters_have_the_levels_of_their_bits(bits, unipolar, levels):
    """An input converter of one array, seen at its tap."""
    dac = {"dac_bits": bits, "input_range": 2.0, "dac_unipolar": unipolar}
    design = long_form("ideal", CHAIN, with_entry(ARRAYS, 0, converters=dac, normaliser="none"))
    pre = SimulatedChip(design, 0).read(RNG(0).uniform(-3, 3, (200, 12))).of(0)[0].pre
    np.testing.assert_allclose(np.unique(np.round(pre[:, :12], 5)), np.round(levels, 5), atol=1e-5)
    assert (design.datasheet().arrays[0].dac_bits, design.datasheet().arrays[0].unipolar) == (bits, unipolar)


def test_normalisers_stand_at_the_source_at_the_block_or_nowhere():
    populations = [{"name": "in", "shape": [4, 4]}, {"name": "out", "shape": [2, 2, 3]}]
    wiring = {"kind": "patches", "size": 3}
    x = RNG(0).random((5, 16)).astype(np.float32)
    seen = {}
    for place in ("source", "block", "none"):
        arrays = [{"source": "in", "target": "out", "wiring": wiring, "normaliser": place}]
        chip = SimulatedChip(long_form("ideal", populations, arrays), 0)
        seen[place] = chip.read(x).taps[0].pre[..., :-1]
        assert chip.datasheet.arrays[0].normaliser == place
    np.testing.assert_allclose(np.mean(seen["block"] ** 2, axis=-1), 1, rtol=1e-4)
    rms = np.sqrt(np.mean(x**2, axis=1))
    np.testing.assert_allclose(seen["source"] * rms[None, :, None], seen["none"], rtol=1e-4)
    np.testing.assert_array_equal(seen["none"][0], x.reshape(5, 4, 4)[:, :3, :3].reshape(5, 9))


def test_a_bias_line_can_be_given_or_taken():
    without = long_form("ideal", CHAIN, with_entry(ARRAYS, 0, bias=False))
    assert [spec.shape for spec in without.datasheet().arrays] == [(12, 8), (9, 6), (7, 4)]
    two = [*ARRAYS, {"source": "h1", "target": "out"}, {"source": "in", "target": "out", "bias": True}]
    assert [spec.shape for spec in long_form("ideal", CHAIN, two).datasheet().arrays][3:] == [(8, 4), (13, 4)]


def test_currents_of_several_arrays_into_one_population_add():
    """The output is fed from h1 and h2; with the second array at zero weights it is what the first alone gives."""
    two = [*ARRAYS, {"source": "h1", "target": "out"}]
    chip = SimulatedChip(long_form("ideal", CHAIN, two), 1)
    trace = chip.read(x := RNG(0).random((6, 12)))
    pieces = [tap.pre.astype(float) @ oracle.weights(chip)[tap.array] for tap in trace.taps if tap.array in (2, 3)]
    np.testing.assert_allclose(trace.output, sum(pieces), rtol=1e-4, atol=1e-5)
    chip.write(Delta(3, -oracle.weights(chip)[3]))
    np.testing.assert_allclose(chip.read(x).output, pieces[0], rtol=1e-4, atol=1e-5)


WRONG = {
    "array 1: population: expected one of .*found 'h3'": (CHAIN, with_entry(ARRAYS, 1, source="h3")),
    "expected every name once, found 'h1' 2 times": ([*CHAIN, CHAIN[1]], ARRAYS),
    "output: expected a population that an array feeds, found 'in'": (CHAIN, ARRAYS, {"output": "in"}),
    "array in to h1: device: stuk: no such field; did you mean 'stuck'": (CHAIN, with_entry(ARRAYS, 0, device={"stuk": 1})),
    "population 'h1': converters: .*range above 0": (with_entry(CHAIN, 1, converters={"adc_bits": 3}), ARRAYS),
    "a stage and its source belong together": (with_entry(CHAIN, 1, stage="mixing"), ARRAYS),
    "a stage is fed by its source alone": (with_entry(CHAIN, 1, stage="mixing", source="in"), ARRAYS),
    "population.1.name": (with_entry(CHAIN, 1, name="1st"), ARRAYS),
    "either sizes, or both": (CHAIN, ARRAYS, {"sizes": [3, 2]}),
    r"array 0 \(in to h1\): wiring: expected .* Did you mean 'dense'": (CHAIN, with_entry(ARRAYS, 0, wiring="dens")),
    r"population\.1\.shape\.0: expected a whole number from 1 to \d+, found 0$": (with_entry(CHAIN, 1, shape=[0]), ARRAYS),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_together_is_named(message):
    populations, arrays, *more = WRONG[message]
    with pytest.raises(DesignError, match=message) as caught:
        long_form("ideal", populations, arrays, **(more[0] if more else {}))
    assert "\n" not in str(caught.value)


def test_a_chip_need_not_have_an_output():
    assert long_form("ideal", CHAIN, ARRAYS, output=None).datasheet().output is None


# --- data for a chip ---------------------------------------------------------------------------------------------------


def dataset(pixels, classes=10, label_lines=None):
    x = RNG(0).random((6, pixels), dtype=np.float32)
    y = np.arange(6) % max(classes, 1)
    return Dataset("d", x, y, x, y, x, y, classes, label_lines)


def test_label_lines_that_nobody_writes_are_held_neutral():
    data = suited(dataset(64, label_lines=tuple(range(10))), load_design("fields").datasheet())
    assert data.train_x.shape == (6, 74) and data.label_lines == tuple(range(64, 74))
    np.testing.assert_allclose(data.train_x[:, 64:], 0.1)
    np.testing.assert_array_equal(data.train_x[:, :64], dataset(64).train_x)
    assert data.task.image_lines == tuple(range(64)) and data.task.label_lines == tuple(range(64, 74))


def test_data_that_fill_all_inputs_stay_as_they_are_and_others_are_refused():
    data = dataset(64, label_lines=tuple(range(10)))
    assert suited(data, load_design("mild").datasheet()) is data
    with pytest.raises(
        Exception, match="expected samples of 74 numbers for the inputs of 'fields' \\(pixels 64, label 10\\)"
    ):
        suited(dataset(63), load_design("fields").datasheet())
