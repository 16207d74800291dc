"""Write pulses: equality with the reference, rounding, bounds, closed forms, drift."""

from types import SimpleNamespace

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import slow_in_plain_python
from scipy import stats

from mortalsim import kernels
from mortalsim.kernels import Asked, Effective, Present, PulseLaw, ReadNoise, Sent
from mortalsim.kernels.counters import CYCLE, READ, ROUND, Address, Draw, where
from mortalsim.kernels.devices import DOWN, ERROR, HIGH, LOW, MINUS, NU, PLUS, UP, WRITTEN, Devices, G

F = np.float32
NONE = np.empty((0, 0), F)
MID, STEP, UNIT = 5e-6, 1e-8, 1e-5  # range 1 to 9 uS, steps of 10 nS, 10 uS a unit of weight
FLAT = np.ones((2, 2), F)
SOFT = np.array([[2, 0], [0, 2]], F)  # h = 1 at mid range


def fresh(n_in, n_out, seed=None, stuck=0.0, drift=0.0, timed=False, **given):
    """Devices at mid range, or with ``seed`` devices that all differ; ``given`` parameters by name."""
    devices, shape = Devices.blank(n_in, n_out, drift=drift > 0, timed=timed), (2, n_in, n_out)
    devices.levels(G)[...] = MID
    parameters = {"up": F(STEP), "down": F(STEP), "low": F(1e-6), "high": F(9e-6), "error": F(0), "nu": F(drift)}
    if seed is not None:
        rng = np.random.default_rng(seed)
        devices.levels(G)[...] *= rng.uniform(0.5, 1.5, shape).astype(F)
        moves = rng.random(shape) >= stuck
        parameters |= {name: parameters[name] * (rng.normal(1, 0.3, shape) * moves).astype(F) for name in ("up", "down")}
        parameters |= {name: parameters[name] * rng.normal(1, 0.1, shape).astype(F) for name in ("low", "high")}
        parameters |= {"error": rng.normal(0, 0.1, shape), "nu": F(drift) * rng.random(shape) * (rng.random(shape) < 0.8)}
    for name, parameter in (("up", UP), ("down", DOWN), ("low", LOW), ("high", HIGH), ("error", ERROR), ("nu", NU)):
        if parameter < len(devices.scales):
            value = (parameters | given)[name]
            devices.fix(parameter, value, base=0.0 if parameter in (UP, DOWN) and np.min(value) >= 0 else None)
    return devices


def copied(devices):
    """The same devices once more."""
    return Devices(*(array.copy() for array in devices.arrays))


def assert_equal(devices, others):
    """All that is kept of the devices is the same."""
    for a, b in zip(devices.arrays, others.arrays, strict=True):
        np.testing.assert_array_equal(a, b)


TWO_SIDED, ONE_SIDED = np.full((2, 2), [0.5, -0.5], F), np.array([[1, 0], [0, -1]], F)
BENT_NOISE = ReadNoise(0.0, np.array([0.01, 0.05, 0.02, 0.3], F), 0.2, 0.5)


def request(change, **options):
    """Records of a write but for what it writes to: the change, the law, the moment, the noise and the address."""
    known = {
        "per_weight": 2 * UNIT / STEP, "shares": TWO_SIDED, "cap": 0, "responses": FLAT, "ctoc": 0.0, "now": 0.0, "t0": 1.0,
        "aged": np.zeros((0, 0, 1, 2), F), "noise": ReadNoise(0.1), "key": np.array([3, 4], np.uint32), "turn": 0,
        "where": where(ROUND, 0), "first": 0,
    }  # fmt: skip
    assert options.keys() <= known.keys()
    o = SimpleNamespace(**known | options)
    asked = Asked(np.asarray(change, F), o.per_weight, o.shares, o.cap, o.first)
    return asked, PulseLaw(o.responses, o.ctoc), Present(o.now, o.t0, o.aged), o.noise, Address(o.key, o.turn, o.where)


def write(devices, change, module=kernels, with_variance=True, **options):
    """Write in place; return total, weights, variance, row_pulses, pulses by device."""
    shape = devices.state.shape[:2]
    weights, variance = np.full(shape, 7, F), np.full(shape, 7, F) if with_variance else NONE.copy()
    rows, by_device = np.full(shape[0], -1, np.int64), np.full((*shape, 2), -1, np.int32)
    asked, law, present, noise, address = request(change, **options)
    effective = Effective(weights, variance, UNIT, noise)
    total = module.apply_pulses(devices, asked, law, present, effective, address, Sent(rows, by_device))
    return total, weights, variance, rows, by_device


def pulses(*size):
    """Return the change of weight that asks for so many pulses on each device."""
    return np.asarray(size, F) * F(STEP / UNIT)


@given(
    shape=st.tuples(st.sampled_from([1, 2, 5, 19]), st.sampled_from([1, 5, 40])),
    seed=st.integers(0, 99), cap=st.integers(0, 3), ctoc=st.sampled_from([0.0, 0.3]),
    size=st.sampled_from([0.0, 0.02, 0.4, 3.0]),
    tables=st.sampled_from(["flat", "soft", "bent"]), stuck=st.sampled_from([0.0, 0.3]), drift=st.sampled_from([0.0, 0.1]),
    with_variance=st.booleans(), turn=st.integers(0, 2**64 - 1), attempt=st.sampled_from([0, 2, 2**14 - 1]),
    shares=st.sampled_from([TWO_SIDED, ONE_SIDED]), noise=st.sampled_from([ReadNoise(), ReadNoise(0.1), BENT_NOISE]),
    aged=st.booleans(), scale=st.sampled_from([1, -1]),
)  # fmt: skip
def test_apply_pulses_equals_its_reference(
    shape, seed, cap, ctoc, size, tables, stuck, drift, with_variance, turn, attempt, shares, noise, aged, scale
):
    rng = np.random.default_rng(seed)
    responses = {"flat": FLAT, "soft": SOFT, "bent": rng.random((2, 5)).astype(F)}[tables]
    change = rng.normal(size=shape).astype(F) * F(size * STEP / UNIT)
    options = {"cap": cap, "ctoc": ctoc, "responses": responses, "shares": shares, "noise": noise}
    options |= {"now": 50.0, "t0": 2.0, "per_weight": scale * 2 * UNIT / STEP}
    options |= {"aged": rng.uniform(3e-6, 7e-6, (*shape, 1, 2)).astype(F)} if aged else {}
    options |= Draw(np.array([3, 4], np.uint32), ROUND, turn, place=3, attempt=attempt).address()._asdict()
    options |= {"first": 16 * (shape[0] // 17)}  # all rows, or some of them
    change = change[options["first"] : shape[0] - shape[0] // 3 % 5]
    mine = fresh(*shape, seed, stuck, drift, timed=aged)
    reference = copied(mine)
    got = write(mine, change, kernels, with_variance, **options)
    want = write(reference, change, naive, with_variance, **options)
    assert got[0] == want[0]
    assert_equal(mine, reference)
    for a, b in zip(got[1:], want[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [0.02, 0.1, 0.3, 2.0])  # few, some or all of a stretch move: each is done in another way
@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_apply_pulses_equals_its_reference_over_several_stretches_and_rows_that_straddle_them(size, drift):
    change = np.random.default_rng(5).normal(size=(3, 231)).astype(F) * F(size * STEP / UNIT)
    options = {"ctoc": 0.3, "now": 50.0, "t0": 2.0, "responses": SOFT}
    mine, reference = fresh(3, 231, 5, 0.1, drift), fresh(3, 231, 5, 0.1, drift)
    got, want = write(mine, change, **options), write(reference, change, naive, **options)
    assert_equal(mine, reference)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_write_s_purposes_are_its_own_affair():
    """Rounding and noise of a write are drawn for its place and attempt, whatever the purpose in the address."""
    change = np.random.default_rng(5).normal(size=(3, 5)).astype(F) * F(STEP / UNIT)
    by_purpose = {purpose: fresh(3, 5, 1) for purpose in (ROUND, CYCLE, READ)}
    for purpose, devices in by_purpose.items():
        write(devices, change, ctoc=0.3, where=where(purpose, 2))
        assert_equal(devices, by_purpose[ROUND])


@pytest.mark.parametrize("other", [{"turn": 1}, {"where": where(ROUND, 1)}, {"where": where(ROUND, 0, attempt=1)}])
@pytest.mark.parametrize("ctoc", [0.0, 0.3])  # rounding alone, and noise alone
def test_turns_places_and_attempts_draw_for_themselves(other, ctoc):
    """Of 80 devices at least one answers otherwise: equal coins for all come once in 1e24."""
    change = np.full((4, 10), pulses(1.0 if ctoc else 0.5))
    one, two = fresh(4, 10), fresh(4, 10)
    write(one, change, ctoc=ctoc)
    write(two, change, ctoc=ctoc, **other)
    assert not np.array_equal(one.state, two.state)


def test_a_negative_scale_turns_a_change_round():
    change = np.random.default_rng(5).normal(size=(3, 5)).astype(F) * F(STEP / UNIT)
    one, other = fresh(3, 5, 1), fresh(3, 5, 1)
    write(one, -change, ctoc=0.3)
    write(other, change, ctoc=0.3, per_weight=-2 * UNIT / STEP)
    assert_equal(one, other)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6)), seed=st.integers(0, 99), drift=st.sampled_from([0.0, 0.1]),
    wanted=st.booleans(), noise=st.sampled_from([ReadNoise(0.1), BENT_NOISE]),
)  # fmt: skip
def test_effective_weights_equal_their_reference(shape, seed, drift, wanted, noise):
    devices = fresh(*shape, seed, drift=drift)
    results = []
    for module in (kernels, naive):
        weights, variance = np.empty(shape, F), np.empty(shape, F) if wanted else NONE.copy()
        present = Present(30.0, 2.0, np.zeros((0, 0, 1, 2), F))
        module.compute_weights(devices, present, Effective(weights, variance, UNIT, noise), 0, len(weights))
        results.append((weights, variance))
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


def test_counts_are_what_was_asked_for_and_signs_go_opposite_ways():
    devices = fresh(2, 3)
    total, weights, _, rows, by_device = write(devices, [pulses(3, 0, -2), pulses(0, 0, 0)])
    assert total == 2 * (3 + 2)
    np.testing.assert_array_equal(rows, [3, 0])
    np.testing.assert_array_equal(by_device, [[[3, 3], [0, 0], [2, 2]], [[0, 0], [0, 0], [0, 0]]])
    np.testing.assert_allclose(devices.levels(G)[PLUS, 0] - F(MID), STEP * np.array([3, 0, -2]), atol=1e-12)
    np.testing.assert_allclose(devices.levels(G)[MINUS, 0] - F(MID), STEP * np.array([-3, 0, 2]), atol=1e-12)
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
    devices = fresh(3, 4, seed=1)
    before = copied(devices)
    total, weights, variance, rows, _ = write(devices, np.zeros((3, 4)))
    assert total == 0 and not rows.any() and (weights == 7).all() and (variance == 7).all()
    assert_equal(devices, before)


@pytest.mark.parametrize(("sign", "bound"), [(1, HIGH), (-1, LOW)])
def test_soft_bounds_follow_their_closed_form(sign, bound):
    """G_n = b + (G_0 - b) r^n, r = 1 - 2 STEP / (HIGH - LOW)."""
    devices = fresh(1, 1)
    start, b = float(devices.levels(G)[PLUS, 0, 0]), float(devices.values(bound)[PLUS, 0, 0])
    r = 1 - 2 * float(devices.values(UP)[PLUS, 0, 0]) / float((devices.values(HIGH) - devices.values(LOW))[PLUS, 0, 0])
    for n in range(1, 6):
        write(devices, [pulses(sign * 40)], responses=SOFT, turn=n)
        assert devices.levels(G)[PLUS, 0, 0] == pytest.approx(b + (start - b) * r ** (40 * n), rel=1e-5)


@given(seed=st.integers(0, 99), size=st.sampled_from([-900.0, 900.0]))
def test_devices_never_leave_their_bounds(seed, size):
    devices = fresh(1, 2, seed, up=F(3e-6), down=F(3e-6))  # a few pulses cross the whole range, and noise turns some round
    write(devices, [pulses(size, -size)], cap=4, ctoc=1.0)
    assert (devices.levels(G) >= devices.values(LOW)).all() and (devices.levels(G) <= devices.values(HIGH)).all()


def test_stuck_devices_never_move_but_take_their_pulses():
    devices = fresh(2, 2, seed=3, up=F(0), down=F(0))
    devices.levels(G)[PLUS, 0, 0] = 2e-5  # stuck beyond its own bounds
    before = copied(devices)
    assert write(devices, np.full((2, 2), pulses(5)), ctoc=0.3, now=9.0)[0] == 2 * 4 * 5
    assert_equal(devices, before)


def test_cycle_to_cycle_noise_has_its_spread():
    # The sum of 5 pulses: mean 5 and variance 5 ctoc^2 steps; 2 x 600 devices, each comparison fails with probability 1e-3.
    devices = fresh(20, 30)
    write(devices, np.full((20, 30), pulses(5)), ctoc=0.3, with_variance=False)
    moved = np.abs(devices.levels(G).astype(float) - F(MID)).ravel() / STEP
    bound = stats.norm.isf(0.5e-3)
    assert abs(moved.mean() - 5) < bound * np.sqrt(5 * 0.09 / moved.size)
    assert abs(moved.var() / (5 * 0.09) - 1) < bound * np.sqrt(2 / moved.size)


def test_a_touched_device_keeps_the_drift_that_it_had_and_starts_anew():
    devices = fresh(1, 2, drift=0.1)
    _, weights, *_ = write(devices, [pulses(1, 0)], now=99.0, t0=1.0)
    assert devices.levels(G)[PLUS, 0, 0] == pytest.approx(MID * 100**-0.1 + STEP, rel=1e-5)
    np.testing.assert_array_equal(devices.levels(WRITTEN)[:, 0], [[99, 0], [99, 0]])
    folded, variance = np.empty((1, 2), F), np.empty((1, 2), F)
    present = Present(99.0, 1.0, np.zeros((0, 0, 1, 2), F))
    kernels.compute_weights(devices, present, Effective(folded, variance, UNIT, ReadNoise(0.1)), 0, len(folded))
    assert folded[0, 0] == weights[0, 0]


@pytest.mark.parametrize("drifted", [kernels.drifted, naive.drifted], ids=["kernel", "reference"])
def test_drift_is_a_power_law_of_age(drifted):
    g, nu, t0 = F(1e-5), F(0.05), F(2)
    assert drifted(g, nu, F(10), F(10), t0) == g
    assert drifted(g, F(0), F(10), F(1e9), t0) == g
    assert drifted(g, nu, F(0), F(2 * (1e4 - 1)), t0) == pytest.approx(1e-5 * 10**-0.2, rel=1e-6)


@given(seed=st.integers(0, 99), base=st.sampled_from([None, 0.0]), spread=st.sampled_from([0.0, 1e-6, 0.3, 30.0]))
def test_parameters_are_kept_to_half_a_unit(seed, base, spread):
    values = np.abs(np.random.default_rng(seed).normal(3, spread, (2, 3, 4))).astype(F)
    devices = Devices.blank(3, 4, drift=False)
    devices.fix(HIGH, values, base=base)
    lowest = values.min() if base is None else base
    unit = (values.max() - lowest) / 65535
    assert np.abs(devices.values(HIGH) - values).max() <= 0.501 * unit + 4e-7 * values.max()
    if base is None and spread == 0:
        np.testing.assert_array_equal(devices.values(HIGH), values)
    assert not devices.values(LOW).any()


def test_a_small_step_is_not_taken_for_a_stuck_device():
    devices = Devices.blank(1, 2, drift=False)
    for parameter in (UP, DOWN):
        devices.fix(parameter, np.array([[[1e-8, 0]], [[1e-14, -1e-9]]], F), base=0.0)
    np.testing.assert_array_equal(devices.stuck(), [[[False, True]], [[False, True]]])
    assert devices.values(UP)[1, 0, 0] == pytest.approx(1e-8 / 65535)


@slow_in_plain_python
def test_16_bit_normals_pass_for_normal():
    # 2e5 numbers of 512-device blocks; the Kolmogorov-Smirnov test and each moment fail by chance once in 1e3.
    devices = fresh(100, 1000, up=F(1e-10), down=F(1e-10), low=F(0), high=F(1))
    before = devices.levels(G).astype(float).copy()
    write(devices, np.full((100, 1000), F(1e-10 / UNIT)), per_weight=2 * UNIT / 1e-10, ctoc=100.0, with_variance=False)
    steps = (devices.levels(G).astype(float) - before) * np.array([1, -1])[:, None, None]
    z = ((steps / 1e-10 - 1) / 100).ravel()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    bound = stats.norm.isf(0.5e-3) / np.sqrt(z.size)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < bound * np.sqrt(variance)
    pairs = z.reshape(2, -1)
    assert abs((pairs[0] * pairs[1]).mean()) < stats.norm.isf(0.5e-3) / np.sqrt(pairs.shape[1])
