"""What nudges and writes do to a simulated chip: port gains, pulses, verification, drift; costs have a file of their own."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
from running import slow_in_plain_python
from small import RNG, inputs, small
from structures import STRUCTURES, exact, structured
from threadpoolctl import threadpool_limits

from mortalsim.checks import RangeError
from mortalsim.chips import SimulatedChip, crossbar, load_design, oracle
from mortalsim.devices.base import Moment
from mortalsim.hardware import CurrentNudge, Delta, Outer, Program, Replay, Shrink, WeightNudge
from mortalsim.kernels.devices import DOWN, MINUS, PLUS, UP, G


def test_current_nudges_pass_through_the_ports_own_gain():
    design = load_design("ideal").revised(sizes=(6, 4), nudges={"current_gain_dtod": 0.3})
    chip = SimulatedChip(design, 3)
    x = RNG(1).random((2, 6), dtype=np.float32)
    nudge = np.full((2, 4), 0.5, np.float32)
    moved = chip.read(x, CurrentNudge({"out": nudge})).output - chip.read(x).output
    np.testing.assert_allclose(moved, 0.5 * np.tile(chip.populations["out"].current_gain, (2, 1)), rtol=1e-5)
    assert np.ptp(moved[0]) > 0.05


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
def test_weight_nudges_pass_through_the_ports_own_gain(pattern):
    design = load_design("ideal").revised(sizes=(6, 4))
    x, nudge = RNG(1).random((3, 6), dtype=np.float32), WeightNudge(11, 0.3, pattern)
    moved = []
    for spread in (0.0, 0.3):
        chip = SimulatedChip(design.revised(nudges={"weight_gain_dtod": spread}), 3)
        moved.append(chip.read(x, nudge).output - chip.read(x).output)
    np.testing.assert_allclose(moved[1], moved[0] * chip.arrays[0].weight_gain[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(chip.arrays[0].weight_gain[0]) > 0.1
    assert np.abs(moved[0]).max(axis=0).min() > 0.1  # every column was nudged


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
def test_a_replayed_weight_nudge_does_what_the_nudge_did(pattern):
    """On ideal hardware a nudge of amplitude a and its replay at scale 1 give the same read."""
    chip = SimulatedChip(small("ideal"), 3)
    nudge = WeightNudge(2**63 + 5, 0.05, pattern)
    nudged = chip.read(inputs(4), nudge).output
    chip.write(Replay(nudge, 1.0))
    np.testing.assert_allclose(chip.read(inputs(4)).output, nudged, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_replay_writes_what_the_nudge_disturbed_whatever_the_structure(name, pattern):
    """And only there: ``arrays`` says where, ``index`` which of the key's patterns."""
    design = exact(name, nudges={"weight_gain_dtod": 0.0})
    last = design.datasheet().hidden[-1] if design.output is None else design.output
    x = RNG(0).random((4, design.datasheet().n_inputs), dtype=np.float32)
    for arrays in (None, (1,)):
        nudge = WeightNudge(2**63 + 5, 0.05, pattern, index=7, arrays=arrays)
        chip = SimulatedChip(design, 3)
        plain, nudged = (chip.read(x, disturbed).late(last, 1) for disturbed in (None, nudge))
        before = oracle.weights(chip)
        chip.write(Replay(nudge, 1.0))
        for place, (old, new) in enumerate(zip(before, oracle.weights(chip), strict=True)):
            moved = np.abs(new - old)
            assert moved.max() == pytest.approx(0.05 if nudge.disturbs(place) else 0.0, abs=1e-6)
        for tick, state in chip.read(x).late(last, 1).items():
            np.testing.assert_allclose(state, nudged[tick], rtol=1e-4, atol=1e-5)
            assert np.abs(state - plain[tick]).max() > 1e-3


def written(chip, request):
    """Return by how much a request changes the weights of every array."""
    before = oracle.weights(chip)
    chip.write(request)
    return [new - old for old, new in zip(before, oracle.weights(chip), strict=True)]


def test_patterns_of_one_key_differ_by_array_and_by_index():
    """A share of equal signs within 4.5 standard errors of a half, 9 comparisons: false alarm 6e-5."""
    chip = SimulatedChip(load_design("ideal").with_sizes((30, 31, 31)), 3)
    changes = [written(chip, Replay(WeightNudge(5, 0.01, index=index), 1.0)) for index in (0, 1, 2**32 - 1)]
    signs = [np.sign(change[place][:31]) for change in changes for place in (0, 1)]
    for one in range(6):
        for other in range(one):
            agree = signs[one] == signs[other]
            if one % 2 == other % 2 or one // 2 == other // 2:
                assert abs(agree.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(agree.size)


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
@pytest.mark.parametrize("name", ["fields", "recurrent", "tiled"])
def test_a_replay_scaled_by_neuron_scales_the_columns_that_feed_it(name, pattern):
    design, nudge = exact(name), WeightNudge(9, 0.02, pattern)
    sheet = design.datasheet()
    scale = RNG(1).normal(size=sheet.populations["h1"].size).astype(np.float32)
    whole = written(SimulatedChip(design, 3), Replay(nudge, 1.0))
    found = written(SimulatedChip(design, 3), Replay(nudge, {"h1": scale}))
    for place, spec in enumerate(sheet.arrays):
        wanted = whole[place] * spec.spread(scale[None].astype(float)) if spec.target == "h1" else 0 * whole[place]
        np.testing.assert_allclose(found[place], wanted, atol=2e-6)
    assert np.abs(found[0]).max() > 0.01


def test_replayed_nudges_cancel_before_they_cost_pulses():
    chip = SimulatedChip(small("mild"), 3)
    one, other = WeightNudge(3, 0.5), WeightNudge(3, 0.5, "rank1")
    chip.write(Replay((one, other, one, other), (1.0, 0.3, -1.0, -0.3)))
    assert chip.meter.pulses == 0
    chip.write(Replay((one, other, one, other), (1.0, 0.3, -1.0, 0.3)))
    assert chip.meter.pulses > 0


@slow_in_plain_python
def test_replays_never_build_a_whole_matrix():
    """An array of 1500 x 1500 takes 9 MB as float32; two threads with a piece of 0.4 MB each, and scratch, take 3.3 MB."""
    with mock.patch.object(crossbar, "CHUNK", 100_000):
        chip = SimulatedChip(load_design("mild").with_sizes((1500, 1500)), 3)
    spec = chip.datasheet.arrays[0]
    for patterns in (("signs",) * 4, ("signs", "rank1") * 2):
        nudges = tuple(WeightNudge(key, 1e-4, pattern) for key, pattern in enumerate(patterns))
        tracemalloc.start()
        try:
            with threadpool_limits(2):
                chip.write(Replay(nudges, (1.0, -0.5, 0.2, 0.7)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert chip.meter.pulses > 0
        assert peak < 4 * spec.n_in * spec.n_out / 2


@pytest.mark.parametrize("name", STRUCTURES)
def test_an_outer_product_is_the_delta_that_the_data_sheet_works_out(name):
    design = exact(name)
    for place, spec in enumerate(design.datasheet().arrays):
        pre = RNG(1).normal(size=(*spec.shape[:-2], 3, spec.n_in)).astype(np.float32)
        post = RNG(2).normal(size=(3, design.datasheet().populations[spec.target].size)).astype(np.float32)
        outer = written(SimulatedChip(design, 3), Outer(place, pre, post, 0.01))
        delta = written(SimulatedChip(design, 3), Delta(place, spec.product(pre, post), 0.01))
        np.testing.assert_allclose(outer[place], delta[place], atol=2e-6)
        assert np.abs(outer[place]).max() > 0.01
        assert not any(change.any() for other, change in enumerate(outer) if other != place)


def test_grounded_rows_and_idle_columns_are_never_written():
    """Nine lines of six neurons on tiles of 4 x 4: three rows carry nothing, two columns feed nobody."""
    chip = SimulatedChip(structured("tiled"), 3)
    spec, crossbar = chip.datasheet.arrays[0], chip.arrays[0].crossbar
    wired = (spec.rows <= 8)[:, :, None] & (spec.columns < 6)[:, None, :]
    assert wired.sum() == 9 * 6 and wired.size == 12 * 8
    before = crossbar.devices.levels(G).reshape(2, *spec.shape).copy()
    ones, post = np.ones((spec.shape[0], 1, 4), np.float32), np.ones((1, 6), np.float32)
    requests = [
        Delta(0, np.full(spec.shape, 0.3, np.float32)),
        Outer(0, ones, post, 0.3),
        Program(0, np.full(spec.shape, 0.2, np.float32)),
        Replay(WeightNudge(3, 0.3), 1.0),
        Shrink(0, 0.5),
    ]
    for request in requests:
        chip.write(request)
        moved = (crossbar.devices.levels(G).reshape(before.shape) != before).any(axis=0)
        assert not moved[~wired].any()
        assert moved[wired].mean() > 0.9


def test_outer_and_delta_of_the_same_matrix_agree_on_ideal_hardware():
    one, two = (SimulatedChip(small("ideal"), 3) for _ in range(2))
    tap = one.read(inputs(4)).taps[1]
    one.write(Outer(1, tap.pre, tap.post, 0.01))
    two.write(Delta(1, np.float32(0.01) * tap.pre.T @ tap.post))
    np.testing.assert_allclose(oracle.weights(one)[1], oracle.weights(two)[1], atol=3e-7)  # a last bit of the conductances


def test_small_requests_are_taken_on_average():
    """Stochastic rounding: 400 requests of a tenth of a pulse; mean change within 4 standard errors (false alarm 6e-5)."""
    design = load_design("ideal").revised(sizes=(20, 20), device={"pulses": 2000})
    chip = SimulatedChip(design, 3)
    before = oracle.weights(chip)[0]
    ask = 0.1 / design.technology.pulses_per_weight
    for _ in range(400):
        chip.write(Delta(0, np.full((21, 20), ask, np.float32)))
    change = (oracle.weights(chip)[0] - before) * design.technology.pulses_per_weight
    # Each device of the pair rounds by itself: variance p (1 - p) a request, half a weight step each.
    error = np.sqrt(400 * 0.1 * 0.9 / 2 / change.size)
    assert change.mean() == pytest.approx(40, abs=4 * error)
    assert change.std() == pytest.approx(np.sqrt(18), rel=0.2)


def test_shrink_takes_weights_towards_zero_and_program_to_their_targets():
    chip = SimulatedChip(small("mild", device={"stuck": 0.0}), 3)
    chip.write(Shrink(0, 0.5))
    target = RNG(2).normal(0, 0.2, (13, 8)).astype(np.float32)
    chip.write(Program(0, target))
    # Verified with noisy reads: a device stops once a read, noise included, is within a step of the target.
    noise = np.sqrt(chip.arrays[0].crossbar.line_variance)
    assert np.abs(oracle.weights(chip)[0] - target).max() < 2 * chip.datasheet.arrays[0].weight_step + 4 * noise
    assert chip.meter.requests == 2
    assert chip.meter.pulses > 0


def test_stuck_devices_never_move():
    chip = SimulatedChip(small("mild", device={"stuck": 0.5}), 3)
    cells = chip.arrays[0].crossbar.devices
    stuck = cells.stuck()
    before = cells.levels(G)[stuck].copy()
    chip.write(Delta(0, np.full((13, 8), 0.3, np.float32)))
    np.testing.assert_array_equal(cells.levels(G)[stuck], before)
    assert 0.3 < stuck.mean() < 0.7


def test_drift_follows_the_law_on_one_clock():
    chip = SimulatedChip(small("ideal", device={"pulses": 100, "drift": 0.05}), 3)
    before, start = oracle.weights(chip)[0], chip.clock.now
    chip.wait(1e4)
    np.testing.assert_allclose(oracle.weights(chip)[0], before * (1 + (1e4 + start) / 20.0) ** -0.05, rtol=1e-5, atol=1e-6)


def test_writes_see_what_drift_has_done():
    """After a long wait the same target costs pulses again and is reached; half of a weight is half of what is left."""
    design = small("ideal", device={"pulses": 2000, "drift": 0.02, "max_pulses": 0})
    chip, target = SimulatedChip(design, 3), RNG(2).normal(0, 0.3, (13, 8)).astype(np.float32)
    chip.write(Program(0, target))
    chip.write(Program(0, target))
    first = chip.meter.pulses
    chip.wait(1e6)
    chip.write(Program(0, target))
    assert chip.meter.pulses > first + 13 * 8
    np.testing.assert_allclose(oracle.weights(chip)[0], target, atol=1.1 * chip.datasheet.arrays[0].weight_step)
    chip.wait(1e6)
    chip.write(Shrink(0, 0.5))  # without a read in between
    left = 0.5 * target * (1 + 1e6 / 20) ** -0.02
    np.testing.assert_allclose(oracle.weights(chip)[0], left, atol=3 * chip.datasheet.arrays[0].weight_step)


def test_a_continuous_write_restarts_drift_only_where_it_writes():
    chip = SimulatedChip(small("ideal", device={"drift": 0.05}), 3)
    before = oracle.weights(chip)[0]
    one = np.zeros((13, 8), np.float32)
    one[4, 5] = 1e-3
    for _ in range(100):
        chip.wait(10)
        chip.write(Delta(0, one))
    others = one == 0
    expected = before * (1 + 1000 / 20) ** -0.05
    np.testing.assert_allclose(oracle.weights(chip)[0][others], expected[others], rtol=1e-5, atol=1e-6)
    alone = before[4, 5]
    for _ in range(100):
        alone = alone * (1 + 10 / 20) ** -0.05 + 1e-3
    assert oracle.weights(chip)[0][4, 5] == pytest.approx(alone, rel=1e-3)


def test_a_target_beyond_the_range_ends_at_the_ranges_end():
    chip = SimulatedChip(small("ideal", device={"pulses": 100}), 3)
    chip.write(Program(0, np.full((13, 8), 1e5, np.float32)))
    chip.write(Program(1, np.full((9, 6), -1e5, np.float32)))
    step = chip.datasheet.arrays[0].weight_step
    np.testing.assert_allclose(oracle.weights(chip)[0], 2.0, atol=1.1 * step)
    np.testing.assert_allclose(oracle.weights(chip)[1], -2.0, atol=1.1 * step)
    assert chip.meter.pulses < 2 * 2 * 100 * (13 * 8 + 9 * 6)


def test_pulses_of_a_verify_round_are_bounded():
    """Devices with a hundredth of their nominal step would be sent thousands of pulses each round and more in all."""
    chip = SimulatedChip(small("ideal", device={"pulses": 10, "verify_steps": 3}), 3)
    cells = chip.arrays[0].crossbar.devices
    cells.codes(UP)[...] = cells.codes(DOWN)[...] = 0  # stuck, so each round asks again for all
    cells.levels(G)[PLUS], cells.levels(G)[MINUS] = chip.design.device.g_min, 100 * chip.design.device.g_max  # far below
    chip.arrays[0].crossbar.compute_weights(Moment())
    chip.write(Program(0, np.full((13, 8), 2.0, np.float32)))
    assert chip.meter.pulses == 3 * 2 * 20 * 13 * 8


def test_verification_is_as_good_as_its_reads():
    left = []
    for noise in (0.0, 0.3e-6, 1.2e-6):
        chip = SimulatedChip(small("ideal", device={"pulses": 1000, "read_noise": noise}), 3)
        chip.write(Program(0, np.zeros((13, 8), np.float32)))
        left.append(oracle.weights(chip)[0].std())
    assert left[0] < chip.datasheet.arrays[0].weight_step
    assert left[1] > 3 * left[0]
    assert left[2] > 2 * left[1]


@pytest.mark.parametrize(
    "request_",
    [
        Delta(0, np.full((13, 8), np.nan, np.float32)),
        Delta(0, np.zeros((13, 8), np.float32), np.nan),
        Outer(0, np.full((4000, 13), 3e38, np.float32), np.full((4000, 8), 3e38, np.float32), 1.0),
        Shrink(0, 1.5),
        Shrink(0, "half"),
        Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), [0.1]),
        Delta("first", np.zeros((13, 8), np.float32)),
    ],
    ids=["nan", "scale", "overflow", "factor", "word for a factor", "list for a rate", "word for an array"],
)
def test_a_refused_request_leaves_even_drift_as_it_was(request_):
    chip = SimulatedChip(small("harsh"), 3)
    chip.wait(1e5)
    before = chip.snapshot()
    with pytest.raises(RangeError):
        chip.write(request_)
    after = chip.snapshot()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])
