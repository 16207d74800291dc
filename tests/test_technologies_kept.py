"""Own laws of technologies through snapshots, over time and temperature, and with answers that cannot be."""

import numpy as np
import pytest

from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.design import build_design
from mortalsim.chips.meter import Clock
from mortalsim.devices.exponential import Exponential
from mortalsim.devices.linear import Linear
from mortalsim.hardware import Delta

F = np.float32
X = np.ones((3, 6), F)


class Thermal(Linear):
    """Noise power in proportion to temperature."""

    def noise_at(self, u, moment):
        return 1e-7 * np.sqrt(moment.temperature / 300) * (1 + u)


class Growing(Linear):
    """Noise that grows with time."""

    def noise_at(self, u, moment):
        return 1e-7 * (1 + moment.now / 100) * np.ones_like(u)


def chip_of(device, clock=None, **fields):
    """An otherwise ideal chip, without normaliser."""
    design = load_design("ideal").revised(sizes=(6, 4), device=device, normaliser={"present": False}, **fields)
    return SimulatedChip(design, 3, clock=clock)


def test_a_chip_restored_to_another_temperature_has_the_noise_of_that_one():
    chip = chip_of(Thermal())
    chip.clock.warm(600.0)
    state = chip.snapshot()
    first = chip.read(X).output
    variance = chip.arrays[0].crossbar.variance.copy()
    chip.restore(state)
    np.testing.assert_array_equal(chip.read(X).output, first)
    np.testing.assert_array_equal(chip.arrays[0].crossbar.variance, variance)


def test_a_snapshot_may_be_put_back_at_any_temperature():
    chip = chip_of(Thermal())
    chip.read(X)
    state, wanted = chip.snapshot(), chip.read(X).output
    chip.clock.warm(0.0)
    chip.read(X)
    chip.restore(state)
    np.testing.assert_array_equal(chip.read(X).output, wanted)
    copy = chip_of(Thermal(), clock=Clock(temperature=0.0))
    copy.restore(state)
    np.testing.assert_array_equal(copy.read(X).output, wanted)


def test_noise_that_depends_on_time_is_that_of_the_read():
    chip = chip_of(Growing())
    before = chip.arrays[0].crossbar.line_variance
    chip.wait(1e4)
    chip.read(X)
    assert chip.arrays[0].crossbar.line_variance / before == pytest.approx(101**2)


def test_weights_are_not_computed_anew_where_the_noise_law_stays_as_it_was():
    chip = chip_of(Thermal())
    chip.read(X)
    version = chip.arrays[0].crossbar.version
    chip.wait(10.0)
    chip.read(X)
    assert chip.arrays[0].crossbar.version == version


def test_no_device_of_a_shared_clock_that_has_gone_back_was_written_in_the_future():
    class Stretched(Linear):
        def aged(self, g, parameters, moment):
            return g * np.exp(-np.sqrt((moment.now - parameters["written"]) / 100))

    clock = Clock()
    one, other = (chip_of(Stretched(pulses=500), clock=clock) for _ in range(2))
    state = one.snapshot()
    clock.advance(100.0)
    other.write(Delta(0, np.full((7, 4), 0.1, F)))
    one.restore(state)
    assert np.isfinite(other.read(X).output).all()


@pytest.mark.parametrize(
    ("method", "made", "message"),
    [
        ("aged", lambda self, g, parameters, moment: g[:1], r"Bad.aged: expected finite siemens .* found shape \(1, 7, 4\)"),
        ("aged", lambda self, g, parameters, moment: 1.0, r"Bad.aged: expected finite siemens .* found shape \(\)"),
        ("aged", lambda self, g, parameters, moment: g * np.nan, "found NaN or infinity at 0 s and 300 K"),
        ("noise", lambda self, u: np.ones(3), r"Bad.noise: expected an array like u, shape \(1,\), found \(3,\)"),
        ("noise", lambda self, u: np.where(u > 0.7, np.inf, 1e-7), r"Bad.noise: expected finite .* found 1e-07 to inf"),
        ("up", lambda self, u: u * np.nan, "Bad.up: expected finite steps"),
        ("up", lambda self, u: u[:3], r"Bad.up: expected finite steps of the shape of u, \(257,\)"),
        ("parameters", lambda self, normal: {"low": normal("low")}, "'low' is what every device has"),
    ],
)
def test_what_a_law_cannot_give_is_told_by_its_name(method, made, message):
    with pytest.raises(DesignError, match=message):
        chip_of(type("Bad", (Linear,), {method: made})())


def test_death_is_told_by_truth_values():
    class Bad(Linear):
        keeps = ("taken", "dead")

        def dead(self, parameters):
            return (parameters["taken"] > 5).astype(int)

    with pytest.raises(DesignError, match=r"dead: expected truth values .* found int64"):
        chip_of(Bad()).write(Delta(0, np.full((7, 4), 0.1, F)))

    class Lacking(Linear):
        keeps = ("dead",)

    with pytest.raises(ValueError, match="keeps: 'dead' needs a method `dead`"):
        Lacking()


def test_noise_may_be_one_number_for_all():
    class Same(Linear):
        def noise(self, u):
            return 2e-7

    mine, theirs = chip_of(Same()), chip_of(Linear(read_noise=2e-7))
    assert mine.datasheet.populations["out"].read_noise == theirs.datasheet.populations["out"].read_noise > 0
    np.testing.assert_array_equal(mine.read(X).output, theirs.read(X).output)


@pytest.mark.parametrize("technology", ["soft_bounds", "exponential", "linear", "power"])
def test_a_design_read_again_from_its_own_fields_is_the_same_design(technology):
    design = load_design("ideal").revised(device={"technology": technology})
    assert build_design(design.fields(), "again").digest() == design.digest()


def test_the_smaller_of_both_steps_must_be_coarse_enough():
    with pytest.raises(ValueError, match="pulses: expected at most"):
        Linear(pulses=8e5, asymmetry=0.9)
    assert Exponential(pulses=1702.3).step < Exponential().step


def test_a_time_constant_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="drift_t0"):
        Linear(drift_t0=1e-39)


def test_without_noise_and_ageing_nothing_is_looked_at_before_a_read():
    chip = chip_of(Linear())
    assert not chip._ageing
    assert (oracle.weights(chip)[0] == chip.arrays[0].crossbar.weights).all()
