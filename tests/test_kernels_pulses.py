"""Write pulses: equality with the twin, rounding, bounds, closed forms, drift."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mortalsim import kernels
from mortalsim.kernels.cells import DOWN, ERROR, FIELDS, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN, G

F = np.float32
NONE = np.empty((0, 0), F)
MID, STEP, UNIT = 5e-6, 1e-8, 1e-5  # range 1 to 9 uS, steps of 10 nS, 10 uS a unit of weight
FLAT = np.ones(2, F)
SOFT_UP, SOFT_DOWN = np.array([2, 0], F), np.array([0, 2], F)  # h = 1 at mid range


def fresh(n_in, n_out, seed=None, stuck=0.0, drift=0.0):
    """Devices at mid range, or with ``seed`` devices that all differ."""
    cells = np.zeros((2, FIELDS if drift else NU, n_in, n_out), F)
    for field, value in ((G, MID), (UP, STEP), (DOWN, STEP), (LOW, 1e-6), (HIGH, 9e-6)):
        cells[:, field] = value
    if seed is not None:
        rng = np.random.default_rng(seed)
        cells[:, [UP, DOWN]] *= rng.normal(1, 0.3, (2, 2, n_in, n_out)).astype(F)
        cells[:, [LOW, HIGH]] *= rng.normal(1, 0.1, (2, 2, n_in, n_out)).astype(F)
        cells[:, G] *= rng.uniform(0.5, 1.5, (2, n_in, n_out)).astype(F)
        cells[:, ERROR] = rng.normal(0, 0.1, (2, n_in, n_out))
        cells[:, [UP, DOWN]] *= (rng.random((2, 1, n_in, n_out)) >= stuck).astype(F)
        if drift:
            cells[:, NU] = drift * rng.random((2, n_in, n_out)).astype(F) * (rng.random((2, n_in, n_out)) < 0.8)
    return cells


def request(change, **options):
    """Arguments of a write but for what it writes to."""
    return {
        "change": np.asarray(change, F), "per_weight": UNIT / STEP, "cap": 0, "up_table": FLAT, "down_table": FLAT,
        "ctoc": 0.0, "now": 0.0, "t0": 1.0, "unit": UNIT, "read_rel": 0.1, "key": np.array([3, 4], np.uint32),
        "write": 0, "array": 0, "first": 0,
    } | options  # fmt: skip


def write(cells, change, module=kernels, with_variance=True, **options):
    """Write in place; return total, weights, variance, row_pulses."""
    shape = cells.shape[2:]
    weights, variance = np.full(shape, 7, F), np.full(shape, 7, F) if with_variance else NONE.copy()
    rows = np.full(shape[0], -1, np.int64)
    total = module.apply_pulses(
        cells=cells, **request(change, **options), weights=weights, variance=variance, row_pulses=rows
    )
    return total, weights, variance, rows


def pulses(*size):
    """Return the change of weight that asks for so many pulses on each device."""
    return np.asarray(size, F) * F(STEP / UNIT)


@given(
    shape=st.tuples(st.sampled_from([1, 2, 5, 19]), st.sampled_from([1, 5, 40])),
    seed=st.integers(0, 99), cap=st.integers(0, 3), ctoc=st.sampled_from([0.0, 0.3]),
    size=st.sampled_from([0.0, 0.02, 0.4, 3.0]),
    tables=st.sampled_from(["flat", "soft", "bent"]), stuck=st.sampled_from([0.0, 0.3]), drift=st.sampled_from([0.0, 0.1]),
    with_variance=st.booleans(), number=st.integers(0, 2**40),
)  # fmt: skip
def test_apply_pulses_equals_its_twin(shape, seed, cap, ctoc, size, tables, stuck, drift, with_variance, number):
    rng = np.random.default_rng(seed)
    up, down = {"flat": (FLAT, FLAT), "soft": (SOFT_UP, SOFT_DOWN), "bent": rng.random((2, 5)).astype(F)}[tables]
    change = rng.normal(size=shape).astype(F) * F(size * STEP / UNIT)
    options = {"cap": cap, "ctoc": ctoc, "up_table": up, "down_table": down}
    options |= {"now": 50.0, "t0": 2.0, "write": number, "array": 3}
    options |= {"first": 16 * (shape[0] // 17)}  # all rows, or some of them
    change = change[options["first"] : shape[0] - shape[0] // 3 % 5]
    mine = fresh(*shape, seed, stuck, drift)
    twin = mine.copy()
    got = write(mine, change, kernels, with_variance, **options)
    want = write(twin, change, naive, with_variance, **options)
    assert got[0] == want[0]
    np.testing.assert_array_equal(got[3], want[3])
    for a, b in ((mine, twin), (got[1], want[1]), (got[2], want[2])):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [0.02, 0.1, 0.3, 2.0])  # few, some or all of a stretch move: each is done in another way
@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_apply_pulses_equals_its_twin_over_several_stretches_and_rows_that_straddle_them(size, drift):
    change = np.random.default_rng(5).normal(size=(3, 231)).astype(F) * F(size * STEP / UNIT)
    options = {"ctoc": 0.3, "now": 50.0, "t0": 2.0, "up_table": SOFT_UP, "down_table": SOFT_DOWN}
    mine, twin = fresh(3, 231, 5, 0.1, drift), fresh(3, 231, 5, 0.1, drift)
    got, want = write(mine, change, **options), write(twin, change, naive, **options)
    np.testing.assert_array_equal(mine, twin)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_negative_scale_turns_a_change_round():
    change = np.random.default_rng(5).normal(size=(3, 5)).astype(F) * F(STEP / UNIT)
    one, other = fresh(3, 5, 1), fresh(3, 5, 1)
    write(one, -change, ctoc=0.3)
    write(other, change, ctoc=0.3, per_weight=-UNIT / STEP)
    np.testing.assert_array_equal(one, other)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6)), seed=st.integers(0, 99), drift=st.sampled_from([0.0, 0.1]),
    wanted=st.booleans(),
)  # fmt: skip
def test_fold_equals_its_twin(shape, seed, drift, wanted):
    cells = fresh(*shape, seed, drift=drift)
    results = []
    for module in (kernels, naive):
        weights, variance = np.empty(shape, F), np.empty(shape, F) if wanted else NONE.copy()
        module.fold(cells, 30.0, 2.0, UNIT, 0.1, 0, len(weights), weights, variance)
        results.append((weights, variance))
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


def test_counts_are_what_was_asked_for_and_signs_go_opposite_ways():
    cells = fresh(2, 3)
    total, weights, _, rows = write(cells, [pulses(3, 0, -2), pulses(0, 0, 0)])
    assert total == 2 * (3 + 2)
    np.testing.assert_array_equal(rows, [3, 0])
    np.testing.assert_allclose(cells[PLUS, G, 0] - F(MID), STEP * np.array([3, 0, -2]), atol=1e-12)
    np.testing.assert_allclose(cells[MINUS, G, 0] - F(MID), STEP * np.array([-3, 0, 2]), atol=1e-12)
    np.testing.assert_allclose(weights[0], [6e-3, 7, -4e-3], atol=1e-6)
    np.testing.assert_array_equal(weights[1], 7)  # untouched entries are left alone


def test_cap_bounds_the_pulses_of_one_device():
    assert write(fresh(1, 1), [pulses(50)], cap=4)[0] == 8


def test_stochastic_rounding_is_unbiased():
    # 2 x 2000 devices asked for 0.3 pulses each: a fair count fails with probability 1e-3.
    total = write(fresh(40, 50), np.full((40, 50), pulses(0.3)), with_variance=False)[0]
    q, n = float(pulses(0.3)[0] * F(UNIT / STEP)), 4000
    assert abs(total - n * q) < stats.norm.isf(0.5e-3) * np.sqrt(n * q * (1 - q))


def test_nothing_asked_sends_nothing():
    cells = fresh(3, 4, seed=1)
    before = cells.copy()
    total, weights, variance, rows = write(cells, np.zeros((3, 4)))
    assert total == 0 and not rows.any() and (weights == 7).all() and (variance == 7).all()
    np.testing.assert_array_equal(cells, before)


@pytest.mark.parametrize(("sign", "bound"), [(1, HIGH), (-1, LOW)])
def test_soft_bounds_follow_their_closed_form(sign, bound):
    """G_n = b + (G_0 - b) r^n, r = 1 - 2 STEP / (HIGH - LOW)."""
    cells = fresh(1, 1)
    start, b = float(cells[PLUS, G, 0, 0]), float(cells[PLUS, bound, 0, 0])
    r = 1 - 2 * float(cells[PLUS, UP, 0, 0]) / float(cells[PLUS, HIGH, 0, 0] - cells[PLUS, LOW, 0, 0])
    for n in range(1, 6):
        write(cells, [pulses(sign * 40)], up_table=SOFT_UP, down_table=SOFT_DOWN, write=n)
        assert cells[PLUS, G, 0, 0] == pytest.approx(b + (start - b) * r ** (40 * n), rel=1e-5)


@given(seed=st.integers(0, 99), size=st.sampled_from([-900.0, 900.0]))
def test_devices_never_leave_their_bounds(seed, size):
    cells = fresh(1, 2, seed)
    cells[:, [UP, DOWN]] = 3e-6  # a few pulses cross the whole range, and noise turns some round
    write(cells, [pulses(size, -size)], cap=4, ctoc=1.0)
    assert (cells[:, G] >= cells[:, LOW]).all() and (cells[:, G] <= cells[:, HIGH]).all()


def test_stuck_devices_never_move_but_take_their_pulses():
    cells = fresh(2, 2, seed=3)
    cells[:, [UP, DOWN]] = 0
    cells[PLUS, G, 0, 0] = 2e-5  # stuck beyond its own bounds
    before = cells.copy()
    assert write(cells, np.full((2, 2), pulses(5)), ctoc=0.3, now=9.0)[0] == 2 * 4 * 5
    np.testing.assert_array_equal(cells, before)


def test_cycle_to_cycle_noise_has_its_spread():
    # The sum of 5 pulses: mean 5 and variance 5 ctoc^2 steps; 2 x 600 devices, each comparison fails with probability 1e-3.
    cells = fresh(20, 30)
    write(cells, np.full((20, 30), pulses(5)), ctoc=0.3, with_variance=False)
    moved = np.abs(cells[:, G].astype(float) - F(MID)).ravel() / STEP
    bound = stats.norm.isf(0.5e-3)
    assert abs(moved.mean() - 5) < bound * np.sqrt(5 * 0.09 / moved.size)
    assert abs(moved.var() / (5 * 0.09) - 1) < bound * np.sqrt(2 / moved.size)


def test_a_touched_device_keeps_the_drift_that_it_had_and_starts_anew():
    cells = fresh(1, 2, drift=0.1)
    cells[:, NU] = 0.1
    _, weights, _, _ = write(cells, [pulses(1, 0)], now=99.0, t0=1.0)
    assert cells[PLUS, G, 0, 0] == pytest.approx(MID * 100**-0.1 + STEP, rel=1e-5)
    np.testing.assert_array_equal(cells[:, WRITTEN, 0], [[99, 0], [99, 0]])
    folded, variance = np.empty((1, 2), F), np.empty((1, 2), F)
    kernels.fold(cells, 99.0, 1.0, UNIT, 0.1, 0, len(folded), folded, variance)
    assert folded[0, 0] == weights[0, 0]


def twin_drifted(g, nu, written, now, t0):
    cell = np.zeros(FIELDS, F)
    cell[[G, NU, WRITTEN]] = g, nu, written
    return naive.drifted(cell, now, t0)


@pytest.mark.parametrize("drifted", [kernels.drifted, twin_drifted], ids=["kernel", "twin"])
def test_drift_is_a_power_law_of_age(drifted):
    g, nu = F(1e-5), F(0.05)
    assert drifted(g, nu, F(10), 10.0, 2.0) == g
    assert drifted(g, F(0), F(10), 1e9, 2.0) == g
    assert drifted(g, nu, F(0), 2.0 * (1e4 - 1), 2.0) == pytest.approx(1e-5 * 10**-0.2, rel=1e-6)
