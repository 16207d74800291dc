"""What configuration files share: fields that name one variant of a family, and errors in one readable line."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mortalsim.checks import DesignError
from mortalsim.registry import Functions, Registry


def choice(registry: Registry[Any], key: str) -> tuple[BeforeValidator, PlainSerializer]:
    """Return the annotations of a field that holds ``"relu"`` or ``{family = "leaky", leak = 0.2}``, with ``key`` "family".

    Reading it raises `UnknownName` for a name that is not in ``registry`` and `ValueError` for anything but a name or table.
    """

    def build(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        fields = {key: value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
        if key not in fields:
            raise ValueError(f"expected a name or a table with the field {key!r}, one of {', '.join(registry.names())}")
        name = fields.pop(key)
        if not isinstance(name, str):
            raise ValueError(f"{key}: expected a name, one of {', '.join(registry.names())}; found {name!r}")
        variant = registry.get(name)
        try:
            return variant(**fields)
        except ValidationError as error:
            raise ValueError(explain(error, variant.model_fields)) from error

    def dump(variant: BaseModel) -> dict[str, Any]:
        return {key: type(variant).__module__.rpartition(".")[2], **variant.model_dump()}

    return BeforeValidator(build), PlainSerializer(dump)


class Chosen(BaseModel):
    """A function of a family and its settings: in a design file ``"dense"`` or ``{kind = "patches", size = 4}``."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    kind: str

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
        types, settings = get_type_hints(function), dict(self.model_extra or {})
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


def explain(error: ValidationError, known: Iterable[str]) -> str:
    """Return all problems of ``error`` in one line; unknown fields get the nearest of the ``known`` names."""
    names = sorted(known)
    return "; ".join(_explain_one(problem, names) for problem in error.errors())


def _explain_one(problem: Any, names: list[str]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    start = f"{place}: " if place else ""
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1)
        return f"{start}no such field" + (f"; did you mean {near[0]!r}?" if near else "")
    # What our own validators say names what was found already.
    if problem["type"] == "value_error":
        return start + str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{start}missing; it has no default"
    return f"{start}{problem['msg']}, found {problem['input']!r}"
