"""Independent tasks: over worker processes or a cluster, each kept as soon as it is done, rows in the order of the tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

import joblib
from joblib.parallel import get_active_backend
from pydantic import Field
from threadpoolctl import threadpool_limits

from mortalsim.experiments._workers import can_start, spread
from mortalsim.kernels import compile_all
from mortalsim.parallel import one_blas_thread
from mortalsim.report.progress import Watch
from mortalsim.report.store import TASKS, Keeper, Store, seconds_in, write_row


class Task(Protocol):
    """What one piece of work is told; everything in it is a value that was checked, and no name to be read again."""

    @property
    def name(self) -> str:
        """What the task is called, in messages and as the end of its folder's name."""
        ...


T = TypeVar("T", bound=Task)
R = TypeVar("R")

#: The field of experiments that use several processes; it never changes what is found.
Jobs: TypeAlias = Annotated[
    int, Field(ge=0, le=4096, description="worker processes, one computing thread each; 0: one for every core")
]


@dataclass(frozen=True)
class _Work:
    """A task's work and what keeps it; can be sent to another process.

    Parameters
    ----------
    work
        The work itself.
    folder
        Of all tasks.
    kind
        The rows' type.
    """

    work: Callable[[Any, Keeper], Any]
    folder: Path
    kind: Any

    def __call__(self, named: tuple[str, Any], tell: Callable[[Any], None] | None) -> Any:
        """Do a task and write what it found."""
        name, task = named
        started, keeper = time.perf_counter(), Keeper(self.folder / name, tell)
        row = self.work(task, keeper)
        write_row(keeper.folder, row, time.perf_counter() - started, self.kind)
        keeper.tidy()
        return row


def task_names(tasks: Sequence[Task]) -> list[str]:
    """Return the names of the tasks' folders: numbered, and of letters, digits, hyphens and points alone."""
    safe = (
        "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "-." else "-" for letter in task.name)
        for task in tasks
    )
    return [f"{place:03d}-{name[-60:].strip('-.')}" for place, name in enumerate(safe)]


def run_tasks(
    work: Callable[[T, Keeper], R], tasks: Sequence[T], store: Store, kind: type[R], jobs: int = 0, label: str = "run"
) -> list[R]:
    """Return ``[work(task, keeper) for task in tasks]``; what was finished before is taken from the store.

    Within ``joblib.parallel_config("dask")`` the tasks go to the cluster, whose machines must see the run's folder.

    Parameters
    ----------
    work
        A function whose result depends on the task alone.
    tasks
        What to do; the first ones are begun first.
    store
        The run's folder.
    kind
        The rows' type, a frozen dataclass.
    jobs
        Worker processes, of one computing thread each; 0: one for every core; 1: one thread of this process. A run of a
        single task is done in this process and uses all cores.
    label
        What the progress bar is called.

    Raises
    ------
    MortalsimError
        What a task raised; or worker processes died twice at the same task. What was finished is kept.
    """
    names = task_names(tasks)
    rows = {place: row for place, name in enumerate(names) if (row := store.row(name, kind)) is not None}
    due = {place: (names[place], task) for place, task in enumerate(tasks) if place not in rows}
    finished = {names[place]: seconds_in(store.folder, names[place]) for place in rows}
    doing = _Work(work, store.folder / TASKS, kind)
    jobs = min(jobs or joblib.cpu_count(), len(due)) if can_start() else 1
    if due:
        with Watch(label, names, finished, store.folder, jobs) as watch:
            for place, row in _rows(doing, due, jobs, watch, alone=len(tasks) == 1):
                rows[place] = row
                watch.end(names[place])
    return [rows[place] for place in range(len(tasks))]


def _rows(
    doing: _Work, due: Mapping[int, tuple[str, Any]], jobs: int, watch: Watch, *, alone: bool
) -> Iterator[tuple[int, Any]]:
    """Yield place and row of each task as it is done."""
    if type(get_active_backend()[0]).__name__ == "DaskDistributedBackend":
        yield from _on_cluster(doing, due, watch)
    elif jobs == 1:
        # Alone it uses all cores, where the work is cut so that numbers do not depend on how many there are.
        with one_blas_thread if alone else threadpool_limits(1):
            for place, named in due.items():
                watch.begin(named[0])
                yield place, doing(named, partial(watch.at, named[0]))
    else:
        compile_all()  # or each worker would do it, all at the same time
        yield from _in_workers(doing, due, jobs, watch)


def _in_workers(doing: _Work, due: Mapping[int, tuple[str, Any]], jobs: int, watch: Watch) -> Iterator[tuple[int, Any]]:
    def name(place: int) -> str:
        return due[place][0]

    def died(place: int, ending: str) -> None:
        watch.drop(name(place))
        watch.say(f"mortalsim: the worker process of task {name(place)} was ended {ending}; another one takes the task up")

    for told in spread(doing, due, jobs, name, lambda place: watch.begin(name(place)), died):
        if told.error is not None:
            raise told.error
        if told.standing is not None:
            watch.at(name(told.place), told.standing)
        if told.done:
            yield told.place, told.found


def _on_cluster(doing: _Work, due: Mapping[int, tuple[str, Any]], watch: Watch) -> Iterator[tuple[int, Any]]:
    for name, _ in due.values():
        watch.begin(name)
    pool = joblib.Parallel(return_as="generator_unordered", batch_size=1)
    yield from pool(joblib.delayed(_numbered)(doing, place, named) for place, named in due.items())


def _numbered(doing: _Work, place: int, named: tuple[str, Any]) -> tuple[int, Any]:
    with threadpool_limits(1):
        return place, doing(named, None)
