"""The house keeps its own rules: imports, sizes, docstrings; and what the pages and examples show, works."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from running import ENVIRONMENT

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "mortalsim").rglob("*.py"))
SOURCES = [
    *PACKAGE,
    *(path for room in ("tests", "examples", "benchmarks", "docs") for path in sorted((ROOT / room).rglob("*.py"))),
]
EXAMPLES = {"train_one_chip.py": ["--epochs", "1"], "two_technologies.py": ["--epochs", "1"], "write_a_learner.py": []}
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def place(path):
    return str(path.relative_to(ROOT))


# --- the code ------------------------------------------------------------------------------------------------------------


def test_imports_point_down(monkeypatch, capsys):
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    kept = lint_imports(no_cache=True) == 0
    assert kept, capsys.readouterr().out


def test_every_file_of_the_package_stands_in_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    listed = {name.strip().split(".")[-1] for layer in layers for name in layer.split("|")}
    found = {path.stem if path.is_file() else path.name for path in (ROOT / "mortalsim").iterdir()}
    assert found - {"__init__", "__pycache__"} == listed


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= (60 if path.parent.name == "examples" else 400)


def code_lines(function):
    """Lines of a function less those of its docstring."""
    first = function.body[0]
    described = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - described * (first.end_lineno - first.lineno + 1)


@pytest.mark.parametrize("path", PACKAGE, ids=place)
def test_functions_are_short(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if code_lines(node) > 60] == []


def arguments(function):
    """Names of a function's arguments but for the instance or the class."""
    given = function.args
    return [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", PACKAGE, ids=place)
def test_functions_take_about_eight_arguments(path):
    """All but a compiled kernel, which its own file calls alone, from the function that takes the records."""
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    many = [node.name for node in functions if len(arguments(node)) > 9]
    assert [name for name in many if not name.startswith("compiled_") or path.parent.name != "kernels"] == []
    for name in many:
        assert len(re.findall(rf"\b{name}\(", text)) == 2  # where it is made, and where records are taken apart
        others = [
            other for other in PACKAGE if other != path and re.search(rf"\b{name}\b", other.read_text(encoding="utf-8"))
        ]
        assert others == []


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_files_say_what_they_are(path):
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert first.endswith((".", "?", ":"))


@pytest.mark.parametrize("path", PACKAGE, ids=place)
def test_public_names_exist(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    page = (ROOT / "docs/explanation/decisions/0002-dependencies.md").read_text()
    assert [name for name in wanted if f"`{re.split('[<>=]', name)[0]}`" not in page] == []


# --- the pages and examples ----------------------------------------------------------------------------------------------


def run_script(path, *arguments, cwd):
    """Run a script as a user would."""
    environment = ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(path), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run(name, tmp_path):
    assert run_script(ROOT / "examples" / name, *EXAMPLES[name], cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def blocks(page, language):
    """Return (mark, text) of every block of ``language`` on ``page``."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(block["mark"] or "", block["text"]) for block in found if block["language"] == language]


def shown(page):
    """Return the files that a page shows, by their names, and the code that it runs."""
    marked = [*blocks(page, "python"), *blocks(page, "toml")]
    files = {mark.removeprefix("file: "): text for mark, text in marked if mark.startswith("file: ")}
    return files, [text for mark, text in marked if not mark]


@pytest.mark.parametrize("page", [page for page in PAGES if any(shown(page))], ids=place)
def test_code_on_pages_runs(page, tmp_path):
    """Files shown become part of the package's rooms, as if they had been put there; then the page's code runs."""
    files, code = shown(page)
    lines = ["import importlib"]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        room = ".".join(Path(name).parent.parts)
        if room:
            lines.append(f"importlib.import_module({room!r}).__path__.append({str(path.parent)!r})")
    script = tmp_path / "page.py"
    script.write_text("\n".join([*lines, *code]), encoding="utf-8")
    run_script(script, cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_commands_on_pages_exist(page):
    """Every experiment and option that a page's shell blocks name; those made on the same page count."""
    from mortalsim.experiments import EXPERIMENTS

    made = {Path(name).stem for name in shown(page)[0]}
    for _, text in blocks(page, "bash"):
        for words in (shlex.split(line) for line in text.splitlines() if line.startswith("mortalsim ")):
            if words[1] not in {"list", "show", "resume", "status", *made}:
                fields = EXPERIMENTS.get(words[1]).model_fields
                options = [word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")]
                assert [option for option in options if option not in fields] == [], words


@pytest.mark.parametrize("name", ["cli.md", "design-file.md", "learners.md", "messages.md"])
def test_reference_pages_are_fresh(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    text = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert importlib.import_module("make_reference").renewed(name, text) == text, "run: python docs/make_reference.py"


def test_the_readme_s_test_command_is_what_continuous_integration_runs():
    assert [mark for mark, _ in blocks(ROOT / "README.md", "bash")].count("test-command") == 1
    assert "test-command" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
