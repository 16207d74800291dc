"""Finding what a folder offers: one variant a file, known by the file's name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import keyword
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from mortalsim.texts import printable

if TYPE_CHECKING:
    import zipfile

# mortalsim.checks brings numpy with it and is imported only where it is needed, so that `mortalsim --help` answers at once.

T = TypeVar("T")

#: A variant's file, which may lie in an archive.
File: TypeAlias = "Path | zipfile.Path"

_SOURCES = "Install mortalsim with its sources, as `pip install` does."
_REMEDY = "Mend the file or move it away; everything else can be used."


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
        self._kind = package

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
        """Return the names of the variants that can be used, in alphabetical order; their files are run."""
        return [name for name, path in sorted(self._files().items()) if self._works(name, path)]

    def get(self, name: str) -> type[T]:
        """Return the variant's class.

        Raises
        ------
        UnknownName
            No file of that name; the nearest name is suggested.
        DesignError
            The file cannot be read or imported, or does not define exactly one subclass of the base class.
        """
        from mortalsim.checks import check_name

        files = self._files()
        check_name(self._kind, name, files)
        found: type[T] = self._variant(name, self._module(files[name]))
        return found

    def _variant(self, name: str, module: ModuleType) -> Any:
        from mortalsim.checks import DesignError

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

    def _works(self, name: str, path: File) -> bool:
        from mortalsim.checks import DesignError

        try:
            self._variant(name, self._module(path))
        except DesignError:
            return False
        return True

    def _module(self, path: File) -> ModuleType:
        """Import a variant's module; raise `DesignError` with file and line if that fails."""
        from mortalsim.checks import DesignError

        module = f"{self.package}.{_stem(path)}"
        if module in sys.modules:
            return sys.modules[module]
        tree, problem = _parsed(path)
        if tree is None:
            raise DesignError(f"{printable(str(path))}: {problem}. {_REMEDY}")
        try:
            return importlib.import_module(module)
        except (Exception, SystemExit) as error:  # somebody's file may raise anything
            line = _last_line(error.__traceback__, str(path))
            what = printable(f"{type(error).__name__}: {error}")
            raise DesignError(f"{printable(str(path))}: cannot be imported: {line}{what:.300}. {_REMEDY}") from error

    def _files(self) -> dict[str, File]:
        folders = _folders(self.package)
        found = {self._name(_stem(path)): path for folder in folders for path in files_in(folder) if self._is_variant(path)}
        if not found:
            from mortalsim.checks import DesignError

            where = printable(", ".join(folders) or "no folder")
            raise DesignError(f"{self.package}: expected a file NAME.py for each variant, found none in {where}. {_SOURCES}")
        return found

    def _is_variant(self, path: File) -> bool:
        stem = _stem(path)
        # What is no identifier is no module: an editor's lock or backup, a copy whose name has a blank.
        module = path.name.endswith(".py") and stem.isidentifier() and not keyword.iskeyword(stem)
        if not module or stem.startswith(("_", "base")) or stem in self.helpers:
            return False
        try:
            return path.is_file()
        except OSError:  # a folder that may be listed but not entered
            return False

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
        self._kind = package.rpartition(".")[2]

    def _variant(self, name: str, module: ModuleType) -> Any:
        from mortalsim.checks import DesignError

        function = getattr(module, name, None)
        if not inspect.isfunction(function):
            raise DesignError(f"{module.__file__}: expected a function called {name}, found none. Call it as its file.")
        return function


def _folders(package: str) -> list[str]:
    """Return where the modules of a package lie; an imported one may have been given further folders."""
    if package in sys.modules:
        return list(sys.modules[package].__path__)
    spec = importlib.util.find_spec(package)
    return list((spec.submodule_search_locations if spec else None) or [])


def files_in(folder: str) -> Iterator[File]:
    """Yield the files of a package's folder, which may lie in an archive."""
    place = Path(folder)
    if place.is_dir():
        yield from place.iterdir()
        return
    import zipfile

    archive = next((above for above in place.parents if zipfile.is_zipfile(above)), None)
    if archive is not None:
        yield from zipfile.Path(archive, f"{place.relative_to(archive).as_posix()}/").iterdir()


def _stem(path: File) -> str:
    return path.name.removesuffix(".py")


def _last_line(trace: TracebackType | None, path: str) -> str:
    """Return the last line of a file that was run, as the beginning of a phrase; empty if none was."""
    import traceback

    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == path]
    return f"line {lines[-1]}: " if lines else ""


def _first_line(path: File) -> str:
    tree, problem = _parsed(path)
    return problem if tree is None else printable((ast.get_docstring(tree) or "").partition("\n")[0])


def _parsed(path: File) -> tuple[ast.Module | None, str]:
    """Return a file's syntax tree, or None and what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes, say: whoever runs the file hears of them
            return ast.parse(path.read_bytes()), ""  # as bytes: a byte order mark or a named encoding is understood
    except SyntaxError as error:
        return None, printable(
            f"cannot be read: line {error.lineno}: {error.msg}" if error.lineno else f"cannot be read: {error.msg}"
        )
    except (RecursionError, MemoryError):
        return None, "cannot be read: it is nested too deeply"
    except (OSError, ValueError) as error:
        return None, printable(f"cannot be read: {getattr(error, 'strerror', None) or error}")
