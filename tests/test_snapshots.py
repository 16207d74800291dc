"""Snapshots: a chip goes on to the bit from its own, and takes nothing of any other or of one that was spoiled."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
from small import RNG, inputs, small
from structures import STRUCTURES, structured

from mortalsim.checks import DesignError, RangeError, ShapeError
from mortalsim.chips import Clock, SimulatedChip, chip_streams, load_design, oracle
from mortalsim.hardware import Delta, Program, Replay, WeightNudge
from mortalsim.streams import Streams


def used(design, seed=3, **more):
    """Return a chip that has been read, written and left alone for a while, by the same requests each time."""
    chip = SimulatedChip(design, seed, **more)
    sheet = chip.datasheet
    x = RNG(1).random((3, sheet.n_inputs), dtype=np.float32)
    chip.write(Delta(0, RNG(1).normal(0, 0.1, sheet.arrays[0].shape).astype(np.float32)))
    chip.read(x)
    chip.wait(50)
    chip.read(x)
    chip.write(Program(1, np.zeros(sheet.arrays[1].shape, np.float32)))
    return chip


def later(chip):
    """Return what a chip gives from now on."""
    sheet = chip.datasheet
    x = RNG(2).random((3, sheet.n_inputs), dtype=np.float32)
    found = []
    for _ in range(2):
        chip.write(Delta(1, np.full(sheet.arrays[1].shape, 0.02, np.float32)))
        chip.write(Replay(WeightNudge(5, 0.05), 0.3))
        for nudge in (None, WeightNudge(7, 0.1)):
            found += [state for states in chip.read(x, nudge).states.values() for state in states.values()]
        chip.wait(200)
    return [*found, *oracle.weights(chip), *chip.snapshot().values()]


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_unchanged(chip, before):
    after = chip.snapshot()
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)
        assert values.dtype == after[name].dtype


# --- going on ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [small("mild"), small("harsh"), *map(structured, STRUCTURES)], ids=lambda d: d.name)
def test_a_restored_chip_goes_on_as_the_first_to_the_bit(design):
    """Through a file as well; drift, meter, clock and the count that numbers the noise are part of it."""
    chip = used(design)
    file = io.BytesIO()
    np.savez(file, **chip.snapshot())
    file.seek(0)
    copy, fresh = SimulatedChip(design, 3), SimulatedChip(design, 3)
    copy.restore(dict(np.load(file)))
    assert copy.meter == chip.meter
    assert copy.clock == chip.clock
    assert [type(value) for value in vars(copy.meter).values()] == [type(value) for value in vars(chip.meter).values()]
    want = later(chip)
    assert_same(later(copy), want)
    assert not np.array_equal(later(fresh)[0], want[0])


def test_a_chip_taken_back_repeats_what_it_did():
    chip = used(small("harsh"))
    snapshot = chip.snapshot()
    first = later(chip)
    chip.restore(snapshot)
    assert_same(later(chip), first)


def test_a_snapshot_is_a_copy():
    chip = used(small("harsh"))
    snapshot = chip.snapshot()
    before = {name: values.copy() for name, values in snapshot.items()}
    later(chip)
    for name, values in before.items():
        np.testing.assert_array_equal(snapshot[name], values)
    chip.restore(snapshot)
    for values in snapshot.values():
        values[...] = 0
    assert_unchanged(chip, before)


def test_the_same_individual_with_other_noise_takes_a_snapshot_and_goes_on_with_its_own():
    chip, other = used(small("mild")), used(small("mild"), noise=99)
    snapshot, twin = chip.snapshot(), SimulatedChip(small("mild"), 3, noise=99)
    other.restore(snapshot)
    twin.restore(snapshot)
    assert_same(oracle.weights(other), oracle.weights(chip))
    assert other.meter == chip.meter
    found, same, without = later(other), later(twin), later(chip)
    assert_same(found, same)
    assert not np.array_equal(found[0], without[0])


def test_a_chip_of_a_run_whose_seed_is_numpys_can_be_kept():
    chip = SimulatedChip(small("mild"), Streams(np.int64(3), ("chip", "0")))
    SimulatedChip(small("mild"), 3).restore(chip.snapshot())


# --- of other chips ----------------------------------------------------------------------------------------------------

RUN = Streams(7)


@pytest.mark.parametrize(
    ("design", "seed", "message"),
    [
        (small("mild", weight_range=1.6), chip_streams(RUN, 3), "of another design than 'mild'"),
        (small("mild", device={"drift": 0.006}), chip_streams(RUN, 3), "of another design than 'mild'"),
        (load_design("mild").with_sizes((3, 2)), chip_streams(RUN, 3), "of another design than 'mild'"),
        (small("wild"), chip_streams(RUN, 3), "of another design than 'mild'"),
        (small("mild"), chip_streams(Streams(8), 3), "another individual: seed 8, chip/3; this one is seed 7, chip/3"),
        (small("mild"), chip_streams(RUN, 4), "another individual: seed 7, chip/4; this one is seed 7, chip/3"),
        (small("mild"), RUN, "another individual: seed 7"),
    ],
    ids=["range", "drift", "sizes", "wild", "seed", "number", "path"],
)
def test_a_snapshot_of_another_design_seed_or_number_is_refused_and_changes_nothing(design, seed, message):
    chip = used(small("mild"), chip_streams(RUN, 3))
    before, bad = chip.snapshot(), SimulatedChip(design, seed).snapshot()
    with pytest.raises(DesignError, match=message):
        chip.restore(bad)
    assert_unchanged(chip, before)


DIGEST = small("mild").digest().encode()
UNREADABLE = [b"", b"{}", b"[]", b"3", b"\xff", b'"a"', b'{"design": "%s", "seed": 3}' % DIGEST]
UNREADABLE += [b"[" * 50_000, b'{"design": "%s", "seed": Infinity, "path": []}' % DIGEST]
UNREADABLE += [b'{"design": "%s", "seed": null, "path": []}' % DIGEST, b'{"design": "%s", "seed": 3, "path": 3}' % DIGEST]


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_identity_that_cannot_be_read_is_refused(text):
    chip = used(small("mild"))
    before = chip.snapshot()
    with pytest.raises(DesignError, match="expected a snapshot with the entry 'identity', found none that can be read"):
        chip.restore(before | {"identity": np.frombuffer(text, np.uint8)})
    assert_unchanged(chip, before)


# --- spoiled -----------------------------------------------------------------------------------------------------------


def names_in(chip):
    return [name for name in chip.snapshot() if name != "identity"]


NAMES = names_in(SimulatedChip(small("harsh"), 3))


def spoiled(before, name, values):
    """Return a snapshot of the same chip at another time, all of whose entries differ, with one replaced."""
    other = SimulatedChip(small("harsh"), 3)
    other.wait(1e3)
    later(other)
    return other.snapshot() | {name: values}


def test_a_snapshot_has_the_entries_that_are_spoiled_below():
    """So that none is left out: clock, temperature, turn, five of the meter, five an array."""
    meter = ("reads", "requests", "pulses", "seconds", "joules")
    wanted = {"clock", "temperature", "turn", "checksum", *(f"meter.{name}" for name in meter)}
    wanted |= {f"{name}.{place}" for name in ("state", "weights", "variance", "computed_at", "epoch") for place in range(3)}
    assert set(NAMES) == wanted


@pytest.mark.parametrize("name", [*NAMES, "identity"])
def test_a_snapshot_without_an_entry_is_refused_and_nothing_is_taken(name):
    chip = used(small("harsh"))
    before = chip.snapshot()
    bad = spoiled(before, name, before[name])
    del bad[name]
    with pytest.raises(DesignError if name == "identity" else ShapeError, match=f"expected .*'{name}', found none"):
        chip.restore(bad)
    assert_unchanged(chip, before)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values[..., None],
        lambda values: values[:-1],
        lambda values: np.concatenate([values, values]),
        lambda values: values.astype(np.float64 if values.dtype == np.float32 else np.float32),
        lambda values: values.astype(">f8" if values.dtype == np.float64 else np.int32),
    ],
    ids=["axis", "shorter", "longer", "precision", "kind"],
)
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_of_another_shape_or_kind_is_refused_and_nothing_is_taken(name, spoil):
    chip = used(small("harsh"))
    before = chip.snapshot()
    with pytest.raises(ShapeError, match=rf"state: expected {name} of shape"):
        chip.restore(spoiled(before, name, spoil(before[name])))
    assert_unchanged(chip, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in NAMES
        for value in (np.nan, np.inf, -np.inf)
        if name.split(".")[-1] not in ("turn", "reads", "requests", "pulses", "checksum")
        and not (name in ("meter.seconds", "meter.joules") and value == np.inf)  # costs that overflow are infinite
    ],
)
def test_an_entry_that_is_not_finite_is_refused_and_nothing_is_taken(name, value):
    """One number of it is enough."""
    chip = used(small("harsh"))
    before = chip.snapshot()
    values = before[name].copy()
    values.flat[-1] = value
    with pytest.raises(RangeError, match=f"found NaN or infinity in {name}"):
        chip.restore(spoiled(before, name, values))
    assert_unchanged(chip, before)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("meter", "clock", "temperature"))])
def test_a_negative_clock_or_meter_is_refused_and_nothing_is_taken(name):
    chip = used(small("harsh"))
    before = chip.snapshot()
    with pytest.raises(RangeError, match=f"expected {name} of at least 0, found -1"):
        chip.restore(spoiled(before, name, np.array([-1], before[name].dtype)))
    assert_unchanged(chip, before)


def test_a_negative_turn_cannot_be_written():
    """Its kind has no sign, so that a negative one is of another kind."""
    chip = used(small("harsh"))
    before = chip.snapshot()
    assert before["turn"].dtype == np.uint64
    with pytest.raises(ShapeError, match="state: expected turn of shape"):
        chip.restore(spoiled(before, "turn", np.array([-1])))
    assert_unchanged(chip, before)


def test_a_refused_snapshot_leaves_a_shared_clock_alone():
    clock = Clock(5.0)
    chip = SimulatedChip(small("mild"), 3, clock=clock)
    bad = SimulatedChip(small("mild"), 4, clock=Clock(1e3)).snapshot()
    with pytest.raises(DesignError):
        chip.restore(bad)
    assert clock.now == 5.0
    chip.read(inputs(2))


def test_other_technologies_keep_what_they_change():
    """A technology without drift keeps no times, and one with tables moves as before."""
    for technology in ("exponential", "power", "soft_bounds"):
        design = small("mild", device={"technology": technology, "read_noise_relative": 0.01})
        chip, copy = used(design), SimulatedChip(design, 3)
        copy.restore(chip.snapshot())
        assert_same(later(copy), later(chip))


# --- what a checksum finds, and what is no entry -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("variance")])
def test_one_changed_number_is_found_and_nothing_is_taken(name):
    """Each number could be that of a chip; they only do not belong together."""
    chip = used(small("harsh"))
    before = chip.snapshot()
    bad = {**before, name: before[name].copy()}
    bad[name].view(np.uint8).flat[0] ^= 1  # the lowest bit of the first number
    with pytest.raises(RangeError, match="state: its checksum does not fit"):
        chip.restore(bad)
    assert_unchanged(chip, before)


@pytest.mark.parametrize(
    "entry",
    [None, 3, [1.0], "x", object(), np.array(1.0), np.array([None]), np.ma.array([1.0], mask=[True]), [[1], [1, 2]]],
    ids=lambda entry: type(entry).__name__,
)
@pytest.mark.parametrize("name", ["clock", "meter.reads", "state.0", "identity"])
def test_what_is_no_array_of_the_right_kind_is_refused_and_nothing_is_taken(name, entry):
    chip = used(small("mild"))
    before = chip.snapshot()
    with pytest.raises((DesignError, ShapeError), match="state: expected"):
        chip.restore({**before, name: entry})
    assert_unchanged(chip, before)


def test_an_entry_too_many_is_named():
    chip = used(small("mild"))
    with pytest.raises(ShapeError, match=r"state: expected no entry .state\.9."):
        chip.restore({**chip.snapshot(), "state.9": np.zeros(3)})


def test_a_chip_whose_costs_have_overflowed_takes_back_its_own_snapshot():
    chip = SimulatedChip(small("mild", costs={"read_seconds": 1e308, "adc_joules": 1e308}), 3)
    chip.read(inputs(3))
    assert chip.meter.seconds == chip.meter.joules == np.inf
    before = chip.snapshot()
    chip.restore(before)
    assert_unchanged(chip, before)
    later_clock = {**before, "clock": np.array([2e14])}
    with pytest.raises(RangeError, match=r"expected clock of at most 1e\+14, found 2e\+14"):
        chip.restore(later_clock)


def through_joblib(chip):
    stream = io.BytesIO()
    joblib.dump(chip, stream)
    stream.seek(0)
    return joblib.load(stream)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda chip: pickle.loads(pickle.dumps(chip)), through_joblib])
@pytest.mark.parametrize("fields", [{}, {"device": {"endurance": 200.0, "endurance_dtod": 0.5, "read_noise_relative": 0.1}}])
def test_a_copy_of_a_chip_goes_on_like_it_and_by_itself(copied, fields):
    """Whatever way it was copied: its reads see its own writes."""
    chip, x = SimulatedChip(small("mild", **fields), 0), inputs(5)
    chip.read(x)
    other = copied(chip)
    for one in (chip, other):
        one.write(Delta(0, np.full(one.datasheet.arrays[0].shape, 0.2, np.float32)))
    np.testing.assert_array_equal(chip.read(x).output, other.read(x).output)
    other.write(Delta(0, np.full(other.datasheet.arrays[0].shape, -0.3, np.float32)))
    assert not np.array_equal(oracle.weights(chip)[0], oracle.weights(other)[0])
    assert not np.array_equal(chip.read(x).output, other.read(x).output)
