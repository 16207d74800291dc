"""The folder that a run leaves behind: ``results.json``, ``config.json``, one PNG a figure, and ``report.html``.

It appears as a whole or not at all: everything is written into a hidden folder, which gets its name at the end.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mortalsim import __version__
from mortalsim.checks import OutputError
from mortalsim.report.page import page
from mortalsim.report.plots import draw
from mortalsim.report.results import Results

REPORTED_PACKAGES = ("numpy", "numba", "scipy")


@dataclass(frozen=True)
class RunRecord:
    """How a run was made; what ``config.json`` holds.

    Parameters
    ----------
    experiment, question, expected
        The experiment's name, what it asks, and what was expected.
    config
        Every field of the experiment, defaults included.
    designs
        Every field of each design, by the name or path that ``config`` gives it, sizes as in its file.
    seed
        The seed, which is also in ``config``.
    versions
        Of mortalsim, Python and the packages that compute.
    started
        Date and time with the zone, ISO 8601.
    seconds
        How long the run took.
    """

    experiment: str
    question: str
    expected: str
    config: dict[str, Any]
    designs: dict[str, dict[str, Any]]
    seed: int
    versions: dict[str, str]
    started: str
    seconds: float

    def write(self, folder: Path, results: Results) -> None:
        """Write all files of the run into ``folder``."""
        (folder / "config.json").write_text(_json(asdict(self)), encoding="utf-8")
        (folder / "results.json").write_text(
            _json({"experiment": self.experiment, **results.model_dump()}), encoding="utf-8"
        )
        render(folder)


def render(folder: Path) -> None:
    """Draw the pictures and write the page of a run folder anew from its two JSON files."""
    record = RunRecord(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    content.pop("experiment")
    results = Results.model_validate(content)
    pictures = {figure.name: draw(figure) for figure in results.figures}
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    html = page(record.experiment, record.question, record.expected, results, asdict(record), pictures)
    (folder / "report.html").write_text(html, encoding="utf-8")


@dataclass
class Folder:
    """A folder in the making: ``hidden`` is where to write, ``out`` where it lies once it is whole."""

    hidden: Path
    out: Path


@contextmanager
def new_folder(out: Path, *, numbered: bool = False) -> Iterator[Folder]:
    """Give a hidden folder to write into, which becomes ``out`` if the block ends well and vanishes otherwise.

    Parameters
    ----------
    out
        Where the folder is to lie.
    numbered
        If ``out`` is taken by then, use the first free one of ``out-2``, ``out-3`` and so on.

    Raises
    ------
    OutputError
        ``out`` exists already, or no folder can be made there; raised before the block is entered.
    """
    out = _free(Path(os.path.abspath(out))) if numbered else Path(os.path.abspath(out))
    if os.path.lexists(out):
        raise OutputError(f"out: {out} exists already. Choose another folder, or remove this one.")
    ground = out.parent
    while not os.path.lexists(ground):
        ground = ground.parent
    if ground.is_symlink() and not ground.exists():
        raise OutputError(f"out: {ground} is a link that leads nowhere. Choose another folder, or remove the link.")
    try:
        hidden = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=ground))
    except OSError as error:
        raise OutputError(
            f"out: no folder can be made in {ground} ({error.strerror}). Choose one that is writable."
        ) from error
    folder = Folder(hidden, out)
    try:
        yield folder
        hidden.chmod(0o777 & ~_umask())  # mkdtemp lets only the owner in
        out.parent.mkdir(parents=True, exist_ok=True)
        if numbered:
            folder.out = _free(out)
        elif os.path.lexists(out):
            raise OutputError(f"out: {out} was made by someone else during the run; nothing was written.")
        hidden.rename(folder.out)
    except BaseException:
        shutil.rmtree(hidden)
        raise


def _free(out: Path) -> Path:
    """Return ``out``, or the first of ``out-2``, ``out-3`` and so on, where nothing lies yet."""
    names = itertools.chain([out], (out.with_name(f"{out.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def versions() -> dict[str, str]:
    """Return the versions of what numbers depend on."""
    found = {package: importlib.metadata.version(package) for package in REPORTED_PACKAGES}
    return {"mortalsim": __version__, "python": platform.python_version(), **found}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
