"""Machine code that is kept for later processes: known to be whole, and to be made from the sources as they are.

numba compares the contents of a kernel's own file alone, so after an edit of a law in another file the old law would go on
running, and it runs damaged machine code as it finds it. Here each file begins with a digest of its content and of all
that the content was made from. What does not fit is as good as absent: it is compiled anew and written over.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from mortalsim.registry import files_in

_BYTES = hashlib.sha256().digest_size


def digest_of(folder: Path) -> bytes:
    """Return a digest of the sources in a ``folder``, by content, and of the versions that make machine code of them."""
    digest = hashlib.sha256(f"{sys.version} {numba.__version__} {llvmlite.__version__}".encode())
    for source in sorted((file for file in files_in(str(folder)) if file.name.endswith(".py")), key=lambda file: file.name):
        content = source.read_bytes()
        digest.update(f"\0{source.name}\0{len(content)}\0".encode() + content)
    return digest.digest()


#: Of this room, read when it is imported: what is edited later, in a notebook's lifetime say, is not what runs.
SOURCES = digest_of(Path(__file__).parent)


class SealedCache(FunctionCache):
    """The machine code of one function; as numba's, but each file is sealed with a digest.

    Parameters
    ----------
    function
        A function of this room.

    Raises
    ------
    RuntimeError, ValueError, OSError
        There is no folder that can be written.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        own = repr(self._impl.locator.get_source_stamp()).encode()
        stamp = hashlib.sha256(SOURCES + own).digest()
        self._cache_file = self._files = _SealedFiles(self._cache_path, self._impl.filename_base, stamp)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(self._cache_path)

    @property
    def files(self) -> list[Path]:
        """All its files, also those of another place in the source."""
        base, _, tag = self._impl.filename_base.rpartition(".")
        return list(self.folder.glob(f"{base.rpartition('-')[0]}-*.{tag}*.nb[ic]"))

    @property
    def holds(self) -> bool:
        """Whether there is machine code that is whole and up to date."""
        return self._files.whole()


class _SealedFiles(IndexDataCacheFile):
    """As numba's files, but each begins with a digest of what follows and of the stamp that the code was made under."""

    def whole(self) -> bool:
        names = self._load_index().values()
        return bool(names) and all(self._opened(self._data_path(name)) is not None for name in names)

    def _load_index(self) -> dict[Any, str]:
        content = self._opened(self._index_path)
        found: dict[Any, str] = {} if content is None else pickle.loads(content)  # noqa: S301 - sealed
        return found

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._seal(self._index_path, overloads)

    def _load_data(self, name: str) -> Any:
        content = self._opened(self._data_path(name))
        if content is None:
            raise OSError("not whole, or not up to date")  # for numba: as good as absent
        return pickle.loads(content)  # noqa: S301 - sealed

    def _save_data(self, name: str, data: Any) -> None:
        self._seal(self._data_path(name), data)

    def _seal(self, path: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(path) as file:
            file.write(self._digest(content) + content)

    def _opened(self, path: str) -> bytes | None:
        """Return what is sealed in a file; None if there is none, or it is damaged, foreign or stale."""
        try:
            found = Path(path).read_bytes()
        except OSError:
            return None
        content = found[_BYTES:]
        return content if found[:_BYTES] == self._digest(content) else None

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._source_stamp + content).digest()
