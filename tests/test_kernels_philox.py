"""Random numbers from a counter: known answers, equality with the reference, accuracy of the polynomials, distribution."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mortalsim import kernels
from mortalsim.kernels import philox

WORDS = st.integers(0, 2**32 - 1)
KEY = np.array([0x12345678, 0x9ABCDEF0], np.uint32)

# Random123 1.14, tests/kat_vectors, philox4x32 with 7 rounds: counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "5f6fb709 0d893f64 4f121f81 4f730a48"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "5207ddc2 45165e59 4d8ee751 8c52f662"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "4dfccaba 190a87f0 c47362ba b6b5242a"),
]


def hexadecimal(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("philox4x32", [kernels.philox4x32, naive.philox4x32], ids=["kernel", "reference"])
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(philox4x32, counter, key, answer):
    assert [int(word) for word in philox4x32(*hexadecimal(counter), *hexadecimal(key))] == hexadecimal(answer)


@given(
    key=st.tuples(WORDS, WORDS),
    counter=st.tuples(st.integers(0, 2**32 - 4), WORDS, WORDS),
    rows=st.integers(0, 4),
    n=st.integers(0, 40),
)
def test_fill_equals_its_reference_bit_for_bit(key, counter, rows, n):
    key = np.array(key, np.uint32)
    got, want = np.empty((rows, n), np.float32), np.empty((rows, n), np.float32)
    kernels.fill_normal(key, *counter, got)
    naive.fill_normal(key, *counter, want)
    np.testing.assert_array_equal(got, want)


def test_fill_of_several_chunks_is_a_longer_fill_of_one():
    long, short = np.empty(4 * philox.CHUNK + 7, np.float32), np.empty(9, np.float32)
    kernels.fill_normal(KEY, 1, 2, 3, long[None])
    kernels.fill_normal(KEY, 1, 2, 3, short[None])
    np.testing.assert_array_equal(long[:9], short)
    assert np.unique(long).size > 0.99 * long.size


@pytest.mark.parametrize("word", [0, 1, 511, 2**31, 2**32 - 1])
def test_uniform_never_reaches_0_or_1(word):
    assert 0 < philox.uniform(np.uint64(word)) < 1


@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 1])
def test_normals_of_extreme_words_are_finite(word):
    assert np.isfinite(philox.normal_pair(np.uint64(word), np.uint64(word))).all()


def test_logarithm_agrees_with_numpy_in_float64():
    x = np.concatenate([np.geomspace(2.0**-32, 1, 400), 1 - np.geomspace(2.0**-24, 0.5, 400)]).astype(np.float32)
    got = np.array([philox.natural_log(value) for value in x])
    np.testing.assert_array_equal(got, naive.natural_log(x))
    np.testing.assert_allclose(got, np.log(x.astype(float)), rtol=2e-7)


def test_exponential_agrees_with_numpy_in_float64():
    x = -np.concatenate([np.geomspace(1e-9, 87, 400), np.linspace(0, 5, 400)]).astype(np.float32)
    got = np.array([philox.natural_exp(value) for value in x])
    np.testing.assert_array_equal(got, naive.natural_exp(x))
    np.testing.assert_allclose(got, np.exp(x.astype(float)), rtol=2e-7)
    assert philox.natural_exp(np.float32(-1e4)) < 1e-37


def test_cosine_and_sine_agree_with_numpy_in_float64():
    word = np.random.default_rng(1).integers(0, 2**32, 800, dtype=np.uint64)
    word[:6] = 0, 2**29, 2**30, 2**31, 3 * 2**30, 2**32 - 1
    got = np.array([philox.cos_sin(w) for w in word])
    np.testing.assert_array_equal(got, np.stack(naive.cos_sin(word), axis=1))
    # Towards a zero float64's own argument 2 pi w / 2^32 carries 1e-16, so the relative bound holds there too.
    angle = 2 * np.pi * word.astype(float) / 2**32
    np.testing.assert_allclose(got, np.stack([np.cos(angle), np.sin(angle)], axis=1), rtol=2e-7, atol=1e-15)


# Statistical tests, seeds fixed: each rejects a perfect generator with probability 1e-3.
N = 4000


def test_normals_follow_their_law():
    sample = np.empty(N, np.float32)
    kernels.fill_normal(KEY, 0, 0, 0, sample[None])
    assert stats.kstest(sample, stats.norm.cdf).pvalue > 1e-3


def test_uniforms_follow_their_law():
    words = [word for block in range(N // 4) for word in kernels.philox4x32(block, 0, 0, 0, *KEY)]
    sample = [philox.uniform(np.uint64(word)) for word in words]
    assert stats.kstest(sample, stats.uniform.cdf).pvalue > 1e-3


def test_normals_have_the_moments_of_a_normal_and_no_correlation_within_a_block():
    sample = np.empty(N, np.float32)
    kernels.fill_normal(KEY, 7, 0, 0, sample[None])
    bound = stats.norm.isf(0.5e-3 / 8)  # two sided, eight comparisons share the false-alarm rate
    assert abs(sample.mean()) < bound / np.sqrt(N)
    assert abs((sample**2).mean() - 1) < bound * np.sqrt(2 / N)
    blocks = sample.reshape(-1, 4)
    correlation = (blocks.T @ blocks / len(blocks))[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < bound / np.sqrt(len(blocks))


@pytest.mark.parametrize("counter", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_every_counter_word_gives_another_independent_stream(counter):
    a, b = np.empty(N // 4, np.float32), np.empty(N // 4, np.float32)
    kernels.fill_normal(KEY, 0, 0, 0, a[None])
    kernels.fill_normal(KEY, *counter, b[None])
    assert abs(stats.pearsonr(a, b).statistic) < stats.norm.isf(0.5e-3) / np.sqrt(a.size)
