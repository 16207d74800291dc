"""Fields and what they may hold: type, range with both ends, and words, said once in a field's annotation.

Designs and experiments are pydantic models, learners are dataclasses; both say ``Annotated[float, Field(ge=0, le=1)]``. The
same words come from Python, from TOML and from the command line.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mortalsim.checks import DesignError, RangeError

#: Step sizes: above a million per unit of slope every device would be at its bound after a step.
Rate: TypeAlias = Annotated[float, Field(ge=0, le=1e6)]

#: Fractions and weights of the past.
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

#: A size that is divided by: below, float32 loses what it does; above, nothing of a weight or current is left beside it.
Amplitude: TypeAlias = Annotated[float, Field(ge=1e-9, le=1e6)]

#: What softens outputs; beyond, they are all alike, or float32 overflows.
Temperature: TypeAlias = Annotated[float, Field(ge=1e-3, le=1e6)]

#: How often something is done in a step; a million already takes hours a step on the smallest chip.
Times: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]

#: Steps, epochs or samples.
Many: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
AtLeastOne: TypeAlias = Annotated[int, Field(ge=1, le=10**9)]

_ENDS: Final = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What a field may hold.

    Parameters
    ----------
    kind
        Its type: float, int, bool, str, or whatever pydantic understands.
    ends
        ``ge``, ``gt``, ``le`` and ``lt``, where they are given.
    names
        Of a literal, all its values.
    none
        Whether it may be None.
    """

    kind: Any
    ends: Mapping[str, float] = dataclasses.field(default_factory=dict)
    names: tuple[Any, ...] = ()
    none: bool = False

    @classmethod
    def of(cls, annotation: Any, metadata: Iterable[Any] = ()) -> Allowed:
        """Return what an annotation allows."""
        extras, none = list(metadata), False
        while True:
            if get_origin(annotation) is Annotated:
                annotation, *more = get_args(annotation)
                extras += more
                continue
            parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
            if len(parts) == 2 and type(None) in parts:
                annotation, none = next(part for part in parts if part is not type(None)), True
                continue
            break
        ends = {
            end: getattr(extra, end) for extra in _flat(extras) for end in _ENDS if getattr(extra, end, None) is not None
        }
        names = get_args(annotation) if get_origin(annotation) is Literal else ()
        return cls(annotation, ends, names, none)

    @property
    def words(self) -> str:
        """What is expected, such as ``a number from 0 to 1``."""
        if self.names:
            return f"one of {', '.join(map(repr, self.names))}"
        noun = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}.get(self.kind)
        if noun is None:
            noun = f"a value of the type {getattr(self.kind, '__name__', None) or self.kind}"
        low, high = (
            next(((e, self.ends[e]) for e in pair if e in self.ends), None) for pair in (("ge", "gt"), ("le", "lt"))
        )
        span = ""
        if low and high and low[0] == "ge" and high[0] == "le":
            span = f" from {_number(low[1])} to {_number(high[1])}"
        elif low or high:
            own = [f"{'of at least' if low[0] == 'ge' else 'above'} {_number(low[1])}"] if low else []
            own += [f"{'at most' if high[0] == 'le' else 'below'} {_number(high[1])}"] if high else []
            span = f" {' and '.join(own)}"
        return noun + span + (" or nothing" if self.none else "")

    def holds(self, value: float) -> bool:
        """Return whether a number lies within the ends."""
        ends = self.ends
        within = value >= ends.get("ge", -math.inf) and value <= ends.get("le", math.inf)
        return within and not ("gt" in ends and value <= ends["gt"]) and not ("lt" in ends and value >= ends["lt"])


def check_value(name: str, value: Any, annotation: Any, usual: Any, *, text: bool = False) -> Any:
    """Return a field's value in its own type.

    Numbers of numpy are numbers, and a whole one is a whole number whatever its type; truth values are none.

    Parameters
    ----------
    name
        The field, for the message.
    value
        What was given.
    annotation
        Type and range.
    usual
        What to write instead, for the message.
    text
        Whether text may stand for a number, as on a command line.

    Raises
    ------
    RangeError
        The value is of another kind, or out of range.
    """
    allowed = _allowed(annotation)
    if value is None and allowed.none:
        return None
    given = value
    if text and isinstance(value, str) and allowed.kind in (int, float, bool):
        value = _from_text(value, allowed.kind)
    if isinstance(value, np.ndarray) and value.ndim == 0 and not isinstance(value, np.ma.MaskedArray):
        value = value[()]
    taken: Any = None
    if allowed.names:
        taken = value if any(type(value) is type(known) and value == known for known in allowed.names) else None
    elif allowed.kind is bool:
        taken = bool(value) if isinstance(value, bool | np.bool_) else None
    elif allowed.kind in (int, float):
        taken = _number_of(value, allowed)
    elif allowed.kind is str:
        taken = str(value) if isinstance(value, str) and value else None
    else:
        return _by_pydantic(name, value, annotation, usual)
    if taken is None:
        raise RangeError(f"{name}: expected {allowed.words}, found {_shown(given)}. Write {usual!r}, say.")
    return taken


def check_fields(owner: Any) -> None:
    """Put every field of a frozen dataclass into its own type; raise `RangeError` for the first that does not fit.

    A number without ends of its own must be at least 0, as no hyper-parameter means anything below.
    """
    for field in dataclasses.fields(owner):
        usual = field.default if field.default is not dataclasses.MISSING else "another value"
        value = check_value(field.name, getattr(owner, field.name), kind_of(type(owner), field.name), usual)
        object.__setattr__(owner, field.name, value)


def kind_of(owner: type, name: str) -> Any:
    """Return type and range of a dataclass's field."""
    kind = _hints(owner)[name]
    return Annotated[kind, Field(ge=0)] if kind in (int, float) else kind


def words_at(model: type[BaseModel], place: Iterable[Any]) -> str:
    """Return what the field at a place of a model may hold, in words; empty if nobody knows."""
    kind: Any = model
    extras: list[Any] = []
    for step in place:
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel) and step in kind.model_fields:
            field = kind.model_fields[step]
            kind, extras = field.annotation, list(field.metadata)
        elif isinstance(step, int) and get_args(kind):
            kind, extras = get_args(kind)[0], []
        else:
            return ""
    allowed = Allowed.of(kind, extras)
    return allowed.words if allowed.names or allowed.kind in (int, float, bool, str) else ""


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@functools.cache
def _allowed(annotation: Any) -> Allowed:
    return Allowed.of(annotation)


def _bare(kind: Any) -> Any:
    """Return a type without its extras and without None."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        else:
            return kind


def _flat(extras: Iterable[Any]) -> list[Any]:
    return [one for extra in extras for one in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]


def _number_of(value: Any, allowed: Allowed) -> float | None:
    """Return a number that fits, in its own type; None if it does not."""
    if isinstance(value, bool | np.bool_ | np.ma.MaskedArray | np.timedelta64) or not isinstance(value, Real):
        return None
    if not isinstance(value, Integral) and not math.isfinite(value):
        return None
    if not allowed.holds(value):  # type: ignore[arg-type]
        return None
    if allowed.kind is float:
        return float(value)
    return int(value) if value == int(value) else None  # type: ignore[call-overload]


def _from_text(value: str, kind: Any) -> Any:
    """Return the number or truth value that a text stands for; the text itself if it stands for none."""
    text = value.strip()
    if kind is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), value)
    if not text.isascii() or "_" in text or len(text) > 400:
        return value
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return value


def _by_pydantic(name: str, value: Any, annotation: Any, usual: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    listed = isinstance(value, str) and value.startswith("[")
    try:
        return adapter.validate_json(value) if listed else adapter.validate_python(value)
    except ValidationError as error:
        raise RangeError(f"{name}: {error.errors()[0]['msg']}, found {_shown(value)}. Write {usual!r}, say.") from error
    except RecursionError as error:
        raise DesignError(f"{name}: expected a value that is not nested without end. Write {usual!r}, say.") from error


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) and abs(value) < 10**7 else f"{value:g}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # an object may say anything of itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."
