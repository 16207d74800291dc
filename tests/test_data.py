"""Data sets and makers: splits are stratified and repeatable, damaged files are named, made images obey their laws."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mortalsim import build, data
from mortalsim.checks import DataError, ShapeError, UnknownName
from mortalsim.chips import load_design
from mortalsim.data import DATASETS, Dataset, Source, suited
from mortalsim.data import _published as published
from mortalsim.data._idx import read_idx
from mortalsim.data.base import stratified_split
from mortalsim.data.makers import hybrid, jitter
from mortalsim.hardware import Task
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


def test_every_data_set_is_a_file_found_by_its_name():
    assert {"digits", "fashion-mnist", "mnist"} <= set(DATASETS.names())
    for name in DATASETS.names():
        assert issubclass(DATASETS.get(name), Source) and len(DATASETS.summary(name)) > 20


@pytest.mark.parametrize("name", [name for name in DATASETS.names() if name not in published.URLS])  # these have tests below
def test_every_data_set_keeps_the_contract(name: str):
    one, same, other = (data.load(name, Streams(seed)) for seed in (0, 0, 1))
    assert one.name == name
    pixels = one.train_x.shape[1]
    for part in ("train", "valid", "test"):
        x, y = getattr(one, f"{part}_x"), getattr(one, f"{part}_y")
        assert x.dtype == np.float32 and x.shape == (len(x), pixels) and len(x) and np.isfinite(x).all()
        assert x.min() >= 0 and x.max() <= 1
        np.testing.assert_array_equal(x, getattr(same, f"{part}_x"))
        if y is not None:
            assert y.dtype == np.int64 and y.shape == (len(x),) and set(np.unique(y)) <= set(range(one.classes))
            np.testing.assert_array_equal(y, getattr(same, f"{part}_y"))
    assert not all(np.array_equal(getattr(one, f"{part}_x"), getattr(other, f"{part}_x")) for part in ("train", "test"))
    assert one.task.classes == one.classes
    assert one.image_shape is None or np.prod(one.image_shape) == len(one.image_lines or range(pixels))


def test_a_file_put_there_is_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = """'Two empty images: nothing to learn.'
import numpy as np
from mortalsim.data.base import Dataset, Source

class Empty(Source):
    def load(self, streams):
        x = np.zeros((2, 4), np.float32)
        return Dataset("nothing-here", x, None, x, None, x, None, 0)
"""
    (tmp_path / "nothing_here.py").write_text(text)
    folders = [*data.__path__, str(tmp_path)]
    monkeypatch.setattr(data, "__path__", folders)
    monkeypatch.setattr(data.__spec__, "submodule_search_locations", folders)
    assert "nothing-here" in DATASETS.names()
    assert DATASETS.summary("nothing-here") == "Two empty images: nothing to learn."
    found = data.load("nothing-here", Streams(0))
    assert found.task == Task(0) and found.train_y is None
    assert build.load_data("nothing-here", Streams(0)).classes == 0
    with pytest.raises(DataError, match="expected labels for training, validation and test, found none in 'nothing-here'"):
        build.load_data("nothing-here", Streams(0), labelled=True)


# --- data laid out for a chip ---------------------------------------------------------------------------------------------


def pictures(pixels: int = 64, classes: int = 10) -> Dataset:
    """Samples whose pixels are all different."""
    x = np.arange(3 * pixels, dtype=np.float32).reshape(3, pixels) + 1
    y = np.arange(3) % classes
    return Dataset("pictures", x, y, 2 * x, y, 3 * x, y, classes, tuple(range(classes)), (8, 8))


def test_data_that_fit_are_left_alone():
    own = pictures()
    assert suited(own, load_design("mild").datasheet()) is own
    assert own.task == Task(10, tuple(range(10)), (8, 8))


@pytest.mark.parametrize("name", ["fields", "headless", "recurrent"])
def test_a_label_population_gets_lines_of_its_own_with_a_neutral_label(name: str):
    own, sheet = pictures(), load_design(name).datasheet()
    wide = suited(own, sheet)
    first, last = sheet.span("label")
    assert wide.label_lines == tuple(range(first, last)) and wide.image_lines == tuple(range(64))
    for part, original in ((wide.train_x, own.train_x), (wide.valid_x, own.valid_x), (wide.test_x, own.test_x)):
        assert part.shape == (3, 74) and part.dtype == np.float32
        np.testing.assert_array_equal(part[:, list(wide.image_lines)], original)
        np.testing.assert_array_equal(part[:, first:last], np.float32(0.1))
    assert wide.task == Task(10, tuple(range(64, 74)), (8, 8), tuple(range(64)))


def test_a_label_may_stand_before_the_image():
    fields = load_design("headless").fields()
    populations = [fields["population"][place] for place in (1, 0, 2, 3)]
    design = load_design("headless").revised(population=populations)
    wide = suited(pictures(), design.datasheet())
    assert wide.label_lines == tuple(range(10)) and wide.image_lines == tuple(range(10, 74))
    np.testing.assert_array_equal(wide.train_x[:, 10:], pictures().train_x)


@pytest.mark.parametrize(("name", "pixels", "classes"), [("fields", 60, 10), ("fields", 64, 7), ("mild", 54, 10)])
def test_data_that_fit_neither_way_are_named(name: str, pixels: int, classes: int):
    with pytest.raises(ShapeError, match=rf"expected samples of .* numbers .*found {pixels} numbers and {classes} classes"):
        suited(pictures(pixels, classes), load_design(name).datasheet())


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
        (gzip.compress(idx_bytes(np.zeros((2, 3))) + b"\0"), r"promises 2 x 3 = 6 bytes, found more"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "promises 3 dimensions and ends before"),
        (gzip.compress(b"\0\0\x08\x02" + b"\xff" * 8), "2 dimensions and 1.84e\\+19 bytes"),
        (gzip.compress(b"\0\0\x08\x09" + b"\0\0\0\1" * 9 + b"\0"), "9 dimensions and 1 bytes"),
    ],
    ids=["no gzip", "cut gzip", "another kind", "empty", "a byte short", "a byte more", "cut header", "huge", "deep"],
)
def test_idx_says_what_is_wrong(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_idx_unpacks_no_more_than_was_promised(tmp_path: Path):
    path = tmp_path / "x-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx_bytes(np.zeros((2, 3))))
        for _ in range(64):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DataError, match="found more"):
        read_idx(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a folder of 60 + 20 small images and make its checksums the published ones."""
    rng = np.random.default_rng(0)
    sums = {}
    for images, labels, n in ((published.TRAIN_X, published.TRAIN_Y, 60), (published.TEST_X, published.TEST_Y, 20)):
        for file, array in ((images, rng.integers(0, 256, (n, 28, 28))), (labels, np.arange(n) % 10)):
            content = gzip.compress(idx_bytes(array))
            (tmp_path / file).write_bytes(content)
            sums[file] = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(published.SHA256, "mnist", sums)
    monkeypatch.setenv("MORTALSIM_DATA", str(tmp_path))
    return tmp_path


def test_mnist_is_found_flat_or_in_its_subfolder(tiny_mnist: Path):
    flat = data.load("mnist", Streams(0))
    assert (flat.train_x.shape, flat.valid_x.shape, flat.test_x.shape) == ((50, 784), (10, 784), (20, 784))
    assert flat.label_lines == tuple(range(10)) and flat.image_shape == (28, 28)
    (tiny_mnist / "mnist").mkdir()
    for file in published.SHA256["mnist"]:
        (tiny_mnist / file).rename(tiny_mnist / "mnist" / file)
    np.testing.assert_array_equal(data.load("mnist", Streams(0)).test_x, flat.test_x)


def test_mnist_refuses_other_files(tiny_mnist: Path):
    with pytest.raises(DataError, match=r"fashion-mnist.*SHA-256 sum differs.*unset MORTALSIM_DATA"):
        data.load("fashion-mnist", Streams(0))
    (tiny_mnist / published.TEST_Y).unlink()
    with pytest.raises(DataError, match=f"{published.TEST_Y} does not exist"):
        data.load("mnist", Streams(0))


def test_mnist_download_failure_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MORTALSIM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(published.URLS, "mnist", "http://127.0.0.1:9/")  # the discard port: nobody listens
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
