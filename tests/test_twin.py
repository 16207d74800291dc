"""The twin's derivative equals finite differences, whatever a chip's neurons are like."""

from itertools import pairwise

import numpy as np
import pytest
from fakes import IdealChip, make_datasheet
from hypothesis import given, settings
from hypothesis import strategies as st

from mortalsim.checks import ShapeError
from mortalsim.hardware import TransferCurve
from mortalsim.objectives import one_hot
from mortalsim.twin import Layer, Twin

SIZES = (5, 4, 4, 3)


class Tanh:
    """One slope per neuron."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, z):
        return np.tanh(self.scale * z)

    def derivative(self, z):
        return self.scale * (1 - np.tanh(self.scale * z) ** 2)


def random_twin(seed, **kw):
    rng = np.random.default_rng(seed)
    layers = [
        Layer(rng.standard_normal((a + 1, b)), Tanh(rng.uniform(0.5, 2, b)), rng.uniform(0.5, 2, b), rng.standard_normal(b))
        for a, b in pairwise(SIZES)
    ]
    return Twin(tuple(layers), **kw), rng.standard_normal((6, SIZES[0])), one_hot(np.arange(6) % 3, 3)


@given(seed=st.integers(0, 2**32 - 1), normalised=st.booleans(), input_range=st.sampled_from([0.0, 0.8]))
@settings(max_examples=25)
def test_gradient_equals_finite_differences(seed, normalised, input_range):
    twin, x, targets = random_twin(seed, normalised=normalised, input_range=input_range)
    gradient = twin.gradient(x, targets)
    h = 1e-6
    for layer, slope in zip(twin.layers, gradient, strict=True):
        direction = np.random.default_rng(seed).standard_normal(slope.shape)
        layer.weights[...] += h * direction
        plus = twin.loss_and_gradient(x, targets)[0]
        layer.weights[...] -= 2 * h * direction
        minus = twin.loss_and_gradient(x, targets)[0]
        layer.weights[...] += h * direction
        # A step across a clipping corner would cost a relative error of order h times the number of corners met.
        assert np.sum(slope * direction) == pytest.approx((plus - minus) / (2 * h), rel=1e-4, abs=1e-5)


@given(seed=st.integers(0, 1000), normalised=st.booleans())
@settings(max_examples=10)
def test_nominal_twin_equals_the_ideal_chip(seed, normalised):
    chip = IdealChip(make_datasheet(SIZES, normalised=normalised), seed)
    x = np.random.default_rng(seed).random((7, SIZES[0]), dtype=np.float32)
    for tap, true in zip(Twin.nominal(chip.datasheet, chip.weights).forward(x).taps, chip.read(x).taps, strict=True):
        np.testing.assert_allclose(tap.pre, true.pre, rtol=1e-5, atol=2e-3)  # the printed relu is round within 1e-3 of 0
        np.testing.assert_allclose(tap.post, true.post, rtol=1e-5, atol=2e-3)


def test_tabulated_curve_and_silent_input_have_finite_gradients():
    z = np.linspace(-2, 2, 9)
    curve = TransferCurve(-2, 0.5, np.tanh(z), 1 - np.tanh(z) ** 2)
    twin = Twin((Layer(np.ones((6, 4)), curve), Layer(np.ones((5, 3)), curve)), normalised=True)
    gradient = twin.gradient(np.zeros((2, 5)), one_hot(np.array([0, 1]), 3))
    assert all(np.isfinite(slope).all() for slope in gradient)


def test_float32_stays_float32():
    chip = IdealChip(make_datasheet(SIZES))
    gradient = Twin.nominal(chip.datasheet, chip.weights).gradient(np.ones((2, 5), np.float32), one_hot(np.array([0, 1]), 3))
    assert {slope.dtype for slope in gradient} == {np.dtype(np.float32)}


def test_wrong_weights_are_named():
    with pytest.raises(ShapeError, match=r"one matrix \(n_in, n_out\) per array"):
        Twin.nominal(make_datasheet(SIZES), [np.zeros((5, 4))])
