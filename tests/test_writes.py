"""What nudges and writes do to a simulated chip: port gains, pulses, verification, drift, and what it all costs."""

import numpy as np
import pytest
from small import RNG, inputs, small

from mortalsim.checks import RangeError, ShapeError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import CurrentNudge, Delta, Outer, Program, Replay, Shrink, WeightNudge
from mortalsim.kernels.cells import DOWN, MINUS, PLUS, UP, G


def test_current_nudges_pass_through_the_ports_own_gain():
    design = load_design("ideal").revised(sizes=(6, 4), nudges={"current_gain_dtod": 0.3})
    chip = SimulatedChip(design, 3)
    x = RNG(1).random((2, 6), dtype=np.float32)
    nudge = np.full((2, 4), 0.5, np.float32)
    moved = chip.read(x, CurrentNudge((nudge,))).output - chip.read(x).output
    np.testing.assert_allclose(moved, 0.5 * np.tile(chip.layers[0].current_gain, (2, 1)), rtol=1e-5)
    assert np.ptp(moved[0]) > 0.05


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
def test_weight_nudges_pass_through_the_ports_own_gain(pattern):
    design = load_design("ideal").revised(sizes=(6, 4))
    x, nudge = RNG(1).random((3, 6), dtype=np.float32), WeightNudge(11, 0.3, pattern)
    moved = []
    for spread in (0.0, 0.3):
        chip = SimulatedChip(design.revised(nudges={"weight_gain_dtod": spread}), 3)
        moved.append(chip.read(x, nudge).output - chip.read(x).output)
    np.testing.assert_allclose(moved[1], moved[0] * chip.layers[0].weight_gain, rtol=1e-4, atol=1e-5)
    assert np.ptp(chip.layers[0].weight_gain) > 0.1
    assert np.abs(moved[0]).min() > 0.01


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
def test_a_replayed_weight_nudge_does_what_the_nudge_did(pattern):
    """On ideal hardware a nudge of amplitude a and its replay at scale 1 give the same read."""
    chip = SimulatedChip(small("ideal"), 3)
    nudge = WeightNudge(2**63 + 5, 0.05, pattern)
    nudged = chip.read(inputs(4), nudge).output
    chip.write(Replay(nudge, 1.0))
    np.testing.assert_allclose(chip.read(inputs(4)).output, nudged, rtol=1e-4, atol=1e-5)


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
    ask = 0.1 / design.pulses_per_weight
    for _ in range(400):
        chip.write(Delta(0, np.full((21, 20), ask, np.float32)))
    change = (oracle.weights(chip)[0] - before) * design.pulses_per_weight
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
    noise = np.sqrt(chip.design.line_variance)
    assert np.abs(oracle.weights(chip)[0] - target).max() < 2 * chip.datasheet.weight_step + 4 * noise
    assert chip.ledger.requests == 2
    assert chip.ledger.pulses > 0


def test_stuck_devices_never_move():
    chip = SimulatedChip(small("mild", device={"stuck": 0.5}), 3)
    cells = chip.layers[0].crossbar.cells
    stuck = cells.stuck()
    before = cells.levels(G)[stuck].copy()
    chip.write(Delta(0, np.full((13, 8), 0.3, np.float32)))
    np.testing.assert_array_equal(cells.levels(G)[stuck], before)
    assert 0.3 < stuck.mean() < 0.7


def test_drift_follows_the_law_on_one_clock():
    chip = SimulatedChip(small("ideal", device={"pulses": 100, "drift": 0.05}), 3)
    before, start = oracle.weights(chip)[0], chip.clock
    chip.wait(1e4)
    np.testing.assert_allclose(oracle.weights(chip)[0], before * (1 + (1e4 + start) / 20.0) ** -0.05, rtol=1e-5, atol=1e-6)


def test_writes_see_what_drift_has_done():
    """After a long wait the same target costs pulses again and is reached; half of a weight is half of what is left."""
    design = small("ideal", device={"pulses": 2000, "drift": 0.02, "max_train": 0})
    chip, target = SimulatedChip(design, 3), RNG(2).normal(0, 0.3, (13, 8)).astype(np.float32)
    chip.write(Program(0, target))
    chip.write(Program(0, target))
    first = chip.ledger.pulses
    chip.wait(1e6)
    chip.write(Program(0, target))
    assert chip.ledger.pulses > first + 13 * 8
    np.testing.assert_allclose(oracle.weights(chip)[0], target, atol=1.1 * chip.datasheet.weight_step)
    chip.wait(1e6)
    chip.write(Shrink(0, 0.5))  # without a read in between
    left = 0.5 * target * (1 + 1e6 / 20) ** -0.02
    np.testing.assert_allclose(oracle.weights(chip)[0], left, atol=3 * chip.datasheet.weight_step)


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
    step = chip.datasheet.weight_step
    np.testing.assert_allclose(oracle.weights(chip)[0], 2.0, atol=1.1 * step)
    np.testing.assert_allclose(oracle.weights(chip)[1], -2.0, atol=1.1 * step)
    assert chip.ledger.pulses < 2 * 2 * 100 * (13 * 8 + 9 * 6)


def test_pulses_of_a_verify_round_are_bounded():
    """Devices with a hundredth of their nominal step would be sent thousands of pulses each round and more in all."""
    chip = SimulatedChip(small("ideal", device={"pulses": 10, "verify_steps": 3}), 3)
    cells = chip.layers[0].crossbar.cells
    cells.codes(UP)[...] = cells.codes(DOWN)[...] = 0  # stuck, so each round asks again for all
    cells.levels(G)[PLUS], cells.levels(G)[MINUS] = chip.design.device.g_min, 100 * chip.design.device.g_max  # far below
    chip.layers[0].crossbar.fold(0.0)
    chip.write(Program(0, np.full((13, 8), 2.0, np.float32)))
    assert chip.ledger.pulses == 3 * 2 * 20 * 13 * 8


def test_verification_takes_time_and_energy_but_no_samples():
    """A target that is met at once: one round of 13 rows, each driving 2 x 8 devices and converting 1 row and 8 columns."""
    chip = SimulatedChip(small("ideal", device={"pulses": 100}), 3)
    chip.write(Program(0, oracle.weights(chip)[0]))
    assert chip.ledger.pulses == 0
    assert chip.ledger.reads == 0
    assert chip.clock == chip.ledger.seconds == pytest.approx(13 * 100e-9)
    assert chip.ledger.joules == pytest.approx(13 * (16 * 13e-6 * 0.04 * 100e-9 + 8 * 1e-12 + 0.1e-12), abs=0)


def test_verification_is_as_good_as_its_reads():
    left = []
    for noise in (0.0, 0.3e-6, 1.2e-6):
        chip = SimulatedChip(small("ideal", device={"pulses": 1000, "read_noise": noise}), 3)
        chip.write(Program(0, np.zeros((13, 8), np.float32)))
        left.append(oracle.weights(chip)[0].std())
    assert left[0] < chip.datasheet.weight_step
    assert left[1] > 3 * left[0]
    assert left[2] > 2 * left[1]


def test_delta_is_charged_row_after_row_and_outer_in_parallel():
    """4.5 pulses a device: the longest train of 16 devices is 5 but in one case of 65536."""
    chip = SimulatedChip(small("mild"), 3)
    pulse, ask = chip.datasheet.seconds_per_pulse, 4.5 / chip.design.pulses_per_weight
    chip.write(Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), ask))
    assert chip.ledger.seconds == pytest.approx(5 * pulse)
    chip.write(Delta(0, np.full((13, 8), ask, np.float32)))
    assert chip.ledger.seconds == pytest.approx((5 + 13 * 5) * pulse)


def test_time_passes_with_every_read_and_write():
    chip = SimulatedChip(small("mild"), 3)
    sheet = chip.datasheet
    chip.read(inputs(10))
    assert chip.clock == pytest.approx(10 * sheet.seconds_per_read)
    chip.write(Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), 4.5 / chip.design.pulses_per_weight))
    assert chip.clock == pytest.approx(10 * sheet.seconds_per_read + 5 * sheet.seconds_per_pulse)
    assert chip.ledger.seconds == pytest.approx(chip.clock)
    assert chip.ledger.joules == pytest.approx(
        10 * sheet.joules_per_read + chip.ledger.pulses * sheet.joules_per_pulse, abs=0
    )


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


@pytest.mark.parametrize(
    ("spoil", "error"), [(lambda state: state.astype(np.float64), ShapeError), (lambda state: state * np.nan, RangeError)]
)
def test_a_snapshot_of_other_numbers_is_refused(spoil, error):
    chip = SimulatedChip(small("mild", device={"technology": "exponential"}), 3)
    before = chip.snapshot()
    with pytest.raises(error, match=r"state\.1"):
        chip.restore(before | {"state.1": spoil(before["state.1"])})
    for name, array in before.items():
        np.testing.assert_array_equal(array, chip.snapshot()[name])


def test_half_a_snapshot_is_not_taken():
    chip, other = SimulatedChip(small("mild"), 3), SimulatedChip(small("mild"), 4)
    before, bad = chip.snapshot(), other.snapshot()
    bad["state.1"] = bad["state.1"][:, :, :, :-1]
    with pytest.raises(ShapeError, match=r"state\.1"):
        chip.restore(bad)
    for name, array in before.items():
        np.testing.assert_array_equal(array, chip.snapshot()[name])
