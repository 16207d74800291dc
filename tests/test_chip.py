"""The simulated chip: conformance, noise laws, converters, refusals, what it keeps of a read."""

import numpy as np
import pytest
from running import slow_in_plain_python
from scipy import stats
from small import RNG, inputs, small
from structures import STRUCTURES, structured

from mortalsim.checks import ChipFault, MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, array, design_names, load_design, oracle
from mortalsim.hardware import CurrentNudge, Delta, Outer, Overlaid, Port, Program, Replay, Shrink, WeightNudge
from mortalsim.testing import check_chip


@pytest.mark.parametrize("name", design_names())
def test_every_design_conforms(name):
    check_chip(lambda: SimulatedChip(small(name), seed=3), erase=True)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_conforms(name):
    check_chip(lambda: SimulatedChip(structured(name), seed=3), erase=True)


@pytest.mark.parametrize("port", list(Port))
def test_a_design_without_a_port_conforms_and_refuses(port):
    design = small("mild", ports=sorted(set(Port) - {port}))
    check_chip(lambda: SimulatedChip(design, seed=3), erase=True)


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
    sampled = np.einsum("i,rij->rj", pre, drawn[:, 0] - drawn[:, 1]) / design.technology.unit
    theory = np.sqrt(np.einsum("i,pij->j", pre**2, sigma**2)) / design.technology.unit
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
    curves = (lambda z: np.maximum(z, 0), lambda z: z)
    for tap, weights, curve in zip((first, last), oracle.weights(chip), curves, strict=True):
        exact = np.clip(curve(tap.pre @ weights), -0.7, 0.7)
        assert np.abs(exact).max() == 0.7  # some outputs do clip
        np.testing.assert_allclose(tap.post, np.rint(exact / 0.1) * 0.1, atol=1e-6)


# --- faults and refusals -----------------------------------------------------------------------------------------------


def test_a_refused_request_is_not_counted_and_writes_nothing():
    chip, nudge = SimulatedChip(small("mild"), 3), WeightNudge(1, 0.1)
    before = chip.snapshot()
    some, wrong_size = {"h1": np.ones(8, np.float32)}, {"h1": np.ones(7, np.float32)}
    wrong = [
        (Shrink(0, 2.0), RangeError, "factor"),
        (Delta(0, np.zeros((2, 2))), ShapeError, "matrix"),
        (Program(0, np.full((13, 8), np.inf)), RangeError, "weights"),
        (Outer(0, np.ones((2, 13)), np.ones((3, 8)), 0.1), ShapeError, "post"),
        (Replay((nudge, nudge), (0.1, np.nan)), RangeError, "scale"),
        (Replay((nudge, nudge), 0.1), ShapeError, "one scale per nudge"),
        (Replay((), ()), ShapeError, "one scale per nudge"),
        (
            Replay("up", 0.1),
            ShapeError,
            "expected a WeightNudge and a number or numbers by population, or tuples of them, found str and float",
        ),
        (Replay(nudge, "much"), ShapeError, "found WeightNudge and str"),
        (Replay([nudge], [0.1]), ShapeError, "found list and list"),
        (Replay((nudge, nudge), (some, wrong_size)), ShapeError, r"scale\[h1\]"),
        (Replay((nudge, nudge), (some, {"h1": np.full(8, np.nan)})), RangeError, r"scale\[h1\]"),
        (Replay((nudge, nudge), (some, {"h4": np.ones(8)})), UnknownName, "scale: population: expected one of h1, h2, out"),
        (Replay((nudge, WeightNudge(1, 0.1, arrays=(3,))), (0.1, 0.1)), RangeError, "array: expected 0 to 2"),
        (Replay((nudge, WeightNudge(1, 0.1, "sign")), (0.1, 0.1)), UnknownName, "pattern"),
    ]
    for request, error, message in wrong:
        with pytest.raises(error, match=message):
            chip.write(request)
    assert chip.meter == SimulatedChip(small("mild"), 3).meter
    for name, values in chip.snapshot().items():
        np.testing.assert_array_equal(values, before[name])
    chip.write(Replay((nudge, nudge), (np.float32(0.1), 1)))
    assert chip.meter.requests == 1


@pytest.mark.parametrize("name", ["fields", "tiled"])
def test_requests_of_the_shapes_of_a_dense_array_are_refused_by_blocks(name):
    chip = SimulatedChip(structured(name), 3)
    before, (blocks, n_in, n_out) = chip.snapshot(), chip.datasheet.arrays[0].shape
    size = chip.datasheet.populations["h1"].size
    wrong = [
        (Delta(0, np.zeros((blocks * n_in, n_out))), "matrix: .*blocks, n_in, n_out"),
        (Program(0, np.zeros((n_in, n_out))), "weights: .*blocks, n_in, n_out"),
        (Outer(0, np.zeros((2, n_in)), np.zeros((2, size)), 1.0), "pre: .*blocks, B, n_in"),
        (Outer(0, np.zeros((blocks, 2, n_in)), np.zeros((2, n_out + size)), 1.0), "post: .*B, size"),
    ]
    for request, message in wrong:
        with pytest.raises(ShapeError, match=message):
            chip.write(request)
    for name, values in chip.snapshot().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_pattern_that_does_not_exist_is_refused():
    chip = SimulatedChip(small("mild"), 3)
    with pytest.raises(
        UnknownName, match=r"pattern: expected one of hadamard, rank1, signs; found 'sign'\. Did you mean 'signs'"
    ):
        chip.read(inputs(2), WeightNudge(1, 0.1, pattern="sign"))
    with pytest.raises(RangeError, match="pattern: expected a name"):
        WeightNudge(1, 0.1, pattern=2)


def test_nonsense_is_refused_in_a_sentence():
    chip = SimulatedChip(small("mild"), 3)
    with pytest.raises(ShapeError, match=r"x: expected shape \(B, n_inputs\) = \(any, 12\), found \(2, 11\)"):
        chip.read(np.zeros((2, 11)))
    with pytest.raises(RangeError, match="x: expected finite numbers, found nan at index"):
        chip.read(np.full((2, 12), np.nan))
    with pytest.raises(RangeError, match="array: expected 0 to 2"):
        chip.write(Shrink(3, 0.5))
    with pytest.raises(RangeError, match="array: expected 0 to 2"):
        chip.read(inputs(2), WeightNudge(1, 0.1, arrays=(0, 3)))
    with pytest.raises(RangeError, match="factor"):
        chip.write(Shrink(0, 1.5))
    with pytest.raises(UnknownName, match="currents: population: expected one of h1, h2, out; found 'in'"):
        chip.read(inputs(2), CurrentNudge({"in": np.zeros((2, 12))}))
    with pytest.raises(ShapeError, match=r"currents\[h1\]: expected shape \(B, size\) = \(2, 8\), found \(3, 8\)"):
        chip.read(inputs(2), CurrentNudge({"h1": np.zeros((3, 8))}))
    with pytest.raises(ShapeError, match="nudge: expected CurrentNudge"):
        chip.read(inputs(2), "hard")
    with pytest.raises(UnknownName, match="want: expected one of output, states, taps; found 'all'"):
        chip.read(inputs(2), want="all")
    with pytest.raises(ShapeError, match="request: expected one of Outer"):
        chip.write("now")
    with pytest.raises(MissingPort, match="needs the port program, which the design 'mild' lacks"):
        SimulatedChip(small("mild", ports=["taps"]), 0).write(Program(0, np.zeros((13, 8))))
    with pytest.raises(RangeError, match="seed: expected a whole number"):
        SimulatedChip(small("mild"), -1)


@pytest.mark.parametrize(
    "design", [load_design("ideal").with_sizes((8, 8)), structured("headless", neurons={"saturation": 0})]
)
def test_a_chip_that_gives_infinity_stops_with_a_message(design, monkeypatch):
    monkeypatch.setattr("mortalsim.chips.simulated.LARGEST_INPUT", np.inf)  # which is there so that this does not happen
    unlimited = {"dac_bits": 0, "adc_bits": 0, "input_range": 0, "output_range": 0}
    chip = SimulatedChip(design.revised(normaliser={"present": False}, converters=unlimited), 0)
    with pytest.raises(ChipFault, match="NaN or infinity"), np.errstate(over="ignore", invalid="ignore"):
        chip.read(np.full((1, chip.datasheet.n_inputs), 3e38))


# --- memory of the last read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["mild", "harsh"])
def test_what_a_chip_keeps_of_its_last_read_changes_no_later_one(design, monkeypatch):
    rng = np.random.default_rng(0)
    x, other = rng.random((2, 40, 20), dtype=np.float32)
    probes = [None, WeightNudge(3, 0.01, "rank1"), WeightNudge(4, 0.01), CurrentNudge({"h1": np.ones((40, 30), np.float32)})]

    def outputs(worthwhile):
        monkeypatch.setattr(array, "WORTHWHILE", worthwhile)
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

    made = []
    monkeypatch.setattr(array, "Plain", watched(array.Plain, made))
    kept = outputs(1000)
    asked = len(made)
    redone = outputs(10**9)
    assert asked < len(made) - asked  # some were kept
    for one, two in zip(kept, redone, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[slow_in_plain_python] * (name in ("recurrent", "tiled"))) for name in STRUCTURES]
)
def test_what_is_kept_changes_no_read_of_any_structure(name, monkeypatch):
    """In recurrent chips several ticks use what is kept, and products of samples that share images are kept as well."""
    unlimited = {"dac_bits": 0, "adc_bits": 0, "input_range": 0, "output_range": 0}
    design = structured(name, converters=unlimited)

    def states(worthwhile):
        monkeypatch.setattr(array, "WORTHWHILE", worthwhile)
        chip, found = SimulatedChip(design, 3), []
        x = RNG(0).random((20, chip.datasheet.n_inputs), dtype=np.float32)
        for samples in (x, x, Overlaid.repeated(x[:10], 2), Overlaid.repeated(x[:10], 2), x):
            for nudge in (None, WeightNudge(3, 0.1), WeightNudge(3, -0.1), WeightNudge(3, 0.1, "rank1"), None):
                by_tick = chip.read(samples, nudge).states.values()
                found.append(np.concatenate([state.ravel() for states in by_tick for state in states.values()]))
        return found

    for kept, redone in zip(states(100), states(10**9), strict=True):
        np.testing.assert_allclose(kept, redone, atol=5e-5)


def watched(function, calls):
    """Return ``function``, which notes in ``calls`` that it was called."""

    def call(*args):
        calls.append(args)
        return function(*args)

    return call
