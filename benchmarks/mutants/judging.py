"""Judging a fault: a copy of the tree with the fault, and the tests that execute its line, the quickest first."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.mutants.faults import Fault
from benchmarks.mutants.recorder import SITE

ROOT = Path(__file__).parents[2]

#: What the copy does not need. Compiled kernels are copied with their times, or numba would compile them again.
LEFT_OUT = shutil.ignore_patterns(".git", ".hypothesis", ".*_cache", "runs")

#: Seconds that tests may take beyond three times what they took without a fault.
PATIENCE = 60


@dataclass
class Map:
    """Which tests execute which line, and the seconds that each test takes.

    Parameters
    ----------
    seconds
        By test.
    lines
        By file and line of the package, tests or whole files of tests.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def add(self, found: dict[str, dict[str, dict[str, list[int]]]]) -> None:
        """Add what the recorder found of one file of tests."""
        self.seconds |= found["seconds"]  # type: ignore[arg-type]
        for test, files in found["lines"].items():
            for file, lines in files.items():
                for line in lines:
                    self.lines.setdefault((file, line), set()).add(test)

    def tests_of(self, file: str, line: int) -> list[str]:
        """Return the tests that execute a line, the quickest first."""
        named = self.lines.get((file, line), set())
        files = {name for name in named if "::" not in name}
        tests = [test for test in self.seconds if test in named or test.partition("::")[0] in files]
        return sorted(tests, key=lambda test: self.seconds[test])


@dataclass(frozen=True)
class Verdict:
    """What became of a fault: ``verdict`` is "killed", "survived" or "not compiled"; ``by`` the test that saw it first."""

    verdict: str
    by: str
    seconds: float


@contextmanager
def scratch_copy() -> Iterator[Path]:
    """Give a copy of the tree, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        yield copy


#: Times that a file of tests is recorded before a failure in it counts: an interruption, which some tests send, may fall
#: into what records them.
TRIES = 4


def _environment(tree: Path, **more: str) -> dict[str, str]:
    own = {"PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **own, **more}


def _record(test: Path, tree: Path, record: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.mutants.recorder", f"tests/{test.name}"]
    own = _environment(tree, MUTANTS_RECORD=str(record))
    done = subprocess.run(command, cwd=tree, env=own, capture_output=True, text=True, check=False)
    if not record.exists():
        raise RuntimeError(f"{test.name} cannot be recorded: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"recorded: {test.name}", flush=True)


def make_map(folder: Path, tree: Path) -> Map:
    """Run every file of tests once, recording; what ``folder`` holds of this very tree already is taken from there.

    Raises
    ------
    RuntimeError
        A test fails without any fault, or a file of tests cannot be run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tests = sorted((tree / "tests").glob("test_*.py"))
    shared = [*(tree / "mortalsim").rglob("*.py"), *set((tree / "tests").glob("*.py")) - set(tests)]
    common, site, found = _digest(shared), tree / "sitecustomize.py", Map()
    site.write_text(SITE, encoding="utf-8")
    for test in tests:
        record = folder / f"{test.stem}-{_digest([test], common)}.json"
        for _ in range(TRIES):
            if not record.exists():
                _record(test, tree, record)
            recorded = json.loads(record.read_text(encoding="utf-8"))
            if not recorded["failed"]:
                break
            record.unlink()
        else:
            raise RuntimeError(f"without a fault these fail: {', '.join(recorded['failed'])}")
        found.add(recorded)
    site.unlink()
    return found


def _digest(files: Iterable[Path], salt: str = "") -> str:
    whole = hashlib.sha256(salt.encode())
    for file in sorted(files):
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


def judge(fault: Fault, tree: Path, known: Map) -> Verdict:
    """Run the tests that execute the fault's line, in ``tree``, until one fails; the tree is left as it was."""
    started = time.monotonic()
    path, tests = tree / fault.file, known.tests_of(fault.file, fault.line)
    if not tests:
        return Verdict("survived", "no test executes the line", 0.0)
    source, times = path.read_bytes(), path.stat()
    changed = fault.applied(source)
    try:
        compile(changed, fault.file, "exec")
    except SyntaxError as error:
        return Verdict("not compiled", str(error), 0.0)
    path.write_bytes(changed)
    try:
        verdict, by = _run(tests, tree, PATIENCE + 3 * sum(known.seconds[test] for test in tests))
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        shutil.rmtree(tree / ".hypothesis", ignore_errors=True)  # or examples that saw one fault would be tried on the next
    return Verdict(verdict, by, time.monotonic() - started)


def _run(tests: list[str], tree: Path, patience: float) -> tuple[str, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *tests]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    child = subprocess.Popen(command, cwd=tree, env=_environment(tree), start_new_session=True, **pipes)
    try:
        said, _ = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return "killed", "the tests never ended"
    if child.returncode == 0:
        return "survived", f"{len(tests)} tests"
    seen = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", said, re.MULTILINE)
    files = sorted({test.partition("::")[0] for test in tests})
    if seen is None and child.returncode == pytest.ExitCode.USAGE_ERROR and files != tests:
        return _run(files, tree, patience)  # the fault has given tests other names: all of their files are run
    if seen is None:
        raise RuntimeError(f"the tests ended with code {child.returncode}: {said[-2000:]}")
    return "killed", seen[1]
