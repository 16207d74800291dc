"""Samples that share images: the seam's way to say so, and what the simulated chip makes of it."""

import numpy as np
import pytest
from small import RNG, small
from structures import STRUCTURES, structured

from mortalsim.checks import ShapeError
from mortalsim.chips import SimulatedChip
from mortalsim.chips.images import Images
from mortalsim.hardware import Overlaid, WeightNudge


def overlaid(values=3, samples=5, seed=0, lines=(2, 7, 11)):
    rng = RNG(seed)
    labels = np.eye(len(lines), dtype=np.float32)[rng.integers(len(lines), size=(values, samples))]
    return Overlaid(rng.random((samples, 12), dtype=np.float32), np.array(lines), labels)


def test_overlaid_samples_stand_for_a_plain_array():
    x = overlaid()
    plain = np.asarray(x)
    assert plain.shape == (15, 12) and len(x) == 15
    for v, b in np.ndindex(3, 5):
        want = x.images[b].copy()
        want[x.lines] = x.values[v, b]
        np.testing.assert_array_equal(plain[5 * v + b], want)
    np.testing.assert_array_equal(Overlaid.repeated(x.images, 2), np.concatenate([x.images, x.images]))


@pytest.mark.parametrize("nudge", [None, WeightNudge(3, 0.1), WeightNudge(3, 0.1, "rank1")], ids=["none", "signs", "rank1"])
@pytest.mark.parametrize("name", ["ideal", "mild", "wild"])
def test_reading_overlaid_samples_gives_what_the_plain_array_gives(name, nudge):
    """But for last bits of the products, which a converter may turn into one of its steps."""
    x, step = overlaid(), 1.01 * 24 / 254
    one, two = (SimulatedChip(small(name), 3) for _ in range(2))
    got, want = one.read(x, nudge), two.read(np.asarray(x), nudge)
    for a, b in zip(got.taps, want.taps, strict=True):
        assert np.mean(np.abs(a.post - b.post) > 1e-3) < 0.02
        np.testing.assert_allclose(a.post, b.post, atol=step if name != "ideal" else 1e-5)
    assert one.meter == two.meter


def samples_for(sheet, beside, values=3, samples=5):
    """Return overlaid samples with values on three lines of the last input; ``beside``: and on one of the first."""
    rng, n = RNG(1), sheet.n_inputs
    lines = [n - 1, n - 4, n - 2, *([2] if beside else [])]
    overlay = np.eye(len(lines), dtype=np.float32)[rng.integers(len(lines), size=(values, samples))]
    return Overlaid(rng.random((samples, n), dtype=np.float32), lines, overlay)


@pytest.mark.parametrize("nudge", [None, WeightNudge(3, 0.1), WeightNudge(3, 0.1, "rank1")], ids=["none", "signs", "rank1"])
@pytest.mark.parametrize("beside", [False, True], ids=["label", "both"])
@pytest.mark.parametrize("partial", ["analog", "digital"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_reads_overlaid_samples_as_the_plain_array(name, partial, beside, nudge):
    """Also where the values lie on one of two inputs, so that arrays on the other are driven with the images alone."""
    design = structured(name)
    arrays = [entry | {"partial_sums": partial} for entry in design.fields()["array"]]
    unlimited = {"dac_bits": 0, "adc_bits": 0, "input_range": 0, "output_range": 0}  # no step to fall on either side of
    design = design.revised(array=arrays, device={"read_noise_relative": 0.02}, converters=unlimited)
    x = samples_for(design.datasheet(), beside)
    one, two = (SimulatedChip(design, 3) for _ in range(2))
    for samples in (x, Overlaid.repeated(x.images, 3)):
        got, want = one.read(samples, nudge), two.read(np.asarray(samples), nudge)
        for a, b in zip(got.taps, want.taps, strict=True):
            np.testing.assert_allclose(a.pre, b.pre, atol=2e-5)
            np.testing.assert_allclose(a.post, b.post, atol=2e-5)
    assert one.meter == two.meter
    assert one.clock == two.clock


def test_labels_of_one_length_share_their_images_and_others_do_not():
    x = overlaid(values=4)
    x.values[2] = 1 / 3
    pre, _ = SimulatedChip(small("mild"), 3).arrays[0]._drive(np.asarray(x), x.lines)
    assert Images(pre, x.lines, 4).first_equal == [0, 0, 2, 0]


@pytest.mark.parametrize(
    ("lines", "values", "name"), [((1, 1), (2, 5, 2), "lines"), ((1, 12), (2, 5, 2), "lines"), ((1,), (2, 4, 1), "values")]
)
def test_overlaid_samples_that_do_not_fit_are_refused(lines, values, name):
    with pytest.raises(ShapeError, match=name):
        Overlaid(np.zeros((5, 12), np.float32), np.array(lines), np.zeros(values, np.float32))


@pytest.mark.parametrize(
    ("lines", "values", "name"),
    [
        ([0.5], np.zeros((1, 5, 1)), "lines"),
        ([[1]], np.zeros((1, 5, 1)), "lines"),
        ([1], [[1.0]], "values"),
        ([1], np.zeros((0, 5, 1)), "values"),
    ],
)
def test_overlaid_samples_of_other_kinds_are_refused(lines, values, name):
    with pytest.raises(ShapeError, match=name):
        Overlaid(np.zeros((5, 12), np.float32), lines, values)
    with pytest.raises(ShapeError, match="images"):
        Overlaid(np.zeros(12, np.float32), [1], np.zeros((1, 5, 1)))


def test_empty_lines_of_any_kind_may_be_given():
    x = Overlaid(np.ones((2, 12), np.float32), [], np.zeros((3, 2, 0)))
    assert SimulatedChip(small("mild"), 3).read(x).output.shape == (6, 4)
