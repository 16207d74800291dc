"""What configuration files share: fields that name one variant of a family, and errors in one readable line."""

from __future__ import annotations

import datetime
import difflib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from numbers import Complex, Real
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mortalsim.checks import DesignError
from mortalsim.fields import words_at
from mortalsim.registry import Functions, Registry

#: Upper end of what only has to be finite, as costs: times and energies mean something however large they are.
FINITE: Final = sys.float_info.max

#: Largest whole number that a field can hold, in absolute value.
LARGEST_WHOLE: Final = 2**63 - 1

#: How deep lists and tables may lie in each other, and how many entries one of them may have.
DEPTH: Final = 16
ENTRIES: Final = 2**16

#: How many problems a message tells, and how many characters of what was found.
TOLD: Final = 10
TEXT: Final = 200

#: Families of variants by their base class, with the field that names a variant.
_FAMILIES: dict[type, tuple[Registry[Any], str]] = {}


class Group(BaseModel):
    """A group of fields of a design: frozen, no others than these, every number finite.

    Numbers of numpy are numbers, and an array of them is a list where one is wanted. Text and truth values are no numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _of_plain_values(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {
            name: _fitting(_text("name of a field", str(name)), value, kinds.get(name, Any))
            for name, value in fields.items()
        }


def _fitting(name: str, value: Any, kind: Any) -> Any:
    """Return a field's value as plain data, unless its type is a class of its own, which knows what it takes."""
    known = kind in (Any, int, float, bool, str) or not isinstance(kind, type) or issubclass(kind, BaseModel)
    if not known:
        return _text(name, value) if isinstance(value, str) else value
    if get_origin(kind) is tuple and isinstance(value, set | frozenset):
        raise ValueError(f"{name}: expected a list, found a set, which has no order")
    value = plain(name, value)
    kinds = {*get_args(kind)} if get_origin(kind) in (Union, UnionType) else {kind}
    if kinds & {int, float} and isinstance(value, str | bool):
        raise ValueError(f"{name}: expected a number, found {value!r:.80}; write it as 0.1, without quotes")
    if bool in kinds and not isinstance(value, bool | None):
        raise ValueError(f"{name}: expected true or false, found {value!r:.80}")
    return value


def plain(name: str, value: Any, depth: int = DEPTH) -> Any:
    """Return ``value`` with Python's own numbers, lists and dictionaries in place of numpy's, tuples and other mappings.

    What is none of these, such as a curve, is returned as it is.

    Raises
    ------
    ValueError
        Something in it is masked, complex, bytes, a date or a number of more than 64 bits, or it is too deep or too long.
    """
    if isinstance(value, str):
        return _text(name, value)
    if value is None or isinstance(value, bool | Enum | BaseModel):
        return value
    if isinstance(value, np.ma.MaskedArray | bytes | bytearray | datetime.date | datetime.time):
        raise ValueError(f"{name}: expected numbers, text, lists or tables, found {type(value).__name__} {value!s:.80}")
    if isinstance(value, np.ndarray | np.generic):
        return _plain_array(name, np.asarray(value))
    if isinstance(value, Complex):
        return _plain_number(name, value)
    if not isinstance(value, Mapping | list | tuple | set | frozenset | range):
        return value
    if not depth or len(value) > ENTRIES:
        found = "deeper ones" if not depth else f"one of {len(value)}"
        raise ValueError(f"{name}: expected lists and tables of at most {ENTRIES} entries, {DEPTH} deep, found {found}")
    if isinstance(value, Mapping):
        keys = {key: _text(f"name in {name}", key) if isinstance(key, str) else key for key in value}
        return {keys[key]: plain(f"{name}.{key}", item, depth - 1) for key, item in value.items()}
    return [plain(name, item, depth - 1) for item in value]


def at_least_or_none(least: float) -> Callable[[type, float], float]:
    """Return a field validator of what may be absent: it wants 0, or ``least`` or more, so that float32 can divide by it."""

    def check(cls: type, value: float) -> float:
        if 0 < value < least:
            raise ValueError(f"expected 0, which switches it off, or a number of at least {least:g}, found {value:g}")
        return value

    return check


def _text(name: str, text: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{name}: expected text that can be written as UTF-8, found {text!r:.80}")
    return str(text) if isinstance(text, np.str_) else text


def _plain_array(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind not in "biuf" or array.size > ENTRIES:
        found = f"an array of {array.dtype}, shape {array.shape}"
        raise ValueError(f"{name}: expected real numbers, at most {ENTRIES}, found {found}")
    # A longdouble's own `tolist` would leave it one.
    return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()


def _plain_number(name: str, value: Complex) -> int | float:
    if isinstance(value, int):
        if abs(value) > LARGEST_WHOLE:
            raise ValueError(f"{name}: expected a number of at most 64 bits, found one of {value.bit_length()} bits")
        return int(value)
    if not isinstance(value, Real):
        raise ValueError(f"{name}: expected a real number, found {value!r}")
    return float(value)


def choice(registry: Registry[Any], key: str) -> tuple[BeforeValidator, PlainSerializer]:
    """Return the annotations of a field that holds ``"relu"`` or ``{family = "leaky", leak = 0.2}``, with ``key`` "family".

    Reading it raises `UnknownName` for a name that is not in ``registry`` and `ValueError` for anything but a name or table.
    """

    def build(value: Any) -> Any:
        if isinstance(value, registry.base):
            return value
        fields = {key: value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
        if key not in fields:
            raise ValueError(f"expected a name or a table with the field {key!r}, one of {', '.join(registry.names())}")
        name = fields.pop(key)
        if not isinstance(name, str):
            raise ValueError(f"{key}: expected a name, one of {', '.join(registry.names())}; found {name!r}")
        if "." in name:  # as `as_data` calls what is in no file of the family
            raise ValueError(f"{key}: {name!r} is a class of its own, not a name; hand in the object itself")
        variant = registry.get(name)
        try:
            return variant(**fields)
        except ValidationError as error:
            raise ValueError(explain(error, variant)) from error

    _FAMILIES[registry.base] = registry, key
    return BeforeValidator(build), PlainSerializer(as_data)


def as_data(value: Any) -> Any:
    """Return a value of a design as what JSON can hold: a variant as a table with its name, a number as a number.

    A variant that is in no file of its family bears the name of its class, ``module.Class``.
    """
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in (*type(value).model_fields, *(value.model_extra or {}))}
        return _name_of(value) | {name: as_data(item) for name, item in fields.items()}
    if isinstance(value, Mapping):
        return {str(name): as_data(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return as_data(np.asarray(value).tolist())
    if isinstance(value, set | frozenset):  # a set has no order of its own from one process to the next
        return sorted((as_data(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [as_data(item) for item in value]
    if isinstance(value, Enum):
        return as_data(value.value)
    return value if value is None or isinstance(value, str | bool | int | float) else _class_of(value)


def _name_of(variant: BaseModel) -> dict[str, str]:
    for base in type(variant).__mro__:
        if base in _FAMILIES:
            registry, key = _FAMILIES[base]
            package, _, name = type(variant).__module__.rpartition(".")
            return {key: name if package == registry.package else _class_of(variant)}
    return {}


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class Chosen(Group):
    """A function of a family and its settings: in a design file ``"dense"`` or ``{kind = "patches", size = 4}``."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(max_length=100, description="name of the function's file")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    def call(self, family: Functions, *given: Any, **more: Any) -> Any:
        """Call the function of this kind with what is given and its own settings.

        Raises
        ------
        UnknownName
            The family has no such kind.
        DesignError
            A setting does not exist, is missing, or is not of the type that the function's signature names.
        """
        function = family.get(self.kind)
        parameters = inspect.signature(function).parameters
        lacking = [name for name in more if name not in parameters]
        if len(parameters) < len(given) or lacking:
            wanted = f"the parameter {lacking[0]!r}" if lacking else f"{len(given)} parameters at least"
            raise DesignError(f"{self.kind}: expected a function with {wanted}, found {', '.join(parameters) or 'none'}")
        own = {name: p for name, p in list(parameters.items())[len(given) :] if name not in more}
        types, settings = get_type_hints(function, include_extras=True), dict(self.model_extra or {})
        unknown = [name for name in settings if name not in own]
        if unknown:
            raise DesignError(f"{self.kind}: there is no setting {unknown[0]!r}; it has {', '.join(own) or 'none'}")
        missing = [name for name, p in own.items() if name not in settings and p.default is inspect.Parameter.empty]
        if missing:
            raise DesignError(f"{self.kind}: the setting {missing[0]!r} is missing; it has no default")
        for name, value in settings.items():
            try:
                settings[name] = TypeAdapter(types.get(name, Any)).validate_json(json.dumps(value), strict=True)
            except ValidationError as error:
                raise DesignError(f"{self.kind}: {name}: {error.errors()[0]['msg']}, found {value!r}") from error
        return function(*given, **more, **settings)


def explain(error: ValidationError, model: type[BaseModel], known: Iterable[str] = ()) -> str:
    """Return the first problems of ``error`` with a ``model`` in one line, and how many more there are.

    Unknown fields get the nearest of the model's own names, or of those that are ``known``.
    """
    names, problems = sorted({*model.model_fields, *known}), error.errors()
    # A list whose entries were refused counts as too short as well.
    inner = {problem["loc"][:-1] for problem in problems if problem["loc"]}
    told = [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in inner]
    more = [f"and {len(told) - TOLD} more"] if len(told) > TOLD else []
    return "; ".join([*(_explain_one(problem, names, model) for problem in told[:TOLD]), *more])


def _explain_one(problem: Any, names: list[str], model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in problem["loc"])[:TEXT]
    start = f"{place}: " if place else ""
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1])[:TEXT], names, n=1)
        return f"{start}no such field" + (f"; did you mean {near[0]!r}?" if near else "")
    # What our own validators say names what was found already.
    if problem["type"] == "value_error":
        return start + str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{start}missing; it has no default"
    words = words_at(model, problem["loc"])
    return f"{start}{f'expected {words}' if words else problem['msg']}, found {problem['input']!r:.100}"
