"""A configuration field that names one variant of a family: ``"relu"`` or ``{family = "leaky", leak = 0.2}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from mortalsim.registry import Registry


def choice(registry: Registry[Any], key: str) -> tuple[BeforeValidator, PlainSerializer]:
    """Return the annotations that turn a name, or a table with ``key`` and fields, into a variant, and back.

    Raises
    ------
    UnknownName
        The name is not in ``registry``.
    """

    def build(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        fields = {key: value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
        if key not in fields:
            raise ValueError(f"expected a name or a table with the field {key!r}, one of {', '.join(registry.names())}")
        return registry.get(fields.pop(key))(**fields)

    def dump(variant: BaseModel) -> dict[str, Any]:
        return {key: type(variant).__module__.rpartition(".")[2], **variant.model_dump()}

    return BeforeValidator(build), PlainSerializer(dump)
