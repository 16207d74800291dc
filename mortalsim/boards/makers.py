"""Functions that make a chip, by name: what another process is told instead of a pickled function."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mortalsim.checks import ShapeError, UnknownName
from mortalsim.hardware import Chip

#: A function of a module, or its name: ``"package.module:function"`` or ``"path/to/file.py:function"``.
Maker = Callable[..., Chip] | str

_HINT = "Write a function at the top of a module or of a .py file, or its name as module:function."


def described(make: Maker, arguments: tuple[Any, ...] = ()) -> tuple[str, str]:
    """Return a maker's name and what it is called with, as JSON.

    Parameters
    ----------
    make
        The maker; a `functools.partial` adds its own arguments.
    arguments
        What JSON can hold; tuples arrive as lists.

    Raises
    ------
    ShapeError
        It is no function that another process could find by its name, or the arguments are not what JSON can hold.
    """
    named: dict[str, Any] = {}
    function: Any = make
    while isinstance(function, functools.partial):
        function, arguments, named = function.func, (*function.args, *arguments), {**function.keywords, **named}
    name = function if isinstance(function, str) else _name_of(function)
    if ":" not in name:
        raise ShapeError(f"make: expected module:function, found {name!r}. {_HINT}")
    try:
        return name, json.dumps([arguments, named], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"arguments: expected what JSON can hold ({error}). Let the maker look the rest up.") from error


def made(name: str, arguments: str) -> Chip:
    """Return the chip that the maker of this name makes.

    Parameters
    ----------
    name, arguments
        As `described` returns them.

    Raises
    ------
    UnknownName
        There is no such module, file or function.
    ShapeError
        The arguments are not a list and an object in JSON, or not what the maker is called with; or it is no function, or
        what it makes is no chip.
    """
    positional, named = _arguments(arguments)
    where, _, path = name.rpartition(":")
    try:
        found = functools.reduce(getattr, path.split("."), _module(where))
    except (ImportError, AttributeError, OSError) as error:
        raise UnknownName(f"make: found no {name!r} ({error}). {_HINT}") from error
    if not callable(found):
        raise ShapeError(f"make: expected a function that returns a chip, found {type(found).__name__} {name!r}. {_HINT}")
    _check_called(name, found, positional, named)
    chip: Chip = found(*positional, **named)
    if not isinstance(chip, Chip):
        raise ShapeError(f"make: expected a chip with datasheet, read and write, found {type(chip).__name__}.")
    return chip


def _arguments(arguments: str) -> tuple[list[Any], dict[str, Any]]:
    """Return what a maker is called with, of its JSON."""
    try:
        match json.loads(arguments):
            case [list() as positional, dict() as named]:
                return positional, named
        problem = "it is something else"
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    raise ShapeError(f"arguments: expected [[...], {{...}}] in JSON, found {arguments!r} ({problem}).")


def _check_called(name: str, make: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> None:
    """Raise `ShapeError` unless a maker takes these arguments, as far as it says which it takes."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ShapeError(
            f"arguments: expected those of {name}{signature}, found {positional} and {named} ({error})."
        ) from error


def _name_of(make: Callable[..., Chip]) -> str:
    module, path = getattr(make, "__module__", None), getattr(make, "__qualname__", "<unnamed>")
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec is not None else None if file is None else str(Path(file).resolve())
    if module is None or "<" in path:
        raise ShapeError(f"make: another process cannot find {path!r} by its name. {_HINT}")
    return f"{module}:{path}"


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        if not where or where.startswith("."):
            raise ImportError("no whole name of a module is before the colon")
        return importlib.import_module(where)
    path = Path(where)
    if path.stem in sys.modules:
        raise ImportError(f"a module {path.stem} is there already")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{where} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as an import would; dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
