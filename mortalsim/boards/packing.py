"""The JSON and the arrays of one message: put together on one side, checked and taken apart on the other."""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any, Final, NoReturn

import numpy as np

from mortalsim.boards.wire import WireFault
from mortalsim.checks import ShapeError

#: What the elements of an array may be, by kind and bytes.
DTYPES: Final = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

#: Most axes of an array; blocks, samples and lines are three.
AXES: Final = 8


class Packer:
    """Collects the arrays of one message while its values become JSON."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._places: dict[int, int] = {}
        self._held: list[Any] = []  # what is known by its id must not go while the id counts

    def add(self, name: str, value: Any) -> int:
        """Take in an array and return its place; the same array has the same place."""
        if id(value) in self._places:
            return self._places[id(value)]
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ShapeError(f"{name}: expected an array of numbers, found {type(value).__name__} ({error}).") from error
        if _code(array.dtype) not in DTYPES or array.ndim > AXES:
            raise ShapeError(
                f"{name}: expected an array of real numbers with at most {AXES} axes, found {type(value).__name__} of "
                f"{array.dtype} and shape {array.shape}."
            )
        self._places[id(value)] = len(self._arrays)
        self._held.append(value)
        self._arrays.append(array)
        return len(self._arrays) - 1

    def finish(self, value: Any) -> tuple[bytes, bytes]:
        """Return text and body of the message whose JSON is ``value``."""
        listed = [[_code(array.dtype), list(array.shape)] for array in self._arrays]
        text = json.dumps({"arrays": listed, "value": value}, allow_nan=False, separators=(",", ":"))
        body = b"".join(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in self._arrays)
        return text.encode("ascii"), body


class Unpacker:
    """Holds the arrays of a message while its JSON becomes values.

    Raises
    ------
    WireFault
        The text is no JSON of a message, or its list of arrays does not fit the body.
    """

    def __init__(self, text: bytes, body: bytes | bytearray) -> None:
        try:
            message = json.loads(text.decode("ascii"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise WireFault(f"message: expected JSON in ASCII ({error}).") from error
        if not isinstance(message, dict) or message.keys() != {"arrays", "value"} or not isinstance(message["arrays"], list):
            raise unfit("message", 'an object with "arrays" and "value"', message)
        self.value = message["value"]
        self._arrays, first = [], 0
        for listed in message["arrays"]:
            array, first = _array(listed, body, first)
            self._arrays.append(array)
        if first != len(body):
            raise WireFault(f"message: expected {first} bytes of arrays, found {len(body)}.")

    def get(self, name: str, place: Any) -> np.ndarray:
        """Return the array at a place."""
        if type(place) is not int or not 0 <= place < len(self._arrays):
            raise unfit(name, f"the place of one of {len(self._arrays)} arrays", place)
        return self._arrays[place]


def _code(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _array(listed: Any, body: bytes | bytearray, first: int) -> tuple[np.ndarray, int]:
    """Return the array that begins at byte ``first`` of the body, and the byte after it."""
    if not isinstance(listed, list) or len(listed) != 2 or listed[0] not in DTYPES or not isinstance(listed[1], list):
        raise unfit("array", f"one of {', '.join(DTYPES)} and a shape", listed)
    code, shape = listed
    if len(shape) > AXES or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise unfit("array", f"at most {AXES} sizes from 0 on", shape)
    dtype = np.dtype(code).newbyteorder("<")
    last = first + math.prod(shape) * dtype.itemsize
    if last > len(body):
        raise WireFault(f"array: expected {last - first} bytes for {code} of shape {shape}, found {len(body) - first}.")
    try:
        array = np.ndarray(shape, dtype, buffer=body, offset=first if last > first else 0)
    except ValueError as error:  # sizes beside a 0 that no array can have
        raise WireFault(f"array: expected a shape that an array can have, found {shape} ({error}).") from error
    if code == "b1" and (array.view(np.uint8) > 1).any():
        raise unfit("array", "truth values of 0 and 1", "others")
    # A copy of its own, native and aligned: keeping one array does not keep the whole message.
    return array.astype(dtype.newbyteorder("=")), last


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def unfit(name: str, expected: str, found: Any) -> WireFault:
    """Return the error that says what was expected of a message and what was found."""
    return WireFault(f"{name}: expected {expected}, found {reprlib.repr(found)}.")
