"""The folder of a run that lives: what was asked, how far it is, what is finished, and training under way.

::

    config.json             what was asked, by value; there is a copy in tasks
    progress.json           how far it is; made anew while the run goes on
    lock                    held by the one process that writes; gone when the run has ended
    tasks/001-mild-ff-0/    one folder for each task
        training.safetensors    a chip and its learner, also in the middle of training
        row.json                what the task found
    results.json            what was found by all
    NAME.png, report.html   made from results.json and config.json
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from mortalsim.checks import OutputError, RunError
from mortalsim.files import CutOff, jsonable, read_arrays, read_json, remove_parts, write_arrays, write_json
from mortalsim.report.asked import Asked
from mortalsim.report.results import Results
from mortalsim.training import Checkpoint

T = TypeVar("T")

CONFIG, RESULTS, PROGRESS, LOCK, TASKS = "config.json", "results.json", "progress.json", "lock", "tasks"

#: Files that a run makes before it has said what it was asked; a folder that holds nothing else is as good as new.
_UNBORN = (LOCK, TASKS)


class Chip(Protocol):
    """A chip whose changing state can be kept."""

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all that changes, as named arrays."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back a snapshot of this same individual."""
        ...


class Keeper:
    """What one task has finished, in a folder of its own; a task that is begun again finds it there.

    Parameters
    ----------
    folder
        The task's folder; it is made if it does not exist.
    tell
        Called with whatever shows how far the task is; None: nobody listens.
    """

    def __init__(self, folder: Path, tell: Callable[[Any], None] | None = None) -> None:
        self.folder, self.tell = folder, tell or (lambda standing: None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: no folder can be made ({error.strerror}). Make room, then resume.") from error

    def once(self, name: str, make: Callable[[], T], kind: Any = Any, chips: Mapping[str, Chip] | None = None) -> T:
        """Return what ``make`` gives; a task that is begun again gets it from the folder instead.

        Parameters
        ----------
        name
            What it is called, once a task.
        make
            Does the work.
        kind
            Its type, as pydantic understands it: a frozen dataclass, a list of numbers.
        chips
            Chips that the work changes, by name: their states are kept with its result, and given back with it.

        Raises
        ------
        RunError
            What lies there is damaged, foreign or of another chip.
        OutputError
            The result cannot be written.
        """
        adapter: TypeAdapter[T] = TypeAdapter(kind)
        path = self.folder / f"{name}.safetensors"
        remedy = f"Delete it; the run then makes it anew: mortalsim resume {self.folder.parent.parent}"
        with suppress(FileNotFoundError, CutOff):
            arrays, facts = read_arrays(path, "once", remedy)
            for place, chip in (chips or {}).items():
                own = f"{place}/"
                chip.restore({key.removeprefix(own): value for key, value in arrays.items() if key.startswith(own)})
            return _valid(adapter, facts.get("value"), path, remedy)
        value = make()
        states = {f"{place}/{key}": array for place, chip in (chips or {}).items() for key, array in chip.snapshot().items()}
        write_arrays(path, "once", states, {"value": adapter.dump_python(value)})
        return value

    def checkpoint(self, name: str, chip: Chip, **facts: Any) -> Checkpoint:
        """Return where the training of ``chip`` called ``name`` is kept; ``facts`` are written beside it."""
        return Checkpoint(self.folder / f"{name}.safetensors", chip.snapshot, chip.restore, facts=facts)

    def tidy(self) -> None:
        """Remove what served only while the task went on."""
        for path in self.folder.glob("*.before.safetensors"):
            path.unlink(missing_ok=True)
        remove_parts(self.folder)


def _valid(adapter: TypeAdapter[T], value: Any, path: Path, remedy: str) -> T:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise RunError(f"{path}: it does not hold what belongs there ({error.errors()[0]['msg']}). {remedy}") from error


class Store:
    """A run's folder, held by this process alone.

    Parameters
    ----------
    folder
        Where it is.
    asked
        What the run was asked.
    lock
        Held until `close`.
    """

    def __init__(self, folder: Path, asked: Asked, lock: FileLock) -> None:
        self.folder, self.asked, self._lock = folder, asked, lock

    @classmethod
    def begin(cls, out: Path, asked: Asked, *, numbered: bool = False, anyway: bool = False) -> Store:
        """Return the folder of a run: a new one, or the one that the same run has left unfinished.

        Parameters
        ----------
        out
            Where it is to be.
        asked
            What is asked.
        numbered
            If ``out`` is taken, use the first free one of ``out-2``, ``out-3`` and so on.
        anyway
            Go on also with other versions or on another kind of processor; that is put on record.

        Raises
        ------
        OutputError
            No folder can be made there, or something else lies there.
        RunError
            Another process is at it; or the run there was asked for other values; or its files are damaged.
        """
        folder = _made(Path(os.path.abspath(out)), numbered)
        lock = hold(folder)
        try:
            there = asked_in(folder)
            if there is None:
                _write_asked(folder, asked)
                return cls(folder, asked, lock)
            return cls(folder, _gone_on(folder, there, asked, anyway), lock)
        except BaseException:
            lock.release()
            raise

    @property
    def finished(self) -> Results | None:
        """What was found, if the run has come to its end."""
        try:
            return results_in(self.folder)
        except CutOff:
            return None  # the power went while it was written; the rows are all there

    def keeper(self, name: str, tell: Callable[[Any], None] | None = None) -> Keeper:
        """Return the keeper of the task called ``name``."""
        return Keeper(self.folder / TASKS / name, tell)

    def row(self, name: str, kind: Any) -> Any:
        """Return what the task called ``name`` found; None if it is not finished."""
        return row_in(self.folder, name, kind)

    def finish(self, results: Results) -> None:
        """Write what was found; nothing that comes after can take it away."""
        write_json(self.folder / RESULTS, "results", {"experiment": self.asked.experiment, **finite(results.model_dump())})

    def close(self) -> None:
        """Let go of the folder."""
        remove_parts(self.folder)
        self._lock.release()
        with suppress(OSError):
            (self.folder / LOCK).unlink()


def write_row(folder: Path, row: Any, seconds: float, kind: Any) -> None:
    """Write what a task found into its ``folder``."""
    write_json(folder / "row.json", "row", {"row": TypeAdapter(kind).dump_python(row), "seconds": seconds})


def row_in(folder: Path, name: str, kind: Any) -> Any:
    """Return what a task of the run in ``folder`` found; None if it is not finished."""
    path = folder / TASKS / name / "row.json"
    remedy = f"Delete it; its task is then done anew: mortalsim resume {folder}"
    try:
        content = read_json(path, "row", remedy)
    except (FileNotFoundError, CutOff):
        return None
    return _valid(TypeAdapter(kind), content.get("row"), path, remedy)


def seconds_in(folder: Path, name: str) -> float:
    """Return how long a finished task of the run in ``folder`` took."""
    return float(read_json(folder / TASKS / name / "row.json", "row", "").get("seconds", 0.0))


def asked_in(folder: Path) -> Asked | None:
    """Return what the run in ``folder`` was asked; None if it has not come so far.

    Raises
    ------
    RunError
        The file is damaged, foreign or newer.
    """
    path, broken = folder / CONFIG, None
    for place in (path, folder / TASKS / CONFIG):  # the second is for a day when the first was cut off
        try:
            return Asked.of(
                read_json(place, "config", "Without it nobody knows what was asked: begin anew in another folder.")
            )
        except FileNotFoundError:
            continue
        except CutOff as error:
            broken = broken or error
        except TypeError as error:
            raise RunError(f"{place}: it lacks what belongs there ({error}). Begin anew in another folder.") from error
    if broken is not None:
        raise broken
    return None


def results_in(folder: Path) -> Results | None:
    """Return what the run in ``folder`` found; None if it is not finished."""
    path = folder / RESULTS
    remedy = f"Delete it; it is then made anew from the tasks: mortalsim resume {folder}"
    try:
        content = read_json(path, "results", remedy)
    except FileNotFoundError:
        return None
    content.pop("experiment", None)
    try:
        return Results.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{path}: it does not hold what belongs there ({error.errors()[0]['msg']}). {remedy}") from error


def hold(folder: Path) -> FileLock:
    """Return the lock of a run's folder, held by this process from now on.

    Raises
    ------
    RunError
        Another process holds it.
    OutputError
        There can be no lock.
    """
    lock = FileLock(str(folder / LOCK), thread_local=False)
    try:
        lock.acquire(timeout=2)  # a process that was just killed may need a moment to be gone
    except Timeout as error:
        raise RunError(
            f"{folder}: another process is at this run. Wait for it, look with `mortalsim status {folder}`, or choose "
            "another folder."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{folder}: it cannot be locked ({error}). Choose a folder on another disk.") from error
    return lock


def held(folder: Path) -> bool:
    """Return whether some process is at the run in ``folder``."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(str(folder / LOCK), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return True
    lock.release()
    return False


def finite(value: Any) -> Any:
    """Return plain data in which numbers that are not finite are None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    plain = jsonable(value)
    return None if isinstance(plain, str) and not isinstance(value, str) else plain


def _made(out: Path, numbered: bool) -> Path:
    """Return a folder that exists and is new, or that a run has made."""
    names = itertools.chain([out], (out.with_name(f"{out.name}-{number}") for number in itertools.count(2)))
    for folder in names if numbered else [out]:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            pass
        except OSError as error:
            raise OutputError(
                f"out: no folder can be made at {folder} ({error.strerror}). Choose one that is writable."
            ) from error
    _check_ours(out)
    return out


def _check_ours(out: Path) -> None:
    if out.is_symlink() and not out.exists():
        raise OutputError(f"out: {out} is a link that leads nowhere. Choose another folder, or remove the link.")
    if not out.is_dir():
        raise OutputError(f"out: {out} exists already and is no folder. Choose another name.")
    if not (out / CONFIG).exists() and not (out / TASKS / CONFIG).exists():
        others = [path.name for path in out.iterdir() if path.name not in _UNBORN and not path.name.endswith(".part")]
        if others:
            raise OutputError(
                f"out: {out} exists already and is no run folder; it holds {others[0]}. Choose another folder, or remove it."
            )


def _gone_on(folder: Path, there: Asked, asked: Asked, anyway: bool) -> Asked:
    """Return what a run was asked that is gone on with; refuse other values, and other ground unless ``anyway``."""
    other = there.other_values(asked)
    if other:
        state = "finished" if (folder / RESULTS).exists() else "unfinished"
        raise RunError(
            f"out: {folder} holds a run ({state}) that was asked otherwise: {'; '.join(other)}. Ask for the same, or choose "
            f"another folder; `mortalsim resume {folder}` goes on with what was asked there."
        )
    ground = there.other_ground(asked)
    if (folder / RESULTS).exists():
        return there
    if ground and not anyway:
        raise RunError(
            f"{folder}: the run was begun on other ground, where numbers may differ in their last digits: "
            f"{'; '.join(ground)}. Add --anyway to go on all the same; that is then put on record."
        )
    remove_parts(folder)
    entry = {"at": asked.started, **({"anyway": ground} if ground else {})}
    new = dataclasses.replace(there, resumed=(*there.resumed, entry))
    _write_asked(folder, new)
    return new


def _write_asked(folder: Path, asked: Asked) -> None:
    """Write what was asked, twice: without it a night's work could not be gone on with."""
    try:
        (folder / TASKS).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / TASKS}: no folder can be made ({error.strerror}). Make room, then resume.") from error
    write_json(folder / TASKS / CONFIG, "config", asked.plain())
    write_json(folder / CONFIG, "config", asked.plain())
