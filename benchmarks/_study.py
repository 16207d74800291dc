"""Long studies over worker processes, kept in a folder of their own so that one that was cut off goes on."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mortalsim.experiments._parallel import run_tasks
from mortalsim.report.asked import Asked, machine, versions
from mortalsim.report.store import Keeper, Store

#: Where studies are kept, in the current folder.
STUDIES = Path("runs/studies")


@dataclass(frozen=True)
class Piece:
    """A piece of a study: its name, what to do, and with what."""

    name: str
    work: Callable[[Any], Any]
    task: Any


def do(piece: Piece, keeper: Keeper) -> Any:
    """Do a piece of a study."""
    return piece.work(piece.task)


def study(work: Callable[[Any], Any], tasks: Sequence[Any], label: str, jobs: int = 0, folder: Path = STUDIES) -> list[Any]:
    """Return ``[work(task) for task in tasks]``, of what JSON can hold; what was done before is not done again."""
    pieces = [Piece(label, work, task) for task in tasks]
    started = datetime.datetime.now().astimezone().isoformat()
    config = {"tasks": [repr(task) for task in tasks]}
    asked = Asked(label, "a study", "", label, config, {}, {}, {}, {}, 0, versions(), machine(), started)
    name = "".join(letter if letter.isalnum() else "-" for letter in label)
    store = Store.begin(folder / name, asked)
    try:
        return run_tasks(do, pieces, store, Any, jobs, label)
    finally:
        store.close()
