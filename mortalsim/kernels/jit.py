"""How every kernel is compiled: the one place where numba's flags stand.

No ``fastmath``: with it NaN would be optimised away and a kernel would no longer equal its plain twin bit for bit. Kernels
are serial: a parallel pool beside the BLAS one stalls for milliseconds at each switch, so chips are spread over processes
instead. With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python.

A `law` is scalar and reads like its equation, a `loop` runs a law over contiguous vectors and nothing else, a `part` is a
stretch of a kernel that reads better by itself, a `kernel` is what other rooms call. Two things keep a loop from becoming
vector instructions: slices of slices (``a[i][:n]``; ``a[i, :n]`` is known to be contiguous) and more than eight pairs of a
vector written and another one that might overlap it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba as nb
from numba import njit
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])

FLAGS: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": False, "error_model": "numpy"}

#: For what only compiled code calls: no way in from Python or C is made.
INSIDE: dict[str, Any] = {**FLAGS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# Types for signatures. A read-only array type accepts writable arrays too, so inputs ask for no more than they need.
f4, f8, i8, flag = nb.float32, nb.float64, nb.int64, nb.boolean
KEY = nb.types.Array(nb.uint32, 1, "C", readonly=True)
LINES = nb.types.Array(nb.int64, 1, "C", readonly=True)
ROWS = nb.types.Array(nb.int64, 2, "C", readonly=True)
VECTOR = nb.types.Array(nb.float32, 1, "C", readonly=True)
MATRIX = nb.types.Array(nb.float32, 2, "C", readonly=True)
OUT_VECTOR = nb.types.Array(nb.float32, 1, "C")
OUT_MATRIX = nb.types.Array(nb.float32, 2, "C")
OUT_CUBE = nb.types.Array(nb.float32, 3, "C")
STATE = nb.types.Array(nb.float32, 4, "C")
PARAMETERS = nb.types.Array(nb.uint16, 4, "C", readonly=True)
SCALES = nb.types.Array(nb.float32, 2, "C", readonly=True)
OUT_COUNTS = nb.types.Array(nb.int64, 1, "C")
OUT_SENT = nb.types.Array(nb.int32, 3, "C")


def law(function: F) -> F:
    """Compile a scalar law into whatever calls it; a call left standing would keep a loop from using vector instructions."""
    return cast(F, njit(forceinline=True, **FLAGS)(function))


def loop(function: F) -> F:
    """Compile an inner loop, for the types that its callers bring."""
    return cast(F, njit(**INSIDE)(function))


def part(function: F) -> F:
    """Put a function into the one or two places that call it before compiling: layers would each be compiled again."""
    return cast(F, njit(inline="always", **INSIDE)(function))


def kernel(*signature: Any, returns: Any = nb.void) -> Callable[[F], F]:
    """Compile a public kernel for exactly one signature, so that a wrong type is refused instead of compiled anew."""

    def compiled(function: F) -> F:
        say_if_new(function)
        return cast(F, njit(returns(*signature), **FLAGS)(function))

    return compiled


_said: list[str] = []

#: Seconds after which a process that compiles beside this one is given up.
PATIENCE = 120


def is_new(name: str, neighbour: Callable[..., Any]) -> bool:
    """Return whether the kernel of this name, in the folder of ``neighbour``, is still to be compiled."""
    if nb.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return False
    folder: str = FunctionCache(neighbour).cache_path  # type: ignore[no-untyped-call]
    return not any(Path(folder).glob(f"*.{name}-*.nbi"))


def say_if_new(function: Callable[..., Any]) -> None:
    """Tell whoever sits at a terminal, once, why the first import takes so long."""
    if not _said and sys.stderr.isatty() and is_new(function.__qualname__, function):
        _said.append("mortalsim: compiling its kernels for this machine, this once; it takes 15 to 20 seconds")
        sys.stderr.write(_said[0] + "\n")
        sys.stderr.flush()


@contextmanager
def compiled_beside(module: str, name: str) -> Iterator[None]:
    """Have another process compile a module of this room into the cache while this one compiles what it imports inside.

    Two cores then share the work, which numba's own lock keeps threads from doing. Nothing happens if the module's kernel
    ``name`` is there already; what the other process does not do, or not in time, is done later by this one.
    """
    other = _compiling(module) if is_new(name, law) else None
    try:
        yield
    finally:
        if other is not None:
            with suppress(subprocess.TimeoutExpired):
                other.wait(timeout=PATIENCE)
            other.kill()  # nothing happens to one that has ended
            other.wait()


def _compiling(module: str) -> subprocess.Popen[bytes] | None:
    """Return a process that compiles a module, or None where there is no Python to begin one with."""
    if "python" not in Path(sys.executable or "").name.lower() or getattr(sys, "frozen", False):
        return None
    # It looks where this process looks, and nowhere else. The room itself is not to be imported there, or all would be
    # compiled twice.
    script = (
        f"import sys; sys.path[:] = {[entry for entry in sys.path if isinstance(entry, str)]!r}; "
        f"room = type(sys)({__package__!r}); room.__path__ = [{str(Path(__file__).parent)!r}]; "
        f"sys.modules[room.__name__] = room; import {__package__}.{module}"
    )
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen([sys.executable, "-c", script], stdin=nowhere, stdout=nowhere, stderr=nowhere)
    except OSError:
        return None


def drop_stale_cache(folder: Path) -> None:
    """Remove cached machine code older than any source in ``folder``.

    numba looks at a kernel's own file alone, so after an edit of a law in another file the old law would go on running.
    """
    if nb.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for cached in Path(FunctionCache(law).cache_path).glob("*.nb[ic]"):  # type: ignore[no-untyped-call]
        with suppress(OSError):  # another process may be doing the same, or the folder may be read-only
            if cached.stat().st_mtime < newest:
                cached.unlink()


drop_stale_cache(Path(__file__).parent)
