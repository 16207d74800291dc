"""Sign patterns, input converters and the read's epilogue: equality with the twins and the laws that they obey."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mortalsim import kernels
from mortalsim.hardware import TransferCurve

F = np.float32
NONE = np.empty((0, 0), F)
KEYS = st.integers(0, 2**64 - 1)


def both(kernel, inputs, outputs):
    """Run a kernel and its twin on equal copies; return what each wrote."""
    written = []
    for module in (kernels, naive):
        room = {name: value.copy() for name, value in outputs.items()}
        getattr(module, kernel)(**inputs, **room)
        written.append(room)
    return written


def assert_equal(kernel, inputs, outputs):
    got, want = both(kernel, inputs, outputs)
    for name in outputs:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    return got


# --- signs ---


@given(key=KEYS, array=st.integers(0, 9), n_in=st.integers(1, 9), n_out=st.integers(1, 40))
def test_sign_patterns_equal_their_twins(key, array, n_in, n_out):
    np.testing.assert_array_equal(kernels.sign_pattern(key, array, n_in, n_out), naive.sign_pattern(key, array, n_in, n_out))
    for got, want in zip(
        kernels.rank1_pattern(key, array, n_in, n_out), naive.rank1_pattern(key, array, n_in, n_out), strict=True
    ):
        np.testing.assert_array_equal(got, want)


@given(key=KEYS, amplitude=st.floats(-2, 2, width=32), n_in=st.integers(1, 9), n_out=st.integers(1, 40))
def test_add_signs_equals_its_twin_and_the_pattern(key, amplitude, n_in, n_out):
    rng = np.random.default_rng(0)
    weights, gain = rng.normal(size=(n_in, n_out)).astype(F), rng.normal(1, 0.1, n_out).astype(F)
    first = n_out // 3
    got = np.empty((n_in, n_out - first), F)
    kernels.add_signs(weights, amplitude, gain, key, 1, first, n_out, got)
    nudged = weights + F(amplitude) * gain * kernels.sign_pattern(key, 1, n_in, n_out)
    np.testing.assert_array_equal(got, nudged[:, first:])
    want = np.empty_like(got)
    naive.add_signs(weights, amplitude, gain, key, 1, first, n_out, want)
    np.testing.assert_array_equal(got, want)
    for module, out in ((kernels, got), (naive, want)):
        module.add_signs(weights[:1], amplitude, gain, key, 1, first, n_out, out)
    np.testing.assert_array_equal(got, want)


def test_patterns_longer_than_a_chunk_go_on_with_further_blocks():
    n_in, n_out, key = 3, 4001, 2**63 + 5
    pattern = kernels.sign_pattern(key, 2, n_in, n_out)
    e = n_in * n_out - 1
    word = naive.philox4x32(e // 128, 2, 0, 0x5167, key % 2**32, key >> 32)[e % 128 // 32]
    assert pattern[-1, -1] == (1 if word >> (e % 32) & 1 else -1)
    out = np.zeros((n_in, n_out), F)
    kernels.add_signs(out, 1.0, np.ones(n_out, F), key, 2, 0, n_out, out)  # in place
    np.testing.assert_array_equal(out, pattern)


def test_signs_are_fair_and_differ_between_keys_and_arrays():
    # Each comparison of 4000 fair signs rejects with probability 1e-3 / 4.
    bound = stats.norm.isf(0.5e-3 / 4) * np.sqrt(4000)
    a, b, c = kernels.sign_pattern(1, 0, 40, 100), kernels.sign_pattern(2, 0, 40, 100), kernels.sign_pattern(1, 1, 40, 100)
    for product in (a, a * b, a * c, b * c):
        assert abs(product.sum()) < bound


# --- converters at the input ---


def drive(v, gain=None, offset=None, **options):
    n = v.shape[1]
    inputs = {
        "v": v,
        "lines": np.zeros(0, np.int64),
        "normalise": False,
        "eps": 1e-6,
        "norm_gain": 1.0,
        "step": 0.0,
        "limit": 0.0,
    } | options
    inputs["gain"] = np.ones(n, F) if gain is None else gain
    inputs["offset"] = np.zeros(n, F) if offset is None else offset
    return inputs, {"pre": np.empty((len(v), n + 1), F), "power": np.empty(len(v), F)}


@given(
    samples=st.integers(0, 4), n=st.integers(1, 37), seed=st.integers(0, 99), normalise=st.booleans(),
    step=st.sampled_from([0.0, 2 / 15, 0.25]), limit=st.sampled_from([0.0, 1.0]), plain=st.booleans(), k=st.integers(0, 3),
)  # fmt: skip
def test_drive_lines_equals_its_twin(samples, n, seed, normalise, step, limit, plain, k):
    rng = np.random.default_rng(seed)
    gain, offset = (None, None) if plain else (rng.normal(1, 0.1, n).astype(F), rng.normal(0, 0.1, n).astype(F))
    v = rng.normal(size=(samples, n)).astype(F)
    lines = rng.permutation(n)[:k]
    options = {"normalise": normalise, "norm_gain": 1.1, "step": step, "limit": limit, "lines": lines}
    assert_equal("drive_lines", *drive(v, gain, offset, **options))


def test_normaliser_gives_unit_mean_square_and_keeps_a_row_of_zeros():
    v = np.array([[3, -4, 0, 1], [0, 0, 0, 0]], F)
    inputs, outputs = drive(v, normalise=True)
    kernels.drive_lines(**inputs, **outputs)
    np.testing.assert_allclose((outputs["pre"][:, :-1] ** 2).mean(1), [1, 0], rtol=1e-5)
    np.testing.assert_allclose(outputs["power"], [5, 1], rtol=1e-5)
    np.testing.assert_array_equal(outputs["pre"][:, -1], 1)


def test_converter_reaches_its_limits_and_rounds_to_its_levels():
    inputs, outputs = drive(np.linspace(-2, 2, 101, dtype=F)[None], step=1 / 3, limit=1.0)
    kernels.drive_lines(**inputs, **outputs)
    np.testing.assert_allclose(np.unique(outputs["pre"][0, :-1]), np.arange(-3, 4) / 3, rtol=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_nan_at_the_input_comes_out_of_the_converter(normalise):
    v = np.ones((2, 3), F)
    v[0, 1] = np.nan
    inputs, outputs = drive(v, normalise=normalise, step=0.25, limit=1.0)
    kernels.drive_lines(**inputs, **outputs)
    assert np.isnan(outputs["pre"][0, 1]) and np.isnan(outputs["power"][0])
    assert np.isfinite(outputs["pre"][1]).all() and np.isfinite(outputs["power"][1])


# --- epilogue ---


def tanh_curve(knots=9):
    x = np.linspace(-3, 3, knots)
    return TransferCurve(-3.0, 6.0 / (knots - 1), np.tanh(x).astype(F), (1 / np.cosh(x) ** 2).astype(F))


def epilogue(z, **options):
    """Arguments of an ideal neuron, changed by ``options``."""
    n = z.shape[1]
    one, zero = np.ones(n, F), np.zeros(n, F)
    inputs = {
        "variance": NONE, "power": np.ones(len(z), F), "line_var": 0.0, "neuron_var": 0.0, "nudge": NONE, "nudge_gain": one,
        "gain": one, "offset": zero, "saturation": np.full(n, np.inf, F), "leak": 1.0, "table_start": 0.0, "table_step": 1.0,
        "values": np.empty((1, 0), F), "slopes": np.empty((1, 0), F), "adc_step": 0.0, "adc_limit": 0.0, "adc_gain": one,
        "adc_offset": zero, "key": np.array([5, 6], np.uint32), "read": 2**33 + 7, "array": 1, "first": 0, "last": n,
    } | options  # fmt: skip
    return inputs | {"z": z}, {"out": np.zeros_like(z)}


def tables(curve, count, rng):
    spread = rng.normal(1, 0.1, (count, 1))
    return {
        "table_start": curve.start, "table_step": curve.step,
        "values": (curve.value * spread).astype(F), "slopes": (curve.slope * spread).astype(F),
    }  # fmt: skip


@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 11)), seed=st.integers(0, 99), own=st.booleans(), part=st.booleans(),
    line_var=st.sampled_from([0.0, 0.01]), neuron_var=st.sampled_from([0.0, 0.04]), nudged=st.booleans(),
    mismatch=st.booleans(), curve=st.sampled_from(["relu", "leaky", "linear", "shared", "own"]),
    adc_step=st.sampled_from([0.0, 0.125]), adc_limit=st.sampled_from([0.0, 1.0]), saturation=st.sampled_from([np.inf, 0.7]),
)  # fmt: skip
def test_read_epilogue_equals_its_twin(
    shape, seed, own, part, line_var, neuron_var, nudged, mismatch, curve, adc_step, adc_limit, saturation
):
    rng = np.random.default_rng(seed)
    samples, n = shape

    def normal(mean, sigma, *size):
        return rng.normal(mean, sigma, size).astype(F)

    options = {
        "line_var": line_var, "neuron_var": neuron_var, "adc_step": adc_step, "adc_limit": adc_limit,
        "saturation": np.full(n, saturation, F), "power": rng.uniform(0, 9, samples).astype(F),
        "leak": {"relu": 0.0, "leaky": 0.01}.get(curve, 1.0), "array": seed % 4, "read": seed * 10**9,
    }  # fmt: skip
    if part:
        options |= {"first": 4 * (n // 8), "last": n - n // 5}
    if own:
        options["variance"] = rng.uniform(0, 0.1, shape).astype(F)
    if nudged:
        options |= {"nudge": normal(0, 1, *shape), "nudge_gain": normal(1, 0.1, n)}
    if mismatch:
        options |= {"gain": normal(1, 0.1, n), "offset": normal(0, 0.1, n)}
        options |= {"adc_gain": normal(1, 0.1, n), "adc_offset": normal(0, 0.1, n)}
    if curve in ("shared", "own"):
        options |= tables(tanh_curve(), 1 if curve == "shared" else n, rng)
    assert_equal("read_epilogue", *epilogue(normal(0, 2, *shape), **options))


def test_table_is_the_datasheet_s_curve_within_and_beyond_the_knots():
    curve = tanh_curve()
    z = np.concatenate([np.linspace(-7, 7, 201), curve.start + curve.step * np.arange(9)]).astype(F)[None]
    inputs, outputs = epilogue(z.copy(), **{"values": curve.value[None], "slopes": curve.slope[None]},
                               table_start=curve.start, table_step=curve.step)  # fmt: skip
    kernels.read_epilogue(**inputs, **outputs)
    np.testing.assert_allclose(outputs["out"], curve(z.astype(float)), atol=5e-7)


@pytest.mark.parametrize("curve", ["relu", "shared", "own"])
def test_nan_comes_out_as_nan_and_touches_nobody_else(curve):
    z = np.zeros((3, 5), F)
    z[1, 2] = np.nan
    extra = {} if curve == "relu" else tables(tanh_curve(), 5 if curve == "own" else 1, np.random.default_rng(0))
    inputs, outputs = epilogue(z, leak=0.0, neuron_var=0.1, adc_step=0.1, adc_limit=1.0, saturation=np.ones(5, F), **extra)
    kernels.read_epilogue(**inputs, **outputs)
    np.testing.assert_array_equal(np.isnan(outputs["out"]), np.arange(15).reshape(3, 5) == 7)


def test_noise_has_the_variance_asked_for():
    # 4000 normals: the sample variance lies within the bound but for 1e-3 of seeds.
    samples, n = 40, 100
    power = np.full(samples, 3, F)
    inputs, outputs = epilogue(
        np.zeros((samples, n), F), variance=np.full((samples, n), 0.2, F), power=power, line_var=0.1, neuron_var=0.5
    )
    kernels.read_epilogue(**inputs, **outputs)
    assert abs(outputs["out"].var() - 1) < stats.norm.isf(0.5e-3) * np.sqrt(2 / (samples * n))


def test_noise_belongs_to_the_sample_s_place_the_read_and_the_array():
    def noise(samples, **options):
        inputs, outputs = epilogue(np.zeros((samples, 6), F), neuron_var=1.0, **options)
        kernels.read_epilogue(**inputs, **outputs)
        return outputs["out"]

    np.testing.assert_array_equal(noise(2), noise(5)[:2])
    np.testing.assert_array_equal(noise(2, read=3), noise(2, read=2**32 + 3))
    assert (noise(2, read=3) != noise(2, read=4)).all()
    assert (noise(2, array=3) != noise(2, array=4)).all()
    assert (noise(2)[0] != noise(2)[1]).all()


def test_nudges_reach_the_neuron_and_the_products_stay_as_they_were():
    z = np.array([[1.5, -2.0]], F)
    inputs, outputs = epilogue(z, leak=0.0, nudge=np.array([[1, 0.5]], F), nudge_gain=np.array([2, 2], F))
    kernels.read_epilogue(**inputs, **outputs)
    np.testing.assert_array_equal(outputs["out"], [[3.5, 0]])
    np.testing.assert_array_equal(z, [[1.5, -2]])
