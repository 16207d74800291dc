"""Design files: what can be written in them and what is refused, in one clear message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mortalsim.checks import DesignError, UnknownName
from mortalsim.chips import design_names, load_design
from mortalsim.chips.design import Design, build_design
from mortalsim.circuits.curves import CURVES
from mortalsim.devices import DEVICES

GOOD = 'name = "mine"\nsizes = [4, 3]\n[device]\ntechnology = "soft_bounds"\n'


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", design_names())
def test_shipped_designs_say_what_they_are_and_survive_a_round_trip(name):
    design = load_design(name)
    assert design.name == name
    assert len(design.summary) > 20
    assert build_design(json.loads(json.dumps(design.fields())), "copy") == design
    assert build_design(design.fields(), "copy").digest() == design.digest()


def test_a_user_file_is_read(tmp_path):
    design = load_design(written(tmp_path, GOOD))
    assert design.sizes == (4, 3) and design.datasheet().hidden == () and not design.long


LONG = """
output = "out"
[[population]]
name = "in"
shape = [4]
[[population]]
name = "out"
shape = [3]
[[array]]
source = "in"
target = "out"
"""


def test_the_short_form_is_a_chain_of_dense_arrays_in_the_long_one(tmp_path):
    device = '[device]\ntechnology = "soft_bounds"\n'
    long = load_design(written(tmp_path, f'name = "mine"\n{LONG}{device}'))
    short = load_design(written(tmp_path, GOOD))
    for of_sheet in (lambda s: (s.inputs, s.output, s.timetable, s.seconds_per_read, s.joules_per_read),
                     lambda s: [(a.source, a.target, a.shape, a.weight_range, a.weight_step) for a in s.arrays],
                     lambda s: [(p.name, p.shape, p.read_noise) for p in s.populations.values()]):  # fmt: skip
        assert of_sheet(long.datasheet()) == of_sheet(short.datasheet())
    assert long.long and long.with_sizes((4, 3)) == short and long.digest() != short.digest()


def test_arrays_and_populations_overrule_groups_for_themselves(tmp_path):
    """What one array or population has for itself, the others do not have."""
    text = 'name = "mine"\noutput = "out"\n' + "".join(
        f'[[population]]\nname = "{name}"\nshape = [{size}]\n{more}'
        for name, size, more in [("in", 4, ""), ("h", 5, "neurons = { noise = 0.5 }\n"), ("out", 3, "")]
    )
    text += '[[array]]\nsource = "in"\ntarget = "h"\nweight_range = 3.0\nnormaliser = "none"\n'
    text += '[[array]]\nsource = "h"\ntarget = "out"\ndevice = { pulses = 50 }\n'
    text += "converters = { dac_bits = 4, input_range = 2.0 }\n"
    sheet = load_design(written(tmp_path, text + '[device]\ntechnology = "linear"\npulses = 100\n')).datasheet()
    first, second = sheet.arrays
    assert (first.weight_range, second.weight_range) == (3.0, 1.0)
    assert (first.normaliser, second.normaliser) == ("none", "source")
    assert (first.dac_bits, second.dac_bits, first.input_range, second.input_range) == (0, 4, 0.0, 2.0)
    # A weight step is the range over the pulses: 3 / 100 and 1 / 50 for the two devices of a pair.
    assert (first.weight_step, second.weight_step) == pytest.approx((0.03, 0.02))
    assert (sheet.populations["h"].read_noise, sheet.populations["out"].read_noise) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "read_nose = 1e-6\n", r"device: .*no such field; did you mean 'read_noise'"),
        (GOOD + "step_dtod = -0.1\n", r"step_dtod: expected a number from 0 to 10, found -0\.1"),
        (GOOD.replace("soft_bounds", "soft_bound"), "expected one of .*Did you mean 'soft_bounds'"),
        (GOOD + '[neurons]\ncurve = "rely"\n', "Did you mean 'relu'"),
        (GOOD + "[neurons]\ngain_dtd = 0.1\n", r"neurons.gain_dtd: no such field; did you mean 'gain_dtod'"),
        (GOOD + "[converters]\nadc_bits = 8\n", "converters: a converter .* needs a range; set output_range"),
        (GOOD + "[converters]\ndac_unipolar = true\n", "converters: a converter .* needs a range; set input_range"),
        (GOOD + "[converters]\ndac_bits = 30\n", r"converters\.dac_bits: expected a whole number from 0 to 24, found 30"),
        (GOOD.replace("[4, 3]", "[4]"), "sizes: .*at least 2 items"),
        (GOOD.replace('technology = "soft_bounds"', "pulses = 3"), "expected a name or a table with the field 'technology'"),
        (GOOD + "g_min = 1\n", "g_min must be below g_max"),
        (GOOD + "g_max = inf\n", "g_max: expected a number from 1e-15 to .*, found inf"),
        (GOOD + "drift = nan\n", "drift: expected a number from 0 to .*, found nan"),
        (GOOD + "[neurons]\nsaturation = inf\n", "neurons.saturation: expected a number .*, found inf"),
        (GOOD + "[converters]\noutput_range = inf\n", "converters.output_range: expected a number .*, found inf"),
        (GOOD + "[costs]\nadc_joules = inf\n", "costs.adc_joules: expected a number from 0 to .*, found inf"),
        (GOOD + "[normaliser]\nepsilon = inf\n", "normaliser.epsilon: expected a number .*, found inf"),
        (GOOD + "[nudges]\ncurrent_gain_dtod = inf\n", "nudges.current_gain_dtod: expected a number .*, found inf"),
        ("weight_range = inf\n" + GOOD, "weight_range: expected a number .*, found inf"),
        (GOOD + '[neurons]\ncurve = { family = "leaky", leak = nan }\n', "leak: expected a number from 0 to 1, found nan"),
        (GOOD.replace('"soft_bounds"', "5"), "device: technology: expected a name, one of .*soft_bounds.*; found 5"),
        (GOOD.replace('"soft_bounds"', '["linear"]'), r"technology: expected a name, one of .*; found \['linear'\]"),
        (GOOD + "[neurons]\ncurve = { family = 3 }\n", "neurons.curve: family: expected a name, one of .*relu.*; found 3"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, message):
    with pytest.raises(DesignError, match=message) as caught:
        load_design(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_names_and_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'harsh'"):
        load_design("hash")
    with pytest.raises(DesignError, match="cannot be read"):
        load_design(tmp_path / "none.toml")


def test_revised_changes_what_is_named_and_checks_it():
    design = load_design("mild")
    other = design.revised(device={"stuck": 0.5}, neurons={"curve": {"family": "leaky", "leak": 0.2}})
    assert other.device.stuck == 0.5
    assert other.device.pulses == design.device.pulses
    assert other.neurons.curve == CURVES.get("leaky")(leak=0.2)
    with pytest.raises(DesignError, match="stuck: expected a number from 0 to 1, found 2"):
        design.revised(device={"stuck": 2})


def test_the_data_sheets_figures_are_those_worked_out_by_hand():
    """Eight pairs of 5 uS mid range, 4 uS a unit of weight; 0.2 V for 100 ns a read, 2 V for 100 ns a pulse."""
    device = {"technology": "linear", "pulses": 100, "g_min": 1e-6, "g_max": 9e-6, "read_noise": 0.4e-6}
    design = Design(
        name="d",
        sizes=(3, 2),
        weight_range=2.0,
        device=device | {"read_noise_relative": 0.08, "read_volts": 0.2, "pulse_volts": 2.0, "pulse_seconds": 1e-7},
        neurons={"noise": 0.5},
        costs={"read_seconds": 1e-7, "dac_joules": 1e-13, "adc_joules": 1e-12},
    )
    sheet = design.datasheet()
    # 16 devices take 16 * 5e-6 * 0.04 * 1e-7 = 0.32 pJ, four lines 0.4 pJ, two outputs 2 pJ.
    assert sheet.joules_per_read == pytest.approx(2.72e-12, rel=1e-9, abs=0)
    (array,) = sheet.arrays
    assert array.joules_per_pulse == pytest.approx(2e-12, rel=1e-9, abs=0)
    assert (sheet.seconds_per_read, array.seconds_per_pulse) == pytest.approx((1e-7, 1e-7))
    # Each of three lines: 2 * 0.1^2 by constant and 2 * 0.1^2 by relative noise; the neuron 0.5^2.
    assert sheet.populations["out"].read_noise == pytest.approx((0.25 + 3 * 0.04) ** 0.5)
    assert array.weight_step == pytest.approx(0.02)


def test_every_field_says_what_it_means():
    groups = [
        type(getattr(load_design("mild"), name)) for name in ("normaliser", "neurons", "converters", "nudges", "costs")
    ]
    groups += [*map(DEVICES.get, DEVICES.names()), *map(CURVES.get, CURVES.names())]
    silent = [
        f"{group.__name__}.{name}" for group in groups for name, field in group.model_fields.items() if not field.description
    ]
    assert not silent


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.1, 10), st.integers(1, 2000))
def test_weights_and_siemens_are_two_sides_of_one_number(n_in, n_out, weight_range, pulses):
    """The unit takes a full swing of the pair to the weight range, and pulses to the data sheet's weight step."""
    design = Design(
        name="d", sizes=(n_in, n_out), weight_range=weight_range, device={"technology": "linear", "pulses": pulses}
    )
    technology, (array,) = design.technology, design.datasheet().arrays
    assert technology.unit * weight_range == pytest.approx(design.device.g_max - design.device.g_min)
    # One pulse on each device of the pair, in opposite directions, is two weight steps.
    assert 1 / technology.pulses_per_weight == pytest.approx(2 * array.weight_step)
    assert array.shape == (n_in + 1, n_out) and array.weight_range == weight_range
