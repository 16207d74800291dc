"""Work shared by threads, with the same result to the last bit however many they are.

Work is cut at places that depend on its shape alone; threads only decide who does which chunk. Meanwhile BLAS is held to one
thread: its own pool would cut elsewhere, which changes last bits, and its threads go on spinning for milliseconds after
their work, which stalls whatever comes next on a machine of few cores.

There are as many threads as BLAS may use at the moment, so ``OPENBLAS_NUM_THREADS``, threadpoolctl and joblib's limits hold
here too, and there is no knob of its own.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import pairwise
from types import TracebackType

import numpy as np  # before threadpoolctl looks, so that its BLAS is found
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

_BLAS = ThreadpoolController().select(user_api="blas").lib_controllers


class OneBlasThread:
    """Holds BLAS to one thread, as a context; contexts may overlap, the last one out gives back what the first one found."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._found: list[int] = []

    def __enter__(self) -> int:
        """Return how many threads BLAS might have used, at least 1."""
        with self._lock:
            if not self._inside:
                self._found = [library.num_threads for library in _BLAS]
                self._set([1] * len(_BLAS))
            self._inside += 1
            return max(self._found, default=1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._set(self._found)

    def forget(self) -> None:
        """Begin anew in a forked process, where nobody is inside; who was, in the parent, has left BLAS at one thread."""
        self._lock = threading.Lock()
        if self._inside:
            self._set(self._found)
        self._inside = 0

    def _set(self, numbers: list[int]) -> None:
        for library, found, number in zip(_BLAS, self._found, numbers, strict=True):
            if found != 1:
                # Newer threadpoolctl obeys but the first thread that asks, and is silent about it.
                clear = getattr(library, "clear_controlling_thread", _nothing_at_all)
                clear(force=True)
                library.set_num_threads(number)
                clear(force=True)


def _nothing_at_all(**_: object) -> None:
    """Stand for what an older threadpoolctl lacks, and does not need."""


one_blas_thread = OneBlasThread()


#: Number of the processor that the caller runs on, where the system tells.
_here: Callable[[], int] | None = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


#: Seconds without a job after which a helper may run anywhere again.
REST = 0.01


class _Helper:
    """One thread beside the caller's own, asleep between jobs. Two locks wake it in four fifths of an executor's time."""

    def __init__(self) -> None:
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._job: Callable[[], None] = _nothing
        self._error: BaseException | None = None
        self._allowed: set[int] = set()
        self._off = -1  # the processor that it is kept off; -1: none
        self._moving = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="mortalsim", daemon=True)
        self._thread.start()

    def begin(self, job: Callable[[], None]) -> None:
        """Have the job done, off the caller's processor where the system can say so.

        A thread that is woken for a few milliseconds at a time is often put where its waker runs and left there, so that
        both take turns on one processor while another idles. `REST` seconds after its last job it may again run wherever the
        caller may.
        """
        self._job, self._error = job, None
        with self._moving:  # a helper that is about to go free sees the job instead
            if _here is not None and (here := _here()) != self._off:
                self._allowed, self._off = os.sched_getaffinity(0), here
                self._allow(self._allowed - {here})
            self._go.release()

    def finish(self) -> BaseException | None:
        """Wait for the job, but withdraw it if it was not begun yet; return what it raised."""
        if self._go.acquire(blocking=False):
            with self._moving:
                self._free()
        else:
            self._done.acquire()
        self._job = _nothing
        return self._error

    def _allow(self, processors: set[int]) -> None:
        if processors:
            with suppress(OSError):  # the process may since have been given other processors
                os.sched_setaffinity(self._thread.native_id or 0, processors)

    def _free(self) -> None:
        """Let the helper run anywhere; the caller holds ``_moving``."""
        self._off = -1
        self._allow(self._allowed)

    def _live(self) -> None:
        while True:
            # Jobs that follow each other find the thread where it is: moving it costs a tenth of a small read.
            if not self._go.acquire(timeout=REST):
                with self._moving:
                    begun = self._go.acquire(blocking=False)
                    if not begun:
                        self._free()
                if not begun:
                    self._go.acquire()
            try:
                self._job()
            except BaseException as error:  # handed to the caller, who raises it
                self._error = error
            self._done.release()


def _nothing() -> None:
    """Stand for no job."""


_idle: deque[_Helper] = deque()


def _helper() -> _Helper:
    try:
        return _idle.pop()
    except IndexError:
        return _Helper()


def _forget_threads() -> None:
    # A forked process has no threads but one, and nothing of the parent's is under way in it.
    _idle.clear()
    one_blas_thread.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class _Rooms(threading.local):
    """A thread's own memory, by what it is for."""

    def __init__(self) -> None:
        self.named: dict[str, npt.NDArray[np.float32]] = {}


_own = _Rooms()


def workspace(use: str, *shape: int) -> npt.NDArray[np.float32]:
    """Return float32 room of this shape, contents undefined; the same thread's next call for the same ``use`` takes it back.

    Each place in the code that needs room names a use of its own, so that nobody writes over what another still reads.
    """
    size = math.prod(shape)
    room = _own.named.get(use)
    if room is None or room.size < size:
        # New memory costs more than what is written to it, so what was once taken is kept.
        room = _own.named[use] = np.empty(size, np.float32)
    return room[:size].reshape(shape)


def chunks(size: int, chunk: int, multiple: int = 1, head: float = 1.0) -> list[int]:
    """Return where to cut ``size`` things: 0, then multiples of ``multiple``, then ``size``.

    Parameters
    ----------
    size
        How many there are.
    chunk
        About how many make one chunk.
    multiple
        Cuts lie at multiples of it.
    head
        How much larger the first chunk is than the others; the caller begins with it while other threads wake up.
    """
    if size <= chunk:
        return [0, size]
    number = max(1, round(size / chunk))
    share = size / (number - 1 + head)
    inner = (round(share * (head + k) / multiple) * multiple for k in range(number - 1))
    return [0, *sorted({place for place in inner if 0 < place < size}), size]


def map_chunks(job: Callable[[int, int], object], cuts: Sequence[int]) -> None:
    """Call ``job(start, stop)`` for every two neighbouring ``cuts``, on as many threads as BLAS may use.

    The chunks must not touch each other's results. An exception of any chunk is raised once all threads are done. A single
    chunk runs here; callers that use BLAS in it must hold `one_blas_thread` themselves.
    """
    if len(cuts) == 2:
        job(*cuts)
        return
    with one_blas_thread as threads:
        due = deque(pairwise(cuts))

        def work() -> None:
            while True:
                try:
                    start, stop = due.popleft()
                except IndexError:
                    return
                job(start, stop)

        helpers = [_helper() for _ in range(min(threads, len(due)) - 1)]
        for helper in helpers:
            helper.begin(partial(copy_context().run, work))  # numpy's errstate holds in helpers too
        try:
            work()
        finally:
            errors = [helper.finish() for helper in helpers]
            _idle.extend(helpers)
        for error in errors:
            if error is not None:
                raise error
