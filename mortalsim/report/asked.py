"""What a run was asked, by value: every field, design and hyper-parameter, its data, versions and processor."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

import mortalsim
from mortalsim.files import differences, jsonable

REPORTED_PACKAGES = ("numpy", "numba", "scipy")

#: Fields of an experiment that change nothing about what is found.
FREE = ("jobs", "out")


@dataclass(frozen=True)
class Asked:
    """What ``config.json`` holds.

    Parameters
    ----------
    experiment, question, expected
        The experiment's name, what it asks, and what was expected.
    command
        The command line, or what Python was told.
    config
        Every field of the experiment, defaults included.
    designs
        Every field of each design, by the name or path that ``config`` gives it, sizes as in its file.
    learners
        Of each learner its hyper-parameters, by the name that ``config`` gives it.
    data
        Name, digest and sizes of the data set; empty if there is none.
    chips
        Of each design the identity of every chip: the design's digest, and the seed and path of the chip's streams.
    seed
        The seed, which is also in ``config``.
    versions, machine
        Of mortalsim, Python and the packages that compute; and the kind of processor, which last bits depend on.
    started
        Date and time with the zone, ISO 8601.
    resumed
        One entry for each time that the run was gone on with: when, and what differed then and was let pass.
    """

    experiment: str
    question: str
    expected: str
    command: str
    config: dict[str, Any]
    designs: dict[str, dict[str, Any]]
    learners: dict[str, dict[str, Any]]
    data: dict[str, Any]
    chips: dict[str, list[dict[str, Any]]]
    seed: int
    versions: dict[str, str]
    machine: dict[str, str]
    started: str
    resumed: tuple[dict[str, Any], ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        content: dict[str, Any] = jsonable(dataclasses.asdict(self))
        return content

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Asked:
        """Return what `plain` gave; fields that are missing or unknown raise `TypeError`."""
        return cls(**{**content, "resumed": tuple(content.get("resumed", ()))})

    def other_values(self, wanted: Asked) -> list[str]:
        """Return what ``wanted`` asks for otherwise than this run did, a phrase a field."""
        there, here = self.plain(), wanted.plain()
        for content in (there, here):
            content["config"] = {name: value for name, value in content["config"].items() if name not in FREE}
        names = ("experiment", "config", "designs", "learners", "data")
        found = [phrase for name in names for phrase in differences(there[name], here[name], _WHERE[name])]
        # A field of the experiment explains what follows from it.
        return [phrase for phrase in found if phrase.startswith(_WHERE["config"])] or found

    def other_ground(self, wanted: Asked) -> list[str]:
        """Return in which versions, or kind of processor, ``wanted`` differs from this run, a phrase each."""
        here = {"versions": wanted.versions, "machine": wanted.machine}
        return differences({"versions": self.versions, "machine": self.machine}, here)


_WHERE = {"experiment": "experiment", "config": "option", "designs": "design", "learners": "learner", "data": "data"}


def versions() -> dict[str, str]:
    """Return the versions of what numbers depend on; of this package also a digest of its code."""
    found = {package: importlib.metadata.version(package) for package in REPORTED_PACKAGES}
    own = f"{mortalsim.__version__} ({_code()})"
    return {"mortalsim": own, "python": platform.python_version(), **found}


def machine() -> dict[str, str]:
    """Return what last bits depend on beside versions: the instruction set, and the kernels that BLAS chose for it."""
    blas = [one for one in threadpool_info() if one.get("user_api") == "blas"]
    kinds = sorted({f"{one.get('internal_api')} {one.get('version')} {one.get('architecture', '')}".strip() for one in blas})
    return {"processor": platform.machine(), "blas": ", ".join(kinds)}


@functools.cache
def _code() -> str:
    """Return eight hexadecimal digits that stand for the package's sources and designs."""
    digest, root = hashlib.sha256(), Path(mortalsim.__file__).parent
    if not root.is_dir():
        return "packed"
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.toml")]):
        if path.is_file():
            digest.update(str(path.relative_to(root)).encode("utf-8", "surrogateescape") + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]
