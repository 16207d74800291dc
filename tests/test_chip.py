"""The simulated chip: conformance, noise laws, independence of its streams, writes, drift, ledger, snapshots."""

import numpy as np
import pytest
from scipy import stats

from mortalsim.checks import ChipFault, MissingPort, RangeError, ShapeError
from mortalsim.chips import SimulatedChip, design_names, load_design, oracle
from mortalsim.hardware import CurrentNudge, Delta, Outer, Port, Program, Replay, Shrink, WeightNudge
from mortalsim.testing import check_chip

SIZES = (12, 8, 6, 4)
RNG = np.random.default_rng


def small(name, **fields):
    return load_design(name).revised(sizes=SIZES, **fields)


def inputs(samples, seed=0):
    return RNG(seed).random((samples, SIZES[0]), dtype=np.float32)


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
    np.testing.assert_array_equal(alike.layers[0].crossbar.cells, twin.layers[0].crossbar.cells)
    assert not np.array_equal(alike.layers[0].crossbar.cells, other.layers[0].crossbar.cells)
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
        moves = b.crossbar.cells[:, 1] > 0
        np.testing.assert_array_equal(a.crossbar.cells[:, 1][moves], b.crossbar.cells[:, 1][moves])
        np.testing.assert_array_equal(a.crossbar.cells[:, 5:7], b.crossbar.cells[:, 5:7])
        if "converters" not in change:
            np.testing.assert_array_equal(a.dac.gain, b.dac.gain)
        np.testing.assert_array_equal(a.weight_gain, b.weight_gain)


def test_mismatch_has_the_spread_that_the_design_states():
    """Chi-square test of six standard deviations, false alarm 0.1 % together."""
    design = load_design("mild").revised(
        sizes=(50, 400), device={"conductance_dtod": 0.02, "stuck": 0.0}, neurons={"gain_dtod": 0.1, "offset_dtod": 0.2}
    )
    layer = SimulatedChip(design.revised(neurons={"output_curve": "relu"}), 11).layers[0]
    steps = layer.crossbar.cells[:, 1:3].astype(float).mean(axis=1) / design.device.step
    found = {
        "conductance": (layer.crossbar.cells[:, 5], 0.02),
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


# --- nudges and writes -------------------------------------------------------------------------------------------------


def test_current_nudges_pass_through_the_ports_own_gain():
    design = load_design("ideal").revised(sizes=(6, 4), nudges={"current_gain_dtod": 0.3})
    chip = SimulatedChip(design, 3)
    x = RNG(1).random((2, 6), dtype=np.float32)
    nudge = np.full((2, 4), 0.5, np.float32)
    moved = chip.read(x, CurrentNudge((nudge,))).output - chip.read(x).output
    np.testing.assert_allclose(moved, 0.5 * np.tile(chip.layers[0].current_gain, (2, 1)), rtol=1e-5)
    assert np.ptp(moved[0]) > 0.05


@pytest.mark.parametrize("pattern", ["signs", "rank1"])
def test_a_replayed_weight_nudge_does_what_the_nudge_did(pattern):
    """On ideal hardware a nudge of amplitude a and its replay at scale 1 give the same read."""
    chip = SimulatedChip(small("ideal"), 3)
    nudge = WeightNudge(2**63 + 5, 0.05, pattern)
    nudged = chip.read(inputs(4), nudge).output
    chip.write(Replay(nudge, 1.0))
    np.testing.assert_allclose(chip.read(inputs(4)).output, nudged, rtol=1e-4, atol=1e-5)


def test_outer_and_delta_of_the_same_matrix_agree_on_ideal_hardware():
    one, two = (SimulatedChip(small("ideal"), 3) for _ in range(2))
    tap = one.read(inputs(4)).taps[1]
    one.write(Outer(1, tap.pre, tap.post, 0.01))
    two.write(Delta(1, np.float32(0.01) * tap.pre.T @ tap.post))
    np.testing.assert_allclose(oracle.weights(one)[1], oracle.weights(two)[1], atol=1e-7)


def test_small_requests_are_taken_on_average():
    """Stochastic rounding: 400 requests of a tenth of a pulse; mean change within 4 standard errors (false alarm 6e-5)."""
    design = load_design("ideal").revised(sizes=(20, 20), device={"pulses": 2000})
    chip = SimulatedChip(design, 3)
    before = oracle.weights(chip)[0]
    ask = 0.1 / design.pulses_per_weight
    for _ in range(400):
        chip.write(Delta(0, np.full((21, 20), ask, np.float32)))
    change = (oracle.weights(chip)[0] - before) * design.pulses_per_weight
    # Each device of the pair rounds by itself: variance p (1 - p) a request, half a weight step each.
    error = np.sqrt(400 * 0.1 * 0.9 / 2 / change.size)
    assert change.mean() == pytest.approx(40, abs=4 * error)
    assert change.std() == pytest.approx(np.sqrt(18), rel=0.2)


def test_shrink_takes_weights_towards_zero_and_program_to_their_targets():
    chip = SimulatedChip(small("mild", device={"stuck": 0.0}), 3)
    chip.write(Shrink(0, 0.5))
    target = RNG(2).normal(0, 0.2, (13, 8)).astype(np.float32)
    chip.write(Program(0, target))
    # Verified with noisy reads: a device stops once a read, noise included, is within a step of the target.
    noise = np.sqrt(chip.design.line_variance)
    assert np.abs(oracle.weights(chip)[0] - target).max() < 2 * chip.datasheet.weight_step + 4 * noise
    assert chip.ledger.requests == 2
    assert chip.ledger.pulses > 0


def test_stuck_devices_never_move():
    chip = SimulatedChip(small("mild", device={"stuck": 0.5}), 3)
    cells = chip.layers[0].crossbar.cells
    stuck = (cells[:, 1] == 0) & (cells[:, 2] == 0)
    before = cells[:, 0][stuck].copy()
    chip.write(Delta(0, np.full((13, 8), 0.3, np.float32)))
    np.testing.assert_array_equal(cells[:, 0][stuck], before)
    assert 0.3 < stuck.mean() < 0.7


def test_drift_follows_the_law_on_one_clock():
    chip = SimulatedChip(small("ideal", device={"pulses": 100, "drift": 0.05}), 3)
    before, start = oracle.weights(chip)[0], chip.clock
    chip.wait(1e4)
    np.testing.assert_allclose(oracle.weights(chip)[0], before * (1 + (1e4 + start) / 20.0) ** -0.05, rtol=1e-5, atol=1e-6)


def test_time_passes_with_every_read_and_write():
    chip = SimulatedChip(small("mild"), 3)
    sheet = chip.datasheet
    chip.read(inputs(10))
    assert chip.clock == pytest.approx(10 * sheet.seconds_per_read)
    chip.write(Outer(0, np.ones((1, 13), np.float32), np.ones((1, 8), np.float32), 4.5 / chip.design.pulses_per_weight))
    assert chip.clock == pytest.approx(10 * sheet.seconds_per_read + 5 * sheet.seconds_per_pulse)
    assert chip.ledger.seconds == pytest.approx(chip.clock)
    assert chip.ledger.joules == pytest.approx(10 * sheet.joules_per_read + chip.ledger.pulses * sheet.joules_per_pulse)


# --- faults and refusals -----------------------------------------------------------------------------------------------


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
    with pytest.raises(ShapeError, match=r"state: expected cells\.0"):
        SimulatedChip(small("mild"), 3).restore(SimulatedChip(load_design("mild").with_sizes((3, 2)), 3).snapshot())
