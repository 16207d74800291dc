"""Everything that crosses the seam, as JSON and arrays, and back: one table of types and their fields, and nothing else.

What comes from the other end names a type of the table or is refused; no class, function or attribute is looked up by a name
that was sent. Arrays pass bit for bit, numbers with their types, and an array that occurs twice is sent once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from mortalsim.boards.packing import Packer, Unpacker, unfit
from mortalsim.checks import RangeError, ShapeError, check_name
from mortalsim.hardware import (
    WANTS,
    Answer,
    ArraySpec,
    CurrentNudge,
    Datasheet,
    Delta,
    Outer,
    Overlaid,
    PopulationSpec,
    Port,
    Program,
    Replay,
    Shrink,
    Tap,
    Trace,
    TransferCurve,
    WeightNudge,
)

#: Floats that JSON has no word for.
NOT_FINITE: Final = ("nan", "inf", "-inf")


class Form(NamedTuple):
    """How a value of one kind becomes JSON (``pack``: packer, name, value), and how it comes back (``unpack``)."""

    pack: Callable[[Packer, str, Any], Any]
    unpack: Callable[[Unpacker, str, Any], Any]


def _plain(kind: type, expected: str) -> Form:
    """Return the form of what JSON holds as it is."""

    def pack(packer: Packer, name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise ShapeError(f"{name}: expected {expected}, found {type(value).__name__}.")
        return value

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if type(found) is not kind:
            raise unfit(name, expected, found)
        return found

    return Form(pack, unpack)


def _pack_number(packer: Packer, name: str, value: Any) -> Any:
    if isinstance(value, np.generic):  # its type decides in which precision the far side calculates with it
        return {"scalar": packer.add(name, value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if not isinstance(value, int):
        raise RangeError(f"{name}: expected a number, found {type(value).__name__} {value!r}. Write 0.1, say.")
    if abs(value) > 2**64:
        raise RangeError(f"{name}: expected a number of at most 64 bits, found one of {value.bit_length()}.")
    return value if isinstance(value, bool) else int(value)


def _unpack_number(unpacker: Unpacker, name: str, found: Any) -> Any:
    if type(found) in (int, float, bool):
        return found
    if isinstance(found, dict) and found.keys() == {"scalar"}:
        array = unpacker.get(name, found["scalar"])
        if array.ndim:
            raise unfit(name, "a number", f"an array of shape {array.shape}")
        return array[()]
    if isinstance(found, dict) and found.keys() == {"float"} and found["float"] in NOT_FINITE:
        return float(found["float"])
    raise unfit(name, "a number", found)


def optional(form: Form) -> Form:
    """Return the form of a value or None."""
    return Form(
        lambda packer, name, value: None if value is None else form.pack(packer, name, value),
        lambda unpacker, name, found: None if found is None else form.unpack(unpacker, name, found),
    )


def many(form: Form) -> Form:
    """Return the form of a tuple."""

    def pack(packer: Packer, name: str, value: Any) -> Any:
        return [form.pack(packer, f"{name}[{i}]", item) for i, item in enumerate(value)]

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if not isinstance(found, list):
            raise unfit(name, "a list", found)
        return tuple(form.unpack(unpacker, f"{name}[{i}]", item) for i, item in enumerate(found))

    return Form(pack, unpack)


def one_or_many(form: Form) -> Form:
    """Return the form of a value or a tuple of them; the value itself is no list in JSON."""
    listed = many(form)
    return Form(
        lambda packer, name, value: (listed if isinstance(value, tuple) else form).pack(packer, name, value),
        lambda unpacker, name, found: (listed if isinstance(found, list) else form).unpack(unpacker, name, found),
    )


def pair(first: Form, second: Form) -> Form:
    """Return the form of a tuple of two."""

    def pack(packer: Packer, name: str, value: Any) -> Any:
        one, two = value
        return [first.pack(packer, name, one), second.pack(packer, name, two)]

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if not isinstance(found, list) or len(found) != 2:
            raise unfit(name, "a list of two", found)
        return first.unpack(unpacker, name, found[0]), second.unpack(unpacker, name, found[1])

    return Form(pack, unpack)


def mapping(key: Form, form: Form) -> Form:
    """Return the form of a mapping; its order is kept."""
    listed = many(pair(key, form))

    def pack(packer: Packer, name: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ShapeError(f"{name}: expected a mapping, found {type(value).__name__}.")
        return {"items": listed.pack(packer, name, value.items())}

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if not isinstance(found, dict) or found.keys() != {"items"}:
            raise unfit(name, "the items of a mapping", found)
        items = listed.unpack(unpacker, name, found["items"])
        if len(dict(items)) < len(items):
            raise unfit(name, "different keys", [item[0] for item in items])
        return dict(items)

    return Form(pack, unpack)


def either(found_in: Callable[[Any], bool], first: Form, packed_as: Callable[[Any], bool], second: Form) -> Form:
    """Return the form of two kinds of values: ``first`` where ``found_in`` says so of a value, ``packed_as`` of its JSON."""
    return Form(
        lambda packer, name, value: (first if found_in(value) else second).pack(packer, name, value),
        lambda unpacker, name, found: (first if packed_as(found) else second).unpack(unpacker, name, found),
    )


def record(*kinds: type) -> Form:
    """Return the form of one of these types of `RECORDS`."""
    names = {kind.__name__: kind for kind in kinds}
    expected = ", ".join(names)

    def pack(packer: Packer, name: str, value: Any) -> Any:
        if type(value) not in kinds:
            raise ShapeError(f"{name}: expected one of {expected}; found {type(value).__name__}.")
        fields = RECORDS[type(value)]
        packed = {field: form.pack(packer, field, getattr(value, field)) for field, form in fields.items()}
        return {"is": type(value).__name__, **packed}

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if not isinstance(found, dict) or found.get("is") not in list(names):  # a list: what was sent need not be hashable
            raise unfit(name, f"one of {expected}", found)
        kind = names[found["is"]]
        fields = RECORDS[kind]
        if found.keys() != {"is", *fields}:
            raise unfit(name, f"the fields {', '.join(fields)} of a {kind.__name__}", sorted(found))
        return kind(**{field: form.unpack(unpacker, field, found[field]) for field, form in fields.items()})

    return Form(pack, unpack)


def _ports() -> Form:
    known = {port.value: port for port in Port}

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        listed = many(TEXT).unpack(unpacker, name, found)
        if not known.keys() >= set(listed):
            raise unfit(name, f"some of {', '.join(known)}", found)
        return frozenset(known[port] for port in listed)

    return Form(lambda packer, name, value: sorted(Port(port).value for port in value), unpack)


def _one_of(words: Sequence[str]) -> Form:
    """Return the form of one of a few words."""

    def pack(packer: Packer, name: str, value: Any) -> Any:
        return check_name(name, TEXT.pack(packer, name, value), words)

    def unpack(unpacker: Unpacker, name: str, found: Any) -> Any:
        if found not in list(words):
            raise unfit(name, f"one of {', '.join(words)}", found)
        return found

    return Form(pack, unpack)


TEXT: Final = _plain(str, "a text")
WANT: Final = _one_of(WANTS)
FLAG: Final = _plain(bool, "true or false")
NUMBER: Final = Form(_pack_number, _unpack_number)
ARRAY: Final = Form(
    lambda packer, name, value: packer.add(name, value), lambda unpacker, name, found: unpacker.get(name, found)
)
NAMES: Final = Form(
    lambda packer, name, value: many(TEXT).pack(packer, name, sorted(value)),
    lambda unpacker, name, found: frozenset(many(TEXT).unpack(unpacker, name, found)),
)
SHAPE: Final = many(NUMBER)
SAMPLES: Final = either(
    lambda value: isinstance(value, Overlaid), record(Overlaid), lambda found: isinstance(found, dict), ARRAY
)
SCALE: Final = either(
    lambda value: isinstance(value, Mapping),
    mapping(TEXT, ARRAY),
    lambda found: isinstance(found, dict) and "items" in found,
    NUMBER,
)
#: A place of an array, or the name of a population that a stage stands on.
SOURCE: Final = either(lambda value: isinstance(value, str), TEXT, lambda found: isinstance(found, str), NUMBER)

#: Every type that may cross, with the forms of its fields.
RECORDS: Final[dict[type, dict[str, Form]]] = {
    TransferCurve: {"start": NUMBER, "step": NUMBER, "value": ARRAY, "slope": ARRAY},
    PopulationSpec: {
        "name": TEXT, "shape": SHAPE, "curve": optional(record(TransferCurve)), "read_noise": NUMBER, "output_range": NUMBER,
        "adc_bits": NUMBER, "unipolar": FLAG,
    },
    ArraySpec: {
        "source": TEXT, "target": TEXT, "shape": SHAPE, "weight_range": NUMBER, "weight_step": NUMBER, "input_range": NUMBER,
        "dac_bits": NUMBER, "normaliser": TEXT, "unipolar": FLAG, "seconds_per_pulse": NUMBER, "joules_per_pulse": NUMBER,
        "rows": optional(ARRAY), "columns": optional(ARRAY), "target_range": NUMBER,
    },
    Answer: {
        "population": TEXT, "tick": NUMBER, "wave": NUMBER, "via": many(pair(SOURCE, NUMBER)), "keep": NUMBER, "old": NUMBER,
    },
    Datasheet: {
        "design": TEXT, "populations": mapping(TEXT, record(PopulationSpec)), "arrays": many(record(ArraySpec)),
        "timetable": many(record(Answer)), "inputs": many(TEXT), "output": optional(TEXT), "ports": _ports(),
        "patterns": NAMES, "seconds_per_read": NUMBER, "joules_per_read": NUMBER, "families": NAMES,
    },
    Overlaid: {"images": ARRAY, "lines": ARRAY, "values": ARRAY},
    CurrentNudge: {"currents": mapping(TEXT, ARRAY)},
    WeightNudge: {
        "key": NUMBER, "amplitude": NUMBER, "pattern": TEXT, "index": NUMBER, "arrays": optional(SHAPE),
    },
    Tap: {"array": NUMBER, "tick": NUMBER, "at": NUMBER, "pre": ARRAY, "post": ARRAY},
    Trace: {
        "output": optional(ARRAY), "states": mapping(TEXT, mapping(NUMBER, ARRAY)), "taps": many(record(Tap)),
    },
    Outer: {"array": NUMBER, "pre": ARRAY, "post": ARRAY, "rate": NUMBER},
    Delta: {"array": NUMBER, "matrix": ARRAY, "scale": NUMBER},
    Replay: {"nudge": one_or_many(record(WeightNudge)), "scale": one_or_many(SCALE)},
    Shrink: {"array": NUMBER, "factor": NUMBER},
    Program: {"array": NUMBER, "weights": ARRAY},
}  # fmt: skip
