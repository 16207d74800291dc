"""When kernels are compiled: all of them, at the first call of any, with the results kept for later processes.

Importing the room makes dispatchers and nothing else: it starts no process, touches no file and writes to no stream. The
first call of a kernel, or `compile_all`, loads every kernel from numba's cache and compiles those that are not there. A
second process shares the work, which numba's own lock keeps threads from doing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from numba.core.caching import NullCache
from numba.core.errors import NumbaError
from numba.core.registry import CPUDispatcher

from mortalsim.kernels.keeping import SealedCache

HERE = Path(__file__).parent

#: The modules whose kernels the second process compiles: those of writing, which share inner loops; about half of the work.
BESIDE = ("effective", "pulses")

#: Seconds after which the second process is given up; what it has not done is then done here.
PATIENCE = 120


class Inner(CPUDispatcher):
    """Code that kernels alone call: it has no entry for Python, and without this check a call would end the interpreter."""

    def __call__(self, *args: object, **named: object) -> NoReturn:
        raise TypeError(
            f"{self.py_func.__name__} is compiled code for kernels, without an entry for Python: call it from a kernel, "
            f"or set NUMBA_DISABLE_JIT=1 and call it as plain Python."
        )


class Uncompiled(CPUDispatcher):
    """A kernel before its first call; `compile_all` makes it an ordinary dispatcher, so later calls cost nothing more."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        compile_all()
        return self(*args, **named)


class Kernel(NamedTuple):
    """A kernel of this room and the only signature that it is compiled for."""

    code: Any
    signature: Any

    @property
    def module(self) -> str:
        """The name of its module within the room."""
        return str(self.code.py_func.__module__).rpartition(".")[2]

    @property
    def kept(self) -> bool:
        """Whether its machine code lies in the cache, whole and up to date."""
        cache = cache_of(self.code.py_func)
        return cache is not None and cache.holds

    def compile(self) -> None:
        """Load it from the cache or compile it; a full disk, or whatever else befalls the cache, costs the cache alone."""
        for _ in range(2):
            cache = cache_of(self.code.py_func)
            if cache is None:
                break
            if not cache.holds:
                _remove(cache.files)
            self.code._cache = cache
            try:
                return self._compile()
            except NumbaError:
                raise
            except Exception:  # the cache may raise anything; what is no fault of the cache comes up again below
                _remove(cache.files)
        self.code._cache = NullCache()
        self._compile()

    def _compile(self) -> None:
        self.code.compile(self.signature)
        self.code.disable_compile()
        self.code.__class__ = CPUDispatcher


_kernels: list[Kernel] = []

#: Held while kernels are compiled, and during a fork, so that no child is born in the middle of it.
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def register(code: Any, signature: Any) -> None:
    """Note a kernel, to be compiled with all others."""
    code.__class__ = Uncompiled
    _kernels.append(Kernel(code, signature))


def compile_all() -> None:
    """Make every kernel ready: load it from the cache or compile it. The first call of any kernel does so by itself.

    Whoever measures times calls it before, and so does whoever starts several processes that would all compile otherwise.
    With ``NUMBA_DISABLE_JIT=1`` there is nothing to do.
    """
    with _lock:
        waiting = [kernel for kernel in _kernels if type(kernel.code) is Uncompiled]
        if not waiting:
            return
        keeps = cache_of(compile_all) is not None
        new = [kernel for kernel in waiting if not kernel.kept]
        if new:
            announce(kept=keeps)
        apart = [kernel for kernel in waiting if kernel.module in BESIDE]
        with compiled_beside(BESIDE, needed=keeps and any(kernel in new for kernel in apart)):
            _compile([kernel for kernel in waiting if kernel not in apart])
        _compile(apart)


def _compile(kernels: Sequence[Kernel]) -> None:
    for kernel in kernels:
        kernel.compile()


def cache_of(function: Callable[..., Any]) -> SealedCache | None:
    """Return where the machine code of a function is kept; None where no folder can be written."""
    try:
        return SealedCache(function)
    except (RuntimeError, ValueError, OSError):  # the first is numba's word for a missing place
        return None


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        with suppress(OSError):  # another process may be doing the same
            path.unlink()


def announce(*, kept: bool) -> None:
    """Tell whoever sits at a terminal why the first call takes so long; ``kept``: later processes will be spared."""
    nowhere = "in every run, for no folder can keep them (set NUMBA_CACHE_DIR to one that can be written)"
    often = "this once" if kept else nowhere
    # There may be no standard error, or one that was closed since.
    with suppress(AttributeError, ValueError, OSError):
        if sys.stderr.isatty():
            sys.stderr.write(f"mortalsim: compiling its kernels for this machine, {often}; it takes 10 to 20 seconds\n")
            sys.stderr.flush()


@contextmanager
def compiled_beside(modules: Sequence[str], *, needed: bool) -> Iterator[None]:
    """Have a second process compile some modules' kernels into the cache while this one does what stands inside."""
    other = _begin(modules) if needed else None
    try:
        yield
        if other is not None:
            with suppress(subprocess.TimeoutExpired):
                other.wait(timeout=PATIENCE)
    finally:
        if other is not None:
            other.kill()  # nothing happens to one that has ended
            other.wait()
            if other.stdin is not None:
                other.stdin.close()


def _begin(modules: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Return a process that compiles some modules' kernels, or None where there is no Python to begin one with."""
    if "python" not in Path(sys.executable or "").name.lower() or getattr(sys, "frozen", False):
        return None
    # It looks where this process looks, and nowhere else. The room is made by hand, or all its modules would be imported.
    script = (
        f"import sys; sys.path[:] = {[entry for entry in sys.path if isinstance(entry, str)]!r}; "
        f"room = type(sys)({__package__!r}); room.__path__ = [{str(HERE)!r}]; sys.modules[room.__name__] = room; "
        f"from {__name__} import compile_modules; compile_modules({list(modules)!r})"
    )
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere)
    except OSError:
        return None


def compile_modules(modules: Sequence[str]) -> None:
    """Compile some modules' kernels into the cache, in a process that ends when its standard input does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for module in modules:
        import_module(f"{__package__}.{module}")
    _compile([kernel for kernel in _kernels if kernel.module in modules])


def _end_with_parent() -> None:
    # Nothing is ever written to the pipe; reading it returns when the first process is gone, whatever ended it.
    os.read(0, 1)  # not through sys.stdin, whose lock a thread must not hold when the interpreter ends
    os._exit(1)
