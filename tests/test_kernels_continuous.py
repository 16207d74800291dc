"""Continuous devices: equality with the reference, and what bounds and stuck devices do."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels_pulses import BENT_NOISE, MID, ONE_SIDED, TWO_SIDED, UNIT, F, assert_equal, copied, fresh

from mortalsim import kernels
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.devices.linear import Linear
from mortalsim.hardware import Delta
from mortalsim.kernels import Effective, Present, ReadNoise, Wanted
from mortalsim.kernels.devices import HIGH, LOW, MINUS, PLUS, WRITTEN, G

NEVER = np.zeros((0, 0, 1, 2), F)
NOW = Present(0.0, 1.0, NEVER)


def move(devices, change, module=kernels, *, shares=TWO_SIDED, present=NOW, noise=None, first=0):
    """Move in place; return weights and variances, 7 where nobody has written."""
    shape = devices.state.shape[:2]
    weights, variance = np.full(shape, 7, F), np.full(shape if noise else (0, 0), 7, F)
    effective = Effective(weights, variance, UNIT, noise or ReadNoise())
    module.move_devices(devices, Wanted(np.asarray(change, F), UNIT, shares, first), present, effective)
    return weights, variance


@given(
    shape=st.tuples(st.sampled_from([1, 3, 19]), st.sampled_from([1, 5, 40])), seed=st.integers(0, 99),
    stuck=st.sampled_from([0.0, 0.3]), drift=st.sampled_from([0.0, 0.1]), aged=st.booleans(),
    shares=st.sampled_from([TWO_SIDED, ONE_SIDED]), noise=st.sampled_from([None, ReadNoise(0.1), BENT_NOISE]),
)  # fmt: skip
def test_moving_devices_equals_its_reference(shape, seed, stuck, drift, aged, shares, noise):
    rng = np.random.default_rng(seed)
    change = rng.normal(size=shape).astype(F) * (rng.random(shape) < 0.8)
    own = rng.uniform(3e-6, 7e-6, (*shape, 1, 2)).astype(F) if aged else NEVER
    first = 16 * (shape[0] // 17)
    options = {"shares": shares, "present": Present(50.0, 2.0, own), "noise": noise, "first": first}
    mine = fresh(*shape, seed, stuck, drift, timed=aged)
    reference = copied(mine)
    got, want = move(mine, change[first:], **options), move(reference, change[first:], naive, **options)
    assert_equal(mine, reference)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_moving_devices_equals_its_reference_over_several_stretches():
    change = np.random.default_rng(5).normal(size=(36, 231)).astype(F)
    mine, reference = fresh(36, 231, 5, 0.1, 0.1), fresh(36, 231, 5, 0.1, 0.1)
    options = {"present": Present(50.0, 2.0, NEVER), "noise": ReadNoise(0.1)}
    got, want = move(mine, change, **options), move(reference, change, naive, **options)
    assert_equal(mine, reference)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_change_is_taken_exactly_as_far_as_the_bounds_let_it():
    devices = fresh(1, 3)
    weights, _ = move(devices, [[0.3, -0.3, 50.0]])
    np.testing.assert_allclose(devices.levels(G)[PLUS, 0, :2], MID + np.array([0.15, -0.15]) * UNIT, rtol=1e-6)
    np.testing.assert_allclose(weights[0, :2], [0.3, -0.3], rtol=1e-5)
    assert devices.levels(G)[PLUS, 0, 2] == devices.values(HIGH)[PLUS, 0, 2]
    assert devices.levels(G)[MINUS, 0, 2] == devices.values(LOW)[MINUS, 0, 2]


@pytest.mark.parametrize(("change", "up"), [(0.3, 0.0), (0.0, 1e-8)])  # a stuck pair, and one that is asked for nothing
def test_devices_that_stay_keep_their_time_of_writing(change, up):
    devices = fresh(1, 1, drift=0.1, up=F(up), down=F(up))
    before = copied(devices)
    move(devices, [[change]], present=Present(9.0, 1.0, NEVER))
    assert_equal(devices, before)
    assert not devices.levels(WRITTEN).any()


class Swelling(Linear):
    """What a device conducts is half as much again as what was written, at once and for ever."""

    def aged(self, g, parameters, moment):
        return 1.5 * g


def test_weights_after_a_write_are_those_of_the_devices_own_law_of_ageing():
    """Computed anew at the same moment they are the same, whatever a device conducts just after it was written."""
    design = load_design("ideal").revised(sizes=(6, 4), device=Swelling(pulses=0), normaliser={"present": False})
    chip = SimulatedChip(design, 3)
    chip.write(Delta(0, np.random.default_rng(0).uniform(-0.3, 0.3, (7, 4)).astype(F), 1.0))
    written = chip.arrays[0].crossbar.weights.copy()
    chip.arrays[0].crossbar.compute_weights(chip.clock.moment)
    np.testing.assert_array_equal(written, chip.arrays[0].crossbar.weights)
