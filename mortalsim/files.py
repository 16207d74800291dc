"""Files that are kept: written whole or not at all, and known to be whole, and ours, when they are read.

Every file gets a temporary name, is flushed to the disk, and takes its own name last. Inside stand the format's number, what
kind of file it is, and a checksum of all else. JSON holds what a person may want to read, safetensors hold arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from mortalsim.checks import OutputError, RunError

#: Number of the format that is written; files of a higher one are refused.
FORMAT = 1

#: Bytes of the largest file that is read.
LARGEST = 1 << 36

_PART = re.compile(r"\.\d+\.part$")


def write_bytes(path: Path, content: bytes, *, before: Path | None = None) -> None:
    """Write a file whole or not at all, and have it on the disk when this returns.

    Parameters
    ----------
    path
        Where it shall lie; its folder must exist.
    content
        All of it.
    before
        What the file that lies there now is to be called from then on; None: it is replaced.

    Raises
    ------
    OutputError
        The file cannot be written; what lay there before still lies there.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if before is not None and path.exists():
                os.replace(path, before)
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        _flush_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}). Make room or choose a folder that is writable."
        ) from error


def _flush_folder(folder: Path) -> None:
    """Have a folder's new names on the disk, where the system can do that."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse, and keep their own order
            os.fsync(number)
    finally:
        os.close(number)


def remove_parts(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in ``folder`` and below."""
    for path in folder.rglob("*.part"):
        if _PART.search(path.name):
            with suppress(OSError):
                path.unlink()


def write_json(path: Path, kind: str, content: Mapping[str, Any], *, before: Path | None = None) -> None:
    """Write ``content`` as JSON with format, kind and checksum; numbers that are not finite become text.

    Raises
    ------
    OutputError
        As `write_bytes`.
    """
    body = {"format": FORMAT, "kind": kind, **jsonable(content)}
    text = json.dumps({**body, "checksum": _sum_of(body)}, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    write_bytes(path, text.encode("ascii"), before=before)


def read_json(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Return the content that `write_json` was given.

    Parameters
    ----------
    path
        The file.
    kind
        What it must be.
    remedy
        What to do about a file that cannot be used, a sentence for the message.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CutOff
        It is empty or ends too early.
    RunError
        It is damaged, foreign, of another kind, or of a newer format.
    """
    content = _read(path, remedy)
    try:
        body = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CutOff(f"{path}: it is cut off or damaged ({_short(error)}). {remedy}") from error
    if not isinstance(body, dict):
        raise RunError(f"{path}: expected a file of mortalsim's, found other JSON. {remedy}")
    found = body.pop("checksum", None)
    _check_kind(path, body.get("format"), body.get("kind"), kind, remedy)
    if found != _sum_of(body):
        raise RunError(f"{path}: it was changed or damaged since it was written (its checksum differs). {remedy}")
    return {name: value for name, value in body.items() if name not in ("format", "kind")}


def write_arrays(
    path: Path, kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], *, before: Path | None = None
) -> None:
    """Write named ``arrays`` and some ``facts`` that JSON can hold as safetensors.

    Raises
    ------
    OutputError
        As `write_bytes`.
    """
    # Not `ascontiguousarray`, which gives what has no dimension one.
    tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # What is checked is the file as it will be, less the checksum; 64 zeros stand in its place meanwhile.
    told = {"format": str(FORMAT), "kind": kind, "facts": json.dumps(jsonable(facts), sort_keys=True), "checksum": _ZEROS}
    content = save_tensors(tensors, told)
    digest = hashlib.sha256(content).hexdigest()
    place = content.index(_ZEROS.encode())
    write_bytes(path, b"".join((content[:place], digest.encode(), content[place + len(_ZEROS) :])), before=before)


def read_arrays(path: Path, kind: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and facts that `write_arrays` was given; parameters and errors as `read_json` has them."""
    content = _read(path, remedy)
    length = int.from_bytes(content[:8], "little")
    try:
        told = json.loads(content[8 : 8 + length])["__metadata__"]
        found, facts = str(told["checksum"]), json.loads(told["facts"])
        version, own = int(told["format"]), str(told["kind"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if len(content) < 8 + length and length < LARGEST:
            raise CutOff(f"{path}: it is cut off. {remedy}") from error
        raise RunError(
            f"{path}: expected a file of mortalsim's, found something else ({_short(error)}). {remedy}"
        ) from error
    _check_kind(path, version, own, kind, remedy)
    bare = content.replace(found.encode(), _ZEROS.encode(), 1) if len(found) == len(_ZEROS) else b""
    try:
        if hashlib.sha256(bare).hexdigest() != found:
            raise CutOff(f"{path}: it is cut off or damaged (its checksum differs). {remedy}")
        return load_tensors(content), facts
    except SafetensorError as error:
        raise CutOff(f"{path}: it is cut off or damaged ({_short(error)}). {remedy}") from error


class CutOff(RunError):
    """A file that is not whole: the process or the power ended while it was written."""


_ZEROS = "0" * 64


def jsonable(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: numbers of numpy become Python's, those that are not finite become text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def differences(there: Any, here: Any, where: str = "") -> list[str]:
    """Return what differs between two trees of plain data, a phrase each: ``chips is 3 there and 5 here``."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        names = [*here, *(name for name in there if name not in here)]
        inner = (differences(there.get(n), here.get(n), f"{where}.{n}" if where else str(n)) for n in names)
        return [phrase for phrases in inner for phrase in phrases]
    return [] if there == here else [f"{where} is {_shown(there)} there and {_shown(here)} here"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def digest_of(*arrays: Any) -> str:
    """Return hexadecimal digits that stand for the contents, kinds and shapes of arrays; None stands for no array."""
    digest = hashlib.blake2b(digest_size=16)
    for given in arrays:
        if given is None:
            digest.update(b"none;")
            continue
        array = np.asarray(given, order="C")
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read(path: Path, remedy: str) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise RunError(f"{path}: expected a file, found something else. {remedy}")
        if path.exists() and path.stat().st_size > LARGEST:
            raise RunError(f"{path}: expected at most {LARGEST:,} bytes, found {path.stat().st_size:,}. {remedy}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error}). {remedy}") from error
    if not content:
        raise CutOff(f"{path}: it is empty. {remedy}")
    return content


def _check_kind(path: Path, version: Any, found: Any, kind: str, remedy: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1 or not isinstance(found, str):
        raise RunError(f"{path}: expected a file of mortalsim's, found something else. {remedy}")
    if version > FORMAT:
        raise RunError(
            f"{path}: it was written by a newer mortalsim (format {version}; this one reads up to {FORMAT}). "
            "Use the mortalsim that wrote it, or a newer one."
        )
    if found != kind:
        raise RunError(f"{path}: expected a file of the kind {kind!r}, found {found!r}. {remedy}")


def _sum_of(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
