"""Fields of designs: both ends of every range, what counts as a number, and objects that stay what they are."""

import datetime
import json
from fractions import Fraction
from typing import Annotated, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel, Field
from running import slow_in_plain_python
from small import RNG, small

from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.design import ArrayEntry, Costs, Design, PopulationEntry, build_design
from mortalsim.chips.dynamics import DYNAMICS
from mortalsim.chips.wiring import WIRINGS
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.curves import CURVES, Curve, CurveTables
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.circuits.stages import STAGES
from mortalsim.devices import DEVICES, Device
from mortalsim.devices.linear import Linear
from mortalsim.devices.pairs import PAIRS
from mortalsim.devices.pairs.two_sided import TwoSided
from mortalsim.hardware import Delta, Outer, Program, Shrink, WeightNudge

GROUPS = {
    "neurons": Neurons, "converters": Converters, "normaliser": Normaliser, "nudges": NudgePorts, "costs": Costs,
}  # fmt: skip
FAMILIES = (DEVICES, PAIRS, CURVES, STAGES)
MODELS = [Design, PopulationEntry, ArrayEntry, *GROUPS.values()]
MODELS += [family.get(name) for family in FAMILIES for name in family.names()]


def limits(metadata):
    """Return the lowest and the highest value that metadata allow, None where they say nothing."""
    found = {key: getattr(limit, key) for limit in metadata for key in ("ge", "gt", "le", "lt") if hasattr(limit, key)}
    low, high = found.get("ge", found.get("gt")), found.get("le", found.get("lt"))
    return low if "gt" not in found else np.nextafter(low, np.inf), high if "lt" not in found else np.nextafter(
        high, -np.inf
    )


def numeric(annotation):
    kinds = {annotation, *get_args(annotation)}
    return bool(kinds & {int, float})


# --- both ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_that_holds_a_number_text_or_a_list_has_an_upper_end(model):
    for name, field in model.model_fields.items():
        if numeric(field.annotation):
            assert None not in limits(field.metadata), f"{model.__name__}.{name}: a number needs both ends"
        if str in {field.annotation, *get_args(field.annotation)} or get_origin(field.annotation) is tuple:
            assert any(hasattr(limit, "max_length") for limit in field.metadata), f"{model.__name__}.{name}: has no longest"
        for kind in get_args(field.annotation) if get_origin(field.annotation) is tuple else ():
            if get_origin(kind) is Annotated:
                assert None not in limits(get_args(kind)[1].metadata), f"{model.__name__}.{name}: an entry needs both ends"


@pytest.mark.parametrize("family", [WIRINGS, DYNAMICS], ids=lambda family: family.package)
def test_every_setting_of_a_wiring_or_dynamics_has_both_ends(family):
    given = {"below", "above", "bias", "order", "feeds", "inputs", "return"}
    for name in family.names():
        for setting, hint in get_type_hints(family.get(name), include_extras=True).items():
            if setting not in given and numeric(get_args(hint)[0]):
                assert None not in limits(hint.__metadata__[0].metadata), f"{name}: {setting} needs both ends"


def at_the_ends():
    """Yield changes of a design that put one field to one end of its range."""
    for name in DEVICES.names():
        for field, info in DEVICES.get(name).model_fields.items():
            for value in limits(info.metadata):
                below = {"g_min": 0.0} if field == "g_max" else {}
                yield f"{name}.{field}={value}", {"device": {"technology": name, "step_ctoc": 0.2, **below, field: value}}
    for name in PAIRS.names():
        for field, info in PAIRS.get(name).model_fields.items():
            for value in limits(info.metadata):
                yield f"{name}.{field}={value}", {"pair": {"kind": name, field: value}}
    for group, model in GROUPS.items():
        for field, info in model.model_fields.items():
            for value in () if info.annotation is bool or not numeric(info.annotation) else limits(info.metadata):
                none = {"dac_bits": 0, "adc_bits": 0} if "range" in field else {}
                yield f"{group}.{field}={value}", {group: {**none, field: value}}
    for name in CURVES.names():
        for field, info in CURVES.get(name).model_fields.items():
            for value in limits(info.metadata):
                yield f"{name}.{field}={value}", {"neurons": {"curve": {"family": name, field: value}}}
    for field in ("weight_range", "initial_spread"):
        for value in limits(Design.model_fields[field].metadata):
            yield f"{field}={value}", {field: value}


def live(design):
    """Let a chip be read, written in every way, and wait; return it."""
    chip = SimulatedChip(design, 3)
    sheet, x = chip.datasheet, RNG(0).random((3, chip.datasheet.n_inputs), dtype=np.float32)
    for samples in (x, 0 * x):
        assert np.isfinite(chip.read(samples).output).all()
    chip.read(x, WeightNudge(1, 0.1))
    for place, spec in enumerate(sheet.arrays):
        change = RNG(1).standard_normal(spec.shape).astype(np.float32)
        tap = chip.read(x).of(place)[0]
        for request in (
            Delta(place, change), Delta(place, np.float32(1e38) * np.sign(change), 1e9), Program(place, change),
            Outer(place, tap.pre, tap.post, 0.1), Shrink(place, 0.5),
        ):  # fmt: skip
            chip.write(request)
    chip.clock.warm(350.0)
    chip.clock.now = min(chip.clock.now + 1e9, 1e14)
    assert np.isfinite(chip.read(x).output).all()
    return chip


@slow_in_plain_python
def test_chips_live_at_both_ends_of_every_range():
    """Nothing warns, overflows or takes long; weights stay within what the data sheet promises. Or two fields do not fit."""
    lived = 0
    for what, change in at_the_ends():
        try:
            design = small("harsh").revised(sizes=(5, 3), **change)
        except DesignError as error:
            assert "expected" in str(error) or "must be" in str(error) or "needs" in str(error), what
            continue
        chip = live(design)
        for weights, spec in zip(oracle.weights(chip), chip.datasheet.arrays, strict=True):
            assert np.abs(weights).max() <= spec.weight_range * 1.001, what
        chip.restore(chip.snapshot())
        lived += 1
    assert lived > 200


def test_the_fields_that_leave_the_ends_no_room_say_so():
    for device, message in (
        ({"g_min": 24.99999999e-6, "pulses": 0, "read_noise": 0.0}, r"g_min: expected at most 2\.49999\d+e-05 S"),
        ({"read_noise": 1.0}, "read_noise: expected at most 1000 times the range"),
        ({"technology": "exponential", "gamma_up": 20.0, "scale": -2.0}, r"at most 1e\+09 times that at mid range"),
    ):
        with pytest.raises(DesignError, match=message):
            load_design("mild").revised(device=device)
    for group, field in (("converters", "input_range"), ("converters", "output_range"), ("neurons", "saturation")):
        with pytest.raises(DesignError, match=f"{field}: expected 0, which switches it off, or a number of at least 1e-09"):
            load_design("mild").revised(**{group: {field: 1e-12}})


# --- numbers -----------------------------------------------------------------------------------------------------------


def test_numbers_of_numpy_and_fractions_are_numbers_wherever_a_field_is():
    device = {"pulses": np.float16(50), "max_pulses": np.int32(4), "drift": np.array(0.125), "stuck": Fraction(1, 4)}
    found = small("mild").revised(
        sizes=np.array([np.uint8(4), 3]),
        weight_range=np.float32(1.25),
        device=device,
        normaliser={"present": np.bool_(False)},
    )
    plain = {"pulses": 50.0, "max_pulses": 4, "drift": 0.125, "stuck": 0.25}
    assert found == small("mild").revised(sizes=(4, 3), weight_range=1.25, device=plain, normaliser={"present": False})
    assert type(found.device.pulses) is float and type(found.device.max_pulses) is int
    assert Linear(pulses=np.int64(9)).pulses == 9.0 and json.dumps(found.fields())
    settled = load_design("recurrent").revised(dynamics={"ticks": np.int64(2), "keep": np.float32(0.25)})
    assert settled.datasheet().ticks("h1") == 3


@pytest.mark.parametrize(
    "value",
    [
        "1.5", True, 1j, np.complex64(1), np.ma.masked, np.ma.array(1.0, mask=True), datetime.date(2020, 1, 1),
        np.datetime64("2020-01-01"), b"1", None, [1.0], np.ones(2), 10**30, 10**5000, np.nan, np.inf, object(),
    ],
    ids=lambda value: str(type(value).__name__),
)  # fmt: skip
@pytest.mark.parametrize("place", ["top", "device", "array"])
def test_nothing_else_is_a_number(place, value):
    base = load_design("headless")
    if place == "array":
        entries = [{"source": "pixels", "target": "h1", "device": {"drift": value}}, *base.fields()["array"][1:]]
        change = {"array": entries}
    else:
        change = {"weight_range": value} if place == "top" else {"device": {"drift": value}}
    with pytest.raises(DesignError, match=r"expected|should be") as caught:
        base.revised(**change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("sizes", ["43", 5, {4, 3}, (4, 2.5), (4, "3"), (4, True), (4, 10**12), (4, 10**30), (-4, 3), ()])
def test_sizes_are_a_list_of_whole_numbers_within_reason(sizes):
    with pytest.raises(DesignError, match="sizes"):
        load_design("mild").with_sizes(sizes)


def test_names_are_one_line_that_can_be_printed():
    for name in ("a\x1b[31m", "a\nb", "a" * 300):
        with pytest.raises(DesignError, match="name: ") as caught:
            load_design("mild").revised(name=name)
        assert str(caught.value).isprintable()
    assert load_design("mild").revised(name="Größe $x$").name == "Größe $x$"


# --- objects -----------------------------------------------------------------------------------------------------------


class Staircase(Device):
    """Steps from a table; its class lies in no file of the family."""

    source = "a lab notebook"
    heights: tuple[float, ...] = Field((1.5, 1.0, 0.5), min_length=2, max_length=99)

    def up(self, u):
        return np.interp(u, np.linspace(0, 1, len(self.heights)), self.heights)

    def down(self, u):
        return self.up(1 - u)


class Bent(Curve):
    bend: float = Field(0.5, ge=0, le=1)

    def fabricate(self, neurons, rng):
        return CurveTables.lines(self.bend)


class Equal(TwoSided):
    pass


def test_a_class_of_one_s_own_stays_when_something_else_is_revised():
    own = load_design("mild").revised(
        device=Staircase(pulses=60, heights=(2.0, 1.0)), pair=Equal(), neurons={"curve": Bent(bend=0.25)}
    )
    for changed in (
        own.with_sizes((7, 5, 3)), own.revised(neurons={"noise": 0.1}), own.revised(device={"stuck": 0.1}),
        own.revised(name="mine").revised(weight_range=2.0).revised(pair={}),
    ):  # fmt: skip
        assert type(changed.device) is Staircase and changed.device.heights == (2.0, 1.0) and changed.device.pulses == 60
        assert type(changed.pair) is Equal and changed.neurons.curve == Bent(bend=0.25)
        SimulatedChip(changed, 0).read(np.ones((1, changed.sizes[0])))
    assert own.revised(device={"stuck": 0.1}).device.stuck == 0.1
    with pytest.raises(DesignError, match="design 'mild': device: hights: no such field; did you mean 'heights'"):
        own.revised(device={"hights": (1.0, 2.0)})
    assert type(own.revised(device={"technology": "linear"}).device) is Linear


def test_an_array_overrules_fields_of_a_class_of_one_s_own():
    fields = load_design("headless").fields()
    entries = [{**fields["array"][0], "device": {"heights": [3.0, 1.0]}}, *fields["array"][1:]]
    design = build_design({**fields, "device": Staircase(), "array": entries, "neurons": Neurons(curve=Bent())}, "mine")
    found = [parts.technology.device for parts in design.netlist.arrays]
    assert [type(device) for device in found] == [Staircase] * 3
    assert [device.heights for device in found] == [(3.0, 1.0), (1.5, 1.0, 0.5), (1.5, 1.0, 0.5)]


def test_a_class_of_one_s_own_is_told_by_its_qualified_name_and_its_fields():
    own = load_design("mild").revised(device=Staircase(heights=(2.0, 1.0)), neurons={"output_curve": Bent(bend=0.25)})
    told = json.loads(json.dumps(own.fields()))
    assert told["device"]["technology"] == f"{__name__}.Staircase" and told["device"]["heights"] == [2.0, 1.0]
    assert told["neurons"]["output_curve"] == {"family": f"{__name__}.Bent", "bend": 0.25}
    others = [own.revised(device={"heights": (2.0, 1.5)}), own.revised(neurons={"output_curve": Bent(bend=0.5)})]
    assert len({design.digest() for design in (own, *others, load_design("mild"))}) == 4
    with pytest.raises(DesignError, match=r"Staircase' is a class of its own, not a name; hand in the object itself"):
        build_design(told, "copy")


def test_a_curve_handed_in_for_one_population_is_told_with_its_name():
    fields = load_design("headless").fields()
    fields["population"][2] |= {"neurons": {"curve": CURVES.get("leaky")(leak=0.3)}}
    design = build_design(fields, "mine")
    assert design.fields()["population"][2]["neurons"] == {"curve": {"family": "leaky", "leak": 0.3}}
    assert build_design(json.loads(json.dumps(design.fields())), "copy").digest() == design.digest()


class Noted(Staircase, arbitrary_types_allowed=True):
    note: object = None


def test_what_json_cannot_hold_does_not_stop_a_digest():
    for note in (object(), np.arange(3), {1, 2}, BaseModel, 1j):
        design = load_design("mild").revised(device=Noted(note=note))
        assert len(design.digest()) == 64 and json.dumps(design.fields())


# --- the data sheet's range --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ideal", "mild", "harsh", "wild", "tiled"])
def test_no_pair_holds_more_than_the_data_sheet_says_and_some_hold_more_than_programs_aim_at(name):
    fields = {"initial_spread": 8.0, "device": {"stuck": 0.0}}
    design = load_design(name).revised(**fields) if name == "tiled" else small(name, **fields)
    chip = SimulatedChip(design, 5)
    chip.wait(1e7)  # a device that drifts may come below its lower bound
    found = [np.abs(weights).max() for weights in oracle.weights(chip)]
    assert all(most <= spec.weight_range for most, spec in zip(found, chip.datasheet.arrays, strict=True))
    nominal = design.weight_range
    assert {spec.target_range for spec in chip.datasheet.arrays} == {nominal}
    assert bool(max(found) > nominal * 1.01) is (name != "ideal")
    assert (chip.datasheet.arrays[0].weight_range == nominal) is (name == "ideal")


def test_the_largest_weight_is_that_of_two_devices_seven_deviations_out():
    """By hand: (11 x 1.35 x 1.14 - 1 x 0.65 x 0.86) / 10 x 2; a low device that drifts may come to conduct nothing."""
    device = {"g_min": 1e-6, "g_max": 11e-6, "bound_dtod": 0.05, "conductance_dtod": 0.02}
    for drift, wanted in ((0.0, 3.274), (0.01, 3.3858)):
        design = small("ideal", weight_range=2.0, device={**device, "drift": drift})
        assert design.datasheet().arrays[0].weight_range == pytest.approx(wanted)
