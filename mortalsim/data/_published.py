"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 28 x 28 pixels, 60,000 + 10,000 images.

The four files are taken from the folder named by the environment variable MORTALSIM_DATA (its subfolder ``mnist`` or
``fashion-mnist``, or the folder itself), or else downloaded once into the user's cache. Their SHA-256 sums are checked.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from mortalsim.checks import DataError
from mortalsim.data._idx import read_idx
from mortalsim.data.base import Dataset
from mortalsim.streams import Streams

URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
SHA256 = {
    "mnist": {
        TRAIN_X: "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
        TRAIN_Y: "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
        TEST_X: "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
        TEST_Y: "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
    },
    "fashion-mnist": {
        TRAIN_X: "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        TRAIN_Y: "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        TEST_X: "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        TEST_Y: "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    },
}
#: Pixels on which a label may be written. Of MNIST the first ten of the top row, as in ``ffnew.m``, dark in every image. Of
#: Fashion-MNIST the ten of least variance over the published training images: 0.3 % of the images have ink there.
QUIET = {"mnist": tuple(range(10)), "fashion-mnist": (0, 1, 2, 27, 28, 29, 56, 84, 756, 783)}
VALID_SHARE = 6  # one of six training images validates: 10,000 of 60,000


def load(name: str, streams: Streams) -> Dataset:
    """Return MNIST or Fashion-MNIST: 50,000 and 10,000 of the published training images, and the 10,000 test images."""
    folder = find(name)
    x, y = _images(folder / TRAIN_X), read_idx(folder / TRAIN_Y).astype(np.int64)
    order = streams.generator("data", name, "valid").permutation(len(y))
    valid, train = np.split(order, [len(y) // VALID_SHARE])
    test_x, test_y = _images(folder / TEST_X), read_idx(folder / TEST_Y).astype(np.int64)
    return Dataset(name, x[train], y[train], x[valid], y[valid], test_x, test_y, 10, QUIET[name], (28, 28))


def find(name: str) -> Path:
    """Return the folder that holds the four files of ``name``, downloading them if no folder was named.

    Raises
    ------
    DataError
        MORTALSIM_DATA is set but lacks the files or holds other ones, or the download failed.
    """
    named = os.environ.get("MORTALSIM_DATA")
    if not named:
        return _download(name)
    complaints = []
    for folder in (Path(named) / name, Path(named)):
        complaint = _complaint(name, folder)
        if complaint is None:
            return folder
        complaints.append(complaint)
    raise DataError(
        f"MORTALSIM_DATA: found no complete copy of {name}: {'; '.join(complaints)}. "
        f"Put the four files from {URLS[name]} there, or unset MORTALSIM_DATA to have them downloaded."
    )


def _complaint(name: str, folder: Path) -> str | None:
    for file, expected in SHA256[name].items():
        path = folder / file
        if not path.is_file():
            return f"{path} does not exist"
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            return f"{path} is not the published file (its SHA-256 sum differs)"
    return None


def _download(name: str) -> Path:
    import platformdirs
    import pooch  # type: ignore[import-untyped, unused-ignore]

    cache = Path(platformdirs.user_cache_dir("mortalsim")) / name
    store = pooch.create(
        path=cache, base_url=URLS[name], registry={file: f"sha256:{sha}" for file, sha in SHA256[name].items()}
    )
    pooch.get_logger().setLevel("ERROR")
    try:
        for file in SHA256[name]:
            store.fetch(file)
    except (OSError, ValueError) as error:  # pooch: network errors are OSError, a wrong checksum is ValueError
        raise DataError(
            f"{name}: cannot download {URLS[name]} ({error}). Set MORTALSIM_DATA to a folder that holds the four files, "
            "or use the data set digits, which needs no download."
        ) from error
    return cache


def _images(path: Path) -> np.ndarray:
    pixels = read_idx(path)
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
