"""Sign patterns and their sums with weights: equality with the reference and the laws that they obey."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mortalsim import kernels
from mortalsim.kernels.counters import SIGN_COLUMNS, SIGN_ROWS, SIGNS, Draw, split_key

F = np.float32
KEYS = st.integers(0, 2**64 - 1)


def signs_of(key, place=0, index=0, purpose=SIGNS):
    """Address of a pattern."""
    return Draw(split_key(key), purpose, index, place).address()


@given(
    key=KEYS, place=st.integers(0, 2**14 - 1), index=st.integers(0, 2**64 - 1), n=st.integers(1, 300),
    purpose=st.sampled_from([SIGNS, SIGN_ROWS, SIGN_COLUMNS]),
)  # fmt: skip
def test_sign_patterns_equal_their_references(key, place, index, n, purpose):
    address = signs_of(key, place, index, purpose)
    np.testing.assert_array_equal(kernels.sign_pattern(address, n), naive.sign_pattern(address, n))


@given(
    key=KEYS, amplitude=st.floats(-2, 2, width=32), n_in=st.integers(1, 9), n_out=st.integers(1, 40),
    start=st.integers(0, 50), shared=st.booleans(),
)  # fmt: skip
def test_add_signs_equals_its_reference_and_the_pattern(key, amplitude, n_in, n_out, start, shared):
    rng = np.random.default_rng(0)
    weights, gain = rng.normal(size=(n_in, n_out)).astype(F), rng.normal(1, 0.1, n_out).astype(F)
    weights = weights[:1] if shared else weights
    first, address = n_out // 3, signs_of(key, 1, 2**40)
    got, want = np.empty((2, n_in, n_out - first), F)
    for module, out in ((kernels, got), (naive, want)):
        module.add_signs(weights, amplitude, gain, address, start, first, out)
    np.testing.assert_array_equal(got, want)
    pattern = kernels.sign_pattern(address, (start + n_in) * n_out).reshape(-1, n_out)[start:]
    np.testing.assert_array_equal(got, (weights + F(amplitude) * gain * pattern)[:, first:])


@pytest.mark.parametrize(("n_in", "n_out"), [(70, 5), (9, 131)])  # many rows to a batch of blocks; rows that share blocks
def test_rows_done_apart_get_the_signs_of_the_whole(n_in, n_out):
    rng, address = np.random.default_rng(1), signs_of(2**63 + 5, 3)
    weights, gain = rng.normal(size=(n_in, n_out)).astype(F), rng.normal(1, 0.1, n_out).astype(F)
    whole = np.empty_like(weights)
    kernels.add_signs(weights, 0.3, gain, address, 0, 0, whole)
    for start, stop, first, last in ((1, n_in, 0, n_out), (n_in // 2, n_in - 1, 1, n_out - 1), (n_in - 1, n_in, 2, 3)):
        apart = np.empty((stop - start, last - first), F)
        kernels.add_signs(weights[start:stop], 0.3, gain, address, start, first, apart)
        np.testing.assert_array_equal(apart, whole[start:stop, first:last])


def test_patterns_longer_than_a_chunk_go_on_with_further_blocks():
    n_in, n_out, address = 3, 4001, signs_of(2**63 + 5, 2)
    pattern, e = kernels.sign_pattern(address, n_in * n_out), n_in * n_out - 1
    word = naive.philox4x32(e // 128, 0, address.turn, address.where, 5, 2**31)[e % 128 // 32]
    assert pattern[-1] == (1 if word >> (e % 32) & 1 else -1)
    out = np.zeros((n_in, n_out), F)
    kernels.add_signs(out, 1.0, np.ones(n_out, F), address, 0, 0, out)  # in place
    np.testing.assert_array_equal(out.reshape(-1), pattern)


def test_signs_are_fair_and_differ_between_keys_places_indices_and_purposes():
    # 15 comparisons of 4000 fair signs reject with probability 1e-3 together.
    bound = stats.norm.isf(0.5e-3 / 15) * np.sqrt(4000)
    addresses = [signs_of(1), signs_of(2), signs_of(1, 1), signs_of(1, 0, 1), signs_of(1, 0, 0, SIGN_ROWS)]
    patterns = [kernels.sign_pattern(address, 4000) for address in addresses]
    for i, a in enumerate(patterns):
        for product in (a, *(a * b for b in patterns[:i])):
            assert abs(product.sum()) < bound
