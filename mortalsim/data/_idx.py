"""Reader of gzipped IDX files, the format of MNIST and its relatives (described at http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from mortalsim.checks import DataError

UNSIGNED_BYTE: Final = 0x08

#: The most dimensions and bytes that are read: MNIST's largest file has 3 and 47 million, EMNIST's 549 million.
DIMENSIONS: Final = 8
LARGEST: Final = 2**32


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of bytes that a gzipped IDX file holds.

    The file begins with two zero bytes, the type of number (only unsigned bytes are read here) and the number of
    dimensions; then each dimension's size as a big-endian 32-bit number; then the numbers, the last index fastest.

    Parameters
    ----------
    path
        A file ending in ``-ubyte.gz``.

    Raises
    ------
    DataError
        The file is absent, damaged, or of another format; the message says which.
    """
    try:
        with gzip.open(path) as file:
            shape = _shape(path, cast(BinaryIO, file))
            expected = math.prod(shape)
            # One byte more than promised shows a file that is too long, without unpacking what may be endless.
            content = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a gzipped IDX file, but it cannot be read ({error}). Fetch it again.") from error
    if len(content) != expected:
        found = "more" if len(content) > expected else str(len(content))
        raise DataError(
            f"{path}: the header promises {' x '.join(map(str, shape))} = {expected} bytes, found {found}. "
            "The file was cut short or damaged; fetch it again."
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape(path: Path, file: BinaryIO) -> tuple[int, ...]:
    """Return the sizes that the header promises."""
    begin = file.read(4)
    if len(begin) < 4 or begin[:2] != b"\0\0" or begin[2] != UNSIGNED_BYTE:
        raise DataError(
            f"{path}: expected an IDX file of bytes, which begins with 00 00 08; found {begin.hex(' ') or 'nothing'}."
        )
    sizes = file.read(4 * begin[3])
    if len(sizes) < 4 * begin[3]:
        raise DataError(
            f"{path}: the header promises {begin[3]} dimensions and ends before. The file was cut short; fetch it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if len(shape) > DIMENSIONS or math.prod(shape) > LARGEST:
        raise DataError(
            f"{path}: expected an IDX file of at most {DIMENSIONS} dimensions and {LARGEST} bytes; its header promises "
            f"{len(shape)} dimensions and {math.prod(shape):.3g} bytes. The file is damaged; fetch it again."
        )
    return shape
