"""Whatever a design allows ends soon and takes bounded memory; what would not is refused before anything is made."""

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from running import slow_in_plain_python
from small import inputs, small
from test_netlist import long_form

from mortalsim.checks import DesignError, RangeError, ShapeError
from mortalsim.chips import Clock, SimulatedChip, footprint, load_design, oracle
from mortalsim.chips.meter import LONGEST
from mortalsim.chips.wiring import WIRINGS
from mortalsim.devices.base import MOST_PULSES
from mortalsim.hardware import Delta, Program, Shrink

SECONDS = 5.0


@pytest.fixture
def soon():
    """Fail a test that takes long."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SECONDS


# --- writes ------------------------------------------------------------------------------------------------------------


@slow_in_plain_python
@pytest.mark.parametrize("pair", ["two_sided", "one_sided"])
def test_a_request_without_a_limit_of_pulses_ends_and_the_meter_says_how_many_it_was(soon, pair):
    chip = SimulatedChip(small("harsh", pair=pair, device={"max_pulses": 0}), 3)
    chip.write(Delta(0, np.ones((13, 8), np.float32), 1e9))
    devices = 13 * 8 * (1 if pair == "one_sided" else 2)
    assert chip.meter.pulses == MOST_PULSES * devices
    assert np.isfinite(oracle.weights(chip)[0]).all()


@slow_in_plain_python
def test_writing_and_verifying_ends_where_noise_undoes_every_round(soon):
    device = {"verify_steps": 1000, "pulses": 800_000, "step_ctoc": 100.0, "read_noise": 1e-3}
    chip = SimulatedChip(small("mild", device=device), 3)
    chip.write(Program(0, np.ones((13, 8), np.float32)))
    assert chip.meter.requests == 1


@slow_in_plain_python
def test_a_fine_device_is_still_programmed_from_end_to_end(soon):
    """Its steps are more than one round sends."""
    chip = SimulatedChip(small("ideal", device={"pulses": 800_000}), 3)
    for target in (-2.0, 2.0):
        weights = np.full((13, 8), target, np.float32)
        chip.write(Program(0, weights))
        np.testing.assert_allclose(oracle.weights(chip)[0], weights, atol=0.01)


@pytest.mark.parametrize(
    "device", [{"verify_steps": 10**9}, {"pulses": 10**9}, {"max_pulses": 10**9}, {"max_train": 10**9}, {"pulses": 2.0**63}]
)
def test_counts_that_no_write_could_send_are_refused(device):
    with pytest.raises(DesignError, match=r"expected a .*number from \d to \d+, found"):
        load_design("mild").revised(device=device)


# --- sizes -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def little():
    """Fail a test that takes more than 100 MB."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100e6


A_TO_B = {"source": "a", "target": "b"}


def wired(below, above, **wiring):
    populations = [{"name": "a", "shape": below}, {"name": "b", "shape": above}]
    return long_form("mild", populations, [{**A_TO_B, "wiring": wiring}], output="b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: load_design("mild").with_sizes((10**12, 3)), "sizes.0: expected a whole number from 1 to 4194304"),
        (
            lambda: load_design("mild").with_sizes((10**6, 10**6)),
            "at most 8589934592 devices, .*found 2000002000000 or more",
        ),
        (lambda: load_design("mild").with_sizes((3,) * 5000), "sizes: .*at most 1024"),
        (lambda: wired([10**4, 10**4], [3], kind="dense"), "population 'a': expected at most 4194304 .*10000 x 10000"),
        (lambda: wired([9, 9], [3, 3, 2], kind="patches", size=10**9), "patches: size: .*less than or equal to 1024"),
        (lambda: wired([2000, 2000], [1999, 1999, 1], kind="patches", size=2), "at most 65536 blocks .*found 3996001"),
        (lambda: wired([300, 300, 46], [1, 1, 1], kind="patches", size=300), "33554432 pixels with a border of size = 300"),
        (lambda: wired([9, 9, 9], [1, 1, 1], kind="patches", size=1024), "patches: windows of 1024"),
        (lambda: wired([5000], [5000], kind="tiles", rows=1, columns=1), "tiles: expected at most 65536 blocks"),
        (lambda: wired([5], [5], kind="tiles", rows=10**18, columns=1), "tiles: rows: .*less than or equal to"),
        (lambda: load_design("recurrent").revised(dynamics={"ticks": 10**12}), "ticks: .*less than or equal to 1000"),
        (lambda: load_design("recurrent").revised(dynamics={"groups": 10**12}), "groups: .*less than or equal to 1024"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_made(soon, little, make, message):
    with pytest.raises(DesignError, match=message):
        make()


def test_large_networks_are_designs_and_take_next_to_nothing_as_such(soon, little):
    for sizes in ((784, 5000, 5000, 5000, 5000, 10), (100_000, 10_000)):
        assert load_design("mild").with_sizes(sizes).datasheet().arrays[0].shape == (sizes[0] + 1, sizes[1])


def test_a_chip_that_the_machine_cannot_hold_is_refused_before_it_is_made(monkeypatch):
    design = small("mild")
    need = footprint.bytes_of(design.netlist)
    monkeypatch.setattr(footprint, "machine_memory", lambda: need - 1)
    with pytest.raises(DesignError, match=r"a chip of it takes up to .* GB of memory, found .* on this machine"):
        SimulatedChip(design, 0)
    monkeypatch.setattr(footprint, "machine_memory", lambda: need)
    SimulatedChip(design, 0)


@slow_in_plain_python
@pytest.mark.parametrize("name", ["mild", "harsh", "ideal"])
def test_a_chip_takes_no_more_memory_while_it_is_made_than_was_said(name):
    design = load_design(name).with_sizes((400, 700, 10))
    SimulatedChip(small(name), 0)  # all code is there
    tracemalloc.start()
    SimulatedChip(design, 0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < footprint.bytes_of(design.netlist) < 4 * most


def test_wirings_and_dynamics_of_one_s_own_are_bounded_too(soon, monkeypatch):
    def many(below, above, bias):
        return np.zeros((70_000, 1), int), np.zeros((70_000, 1), int)

    real = WIRINGS.get
    monkeypatch.setattr(WIRINGS, "get", lambda name: many if name == "many" else real(name))
    with pytest.raises(DesignError, match=r"many: expected at most 65536 blocks .*found 70000"):
        wired([5], [5], kind="many")


def test_no_read_has_more_answers_than_can_be_kept(soon):
    chain = [{"name": name, "shape": [2]} for name in ("a", *(f"h{i}" for i in range(99)))]
    arrays = [{"source": a["name"], "target": b["name"]} for a, b in pairwise(chain)]
    with pytest.raises((DesignError, ShapeError), match="recurrent: expected at most 16384 answers in one read"):
        long_form("mild", chain, arrays, output="h98", dynamics={"kind": "recurrent", "ticks": 1000})


# --- costs and clocks --------------------------------------------------------------------------------------------------

ENDLESS = {
    "costs": {"read_seconds": 1.7e308, "dac_joules": 1.7e308, "adc_joules": 1.7e308},
    "device": {"pulse_seconds": 1.7e308, "pulse_volts": 1e6, "read_volts": 1e6},
}


@pytest.mark.parametrize("name", ["mild", "ideal", "tiled", "boxed"])
def test_costs_that_overflow_are_infinite_and_change_nothing_else(name):
    design = load_design(name) if name in ("tiled", "boxed") else small(name)
    quiet = design.revised(device={"drift": 0.0, "drift_dtod": 0.0})
    chips = [SimulatedChip(each, 3) for each in (quiet, quiet.revised(**ENDLESS))]
    outputs = []
    for chip in chips:
        spec = chip.datasheet.arrays[0]
        x = inputs(3) if name in ("mild", "ideal") else np.ones((3, 64), np.float32)
        chip.write(Program(0, np.full(spec.shape, 0.3, np.float32)))
        chip.write(Shrink(0, 1.0))  # no pulse at all costs nothing
        outputs.append(chip.read(x).output)
    np.testing.assert_array_equal(*outputs)
    assert chips[1].meter.seconds == chips[1].meter.joules == np.inf
    assert chips[1].clock.now == LONGEST and np.isfinite(chips[0].meter.joules)


def test_a_request_that_sends_no_pulse_costs_nothing_where_one_costs_endlessly_much():
    chip = SimulatedChip(small("mild", **ENDLESS), 3)
    chip.write(Delta(0, np.zeros((13, 8), np.float32)))
    assert (chip.meter.pulses, chip.meter.joules, chip.meter.seconds) == (0, 0.0, 0.0)


@pytest.mark.parametrize("t0", [1e-3, 20.0, 1e6])
@pytest.mark.parametrize("written", [0.0, 1e9, 9e13])
def test_drift_is_right_up_to_the_longest_time(t0, written):
    device = {"drift": 0.1, "drift_dtod": 0.0, "drift_t0": t0, "stuck": 0.0, "conductance_dtod": 0.0, "read_noise": 0.0}
    chip = SimulatedChip(small("mild", device=device), 3, clock=Clock(written))
    fresh = oracle.weights(chip)[0]
    for age in (t0, 1e3 * t0, LONGEST - written):
        chip.clock.now = written + age
        age = chip.clock.now - written  # late clocks lose what comes after a hundredth of a second
        np.testing.assert_allclose(oracle.weights(chip)[0], fresh * (1 + age / t0) ** -0.1, rtol=2e-4, atol=1e-6)


def test_a_clock_stops_at_its_longest_time_and_refuses_to_be_told_to_go_on():
    clock = Clock(LONGEST - 10)
    for seconds in (np.inf, np.nan, -1.0, 1e15, 11.0):
        with pytest.raises(RangeError, match="seconds: expected"):
            clock.advance(seconds)
    clock.advance(9.0)
    clock.spend(np.inf)
    assert clock.now == LONGEST
    chip = SimulatedChip(small("mild"), 3, clock=clock)
    chip.write(Delta(0, np.full((13, 8), 0.1, np.float32)))
    assert np.isfinite(chip.read(inputs(2)).output).all() and clock.now == LONGEST


def test_a_fresh_chip_wants_a_design_and_a_clock():
    with pytest.raises(DesignError, match=r"design: expected a Design, found str 'mild'"):
        SimulatedChip("mild", 0)
    with pytest.raises(DesignError, match="clock: expected a Clock or None, found float"):
        SimulatedChip(small("mild"), 0, clock=5.0)
