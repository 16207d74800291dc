"""Data sets and makers: splits are stratified and repeatable, damaged files are named, made images obey their laws."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mortalsim import data
from mortalsim.checks import DataError, ShapeError, UnknownName
from mortalsim.data import mnist
from mortalsim.data.dataset import stratified_split
from mortalsim.data.idx import read_idx
from mortalsim.data.makers import hybrid, jitter
from mortalsim.streams import Streams


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def test_digits_split_is_stratified_disjoint_and_repeatable():
    one, same, other = (data.load("digits", Streams(seed)) for seed in (0, 0, 1))
    parts = [(one.train_x, one.train_y), (one.valid_x, one.valid_y), (one.test_x, one.test_y)]
    assert [len(y) for _, y in parts] == [len(x) for x, _ in parts]
    assert sum(len(y) for _, y in parts) == 1797
    assert abs(len(one.test_y) - 0.2 * 1797) <= 5
    for x, y in parts:
        assert x.dtype == np.float32 and x.min() >= 0 and x.max() == 1
        assert y.dtype == np.int64 and np.ptp(np.bincount(y)) <= 0.06 * len(y)
    np.testing.assert_array_equal(one.test_x, same.test_x)
    assert not np.array_equal(one.test_x[:100], other.test_x[:100])


def test_digits_label_lines_are_the_quietest():
    digits = data.load("digits", Streams(0))
    variance = digits.train_x.var(axis=0)
    others = np.delete(variance, digits.label_lines)
    assert len(set(digits.label_lines)) == 10
    assert variance[list(digits.label_lines)].max() <= others.min()


def test_unknown_dataset_suggests_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'fashion-mnist'"):
        data.load("fashion_mnist", Streams(0))


@settings(max_examples=25)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), fraction=st.floats(0, 1), seed=st.integers(0, 99))
def test_stratified_split_partitions_and_keeps_proportions(labels, fraction, seed):
    y = np.array(labels)
    rest, chosen = stratified_split(y, fraction, np.random.default_rng(seed))
    assert sorted([*rest, *chosen]) == list(range(len(y)))
    for label in set(labels):
        assert np.sum(y[chosen] == label) == round(fraction * labels.count(label))


def test_idx_round_trip(tmp_path: Path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(idx_bytes(np.zeros((2, 3))))[:-9], "cannot be read"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\0"), "found 00 00 0d 01"),
        (gzip.compress(b""), "found nothing"),
        (gzip.compress(idx_bytes(np.zeros((2, 3)))[:-1]), r"promises 2 x 3 = 6 bytes, found 5"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "promises"),
    ],
)
def test_idx_says_what_is_wrong(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a folder of 60 + 20 small images and make its checksums the published ones."""
    rng = np.random.default_rng(0)
    sums = {}
    for images, labels, n in ((mnist.TRAIN_X, mnist.TRAIN_Y, 60), (mnist.TEST_X, mnist.TEST_Y, 20)):
        for file, array in ((images, rng.integers(0, 256, (n, 28, 28))), (labels, np.arange(n) % 10)):
            content = gzip.compress(idx_bytes(array))
            (tmp_path / file).write_bytes(content)
            sums[file] = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(mnist.SHA256, "mnist", sums)
    monkeypatch.setenv("MORTALSIM_DATA", str(tmp_path))
    return tmp_path


def test_mnist_is_found_flat_or_in_its_subfolder(tiny_mnist: Path):
    flat = data.load("mnist", Streams(0))
    assert (flat.train_x.shape, flat.valid_x.shape, flat.test_x.shape) == ((50, 784), (10, 784), (20, 784))
    assert flat.label_lines == tuple(range(10)) and flat.image_shape == (28, 28)
    (tiny_mnist / "mnist").mkdir()
    for file in mnist.SHA256["mnist"]:
        (tiny_mnist / file).rename(tiny_mnist / "mnist" / file)
    np.testing.assert_array_equal(data.load("mnist", Streams(0)).test_x, flat.test_x)


def test_mnist_refuses_other_files(tiny_mnist: Path):
    with pytest.raises(DataError, match=r"fashion-mnist.*SHA-256 sum differs.*unset MORTALSIM_DATA"):
        data.load("fashion-mnist", Streams(0))
    (tiny_mnist / mnist.TEST_Y).unlink()
    with pytest.raises(DataError, match=f"{mnist.TEST_Y} does not exist"):
        data.load("mnist", Streams(0))


def test_mnist_download_failure_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MORTALSIM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(mnist.URLS, "mnist", "http://127.0.0.1:9/")  # the discard port: nobody listens
    with pytest.raises(DataError, match="Set MORTALSIM_DATA"):
        data.load("mnist", Streams(0))


def test_hybrid_is_a_or_b_in_regions_of_several_pixels():
    shape, rows = (28, 28), 200
    a, b = np.ones((rows, 784), np.float32), np.zeros((rows, 784), np.float32)
    mask = hybrid(a, b, shape, np.random.default_rng(0)).reshape(rows, *shape)
    assert set(np.unique(mask)) == {0, 1}
    # Mean one half, at the border as well: 3 standard errors for about 40 independent regions an image.
    assert abs(mask.mean() - 0.5) < 3 * 0.5 / np.sqrt(40 * rows)
    assert abs(mask[:, 0].mean() - 0.5) < 3 * 0.5 / np.sqrt(5 * rows)
    agree = (mask[:, :, 1:] == mask[:, :, :-1]).mean()
    assert agree > 0.8  # neighbours mostly belong to the same region; random bits would give 0.5


def test_hybrid_refuses_unequal_batches():
    with pytest.raises(ShapeError, match="b: expected shape"):
        hybrid(np.zeros((2, 16)), np.zeros((3, 16)), (4, 4), np.random.default_rng(0))


@settings(max_examples=25)
@given(reach=st.integers(0, 3), seed=st.integers(0, 99))
def test_jitter_shifts_a_bright_pixel_within_reach(reach: int, seed: int):
    image = np.zeros((5, 9, 9), np.float32)
    image[:, 4, 4] = 1
    moved = jitter(image.reshape(5, -1), (9, 9), reach, np.random.default_rng(seed)).reshape(5, 9, 9)
    for shifted in moved:
        ((row, column),) = np.argwhere(shifted)
        assert abs(row - 4) <= reach and abs(column - 4) <= reach


def test_jitter_covers_every_shift():
    image = np.zeros((400, 25), np.float32)
    image[:, 12] = 1
    moved = jitter(image, (5, 5), 1, np.random.default_rng(0))
    assert sorted(set(moved.argmax(axis=1))) == [6, 7, 8, 11, 12, 13, 16, 17, 18]
