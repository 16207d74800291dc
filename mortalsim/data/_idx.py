"""Reader of gzipped IDX files, the format of MNIST and its relatives (described at http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mortalsim.checks import DataError

UNSIGNED_BYTE = 0x08


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
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a gzipped IDX file, but it cannot be read ({error}). Fetch it again.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise DataError(
            f"{path}: expected an IDX file of bytes, which begins with 00 00 08; found {content[:4].hex(' ') or 'nothing'}."
        )
    dims = content[3]
    start = 4 + 4 * dims
    shape = tuple(int(size) for size in np.frombuffer(content[4:start].ljust(4 * dims, b"\0"), dtype=">u4"))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - start != expected:
        raise DataError(
            f"{path}: the header promises {' x '.join(map(str, shape))} = {expected} bytes, "
            f"found {max(len(content) - start, 0)}. The file was cut short or damaged; fetch it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
