"""Independent tasks over worker processes, with results in the order of the tasks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Annotated, Any, TypeAlias, TypeVar

import joblib
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from mortalsim.checks import MortalsimError
from mortalsim.kernels import compile_all

T = TypeVar("T")
R = TypeVar("R")

#: The field of experiments that use several processes; it never changes what is found.
Jobs: TypeAlias = Annotated[
    int, Field(ge=0, description="worker processes, one computing thread each; 0: one for every core")
]


def run_tasks(function: Callable[[T], R], tasks: Sequence[T], jobs: int, label: str) -> list[R]:
    """Return ``[function(task) for task in tasks]``, computed by ``jobs`` processes of one thread each.

    Parameters
    ----------
    function
        A function that can be sent to another process; its result must depend on the task alone.
    tasks
        Arguments; the first ones are begun first.
    jobs
        Worker processes; 0: one for every core; 1: no other process.
    label
        What the progress bar is called. It is shown on terminals only.
    """
    jobs = min(jobs or joblib.cpu_count(), len(tasks))
    if jobs > 1:
        compile_all()  # or each worker would do it, all at the same time
    results: list[Any] = [None] * len(tasks)
    with progress_bar() as bar:
        line = bar.add_task(label, total=len(tasks))
        for place, result in _completed(function, tasks, jobs):
            results[place] = result
            bar.advance(line)
    return results


def progress_bar() -> Progress:
    """Return a progress bar on standard error, silent where that is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _completed(function: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Any:
    """Yield (place, result) of each task as it is done."""
    if jobs == 1:
        with threadpool_limits(1):
            for place, task in enumerate(tasks):
                yield place, function(task)
        return
    # Workers ignore Ctrl-C, which reaches them too: the parent hears it and ends them, without their tracebacks.
    with joblib.parallel_config("loky", inner_max_num_threads=1, initializer=_ignore_interrupts):
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        try:
            yield from pool(joblib.delayed(_numbered)(function, place, task) for place, task in enumerate(tasks))
        except BrokenProcessPool as error:
            raise MortalsimError(
                "a worker process was ended from outside, perhaps for want of memory. Use fewer processes: --jobs 1."
            ) from error


def _numbered(function: Callable[[T], R], place: int, task: T) -> tuple[int, R]:
    return place, function(task)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
