"""The family alien: a population's neurons share a curve of the chip's own, of which the data sheet knows the median."""

import numpy as np
import pytest

from mortalsim.chips import SimulatedChip, load_design
from mortalsim.circuits.curves import CURVES
from mortalsim.hardware import CurrentNudge

ALIEN = CURVES.get("alien")
#: Nothing but the input's and the output's nonlinearity: on at 0 at once, off without a leak.
SHARP = {"roughness": 0.0, "onset": 0.0, "softness": 1e-6, "leak": 0.0, "bumps": 0.0}
PLAIN = {**SHARP, "compression": 1e6, "saturation": 1e6}


def fabricated(seed=0, **settings):
    return ALIEN(**settings).fabricate(1, np.random.default_rng(seed))


def chip_of(sizes=(1, 6, 5, 2), seed=0, **neurons):
    return SimulatedChip(load_design("ideal").revised(sizes=sizes, neurons={"curve": "alien", **neurons}), seed=seed)


def shared(chip, name):
    return chip.populations[name].neurons.tables.values


def test_neurons_differ_only_by_their_gain_offset_and_saturation():
    """Each neuron is nudged to one input behind its own gain and offset; its answer is the common curve, clipped."""
    chip = chip_of(gain_dtod=0.3, offset_dtod=0.3, saturation=2.0, saturation_dtod=0.3)
    bank, bias, v = chip.populations["h1"].neurons, chip.arrays[0].crossbar.weights[-1], np.linspace(-9, 9, 181)[:, None]
    currents = ((v - bank.offset) / bank.gain - bias).astype(np.float32)
    found = chip.read(np.zeros((len(v), 1), np.float32), CurrentNudge({"h1": currents})).states["h1"][0]
    common = bank.tables.respond(v)[0]
    np.testing.assert_allclose(found, np.clip(common, -bank.saturation, bank.saturation), atol=1e-4)
    assert bank.gain.std() > 0.1
    assert bank.saturation.std() > 0.1


def test_chips_of_one_seed_share_their_curves_however_wide_they_are():
    narrow, wide = chip_of((1, 3, 5, 2)), chip_of((1, 40, 2, 2))
    for name in ("h1", "h2"):
        np.testing.assert_array_equal(shared(narrow, name), shared(wide, name))


def test_populations_and_chips_have_curves_of_their_own_and_one_data_sheet():
    one, other, z = chip_of(), chip_of(seed=1), np.linspace(-5, 5, 41)
    curves = [shared(chip, name) for chip in (one, other) for name in ("h1", "h2")]
    assert min(np.abs(a - b).max() for k, a in enumerate(curves) for b in curves[:k]) > 0.1
    printed = [chip.datasheet.populations[name].curve(z) for chip in (one, other) for name in ("h1", "h2")]
    assert all(np.array_equal(printed[0], curve) for curve in printed)


@pytest.mark.parametrize("seed", range(5))
def test_slopes_are_derivatives_where_the_curve_rises_and_where_it_falls(seed):
    z, step = np.linspace(-15, 15, 3000)[:, None], 1e-3
    tables = fabricated(seed)
    (after, _), (before, _), (_, slopes) = (tables.respond(z + d) for d in (step, -step, 0.0))
    np.testing.assert_allclose(slopes, (after - before) / (2 * step), atol=2e-3)
    assert slopes.min() < -0.02 < 0.3 < slopes.max()


def test_no_input_brings_an_output_beyond_the_saturation():
    z = np.linspace(-1000, 1000, 8001)[:, None]
    for seed in range(20):
        assert np.abs(fabricated(seed, saturation=3.0, saturation_spread=0.0).respond(z)[0]).max() < 3.05


def test_saturations_are_lognormal():
    spread = {**SHARP, "compression": 1e6, "saturation": 2.0, "saturation_spread": 0.5}
    tops = np.log([fabricated(seed, **spread, reach=64.0).values[0, -1] for seed in range(300)])
    assert tops.mean() == pytest.approx(np.log(2.0), abs=0.1)
    assert tops.std() == pytest.approx(0.5, abs=0.07)


def test_the_median_curve_is_compressed_and_saturated():
    z = np.linspace(-15, 15, 241)
    expected = np.where(z > 0, 6 * np.tanh(z / (1 + z.clip(0) / 8) / 6), 0)
    np.testing.assert_allclose(ALIEN(**SHARP).nominal()(z), expected, atol=0.08)
    chip = fabricated(1, **SHARP, compression_spread=0.0, saturation_spread=0.0)
    np.testing.assert_allclose(chip.respond(z[:, None])[0][:, 0], expected, atol=0.08)


def test_either_sign_is_compressed_by_itself():
    """Slopes where h passes half, in logarithms: by the sign of the input they are as different as from chip to chip."""
    sides = {**PLAIN, "compression": 8.0, "leak": 0.0, "softness": 1e3}  # half on, everywhere
    z = np.array([[-8.0], [0.0], [8.0]])
    found = np.array([fabricated(seed, **sides).respond(z)[1][:, 0] for seed in range(200)])
    below, above = np.log(found[:, 0] / found[:, 1]), np.log(found[:, 2] / found[:, 1])
    assert np.median(below) == pytest.approx(np.log(1 / 4), abs=0.1)
    assert np.median(above) == pytest.approx(np.log(1 / 4), abs=0.1)
    assert abs(np.corrcoef(below, above)[0, 1]) < 0.2
    assert min(below.std(), above.std()) > 0.3


def test_slopes_wave_with_the_period_and_height_that_are_asked_for():
    z = np.linspace(1, 11, 801)
    slopes = fabricated(2, **{**PLAIN, "bumps": 1.6}, period=4.0).respond(z[:, None])[1][:, 0]
    assert slopes.max() == pytest.approx(2.6, abs=0.02)
    assert slopes.min() == pytest.approx(-0.6, abs=0.02)
    np.testing.assert_allclose(slopes[:-320], slopes[320:], atol=0.02)  # 320 steps of 1/80 are a period


def test_populations_turn_on_within_the_onset():
    z = np.linspace(-3, 3, 601)
    found = [fabricated(seed, **{**PLAIN, "onset": 1.0}).respond(z[:, None])[1][:, 0] for seed in range(100)]
    places = np.array([z[np.argmax(slopes > 0.5)] for slopes in found])
    assert np.abs(places).max() < 1.2
    assert places.std() == pytest.approx(1 / np.sqrt(3), abs=0.1)
