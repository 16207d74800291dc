"""Worker processes for independent tasks: one that dies is replaced, and none outlives the process that began it.

Each worker is a Python of its own, told what to do over a socket and kept alive by a pipe that nobody writes to: when the
first process is gone, whatever ended it, the pipe ends and so does the worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle  # what is defined in somebody's script travels too
from threadpoolctl import threadpool_limits

from mortalsim.checks import MortalsimError

#: Deaths of workers at one task after which the run is ended: the task itself must be to blame.
DEATHS = 2

#: Environment of a worker: libraries that would start threads at import start one.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Told:
    """What a worker says: of the task at this place, how far it is, what it found, or what went wrong."""

    place: int
    standing: Any = None
    found: Any = None
    error: BaseException | None = None
    done: bool = False


@dataclass
class _Worker:
    """A process and the task that it is at; None: it is idle."""

    process: subprocess.Popen[bytes]
    connection: Connection
    place: int | None = field(default=None)

    @classmethod
    def begin(cls) -> _Worker:
        near, far = socket.socketpair()
        with far:
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import main; main({far.fileno()})"],
                pass_fds=(far.fileno(),),
                stdin=subprocess.PIPE,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
                process_group=0,  # Ctrl-C at the terminal is for the first process, which ends the others
            )
        worker = cls(process, Connection(near.detach()))
        with suppress(OSError):  # it is gone already; that is heard later
            worker.connection.send_bytes(pickle.dumps(_longer_paths()))
        return worker

    def take(self, place: int, job: bytes) -> None:
        self.connection.send_bytes(job)
        self.place = place

    def hear(self) -> Told | None:
        """Return what it says; None if it is gone."""
        try:
            told: Told = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - from a process of our own
        except (EOFError, OSError):
            return None
        return told

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


def _longer_paths() -> dict[str, list[str]]:
    """Return where packages of ours look for modules beyond their own folder, so that workers find the same variants."""
    packages = {name: list(module.__path__) for name, module in sys.modules.items() if hasattr(module, "__path__")}
    return {name: paths for name, paths in packages.items() if name.startswith("mortalsim") and len(paths) > 1}


def can_start() -> bool:
    """Return whether worker processes can be started here."""
    return os.name == "posix" and "python" in os.path.basename(sys.executable or "").lower()


def spread(
    work: Callable[[Any, Callable[[Any], None]], Any],
    tasks: Mapping[int, Any],
    jobs: int,
    name_of: Callable[[int], str],
    on_begin: Callable[[int], None],
    on_death: Callable[[int, str], None],
) -> Iterator[Told]:
    """Yield what workers say about ``work(task, tell)`` of every task, the first ones begun first.

    Parameters
    ----------
    work
        Called in a worker; ``tell`` sends a standing.
    tasks
        By place.
    jobs
        Number of processes.
    name_of
        The name of the task at a place, for messages.
    on_begin, on_death
        Called with a task's place when it is begun, and when its worker has died; the latter also with how, in words.

    Raises
    ------
    MortalsimError
        Workers died twice at the same task; or what a task raised.
    """
    due, crew, deaths = deque(tasks), list[_Worker](), Counter[int]()
    try:
        while due or any(worker.place is not None for worker in crew):
            for worker in crew:
                if due and worker.place is None:
                    _give(worker, work, due, tasks, on_begin)
            while due and len(crew) < jobs:
                crew.append(_Worker.begin())
                _give(crew[-1], work, due, tasks, on_begin)
            by_connection = {worker.connection: worker for worker in crew}
            for ready in wait(list(by_connection), timeout=60):
                worker = by_connection[ready]  # type: ignore[index]
                told = worker.hear()
                if told is not None:
                    if told.done:
                        worker.place = None
                    yield told
                    continue
                crew.remove(worker)
                place, code = worker.place, worker.process.wait()
                worker.kill()
                if place is None:
                    continue
                deaths[place] += 1
                on_death(place, _ending(code))
                if deaths[place] >= DEATHS:
                    raise MortalsimError(
                        f"task {name_of(place)}: two worker processes were ended from outside while they were at it (the "
                        f"last one {_ending(code)}), perhaps for want of memory. All else that was finished is kept. Use "
                        "fewer processes, such as --jobs 1, and resume."
                    )
                due.appendleft(place)
    finally:
        for worker in crew:
            worker.kill()


def _give(
    worker: _Worker,
    work: Callable[..., Any],
    due: deque[int],
    tasks: Mapping[int, Any],
    on_begin: Callable[[int], None],
) -> None:
    place = due.popleft()
    on_begin(place)
    try:
        worker.take(place, cloudpickle.dumps((work, place, tasks[place])))
    except OSError:
        worker.place = place  # it is gone; that is heard next


def _ending(code: int) -> str:
    try:
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    except ValueError:
        return f"by signal {-code}"


def main(descriptor: int) -> None:
    """Do what comes over the inherited socket until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection, lock = Connection(descriptor), threading.Lock()

    def send(told: Told) -> None:
        with lock:
            connection.send_bytes(cloudpickle.dumps(told))

    for package, paths in pickle.loads(connection.recv_bytes()).items():  # noqa: S301 - from the process that began this one
        import_module(package).__path__ = paths
    with threadpool_limits(1):
        while True:
            try:
                job = connection.recv_bytes()
            except (EOFError, OSError):
                return
            place = -1
            try:
                work, place, task = pickle.loads(job)  # noqa: S301 - from the process that began this one
                found = work(task, lambda standing, place=place: send(Told(place, standing=standing)))
                send(Told(place, found=found, done=True))
            except Exception as error:
                send(Told(place, error=_portable(error), done=True))


def _portable(error: Exception) -> Exception:
    """Return an error that survives the way; where it was raised goes with it as text."""
    import traceback

    if not isinstance(error, MortalsimError):
        error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(cloudpickle.dumps(error))  # noqa: S301 - what was pickled here
        return error
    except Exception:  # an exception may hold anything
        return RuntimeError("".join(traceback.format_exception(error)))


def _end_with_parent() -> None:
    # Nothing is ever written to the pipe; reading it returns when the first process is gone, whatever ended it.
    os.read(0, 1)
    os._exit(1)
