"""Transfer curves: each family rises or says where not, and is the same on data sheet, oracle and chip."""

import numpy as np
import pytest
from scipy import integrate

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.circuits.curves import CURVES
from mortalsim.hardware import CurrentNudge

FAMILIES = CURVES.names()


#: Families that fall in places, and settings with which they do not.
RISING = {"alien": {"bumps": 1.0}}


def tables(name, neurons=5, seed=3, **settings):
    return CURVES.get(name)(**settings).fabricate(neurons, np.random.default_rng(seed))


@pytest.mark.parametrize("name", FAMILIES)
def test_curves_rise_and_slopes_are_their_derivatives(name):
    z = np.linspace(-20, 20, 4001)
    values, slopes = tables(name, **RISING.get(name, {})).respond(np.tile(z[:, None], (1, 5)))
    assert (np.diff(values, axis=0) >= -1e-6).all()
    rise = integrate.cumulative_trapezoid(slopes, z, axis=0, initial=0)
    np.testing.assert_allclose(values - values[0], rise, atol=2e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_data_sheet_curve_equals_the_table_of_a_nominal_neuron(name):
    curve, z = CURVES.get(name)().nominal(), np.linspace(-12, 12, 501)
    assert np.isfinite(curve(z)).all()
    numeric = np.gradient(curve(z), z)
    away = np.abs(z) > 0.1  # a kink has no derivative
    np.testing.assert_allclose(curve.derivative(z)[away], numeric[away], atol=0.03)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda v: np.maximum(v, 0)),
        ("linear", lambda v: v),
        ("leaky", lambda v: np.where(v > 0, v, 0.1 * v)),
        ("softplus", lambda v: 0.25 * np.logaddexp(0, v / 0.25)),
        ("tanh", lambda v: 2 * np.tanh(v / 2)),
    ],
)
def test_families_follow_their_formulas(name, formula):
    z = np.linspace(-10, 10, 997)
    np.testing.assert_allclose(tables(name).respond(z[:, None])[0][:, 0], formula(z), atol=1e-4)


def test_wild_curves_differ_from_neuron_to_neuron_and_from_the_data_sheet():
    z = np.linspace(-3, 3, 61)
    values, _ = tables("wild").respond(np.tile(z[:, None], (1, 5)))
    nominal = CURVES.get("wild")().nominal()(z)
    assert np.std(values[-1]) > 0.3
    assert np.abs(values - nominal[:, None]).max(axis=0).min() > 0.1


@pytest.mark.parametrize("name", FAMILIES)
def test_the_chip_follows_the_oracles_curve(name):
    """Current nudges sweep a silent neuron's input; its output is the curve that the oracle shows."""
    mismatch = {"gain_dtod": 0.2, "offset_dtod": 0.3, "saturation": 3.0, "saturation_dtod": 0.2}
    design = load_design("ideal").revised(sizes=(1, 4, 2), neurons={"curve": {"family": name}, **mismatch})
    chip = SimulatedChip(design, seed=6)
    z = np.linspace(-6, 6, 241).astype(np.float32)
    bias = oracle.weights(chip)[0][-1].astype(np.float32)
    trace = chip.read(np.zeros((len(z), 1), np.float32), CurrentNudge({"h1": z[:, None] - bias}))
    np.testing.assert_allclose(trace.states["h1"][0], oracle.transfer_curves(chip, "h1", z), atol=2e-5)
