"""How two devices make a weight: who moves, where they rest, and what upkeep a one-sided pair needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.upkeep import Workbench
from mortalsim.devices.linear import Linear
from mortalsim.devices.pairs import PAIRS
from mortalsim.hardware import Delta, Outer, Program, Replay, WeightNudge
from mortalsim.kernels import Draw

F = np.float32


def chip_of(pair, sizes=(6, 4), seed=3, **device):
    """An otherwise ideal chip of such pairs; steps do not depend on the place."""
    device = Linear(**{"pulses": 200, "max_pulses": 0, "slope_up": 0.0, "slope_down": 0.0, "g_min": 0.0} | device)
    return SimulatedChip(load_design("ideal").revised(sizes=sizes, device=device, pair=pair), seed)


def places(chip):
    """Where devices lie in the nominal range, (2, rows, n_out)."""
    device = chip.design.device
    return (oracle.conductances(chip)[0] - device.g_min) / (device.g_max - device.g_min)


@pytest.mark.parametrize("name", PAIRS.names())
@given(change=st.floats(-1e3, 1e3), factor=st.floats(0, 1e3))
def test_shares_make_up_the_change_and_grow_with_it(name, change, factor):
    plus, minus = PAIRS.get(name)().share(np.array([change]))
    assert plus - minus == pytest.approx(change)
    for share, more in zip((plus, minus), PAIRS.get(name)().share(np.array([factor * change])), strict=True):
        assert more == pytest.approx(factor * share, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS.names())
@pytest.mark.parametrize("pulses", [200, 0])
def test_a_change_of_weights_is_made_whoever_takes_it(name, pulses):
    """To within two roundings of half a step each and float32; no device is near its bounds."""
    chip = chip_of(name, pulses=pulses)
    before = oracle.weights(chip)[0].copy()
    change = np.random.default_rng(1).uniform(-0.2, 0.2, (7, 4)).astype(F)
    chip.write(Delta(0, change))
    tolerance = 2 * chip.datasheet.arrays[0].weight_step + 1e-6
    np.testing.assert_allclose(oracle.weights(chip)[0] - before, change, atol=tolerance)


@pytest.mark.parametrize("name", PAIRS.names())
def test_weights_as_fabricated_do_not_depend_on_the_pair(name):
    np.testing.assert_allclose(oracle.weights(chip_of(name))[0], oracle.weights(chip_of("two_sided"))[0], atol=1e-6)


def test_one_sided_devices_move_up_alone():
    chip = chip_of({"kind": "one_sided", "every": 1000})
    before = places(chip).copy()
    assert (before.min(axis=0) == 0).all()  # one of each pair rests
    change = np.where(np.arange(28).reshape(7, 4) % 2, 0.1, -0.1).astype(F)
    for _ in range(3):
        chip.write(Delta(0, change))
    moved, wanted = places(chip) - before, 0.3 / chip.datasheet.arrays[0].weight_range
    np.testing.assert_allclose(moved[0], np.where(change > 0, wanted, 0), atol=0.02)
    np.testing.assert_allclose(moved[1], np.where(change < 0, wanted, 0), atol=0.02)


def test_two_sided_devices_move_in_opposite_directions():
    chip = chip_of("two_sided")
    before = places(chip).copy()
    chip.write(Delta(0, np.full((7, 4), 0.1, F)))
    moved = places(chip) - before
    assert (moved[0] > 0).all() and (moved[1] < 0).all()


def jiggle(chip, times):
    """Ask for changes up and down in turn, which fills one-sided pairs; return the mean weight before and after."""
    before = oracle.weights(chip)[0].copy()
    for n in range(times):
        chip.write(Delta(0, np.full((7, 4), 0.1 if n % 2 else -0.1, F)))
    return before, oracle.weights(chip)[0]


def test_full_pairs_are_refreshed_and_keep_their_weights():
    chip = chip_of({"kind": "one_sided", "every": 1, "upper": 0.6, "lower": 0.3})
    before, after = jiggle(chip, 40)
    assert places(chip).max() < 0.75
    np.testing.assert_allclose(after, before, atol=4 * chip.datasheet.arrays[0].weight_step)


def test_without_refresh_they_run_full_and_lose_them():
    chip = chip_of({"kind": "one_sided", "every": 10_000})
    before, after = jiggle(chip, 200)
    assert (places(chip).min(axis=0) > 0.99).all()
    assert np.abs(after).max() < 0.02 * np.abs(before).max() + 0.01


def test_a_refresh_costs_pulses_time_and_reads():
    idle, busy = (chip_of({"kind": "one_sided", "every": every, "upper": 0.6, "lower": 0.3}) for every in (10_000, 1))
    for chip in (idle, busy):
        jiggle(chip, 16)
    assert busy.meter.pulses > idle.meter.pulses + 2 * 28  # every pair is reset at least once, and written anew
    assert busy.meter.seconds > idle.meter.seconds and busy.meter.joules > idle.meter.joules


def test_refreshing_is_the_same_after_a_snapshot():
    """How many requests there have been is state: the next look at the pairs comes when it would have come."""
    make = lambda: chip_of({"kind": "one_sided", "every": 3, "upper": 0.4, "lower": 0.2}, read_noise=1e-7)  # noqa: E731
    chip, copy = make(), make()
    jiggle(chip, 7)
    copy.restore(chip.snapshot())
    for both in (chip, copy):
        jiggle(both, 8)
    np.testing.assert_array_equal(oracle.weights(copy)[0], oracle.weights(chip)[0])
    assert copy.meter == chip.meter


def test_one_sided_pairs_are_programmed():
    chip = chip_of("one_sided", read_noise=1e-8)
    target = np.random.default_rng(3).uniform(-0.8, 0.8, (7, 4)).astype(F)
    chip.write(Program(0, target))
    np.testing.assert_allclose(oracle.weights(chip)[0], target, atol=2 * chip.datasheet.arrays[0].weight_step)


def test_every_look_and_either_device_has_noise_of_its_own():
    chip = chip_of("one_sided", read_noise=1e-7)
    crossbar, moment = chip.arrays[0].crossbar, chip.clock.moment
    bench = Workbench(crossbar, moment, Draw(chip._key, 0, 0, attempt=8192))
    first, second = (bench.measured() - crossbar.conducted(moment) for _ in range(2))
    assert (first != second).all() and (np.abs(first[0] - first[1]) > 1e-13).all()


def test_stuck_devices_are_not_reset():
    chip = chip_of({"kind": "one_sided", "every": 1, "upper": 0.01, "lower": 0.0}, stuck=0.5)
    stuck = chip.arrays[0].crossbar.devices.stuck()
    before = places(chip)[stuck].copy()
    jiggle(chip, 6)
    np.testing.assert_array_equal(places(chip)[stuck], before)


def test_an_array_may_have_pairs_of_its_own():
    design = load_design("tiled")
    entries = [entry.model_dump(exclude_unset=True) for entry in design.array]
    entries[0]["pair"] = "one_sided"
    chip = SimulatedChip(design.revised(array=entries), 3)
    kinds = [type(array.parts.technology.pair).__name__ for array in chip.arrays]
    assert kinds == ["OneSided"] + ["TwoSided"] * (len(chip.arrays) - 1)
    resting = oracle.conductances(chip)[0].min(axis=0)
    assert np.median(resting) < 3e-6 < np.median(oracle.conductances(chip)[1].min(axis=0))


def test_the_data_sheet_of_one_sided_pairs_counts_with_devices_half_way_to_where_they_are_refreshed():
    """At a place of 0.375 of 1 to 25 uS a device conducts 10 uS; two-sided ones rest at 13."""
    one, two = (chip_of(pair, read_noise_relative=0.05, g_min=1e-6).design.technology for pair in ("one_sided", "two_sided"))
    assert one.pair_joules / two.pair_joules == pytest.approx(10 / 13)
    assert one.nominal_variance / two.nominal_variance == pytest.approx((10 / 13) ** 2)
    assert chip_of("one_sided", read_noise_relative=0.05).datasheet.populations["out"].read_noise > 0


def test_continuous_one_sided_devices_that_are_asked_for_nothing_go_on_ageing():
    chip = chip_of("one_sided", pulses=0, drift=0.1, drift_t0=1.0, g_min=1e-6)
    chip.wait(1e4)
    before = chip.arrays[0].crossbar.conducted(chip.clock.moment)
    chip.write(Delta(0, np.full((7, 4), 0.1, F)))
    crossbar = chip.arrays[0].crossbar
    np.testing.assert_array_equal(crossbar.conducted(chip.clock.moment)[1], before[1])
    assert (crossbar.fields()["written"][1] == 0).all() and (crossbar.fields()["written"][0] == 1e4).all()


def test_upkeep_is_paid_for_whatever_the_request():
    """A look at the pairs is a read of all rows, also after a replay that changes nothing."""
    costs = []
    for request in (Delta(0, np.zeros((7, 4), F)), Replay(WeightNudge(1, 0.1), 0.0)):
        chip = chip_of({"kind": "one_sided", "every": 1})
        chip.write(request)
        costs.append((chip.meter.seconds, chip.meter.joules))
    assert costs[0] == costs[1] and costs[0][0] == pytest.approx(7 * chip.design.costs.read_seconds, rel=1e-6)


def test_full_one_sided_pairs_are_programmed_all_the_same():
    chip = chip_of({"kind": "one_sided", "every": 1000})
    jiggle(chip, 60)
    target = np.full((7, 4), 0.5, F)
    chip.write(Program(0, target))
    np.testing.assert_allclose(oracle.weights(chip)[0], target, atol=0.51 * chip.datasheet.arrays[0].weight_step)


def test_noise_that_is_a_number_at_the_ends_alone_lets_pairs_be_looked_at():
    """A device beyond its nominal range is read as noisily as one at its end, by upkeep as by reads."""

    class Hill(Linear):
        def noise(self, u):
            return 1e-7 * np.sqrt(u * (1 - u))

    design = load_design("ideal").revised(
        sizes=(6, 4), device=Hill(pulses=200, bound_dtod=0.2), pair={"kind": "one_sided", "every": 1}
    )
    chip = SimulatedChip(design, 3)
    jiggle(chip, 20)
    assert np.isfinite(oracle.weights(chip)[0]).all()


def test_thresholds_that_contradict_each_other_are_refused():
    with pytest.raises(DesignError, match=r"lower must be below upper, found 0\.8 and 0\.7"):
        load_design("ideal").revised(pair={"kind": "one_sided", "lower": 0.8, "upper": 0.7})


def test_outer_products_train_one_sided_chips_as_they_train_two_sided_ones():
    """Gradient descent on a linear map with a noisy technology: both come within the noise of the target."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((64, 6)).astype(F), rng.uniform(-0.4, 0.4, (6, 4)).astype(F)
    left = {}
    for pair in ("two_sided", {"kind": "one_sided", "every": 5}):
        chip = chip_of(pair, step_ctoc=0.3, step_dtod=0.2, read_noise=5e-8, pulses=500)
        y = (x / np.sqrt((x**2).mean(axis=1, keepdims=True))) @ target
        for step in range(150):
            rows = slice(8 * (step % 8), 8 * (step % 8) + 8)
            trace = chip.read(x[rows])
            chip.write(Outer(0, trace.taps[0].pre, (y[rows] - trace.output).astype(F), 0.02))
        left[str(pair)] = float(((y - chip.read(x).output) ** 2).mean() / (y**2).mean())
    assert max(left.values()) < 0.05, left
