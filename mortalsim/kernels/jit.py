"""How every kernel is compiled: the one place where numba's flags stand.

No ``fastmath``: with it NaN would be optimised away and a kernel would no longer equal its reference implementation bit for
bit. Kernels are serial: a parallel pool beside the BLAS one stalls for milliseconds at each switch, so chips are spread over
processes instead. With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python.

A `law` is scalar and reads like its equation, a `loop` runs a law over contiguous vectors and nothing else, a `part` is a
stretch of a kernel that reads better by itself, a `kernel` is what other rooms call. Two things keep a loop from becoming
vector instructions: slices of slices (``a[i][:n]``; ``a[i, :n]`` is known to be contiguous) and more than eight pairs of a
vector written and another one that might overlap it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba as nb
from numba import njit
from numba.core.registry import CPUDispatcher

from mortalsim.kernels.compiling import Inner, register

F = TypeVar("F", bound=Callable[..., Any])

FLAGS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}

#: For what kernels alone call: no entry from Python or C is made, which would be half of what there is to compile.
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
OUT_COUNTS = nb.types.Array(nb.int64, 1, "C")
OUT_SENT = nb.types.Array(nb.int32, 3, "C")


def law(function: F) -> F:
    """Compile a scalar law into whatever calls it; a call left standing would keep a loop from using vector instructions."""
    return cast(F, njit(forceinline=True, **FLAGS)(function))


def loop(function: F) -> F:
    """Compile an inner loop, for the types that its callers bring. A call from Python raises a `TypeError`."""
    return cast(F, _inner(njit(**INSIDE)(function)))


def part(function: F) -> F:
    """Inline a stretch of a kernel before types are inferred: as a function of its own it is compiled once per caller."""
    return cast(F, _inner(njit(inline="always", **INSIDE)(function)))


def _inner(code: Any) -> Any:
    if isinstance(code, CPUDispatcher):  # with the jit off it is the plain function
        code.__class__ = Inner
    return code


def kernel(*signature: Any, returns: Any = nb.void) -> Callable[[F], F]:
    """Make a kernel, compiled at its first call for exactly one signature: a wrong type is refused, not compiled anew."""

    def made(function: F) -> F:
        code = njit(**FLAGS)(function)
        if isinstance(code, CPUDispatcher):
            register(code, returns(*signature))
        return cast(F, code)

    return made
