"""Perturbation patterns: every file keeps the contract, and Hadamard's patterns are as orthogonal as they say."""

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from batches import Batch
from small import RNG
from structures import STRUCTURES, exact

from mortalsim.chips import SimulatedChip, array, load_design, oracle
from mortalsim.circuits.patterns import PATTERNS, Pattern, Site, base, families, pattern_of
from mortalsim.hardware import DEFAULT_PATTERN, Overlaid, Replay, Task, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.objectives import one_hot

F = np.float32
ROOT = Path(__file__).parents[1] / "mortalsim"
SITES = (Site(0, 0, 1, 7, 9), Site(3, 77, 4, 5, 6))
SQUARE = Site(0, 0, 1, 8, 8)
EVERY = pytest.mark.parametrize("name", PATTERNS.names())


def laid(name, site=SITES[1], key=2**63 + 5, index=3):
    return pattern_of(WeightNudge(key, 0.1, name, index), site)


def whole(pattern):
    """All values of a pattern, (blocks, n_in, n_out)."""
    _, _, blocks, n_in, n_out = pattern.site
    return np.stack([pattern.values(k * n_in, (k + 1) * n_in, 0, n_out) for k in range(blocks)])


# --- the contract ---------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("site", SITES, ids=["dense", "blocks"])
def test_parts_of_a_pattern_are_parts_of_the_whole(name, site):
    pattern = laid(name, site)
    every = whole(pattern)
    assert every.dtype == F and every.shape == site[2:]
    assert 0.5 < np.mean(every**2) < 2
    for k, (start, stop, first, last) in product(range(site.blocks), [(0, 2, 1, 4), (3, 5, 5, 6), (1, 5, 0, 6)]):
        part = pattern.values(k * site.n_in + start, k * site.n_in + stop, first, last)
        np.testing.assert_array_equal(part, every[k, start:stop, first:last])
        part[:] = 0  # is the caller's own
    np.testing.assert_array_equal(whole(pattern), every)


@EVERY
@pytest.mark.parametrize("site", SITES, ids=["dense", "blocks"])
@pytest.mark.parametrize("chunk", [base.CHUNK, 8])
def test_a_pattern_is_added_as_the_general_way_adds_it(name, site, chunk, monkeypatch):
    """Bit for bit, in place or elsewhere, to weights of all rows or to one row that stands for all."""
    monkeypatch.setattr(base, "CHUNK", chunk)
    pattern, rng = laid(name, site), RNG(0)
    weights, gain = rng.normal(size=(3, site.n_out)).astype(F), rng.normal(1, 0.1, site.n_out).astype(F)
    start = (site.blocks - 1) * site.n_in + 1
    values = pattern.values(start, start + 3, 2, site.n_out - 1)
    for own in (weights, weights[:1]):
        wanted = own[:, 2:-1] + F(-0.3) * gain[2:-1] * values
        for add in (pattern.add, lambda *given: Pattern.add(pattern, *given)):
            out = np.empty_like(values)
            add(own, -0.3, gain, start, 2, out)
            np.testing.assert_array_equal(out, wanted)
    out = weights.copy()
    pattern.add(out, -0.3, gain, start, 0, out)
    np.testing.assert_array_equal(out, weights + F(-0.3) * gain * pattern.values(start, start + 3, 0, site.n_out))


@EVERY
def test_factors_are_those_of_the_values(name):
    pattern = laid(name)
    if pattern.factors is not None:
        rows, columns = pattern.factors
        np.testing.assert_array_equal(rows[:, :, None] * columns[:, None, :], whole(pattern))


@EVERY
def test_patterns_differ_between_keys_indices_and_places(name):
    site = Site(1, 0, 1, 40, 50)
    others = {"key": 6, "index": 4}
    one = whole(laid(name, site))
    found = [whole(laid(name, site, **{what: value})) for what, value in others.items()]
    found.append(whole(laid(name, site._replace(place=2, before=site.n_in * site.n_out))))
    for other in found:
        assert abs(np.mean(one * other)) < 4.5 / np.sqrt(40)  # rank 1 has no more than 40 + 50 signs
    np.testing.assert_array_equal(one, whole(laid(name, site)))


def test_the_data_sheet_lists_every_pattern_and_the_families():
    sheet = load_design("mild").datasheet()
    assert sheet.patterns == set(PATTERNS.names()) and DEFAULT_PATTERN in sheet.patterns
    assert sheet.families == families() == {"hadamard"}


def test_no_code_outside_the_pattern_s_own_file_names_a_pattern():
    """But for the one default, whose name stands in the seam."""
    names, found = set(PATTERNS.names()), []
    for path in ROOT.rglob("*.py"):
        if path.parent.name != "patterns":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
            found += [(path.name, value) for value in constants if isinstance(value, str) and value in names]
    assert found == [("nudges.py", DEFAULT_PATTERN)]


# --- on chips -------------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_replay_writes_what_the_nudge_disturbed(kind, name):
    """Read with a nudge, a chip answers as it does once the nudge has been written."""
    design = exact(kind, nudges={"weight_gain_dtod": 0.0})
    last = design.datasheet().hidden[-1] if design.output is None else design.output
    x, nudge = RNG(0).random((4, design.datasheet().n_inputs), dtype=F), WeightNudge(2**63 + 5, 0.05, name, index=7)
    chip = SimulatedChip(design, 3)
    plain, nudged = (chip.read(x, disturbed).late(last, 1) for disturbed in (None, nudge))
    chip.write(Replay(nudge, 1.0))
    for tick, state in chip.read(x).late(last, 1).items():
        np.testing.assert_allclose(state, nudged[tick], rtol=1e-4, atol=1e-5)
        assert np.abs(state - plain[tick]).max() > 1e-3


@EVERY
@pytest.mark.parametrize("lines", [(), (0, 3)], ids=["repeated", "overlaid"])
def test_samples_that_share_images_are_nudged_alike(name, lines):
    design = load_design("ideal").with_sizes((12, 6, 4))
    x, nudge = RNG(0).random((3, 12), dtype=F), WeightNudge(5, 0.1, name, 2)
    labels = RNG(1).random((2, 3, len(lines)), dtype=F)
    shared = Overlaid(x, np.array(lines, np.int64), labels) if lines else Overlaid.repeated(x, 2)
    one, other = SimulatedChip(design, 3), SimulatedChip(design, 3)
    np.testing.assert_allclose(
        one.read(shared, nudge).output, other.read(np.asarray(shared).reshape(6, 12), nudge).output, rtol=1e-5, atol=1e-6
    )


@EVERY
def test_what_was_kept_of_one_pattern_is_not_taken_for_another(name, monkeypatch):
    """The memory of a clamped array, asked for other patterns, keys and indices in between."""
    monkeypatch.setattr(array, "WORTHWHILE", 0)
    design = load_design("ideal").with_sizes((6, 4))
    x = RNG(0).random((3, 6), dtype=F)
    others = (name, *PATTERNS.names(), name)
    asked = [WeightNudge(key, 0.1, own, index) for key in (1, 2) for index in (0, 1) for own in others]
    chip, weights = SimulatedChip(design, 3), oracle.weights(SimulatedChip(design, 3))[0]
    for nudge in asked:
        for sign in (1, -1):
            signed = WeightNudge(nudge.key, sign * 0.1, nudge.pattern, nudge.index)
            trace = chip.read(x, signed)
            nudged = weights + F(sign * 0.1) * whole(pattern_of(nudge, Site(0, 0, 1, 7, 4)))[0]
            np.testing.assert_allclose(trace.output, trace.taps[0].pre @ nudged, rtol=1e-4, atol=1e-5)


# --- Hadamard -------------------------------------------------------------------------------------------------------------


def signs_of_rows(indices, site=SQUARE, key=9):
    return np.array([whole(laid("hadamard", site, key, index)).ravel() for index in indices])


def test_hadamard_is_sylvester_s_matrix_with_columns_flipped():
    site = SITES[1]
    e = site.before + np.arange(120)
    flips = whole(laid("signs", site, key=9, index=0)).ravel()
    for index in (0, 1, 5, 255):
        np.testing.assert_array_equal(signs_of_rows([index], site)[0], scipy.linalg.hadamard(256)[index][e] * flips)
    for index, other in ((2**32 - 1, site), (255, site._replace(before=site.before + 2**32))):  # rows and weights repeat
        np.testing.assert_array_equal(signs_of_rows([index], other)[0], signs_of_rows([255], site)[0])


@pytest.mark.parametrize("before", [0, 37])
def test_hadamard_s_patterns_are_exactly_orthogonal_over_a_power_of_two(before):
    for key in (9, 2**64 - 1):
        rows = signs_of_rows(range(64), SQUARE._replace(before=before), key)
        np.testing.assert_array_equal(rows @ rows.T, 64 * np.eye(64))
    assert abs(rows[0].sum()) < 32  # index 0 is no constant row


def test_the_mean_over_all_of_hadamard_s_indices_is_any_vector_itself():
    """Also over two arrays whose weights make no power of two: 6 x 7 and 3 x 4 are 54, and 64 indices are needed."""
    sites = Site(0, 0, 1, 6, 7), Site(1, 42, 1, 3, 4)
    rows = np.concatenate([signs_of_rows(range(64), site) for site in sites], axis=1)
    g = RNG(0).normal(size=54)
    np.testing.assert_allclose(((rows @ g)[:, None] * rows).mean(axis=0), g, atol=1e-12)


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize("sizes", [(7, 4), (3, 3, 4)], ids=["one array", "two arrays"])
def test_all_hadamard_probes_of_a_chip_recover_its_gradient_without_variance(sizes):
    """(7 + bias) x 4 weights, or 4 x 3 and 4 x 4: 32 probes give the gradient itself, under every key."""
    design = load_design("ideal").revised(sizes=sizes, neurons={"curve": "softplus"})
    x, y = RNG(0).random((6, sizes[0]), dtype=F), np.arange(6) % 4
    batch = Batch(x, one_hot(y, 4), 0.0)
    truth = flat(oracle.loss_and_gradient(SimulatedChip(design, 3), x, batch.targets)[1])
    errors = {}
    for name in ("hadamard", "signs"):
        learner = LEARNERS.get("wp")(pattern=name, probes=32, rate=0.1, amplitude=0.01, temperature=1.0)
        moves = []
        for seed in (1, 2):
            chip = SimulatedChip(design, 3)
            before = flat(oracle.weights(chip))
            learner.step(chip, Task(4), batch, learner.init(chip.datasheet, Task(4), RNG(0)), RNG(seed))
            moves.append((flat(oracle.weights(chip)) - before) * len(before) / -0.1)
        errors[name] = [np.abs(move - truth).max() / np.abs(truth).max() for move in moves]
    assert max(errors["hadamard"]) < 0.01
    assert min(errors["signs"]) > 0.3


def test_wp_walks_through_a_family_s_indices_under_one_key_a_step():
    chip = SimulatedChip(load_design("ideal").with_sizes((7, 4)), 3)
    learner, batch, asked = (
        LEARNERS.get("wp")(pattern="hadamard", probes=3),
        Batch(np.ones((2, 7), F), one_hot([0, 1], 4), 0.0),
        [],
    )
    write = chip.write
    chip.write = lambda request: (asked.append(request), write(request))
    rng = RNG(1)
    for _ in range(2):
        learner.step(chip, Task(4), batch, {}, rng)
    assert [[nudge.index for nudge in request.nudge] for request in asked] == [[0, 1, 2]] * 2
    assert [len({nudge.key for nudge in request.nudge}) for request in asked] == [1, 1]
    assert asked[0].nudge[0].key != asked[1].nudge[0].key


def test_a_few_hadamard_probes_lie_nearer_to_the_gradient_than_independent_ones():
    """cos² is K / N on average where independent signs give K / (K + N - 1): 0.25 and 0.203, within 4 standard errors."""
    g, count = RNG(0).normal(size=64), 16
    for name, wanted in (("hadamard", count / 64), ("signs", count / (count + 63))):
        squares = []
        for key in range(300):
            rows = np.array([whole(laid(name, SQUARE, key, index)).ravel() for index in range(count)], float)
            mean = ((rows @ g)[:, None] * rows).mean(axis=0)
            squares.append((mean @ g) ** 2 / (mean @ mean) / (g @ g))
        assert abs(np.mean(squares) - wanted) < 4 * np.std(squares) / np.sqrt(len(squares)) + 0.004
