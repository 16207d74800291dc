"""The privileged view agrees with what the chip itself does."""

import numpy as np
import pytest
from structures import STRUCTURES, exact

from mortalsim.checks import UnknownName
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import Delta, Program
from mortalsim.objectives import one_hot

SIZES = (12, 8, 6, 4)

# Everything that would make single reads random or stepped is off; every mismatch stays on.
SILENT = {
    "device": {"read_noise": 0.0, "read_noise_relative": 0.0, "drift": 0.0, "drift_dtod": 0.0, "pulses": 0, "stuck": 0.0},
    "converters": {"dac_bits": 0, "adc_bits": 0, "input_range": 0.0, "output_range": 0.0},
}


def silent(name, **neurons):
    design = load_design(name)
    offsets = {"gain_dtod": 0.05, "offset_dtod": 0.1}
    return design.revised(
        sizes=SIZES,
        device=SILENT["device"],
        converters=SILENT["converters"] | offsets,
        neurons={"noise": 0.0, **neurons},
    )


def clipping():
    """A silent chip whose lines clip after a normaliser with a gain of its own."""
    design = silent("mild").revised(converters={"input_range": 0.5}, normaliser={"gain_dtod": 0.3})
    return SimulatedChip(design, seed=5)


def test_model_equals_the_silent_chip_where_lines_clip():
    chip, x = clipping(), np.random.default_rng(1).random((40, 12), dtype=np.float32)
    gains = [array.normaliser_gain for array in chip.arrays]
    assert np.abs(np.array(gains) - 1).max() > 0.1
    measured, true = chip.read(x).taps, oracle.model(chip).forward(x.astype(float)).taps
    for tap, shown in zip(measured, true, strict=True):
        dac = chip.arrays[tap.array].dac
        ends = tap.pre[:, :-1] - dac.offset
        assert np.isclose(np.abs(ends), 0.5 * dac.gain, rtol=1e-5).mean() > 0.1  # some lines do clip
        np.testing.assert_allclose(tap.pre, shown.pre, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(tap.post, shown.post, rtol=2e-5, atol=2e-5)


def test_a_normaliser_that_is_absent_has_no_gain():
    chip = SimulatedChip(silent("mild").revised(normaliser={"present": False, "gain_dtod": 0.5}), seed=5)
    x = np.random.default_rng(1).random((7, 12), dtype=np.float32)
    np.testing.assert_allclose(chip.read(x).output, oracle.model(chip).forward(x.astype(float)).output, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["mild", "harsh", "wild"])
def test_model_equals_the_silent_chip(name):
    chip = SimulatedChip(silent(name), seed=5)
    x = np.random.default_rng(1).random((7, 12), dtype=np.float32)
    for tap, true in zip(chip.read(x).taps, oracle.model(chip).forward(x.astype(float)).taps, strict=True):
        np.testing.assert_allclose(tap.post, true.post, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("place", ["source", "block", "none"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_model_equals_the_silent_chip_of_every_structure(name, place):
    """States at every tick and what every row carries, clipped lines, damping, stages, grounded rows and bias included."""
    mismatch = {"input_range": 0.9, "gain_dtod": 0.05, "offset_dtod": 0.1}
    design = exact(name, converters=mismatch, normaliser={"place": place, "gain_dtod": 0.2})
    chip = SimulatedChip(design, seed=5)
    x = np.random.default_rng(1).random((7, design.datasheet().n_inputs), dtype=np.float32)
    x[0] = 0
    measured, true = chip.read(x), oracle.model(chip).forward(x.astype(float))
    for tap, shown in zip(measured.taps, true.taps, strict=True):
        assert (tap.array, tap.tick, tap.at) == (shown.array, shown.tick, shown.at)
        np.testing.assert_allclose(tap.pre, shown.pre, rtol=2e-5, atol=3e-5)
        np.testing.assert_allclose(tap.post, shown.post, rtol=2e-5, atol=3e-5)
    for population, states in measured.states.items():
        for tick, state in states.items():
            np.testing.assert_allclose(state, true.states[population][tick], rtol=2e-5, atol=3e-5)


def test_transfer_curves_are_what_single_neurons_answer():
    """Weights of one array are set so that every neuron of h1 gets the same known current over its bias line."""
    chip = SimulatedChip(exact("tiled", neurons={"curve": "wild", "gain_dtod": 0.2, "offset_dtod": 0.3}), seed=5)
    z = np.array([-1.0, -0.2, 0.4, 1.1])
    curves = oracle.transfer_curves(chip, "h1", z)
    assert curves.shape == (4, 6) and np.ptp(curves, axis=1).min() > 0.05
    adc, spec = chip.populations["h1"].adc, chip.datasheet.arrays[0]
    for current, wanted in zip(z, curves, strict=True):
        chip.write(Program(0, np.where((spec.rows == 8)[:, :, None], current, np.zeros(spec.shape)).astype(np.float32)))
        found = chip.read(np.zeros((1, 8), np.float32)).states["h1"][0][0]
        np.testing.assert_allclose(found, wanted * adc.gain + adc.offset, atol=1e-4)
    with pytest.raises(UnknownName, match="population: expected one of h1, h2, out; found 'in'"):
        oracle.transfer_curves(chip, "in", z)


def check_gradient(chip, x, targets):
    """Compare the true gradient with differences of the loss under the chip's own writes, along a random direction."""
    _, gradients = oracle.loss_and_gradient(chip, x, targets)
    step, rng = 1e-3, np.random.default_rng(3)
    for array, gradient in enumerate(gradients):
        direction = rng.choice([-1.0, 1.0], gradient.shape).astype(np.float32)
        chip.write(Delta(array, step * direction))
        above = oracle.loss_and_gradient(chip, x, targets)[0]
        chip.write(Delta(array, -2 * step * direction))
        below = oracle.loss_and_gradient(chip, x, targets)[0]
        chip.write(Delta(array, step * direction))
        wanted = float((gradient * direction).sum())
        assert abs(wanted) > 1e-3
        assert (above - below) / (2 * step) == pytest.approx(wanted, rel=2e-3, abs=1e-5)


SMOOTH = {"family": "softplus", "softness": 0.5}  # no kink to step over


def test_gradient_equals_finite_differences_through_the_chips_own_writes():
    """A continuous device takes a change exactly, so the chip's own loss can be differenced."""
    x = np.random.default_rng(2).random((5, 12), dtype=np.float32)
    # A static conductance error would scale what a device takes of a change, so it is off here.
    chip = SimulatedChip(silent("mild", curve=SMOOTH, saturation=0.0).revised(device={"conductance_dtod": 0.0}), seed=9)
    check_gradient(chip, x, one_hot(np.array([0, 1, 2, 3, 0]), 4))


@pytest.mark.parametrize("place", ["source", "block", "none"])
@pytest.mark.parametrize("name", [name for name in STRUCTURES if name != "headless"])
def test_gradient_of_every_structure_equals_finite_differences(name, place):
    """Through all ticks, blocks and black boxes; the loss is that of a chip whose lines do not clip."""
    design = exact(name, neurons={"curve": SMOOTH}, normaliser={"place": place})
    x = np.random.default_rng(2).random((5, design.datasheet().n_inputs), dtype=np.float32)
    check_gradient(SimulatedChip(design, seed=9), x, one_hot(np.array([0, 1, 2, 3, 0]), 4))
