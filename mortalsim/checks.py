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

#: Size up to which one dot product is cheaper than looking for the largest and the smallest number.
FEW = 4096

#: Largest number that a chip can be asked to read: sums of its square stay finite in float32, also one array further on.
LARGEST_INPUT = 1e12

_LARGEST = float(np.finfo(np.float32).max)

#: Bits of the largest whole number that is taken anywhere: a seed's.
MOST_BITS = 128


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


def check_array(
    name: str, value: Any, shape: Mapping[str, int | None], hint: str = "", largest: float = _LARGEST
) -> FloatArray:
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
    largest
        The largest number allowed, in absolute value.

    Raises
    ------
    ShapeError
        The value is not an array of real numbers, or has another shape.
    RangeError
        The value contains NaN, infinity, or a number that is too large.
    """
    array = value if type(value) is np.ndarray and value.dtype == np.float32 else _real(name, value)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    wanted = tuple(shape.values())
    if not _fits(array.shape, wanted):
        symbols = ", ".join(shape)
        numbers = ", ".join("any" if want is None else str(want) for want in wanted)
        raise ShapeError(f"{name}: expected shape ({symbols}) = ({numbers}), found {array.shape}. {hint}".rstrip())
    if not all_within(array, largest):
        where = tuple(int(i) for i in np.argwhere(~(np.abs(array) <= largest))[0])
        if np.isfinite(array[where]):
            raise RangeError(
                f"{name}: expected numbers from {-largest:g} to {largest:g}, whose squares can be summed up, found "
                f"{array[where]:g} at index {where}. Scale the data, to 0..1 say."
            )
        raise RangeError(
            f"{name}: expected finite numbers, found {array[where]} at index {where}. "
            "Remove or replace such samples before they reach the chip."
        )
    return array


def _real(name: str, value: Any) -> FloatArray:
    """Return real numbers as float32; raise `ShapeError` for what is none, though numpy would make numbers of it."""
    try:
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError("its mask would be lost; fill what is masked, or leave those samples out")
        array = np.asarray(value)
        if array.dtype.kind == "O":  # a table of columns of several types, or numbers of a library's own
            array = np.asarray([] if array.size == 0 else [_real_number(item) for item in array.ravel()]).reshape(
                array.shape
            )
        if array.dtype.kind not in "biuf":
            raise TypeError(f"numbers of the type {array.dtype}")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is said in words
            return np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    except (TypeError, ValueError, OverflowError) as error:
        found = " ".join(f"{type(value).__name__} ({error})".split())
        raise ShapeError(f"{name}: expected an array of real numbers, found {found:.200}") from error


def _real_number(value: Any) -> float:
    if not isinstance(value, Real) or value is np.ma.masked:
        raise TypeError(f"it holds {value!r:.40}")
    return float(value)


def check_labels(name: str, labels: Any, classes: int, samples: int | None = None) -> npt.NDArray[np.int64]:
    """Return labels as whole numbers, (N,).

    Parameters
    ----------
    name
        The argument's name, for the message.
    labels
        Whole numbers from 0 to ``classes - 1``, one a sample, of any type; truth values are 0 and 1. A column (N, 1) is
        taken as (N,).
    classes
        Number of classes.
    samples
        How many labels there must be; None: any number of at least 1.

    Raises
    ------
    ShapeError
        They are no whole numbers, or not one a sample.
    RangeError
        One is below 0 or no class.
    """
    if isinstance(labels, np.ma.MaskedArray):
        raise ShapeError(f"{name}: expected whole numbers, one a sample, found a masked array. Leave out what is masked.")
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise ShapeError(f"{name}: expected whole numbers, one a sample, found {type(labels).__name__} ({error})") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    wanted = "any number" if samples is None else str(samples)
    if array.ndim == 2 and array.shape[1] == classes:
        raise ShapeError(
            f"{name}: expected whole numbers, one a sample, shape (N,) = ({wanted},), found {array.shape}. "
            "Write labels.argmax(axis=1) if each row marks its class."
        )
    if array.dtype.kind == "O" and all(isinstance(item, Integral) and abs(int(item)) < 2**63 for item in array.ravel()):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuf":
        raise ShapeError(f"{name}: expected whole numbers, one a sample, found {array.dtype}. Number the classes from 0.")
    if array.ndim != 1 or len(array) < 1 or (samples is not None and len(array) != samples):
        raise ShapeError(f"{name}: expected shape (N,) = ({wanted},), one label a sample, found {array.shape}.")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        odd = array[~(np.isfinite(array) & (array == np.floor(array)))][0]
        raise ShapeError(
            f"{name}: expected whole numbers, found {odd}. Classes are numbered from 0; to predict a real number "
            "(regression) is no aim of mortalsim."
        )
    if array.min() < 0 or array.max() >= classes:
        raise RangeError(
            f"{name}: expected labels from 0 to {classes - 1}, found {array.min():g} to {array.max():g}. "
            "Number the classes from 0."
        )
    return array.astype(np.int64)


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    pairs = zip(found, wanted, strict=True) if len(found) == len(wanted) else [(0, None)]
    return all([size >= 1 if want is None else size == want for size, want in pairs])  # noqa: C419 - asked at every read


def all_finite(array: FloatArray) -> bool:
    """Return whether an array holds neither NaN nor infinity."""
    return all_within(array, _LARGEST if array.dtype == np.float32 else math.inf) and (
        array.dtype == np.float32 or bool(np.isfinite(array).all())
    )


def all_within(array: FloatArray, largest: float) -> bool:
    """Return whether an array holds nothing but numbers from -largest to largest."""
    # A small sum of squares proves it for all. A large one proves nothing: the squares may overflow.
    if array.size <= FEW and array.flags.c_contiguous and np.vdot(array, array) <= min(largest * largest, _LARGEST):
        return True
    return array.size == 0 or bool(array.max() <= largest and array.min() >= -largest)


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
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(value, Integral):
        raise RangeError(f"{name}: expected a whole number of at least {low}, found {value!r}. Write {low}, say.")
    if int(value).bit_length() > MOST_BITS:  # it may have more digits than Python writes
        raise RangeError(
            f"{name}: expected a whole number of at most {MOST_BITS} bits, found one of {int(value).bit_length()}."
        )
    return int(check_between(name, int(value), low, high))


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is among ``known``; otherwise raise `UnknownName` with the nearest known name."""
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    advice = f"Did you mean {near[0]!r}? " if near else ""
    raise UnknownName(f"{kind}: expected one of {', '.join(names)}; found {name!r}. {advice}".rstrip())
