"""Finding what a folder offers: one variant a file, known by the file's name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import tokenize
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

# mortalsim.checks brings numpy with it and is imported only where it is needed, so that `mortalsim --help` answers at once.

T = TypeVar("T")


class Registry(Generic[T]):
    """The variants in one package: every module ``NAME.py`` holds one final subclass of the package's base class.

    Modules whose names start with an underscore or with ``base`` are not variants. Nothing is imported before `get`.

    Parameters
    ----------
    package
        Dotted name of the package, such as ``"mortalsim.learners"``.
    base
        The class of which each variant is a subclass.
    helpers
        Further modules of the package that are no variants.

    Examples
    --------
    >>> from mortalsim.learners import LEARNERS
    >>> "ff" in LEARNERS.names()
    True
    """

    def __init__(self, package: str, base: type[T], *, helpers: tuple[str, ...] = ()) -> None:
        self.package = package
        self.base = base
        self.helpers = helpers

    def names(self) -> list[str]:
        """Return the variants' names in alphabetical order."""
        return sorted(self._files())

    def summary(self, name: str) -> str:
        """Return the first line of the variant's module docstring; the module is read, not run."""
        from mortalsim.checks import check_name

        files = self._files()
        return _first_line(files[check_name(self.package, name, files)])

    def summaries(self) -> dict[str, str]:
        """Return every variant's name and summary."""
        return {name: _first_line(path) for name, path in sorted(self._files().items())}

    def readable(self) -> list[str]:
        """Return the names of the variants whose files can be read as Python, in alphabetical order."""
        return [name for name, path in sorted(self._files().items()) if _parsed(path)[0] is not None]

    def _module(self, name: str) -> ModuleType:
        """Import a variant's module; raise `DesignError` in a sentence if its file cannot be read as Python."""
        from mortalsim.checks import DesignError

        path = self._files()[name]
        tree, problem = _parsed(path)
        if tree is None:
            raise DesignError(f"{path}: {problem}. Mend the file or move it away; everything else can be used.")
        return importlib.import_module(f"{self.package}.{path.stem}")

    def get(self, name: str) -> type[T]:
        """Return the variant's class.

        Raises
        ------
        UnknownName
            No file of that name; the nearest name is suggested.
        DesignError
            The file cannot be read, or does not define exactly one subclass of the base class.
        """
        from mortalsim.checks import DesignError, check_name

        check_name(self.package, name, self._files())
        module = self._module(name)
        found = [
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, self.base) and item.__module__ == module.__name__
        ]
        if len(found) != 1:
            has = ", ".join(item.__name__ for item in found) or "none"
            raise DesignError(
                f"{module.__file__}: expected exactly one subclass of {self.base.__name__}, found {has}. "
                "Give every variant its own file; helpers go into a file whose name starts with an underscore."
            )
        return found[0]

    def _files(self) -> dict[str, Path]:
        spec = importlib.util.find_spec(self.package)
        folders = (spec.submodule_search_locations if spec else None) or []
        paths = [path for folder in folders for path in Path(folder).glob("*.py")]
        # What is no identifier is no module: an editor's lock or backup, a copy whose name has a blank.
        own = [path for path in paths if path.stem.isidentifier() and path.is_file()]
        own = [path for path in own if not path.stem.startswith(("_", "base")) and path.stem not in self.helpers]
        return {self._name(path.stem): path for path in own}

    def _name(self, stem: str) -> str:
        return stem


class Functions(Registry[Any]):
    """The variants in one package that are functions: every module ``NAME.py`` holds one function called NAME.

    Parameters
    ----------
    package
        Dotted name of the package, such as ``"mortalsim.chips.wiring"``.
    """

    def __init__(self, package: str) -> None:
        super().__init__(package, object)

    def get(self, name: str) -> Any:
        """Return the variant's function.

        Raises
        ------
        UnknownName
            No file of that name; the nearest name is suggested.
        DesignError
            The file cannot be read, or does not define a function of its own name.
        """
        from mortalsim.checks import DesignError, check_name

        check_name(self.package.rpartition(".")[2], name, self._files())
        module = self._module(name)
        function = getattr(module, name, None)
        if not inspect.isfunction(function):
            raise DesignError(f"{module.__file__}: expected a function called {name}, found none. Call it as its file.")
        return function


def _first_line(path: Path) -> str:
    tree, problem = _parsed(path)
    return problem if tree is None else (ast.get_docstring(tree) or "").partition("\n")[0]


def _parsed(path: Path) -> tuple[ast.Module | None, str]:
    """Return a file's syntax tree, or None and what is wrong with it."""
    try:
        with tokenize.open(path) as file:  # knows a byte order mark and the line that names an encoding
            return ast.parse(file.read()), ""
    except SyntaxError as error:
        return None, f"cannot be read: line {error.lineno}: {error.msg}" if error.lineno else f"cannot be read: {error.msg}"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return None, f"cannot be read: {getattr(error, 'strerror', None) or error}"
