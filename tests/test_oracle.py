"""The privileged view agrees with what the chip itself does."""

import numpy as np
import pytest

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import Delta
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
    design = silent("mild").revised(converters={"input_range": 1.0}, normaliser={"gain_dtod": 0.3})
    return SimulatedChip(design, seed=5)


def test_model_equals_the_silent_chip_where_lines_clip():
    chip, x = clipping(), np.random.default_rng(1).random((40, 12), dtype=np.float32)
    gains = [layer.normaliser_gain for layer in chip.layers]
    assert np.abs(np.array(gains) - 1).max() > 0.1
    measured, true = chip.read(x).taps, oracle.model(chip).forward(x.astype(float)).taps
    for tap, shown, lines in zip(measured, true, oracle.lines(chip, true), strict=True):
        ends = tap.pre[:, :-1] - chip.layers[tap.array].dac.offset
        assert np.isclose(np.abs(ends), chip.layers[tap.array].dac.gain, rtol=1e-5).mean() > 0.1  # some lines do clip
        np.testing.assert_allclose(tap.pre, lines, rtol=2e-5, atol=2e-5)
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


def test_gradient_equals_finite_differences_through_the_chips_own_writes():
    """A continuous device takes a change exactly, so the chip's own loss can be differenced."""
    curve = {"family": "softplus", "softness": 0.5}  # no kink to step over
    x = np.random.default_rng(2).random((5, 12), dtype=np.float32)
    targets = one_hot(np.array([0, 1, 2, 3, 0]), 4)
    # A static conductance error would scale what a device takes of a change, so it is off here.
    chip = SimulatedChip(silent("mild", curve=curve, saturation=0.0).revised(device={"conductance_dtod": 0.0}), seed=9)
    _, gradients = oracle.loss_and_gradient(chip, x, targets)
    step, rng = 1e-3, np.random.default_rng(3)
    for array, gradient in enumerate(gradients):
        direction = rng.choice([-1.0, 1.0], gradient.shape).astype(np.float32)
        chip.write(Delta(array, step * direction))
        above = oracle.loss_and_gradient(chip, x, targets)[0]
        chip.write(Delta(array, -2 * step * direction))
        below = oracle.loss_and_gradient(chip, x, targets)[0]
        chip.write(Delta(array, step * direction))
        assert (above - below) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=2e-3, abs=1e-5)
