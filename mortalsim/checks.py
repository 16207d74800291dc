"""Checks of what a user hands in, and the small family of errors that they raise.

::

    MortalsimError
    ├── ShapeError      (ValueError)    an array of the wrong shape or kind
    ├── RangeError      (ValueError)    a number outside what is allowed, or not finite
    ├── UnknownName     (ValueError)    a name that nothing here bears
    ├── DesignError     (ValueError)    a design file or configuration that cannot be built
    ├── MissingPort     (RuntimeError)  a learner asks for a port that the chip lacks
    ├── ChipFault       (RuntimeError)  a chip gave NaN or infinity, or no answer at all
    ├── RunError        (ValueError)    a run folder or kept file that cannot be used, or is of another run
    ├── DataError       (OSError)       a data set that cannot be found, fetched or read
    └── OutputError     (OSError)       a folder or file that cannot be written

Every message names the argument, says what was expected and what was found, and ends in what to write instead.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: Real numbers; float32 in the hot path, float64 in oracles.
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

#: Size up to which one dot product is cheaper than the call overhead of `np.isfinite`.
FEW = 4096


class MortalsimError(Exception):
    """Base of every error that mortalsim raises on purpose."""


class ShapeError(MortalsimError, ValueError):
    """An array of the wrong shape or kind."""


class RangeError(MortalsimError, ValueError):
    """A number outside what is allowed, or not finite."""


class UnknownName(MortalsimError, ValueError):
    """A name that nothing here bears."""


class DesignError(MortalsimError, ValueError):
    """A design file or configuration that cannot be built."""


class MissingPort(MortalsimError, RuntimeError):
    """A learner asks for a port that the chip lacks."""


class ChipFault(MortalsimError, RuntimeError):
    """A chip gave NaN or infinity, or gave no answer at all."""


class RunError(MortalsimError, ValueError):
    """A run folder or kept file that is damaged, foreign, newer, in use, or of another run."""


class DataError(MortalsimError, OSError):
    """A data set that cannot be found, fetched or read."""


class OutputError(MortalsimError, OSError):
    """A folder or file that cannot be written."""


def check_array(name: str, value: Any, shape: Mapping[str, int | None], hint: str = "") -> FloatArray:
    """Return ``value`` as a C-contiguous finite float32 array of the wanted shape.

    Parameters
    ----------
    name
        The argument's name, for the message.
    value
        Anything that numpy can turn into an array of real numbers.
    shape
        Letters and sizes in order, ``{"B": None, "n_in": 64}``; ``None`` lets any size of at least 1 pass.
    hint
        What to write instead, appended to the message.

    Raises
    ------
    ShapeError
        The value is not an array of real numbers, or has another shape.
    RangeError
        The value contains NaN or infinity.
    """
    try:
        array = np.ascontiguousarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name}: expected an array of real numbers, found {type(value).__name__} ({error})") from error
    wanted = tuple(shape.values())
    if not _fits(array.shape, wanted):
        symbols = ", ".join(shape)
        numbers = ", ".join("any" if want is None else str(want) for want in wanted)
        raise ShapeError(f"{name}: expected shape ({symbols}) = ({numbers}), found {array.shape}. {hint}".rstrip())
    if not all_finite(array):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise RangeError(
            f"{name}: expected finite numbers, found {array[where]} at index {where}. "
            "Remove or replace such samples before they reach the chip."
        )
    return array


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    pairs = zip(found, wanted, strict=True) if len(found) == len(wanted) else [(0, None)]
    return all([size >= 1 if want is None else size == want for size, want in pairs])  # noqa: C419 - asked at every read


def all_finite(array: FloatArray) -> bool:
    """Return whether an array holds neither NaN nor infinity."""
    # A finite sum of squares proves that every number is finite. An infinite one proves nothing: the squares may overflow.
    few = array.size <= FEW and array.flags.c_contiguous
    return bool((few and math.isfinite(np.vdot(array, array))) or np.isfinite(array).all())


def check_between(name: str, value: float, low: float, high: float = np.inf, *, unit: str = "") -> float:
    """Return ``value`` if ``low <= value <= high``; raise `RangeError` otherwise, also for NaN and what is no number."""
    if type(value) not in (int, float) and not isinstance(value, Real):  # an abstract class takes long to ask
        raise RangeError(f"{name}: expected a number, found {type(value).__name__} {value!r}. Write 0.1, say.")
    if not low <= value <= high:
        unit = f" {unit}" if unit else ""
        bound = f"at least {low:g}{unit}" if high == np.inf else f"between {low:g} and {high:g}{unit}"
        advice = f"at most {high:g}" if value > high else f"at least {low:g}" if value < low else "a finite number"
        raise RangeError(f"{name}: expected a number {bound}, found {value!r}. Write {advice}.")
    return value


def check_whole(name: str, value: Any, low: int, high: float = np.inf) -> int:
    """Return ``value`` as an int if it is a whole number from ``low`` to ``high``; raise `RangeError` otherwise."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise RangeError(f"{name}: expected a whole number of at least {low}, found {value!r}. Write {low}, say.")
    return int(check_between(name, int(value), low, high))


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is among ``known``; otherwise raise `UnknownName` with the nearest known name."""
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    advice = f"Did you mean {near[0]!r}? " if near else ""
    raise UnknownName(f"{kind}: expected one of {', '.join(names)}; found {name!r}. {advice}".rstrip())
