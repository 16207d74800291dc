"""Files found by name: what is no variant is left alone, and what cannot be read or run stops nothing else."""

from __future__ import annotations

import codecs
import itertools
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mortalsim.circuits.patterns
import mortalsim.experiments
import mortalsim.learners
from mortalsim import cli
from mortalsim.checks import DesignError
from mortalsim.chips import load_design
from mortalsim.experiments import _trial
from mortalsim.learners import LEARNERS
from mortalsim.registry import Functions, Registry

PACKAGE = Path(mortalsim.__file__).parent

#: A variant of whatever stands in the place of its base.
VARIANT = '"""Summed up here."""\nfrom {room} import Base\n\n\nclass Own(Base):\n    pass\n'

_numbers = itertools.count()


class Room:
    """A package of variants in a folder of its own.

    Parameters
    ----------
    folder
        Where its files lie.
    name
        What it is imported as.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir()
        (folder / "__init__.py").write_text("class Base:\n    pass\n")
        self.write("good", VARIANT)

    def write(self, stem: str, text: str | bytes) -> Path:
        path = self.folder / f"{stem}.py"
        path.write_bytes(text if isinstance(text, bytes) else text.format(room=self.name).encode())
        return path

    @property
    def registry(self) -> Registry:
        return Registry(self.name, __import__(self.name).Base)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    name = f"room_of_tests_{next(_numbers)}"
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Room(tmp_path / name, name)
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[module]


# --- what is no variant ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [".#good.py", "#good.py#", "._good.py", "good copy.py", "good (1).py", "good~.py", "7th.py", "lambda.py",
             "good.py.orig", "good.pyc", "b\udce9.py", "_own.py", "base_of_all.py"],
)  # fmt: skip
def test_what_bears_no_modules_name_is_no_variant(room: Room, name: str):
    (room.folder / name).write_bytes((room.folder / "good.py").read_bytes())
    assert room.registry.names() == room.registry.readable() == ["good"]


def test_folders_pipes_and_links_that_lead_nowhere_are_no_variants(room: Room):
    (room.folder / "folder.py").mkdir()
    (room.folder / "dangling.py").symlink_to("me@host.1:2")
    (room.folder / "loop.py").symlink_to("loop.py")
    if hasattr(os, "mkfifo"):
        os.mkfifo(room.folder / "pipe.py")
    assert room.registry.names() == ["good"]


def test_a_folder_that_may_be_listed_but_not_entered_holds_no_variants(room: Room, monkeypatch: pytest.MonkeyPatch):
    def refused(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(DesignError, match="found none in"):
        room.registry.names()


# --- what cannot be read or run -------------------------------------------------------------------------------------------

UNREADABLE = {
    "half-written": (b"x = 1\ndef step(self,\n", "line 2"),
    "indented by tabs and blanks": (b"if 1:\n\tx\n        y\n", "line 3"),
    "of another encoding": (b'"""Gr\xfc\xdfe."""\n', "utf-8"),
    "of 16 bits a letter": ('"""Greetings."""\n'.encode("utf-16"), "null bytes"),
    "of an encoding that nobody knows": (b'# coding: klingon\n"""Hab."""\n', "klingon"),
    "binary": (bytes(range(256)), "cannot be read"),
    "deep": (b"x = " + b"-" * 100_000 + b"1\n", "nested"),
}

UNUSABLE = {
    "missing import": ("x = 1\nimport nothing_of_this_name\n", "line 2: ModuleNotFoundError"),
    "a fault of its own": ("\n\n1 / 0\n", "line 3: ZeroDivisionError"),
    "a script that ends": ("import sys\nsys.exit(3)\n", "line 2: SystemExit"),
    "escape codes": ("raise ValueError('\\x1b[31mred')\n", r"line 1: ValueError: \x1b[31mred"),
}


@pytest.mark.parametrize(("content", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_is_listed_with_a_remark_and_refused_in_a_sentence(room: Room, content: bytes, said: str):
    path = room.write("broken", content)
    summaries = room.registry.summaries()
    assert summaries["good"] == "Summed up here."
    assert summaries["broken"].startswith("cannot be read: ") and "\n" not in summaries["broken"]
    with pytest.raises(DesignError) as error:
        room.registry.get("broken")
    assert str(error.value).startswith(f"{path}: cannot be read: ") and said in str(error.value)
    assert room.registry.readable() == ["good"] and room.registry.get("good").__name__ == "Own"


def test_a_file_that_may_not_be_read_is_refused_in_a_sentence(room: Room, monkeypatch: pytest.MonkeyPatch):
    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert room.registry.summary("good") == "cannot be read: Permission denied"
    with pytest.raises(DesignError, match=r"good\.py: cannot be read: Permission denied"):
        room.registry.get("good")


@pytest.mark.parametrize(("content", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_cannot_be_imported_is_refused_with_its_line(room: Room, content: str, said: str):
    path = room.write("broken", content)
    with pytest.raises(DesignError) as error:
        room.registry.get("broken")
    assert str(error.value).startswith(f"{path}: cannot be imported: ") and said in str(error.value)
    assert room.registry.readable() == ["good"]


def test_a_file_without_a_variant_is_refused_and_not_among_what_can_be_used(room: Room):
    room.write("notes", '"""Nothing but words."""\n')
    assert room.registry.summary("notes") == "Nothing but words." and room.registry.readable() == ["good"]
    with pytest.raises(DesignError, match="expected exactly one subclass of Base, found none"):
        room.registry.get("notes")
    functions = Functions(room.name)
    room.write("good_one", "def good_one(): ...\n")
    assert functions.readable() == ["good_one"]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b"# -*- coding: utf-8 -*-\n", b"\r\n"])
def test_byte_order_marks_and_named_encodings_are_understood(room: Room, mark: bytes):
    room.write("marked", mark + VARIANT.format(room=room.name).encode())
    assert room.registry.summary("marked") == "Summed up here." and room.registry.get("marked").__name__ == "Own"


def test_a_summary_cannot_move_the_cursor(room: Room):
    room.write("red", '"""\x1b[2J\u202ered."""\n')
    assert room.registry.summary("red") == "\\x1b[2J\\u202ered."


def test_variants_are_found_in_an_archive(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    room.write("half", "def half(\n")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in room.folder.glob("*.py"):
            archive.write(path, f"{room.name}/{path.name}")
    shutil.rmtree(room.folder)
    monkeypatch.syspath_prepend(str(packed))
    assert room.registry.summaries() | {"half": ""} == {"good": "Summed up here.", "half": ""}
    assert room.registry.readable() == ["good"]
    with pytest.raises(DesignError, match=r"half\.py: cannot be read: line 1"):
        room.registry.get("half")


def test_a_package_without_sources_is_refused_in_a_sentence(room: Room):
    (room.folder / "good.py").unlink()
    with pytest.raises(DesignError, match="Install mortalsim with its sources"):
        room.registry.names()


# --- the program goes on --------------------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files belong to experiments, learners and patterns alike."""
    for package in (mortalsim.experiments, mortalsim.learners, mortalsim.circuits.patterns):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    (tmp_path / "half.py").write_text('"""Half."""\nclass Half(\n')
    (tmp_path / "bare.py").write_text('"""Bare."""\nimport nothing_of_this_name\n')
    return tmp_path


def says(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(cli.build(list(arguments)), list(arguments), env={"COLUMNS": "200"})
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_help_and_lists_name_what_is_broken_and_all_else(beside: Path):
    code, out, _ = says("--help")
    assert code == 0 and "compare" in out and "half" in out and "cannot be read: line 2" in out
    code, out, _ = says("list")
    assert code == 0 and out.count("cannot be read: line 2") == 3 and out.count("Bare.") == 3
    assert "Forward-Forward" in out


@pytest.mark.parametrize("name", ["half", "bare"])
@pytest.mark.parametrize("options", [(), ("--help",), ("--seed", "1")])
def test_a_broken_experiment_is_refused_in_a_sentence_whatever_it_is_asked(beside: Path, name: str, options: tuple):
    code, out, err = says(name, *options)
    assert (code, out) == (2, "") and err.startswith(f"mortalsim: {beside / name}.py: cannot be ") and err.count("\n") == 1


def test_a_broken_learner_is_refused_in_a_sentence_and_learns_nothing_by_default(beside: Path):
    before = _trial.LEARNER_NAMES
    assert {"half", "bare"} <= set(LEARNERS.names()) and _trial._learner_names() == before
    for name in ("half", "bare"):
        code, out, err = says("train", "--learner", name)
        assert (code, out) == (2, "") and f"{beside / name}.py: cannot be " in err and err.count("\n") == 1


def test_a_broken_pattern_is_on_no_chips_data_sheet(beside: Path):
    assert load_design("mild").revised(neurons={"saturation": 3.0}).datasheet().patterns == {"hadamard", "rank1", "signs"}


# --- a copy of the program ------------------------------------------------------------------------------------------------


def listed(*path: Path) -> tuple[int, str, str]:
    """Return what ``list`` says of a copy of the program."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", "-m", "mortalsim", "list"]
    done = subprocess.run(
        command, env=environment, cwd=path[0].parent, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program with what people leave in its folders."""
    own = shutil.copytree(PACKAGE, tmp_path / "copy" / "mortalsim", ignore=shutil.ignore_patterns("__pycache__"))
    designs = own / "chips" / "designs"
    (designs / ".#mild.toml").symlink_to("me@host.1:2")
    (designs / "mild copy.toml").write_bytes((designs / "mild.toml").read_bytes())
    (designs / "half.toml").write_text("name = [\n")
    (designs / "red.toml").write_text('summary = "\\u001b[31mred"\n')
    return own


def test_an_editors_lock_or_half_written_design_does_not_stop_the_list(copy: Path):
    code, out, err = listed(copy.parent)
    assert (code, err) == (0, "")
    (half,) = [line for line in out.splitlines() if line.startswith("  half ")]
    assert "cannot be read: design 'half': not valid TOML" in half and "\\x1b[31mred" in out and "copy" not in out
    assert "\n  mild  " in out and "\n  physics_aware  " in out


def test_the_program_may_be_an_archive(copy: Path, tmp_path: Path):
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", copy.parent, "mortalsim"))
    shutil.rmtree(copy)
    code, out, err = listed(packed)
    assert (code, err) == (0, "")
    for name in ("wild", "soft_bounds", "compare", "hadamard", "physics_aware", "fashion-mnist"):
        assert f"  {name} " in out
