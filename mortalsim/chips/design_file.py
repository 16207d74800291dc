"""Where designs come from: shipped ones by name, others from a TOML file that is read with care."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from mortalsim.checks import DesignError, check_name
from mortalsim.chips.design import Design, build_design
from mortalsim.texts import printable

#: Bytes of the largest file that is read; the longest shipped one has two thousand.
LARGEST: Final = 2**20

#: Parts of a key, joined by dots, that `tomllib` is given to read: its time grows with the square of their number.
PARTS: Final = 64

_DESIGN: Final = re.compile(r"\w[\w-]*\.toml")

_LONG_KEY: Final = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){{{PARTS}}}")


def design_names() -> list[str]:
    """Return the names of the shipped designs, mildest first."""
    order = {name: place for place, name in enumerate(("ideal", "mild", "harsh", "wild"))}
    return sorted(_shipped(), key=lambda name: (order.get(name, len(order)), name))


def design_summaries() -> dict[str, str]:
    """Return of every shipped design the name and the line that says what it is, or what is wrong with its file."""
    found = {}
    for name, file in sorted(_shipped().items()):
        try:
            found[name] = printable(str(_read(file, f"design {name!r}")[0].get("summary", "")))
        except DesignError as error:
            found[name] = f"cannot be read: {error}"
    return found


def _shipped() -> dict[str, Path | Traversable]:
    """Return the files of the shipped designs by name; an editor's lock or backup is none."""
    files = (resources.files("mortalsim.chips") / "designs").iterdir()
    return {file.name.removesuffix(".toml"): file for file in files if _DESIGN.fullmatch(file.name) and file.is_file()}


def load_design(name: str | Path) -> Design:
    """Read a design by its shipped name or from a TOML file, in UTF-8, of at most `LARGEST` bytes.

    Raises
    ------
    UnknownName
        ``name`` is neither a shipped design nor a path that ends in ``.toml``.
    DesignError
        The file cannot be read, is not TOML, or a field in it is unknown or out of range.
    """
    if not isinstance(name, str | Path):
        raise DesignError(f"design: expected a name or a path, found {type(name).__name__} {name!r:.80}. Write 'mild', say.")
    if str(name).endswith(".toml"):
        return build_design(*_read(Path(name), f"design file {printable(str(name))}"))
    check_name("design", printable(str(name)), design_names())
    return build_design(*_read(_shipped()[str(name)], f"design {name!r}"))


def _read(path: Path | Traversable, where: str) -> tuple[dict[str, Any], str]:
    """Return a file's fields, and ``where`` again."""
    try:
        content = _bytes_of(path, where) if isinstance(path, Path) else path.read_bytes()  # it may lie in an archive
        text = content.decode("utf-8-sig")
        if _LONG_KEY.search(text):
            raise DesignError(f"{where}: expected keys of at most {PARTS} parts, found a longer one. Write tables instead.")
        return tomllib.loads(text), where
    except OSError as error:
        advice = f"Write a shipped name ({', '.join(design_names())}) or the path of a TOML file."
        raise DesignError(f"{where}: cannot be read ({error.strerror}). {advice}") from error
    except RecursionError as error:
        raise DesignError(
            f"{where}: lists and tables lie too deep in each other. Write what the reference lists."
        ) from error
    except DesignError:
        raise
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise DesignError(f"{where}: not valid TOML: {error!s:.300}") from error


def _bytes_of(path: Path, where: str) -> bytes:
    """Return what a file holds. Nothing else is read: a pipe might never begin, and a device might never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(0, "it is a folder")
        if not stat.S_ISREG(kind):
            raise OSError(0, "it is no plain file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DesignError(f"{where}: expected a file of at most {LARGEST} bytes, found a larger one. Is it a design at all?")
    return content
