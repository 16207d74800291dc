"""The simulated chip: conformance, noise laws, independence of its streams, converters, refusals, snapshots."""

import numpy as np
import pytest
from scipy import stats
from small import RNG, inputs, small

from mortalsim.checks import ChipFault, MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, design_names, layer, load_design, oracle
from mortalsim.hardware import CurrentNudge, Delta, Outer, Port, Program, Replay, Shrink, WeightNudge
from mortalsim.kernels.cells import DOWN, ERROR, HIGH, LOW, NU, UP, G
from mortalsim.testing import check_chip


@pytest.mark.parametrize("name", design_names())
def test_every_design_conforms(name):
    check_chip(lambda: SimulatedChip(small(name), seed=3))


@pytest.mark.parametrize("port", list(Port))
def test_a_design_without_a_port_conforms_and_refuses(port):
    design = small("mild", ports=sorted(set(Port) - {port}))
    check_chip(lambda: SimulatedChip(design, seed=3))


# --- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", [{"read_noise": 1e-6}, {"read_noise_relative": 0.05}, {"read_noise": 5e-7, "read_noise_relative": 0.03}]
)
def test_folded_read_noise_equals_per_device_sampling(noise):
    """KS test of every output and a covariance test; false alarm 0.1 % together for 3 cases (Bonferroni over 2 x 5 + 1)."""
    design = load_design("ideal").revised(sizes=(6, 5), device={"pulses": 100, **noise})
    chip, reads, level = SimulatedChip(design, seed=1), 3000, 0.001 / 3 / 11
    x = np.tile(RNG(4).random((1, 6), dtype=np.float32), (reads, 1))
    folded = chip.read(x).output.astype(float)
    pre = np.append(x[0] / np.sqrt(np.mean(x[0].astype(float) ** 2)), 1.0)
    g = oracle.conductances(chip)[0]
    sigma = np.sqrt(noise.get("read_noise", 0) ** 2 + (noise.get("read_noise_relative", 0) * g) ** 2)
    drawn = g + sigma * RNG(5).standard_normal((reads, *g.shape))
    sampled = np.einsum("i,rij->rj", pre, drawn[:, 0] - drawn[:, 1]) / design.unit
    theory = np.sqrt(np.einsum("i,pij->j", pre**2, sigma**2)) / design.unit
    mean = pre @ oracle.weights(chip)[0]
    for j in range(5):
        assert stats.ks_2samp(folded[:, j], sampled[:, j]).pvalue > level
        assert stats.kstest(folded[:, j], "norm", (mean[j], theory[j])).pvalue > level
    # Outputs are independent: the largest of 10 sample correlations, Fisher z, against its normal law.
    correlation = np.corrcoef(folded.T)[np.triu_indices(5, 1)]
    z = np.abs(np.arctanh(correlation)).max() * np.sqrt(reads - 3)
    assert z < stats.norm.isf(level / 2 / 10)


def test_samples_of_a_batch_and_successive_reads_have_independent_noise():
    """Two correlations of 4000 pairs each; false alarm 0.1 %."""
    design = load_design("ideal").revised(sizes=(6, 4), neurons={"noise": 0.5})
    chip = SimulatedChip(design, seed=2)
    x = np.tile(RNG(4).random((1, 6), dtype=np.float32), (1001, 1))
    first, second = chip.read(x).output, chip.read(x).output
    bound = stats.norm.isf(0.001 / 4)
    for a, b in ((first[:-1], first[1:]), (first, second)):
        r = stats.pearsonr((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel()).statistic
        assert abs(np.arctanh(r)) * np.sqrt(a.size - 3) < bound


def test_read_does_not_depend_on_how_samples_are_called_in_numpy():
    chip, same = (SimulatedChip(small("harsh"), seed=4) for _ in range(2))
    x = inputs(5)
    strided = np.asfortranarray(x.astype(np.float64))
    np.testing.assert_array_equal(chip.read(x).output, same.read(strided).output)


# --- individuals and streams -------------------------------------------------------------------------------------------


def test_one_seed_is_one_chip_and_another_seed_another():
    design = small("mild")
    alike, twin, other = SimulatedChip(design, 7), SimulatedChip(design, 7), SimulatedChip(design, 8)
    for a, b, c in zip(*(chip.layers[0].crossbar.cells.arrays for chip in (alike, twin, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert not np.array_equal(alike.layers[0].neurons.gain, other.layers[0].neurons.gain)


@pytest.mark.parametrize(
    "change",
    [
        {"device": {"stuck": 0.3}},
        {"device": {"bound_dtod": 0.0}},
        {"converters": {"gain_dtod": 0.2}},
        {"neurons": {"noise": 0.0}},
        {"nudges": {"current_gain_dtod": 0.0}},
        {"neurons": {"curve": "wild"}},
    ],
)
def test_switching_one_effect_leaves_the_others_as_they_were(change):
    one, two = SimulatedChip(small("mild"), 7), SimulatedChip(small("mild", **change), 7)
    for a, b in zip(one.layers, two.layers, strict=True):
        np.testing.assert_array_equal(a.neurons.gain, b.neurons.gain)
        np.testing.assert_array_equal(a.neurons.offset, b.neurons.offset)
        moves = b.crossbar.cells.codes(UP) > 0
        for trait in (UP, ERROR, NU):
            np.testing.assert_array_equal(*(part.crossbar.cells.values(trait)[moves] for part in (a, b)))
        if "converters" not in change:
            np.testing.assert_array_equal(a.dac.gain, b.dac.gain)
        np.testing.assert_array_equal(a.weight_gain, b.weight_gain)


def test_mismatch_has_the_spread_that_the_design_states():
    """Chi-square test of six standard deviations, false alarm 0.1 % together."""
    design = load_design("mild").revised(
        sizes=(50, 400), device={"conductance_dtod": 0.02, "stuck": 0.0}, neurons={"gain_dtod": 0.1, "offset_dtod": 0.2}
    )
    layer = SimulatedChip(design.revised(neurons={"output_curve": "relu"}), 11).layers[0]
    steps = np.mean([layer.crossbar.cells.values(trait) for trait in (UP, DOWN)], axis=0) / design.device.step
    found = {
        "conductance": (layer.crossbar.cells.values(ERROR), 0.02),
        "step": (steps - 1, 0.1),
        "gain": (np.log(layer.neurons.gain), 0.1),
        "offset": (layer.neurons.offset, 0.2),
        "dac": (layer.dac.gain - 1, 0.01),
        "port": (layer.current_gain - 1, 0.05),
    }
    for name, (values, spread) in found.items():
        n = values.size
        statistic = float((np.asarray(values, float) ** 2).sum()) / spread**2
        p = 2 * min(stats.chi2.sf(statistic, n), stats.chi2.cdf(statistic, n))
        assert p > 0.001 / len(found), name


def chi_square(values, spread):
    """Two-sided p of the second moment of ``values`` about 0 under a normal law of standard deviation ``spread``."""
    values = np.asarray(values, float)
    statistic = float(np.square(values).sum()) / spread**2
    return 2 * min(stats.chi2.sf(statistic, values.size), stats.chi2.cdf(statistic, values.size))


def test_bounds_asymmetry_and_saturation_have_the_spread_that_the_design_states():
    """Four chi-square tests, false alarm 0.1 % together."""
    device = {"bound_dtod": 0.05, "asymmetry": 0.2, "asymmetry_dtod": 0.03, "step_dtod": 0.0, "stuck": 0.0}
    neurons = {"saturation": 3.0, "saturation_dtod": 0.1}
    layer = SimulatedChip(load_design("mild").revised(sizes=(50, 400), device=device, neurons=neurons), 12).layers[0]
    spec, cells = layer.design.device, layer.crossbar.cells
    up, down, low, high = (cells.values(trait).astype(float) for trait in (UP, DOWN, LOW, HIGH))
    found = {
        "low": (low / spec.g_min - 1, 0.05),
        "high": (high / spec.g_max - 1, 0.05),
        "asymmetry": ((up - down) / (up + down) - 0.2, 0.03),
        "saturation": (np.log(layer.neurons.saturation / 3.0), 0.1),
    }
    for name, (values, spread) in found.items():
        assert chi_square(values, spread) > 0.001 / 4, name
    np.testing.assert_allclose(up + down, 2 * spec.step, rtol=3e-5)  # of each, 16 bits are kept


def test_stuck_devices_sit_anywhere_between_their_bounds():
    """KS test against the uniform law, false alarm 0.1 %."""
    layer = SimulatedChip(small("mild", device={"stuck": 1.0}).with_sizes((50, 40)), 5).layers[0]
    cells = layer.crossbar.cells
    g, low, high = cells.levels(G).astype(float), cells.values(LOW), cells.values(HIGH)
    assert stats.kstest(((g - low) / (high - low)).ravel(), "uniform").pvalue > 0.001


def test_no_static_error_turns_a_conductance_negative():
    layer = SimulatedChip(small("mild", device={"conductance_dtod": 3.0}), 5).layers[0]
    errors = layer.crossbar.cells.values(ERROR)
    assert errors.min() == -1
    assert errors.max() > 3


# --- converters ----------------------------------------------------------------------------------------------------------


def test_converters_clip_and_round_what_taps_show():
    """Three bits over +-1.5 make levels 0.5 apart, four bits over +-0.7 levels 0.1 apart."""
    converters = {"dac_bits": 3, "input_range": 1.5, "adc_bits": 4, "output_range": 0.7}
    design = load_design("ideal").revised(sizes=(4, 40, 3), normaliser={"present": False}, converters=converters)
    design = design.revised(initial_spread=2.0)
    chip = SimulatedChip(design, 3)
    x = np.array([[0.24, 0.26, 0.74, 0.76], [1.4, 1.6, 9.0, -9.0]], np.float32)
    first, last = chip.read(x).taps
    np.testing.assert_array_equal(first.pre, [[0, 0.5, 0.5, 1, 1], [1.5, 1.5, 1.5, -1.5, 1]])
    for tap, weights, curve in zip(
        (first, last), oracle.weights(chip), (lambda z: np.maximum(z, 0), lambda z: z), strict=True
    ):
        exact = np.clip(curve(tap.pre @ weights), -0.7, 0.7)
        assert np.abs(exact).max() == 0.7  # some outputs do clip
        np.testing.assert_allclose(tap.post, np.rint(exact / 0.1) * 0.1, atol=1e-6)


# --- faults and refusals -----------------------------------------------------------------------------------------------


def test_a_refused_request_is_not_counted_and_writes_nothing():
    chip, nudge = SimulatedChip(small("mild"), 3), WeightNudge(1, 0.1)
    before = chip.snapshot()
    wrong = [
        (Shrink(0, 2.0), RangeError, "factor"),
        (Delta(0, np.zeros((2, 2))), ShapeError, "matrix"),
        (Program(0, np.full((13, 8), np.inf)), RangeError, "target"),
        (Replay((nudge, nudge), (0.1, np.nan)), RangeError, "scale"),
        (Replay((nudge, nudge), 0.1), ShapeError, "one scale per nudge"),
        (Replay("up", 0.1), ShapeError, "expected a WeightNudge and a number, or tuples of them, found str and float"),
        (Replay(nudge, "much"), ShapeError, "found WeightNudge and str"),
        (Replay([nudge], [0.1]), ShapeError, "found list and list"),
    ]
    for request, error, message in wrong:
        with pytest.raises(error, match=message):
            chip.write(request)
    assert chip.ledger == SimulatedChip(small("mild"), 3).ledger
    for name, array in chip.snapshot().items():
        np.testing.assert_array_equal(array, before[name])
    chip.write(Replay((nudge, nudge), (np.float32(0.1), 1)))
    assert chip.ledger.requests == 1


def test_a_pattern_that_does_not_exist_is_refused():
    with pytest.raises(UnknownName, match=r"pattern: expected one of rank1, signs; found 'sign'\. Did you mean 'signs'"):
        WeightNudge(1, 0.1, pattern="sign")
    with pytest.raises(UnknownName, match="pattern"):
        WeightNudge(1, 0.1, pattern=2)


def test_nonsense_is_refused_in_a_sentence():
    chip = SimulatedChip(small("mild"), 3)
    with pytest.raises(ShapeError, match=r"x: expected shape \(B, n_inputs\) = \(any, 12\), found \(2, 11\)"):
        chip.read(np.zeros((2, 11)))
    with pytest.raises(RangeError, match="x: expected finite numbers, found nan at index"):
        chip.read(np.full((2, 12), np.nan))
    with pytest.raises(RangeError, match="array: expected 0 to 2"):
        chip.write(Shrink(3, 0.5))
    with pytest.raises(RangeError, match="factor"):
        chip.write(Shrink(0, 1.5))
    with pytest.raises(ShapeError, match="currents: expected 3 entries"):
        chip.read(inputs(2), CurrentNudge((None,)))
    with pytest.raises(ShapeError, match="nudge: expected CurrentNudge"):
        chip.read(inputs(2), "hard")
    with pytest.raises(ShapeError, match="request: expected one of Outer"):
        chip.write("now")
    with pytest.raises(MissingPort, match="needs the port program, which the design 'mild' lacks"):
        SimulatedChip(small("mild", ports=["taps"]), 0).write(Program(0, np.zeros((13, 8))))
    with pytest.raises(RangeError, match="seed: expected a whole number"):
        SimulatedChip(small("mild"), -1)


def test_a_chip_that_gives_infinity_stops_with_a_message():
    chip = SimulatedChip(load_design("ideal").revised(sizes=(2, 2), normaliser={"present": False}), 0)
    with pytest.raises(ChipFault, match="NaN or infinity"), np.errstate(over="ignore", invalid="ignore"):
        chip.read(np.full((1, 2), 3e38))


# --- snapshots ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mild", "harsh"])
def test_a_restored_chip_goes_on_as_the_first(name):
    chip = SimulatedChip(small(name), 3)
    chip.write(Delta(0, RNG(1).normal(0, 0.1, (13, 8))))
    chip.read(inputs(3))
    chip.wait(50)
    chip.read(inputs(3))
    copy = SimulatedChip(small(name), 3)
    copy.restore(chip.snapshot())
    assert copy.ledger == chip.ledger
    for one in (chip, copy):
        one.write(Delta(1, np.full((9, 6), 0.02, np.float32)))
    np.testing.assert_array_equal(copy.read(inputs(3)).output, chip.read(inputs(3)).output)


def test_a_snapshot_of_another_chip_is_refused():
    with pytest.raises(ShapeError, match=r"state: expected state\.0"):
        SimulatedChip(small("mild"), 3).restore(SimulatedChip(load_design("mild").with_sizes((3, 2)), 3).snapshot())


@pytest.mark.parametrize("design", ["mild", "harsh"])
def test_what_a_chip_keeps_of_its_last_read_changes_no_later_one(design, monkeypatch):
    rng = np.random.default_rng(0)
    x, other = rng.random((2, 40, 20), dtype=np.float32)
    probes = [None, WeightNudge(3, 0.01, "rank1"), WeightNudge(4, 0.01), CurrentNudge((np.ones((40, 30), np.float32), None))]

    def outputs(worthwhile):
        monkeypatch.setattr(layer, "WORTHWHILE", worthwhile)
        chip = SimulatedChip(load_design(design).with_sizes((20, 30, 5)), 3)
        found = []
        for batch in (x, x, other, x):
            for probe in probes:
                trace = chip.read(batch, probe)
                found.append(trace.output)
                trace.taps[0].pre[:] = 7  # what a learner does to its own copy is its own affair
            chip.write(Outer(0, np.ones((1, 21), np.float32), np.ones((1, 30), np.float32), 0.01))
            chip.wait(1.0)
        return found

    products = []
    monkeypatch.setattr(layer.Layer, "_multiply", watched(layer.Layer._multiply, products))
    kept = outputs(1000)
    asked = len(products)
    redone = outputs(10**9)
    assert asked < len(products) - asked  # some were kept
    for one, two in zip(kept, redone, strict=True):
        np.testing.assert_array_equal(one, two)


def watched(method, calls):
    """Return ``method``, which notes in ``calls`` that it was called."""

    def call(*args):
        calls.append(args)
        return method(*args)

    return call
