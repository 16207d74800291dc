"""A plugin of pytest that notes which test executes which line, and how long each test takes.

    MUTANTS_RECORD=out.json python -m pytest -p benchmarks.mutants.recorder tests/test_x.py

One file of tests at a time. What runs while the file is collected, and what one test leaves for the next (a fixture or a
cache of the whole file), belongs to the file, under its own name. Processes that a test starts count as the test, if `SITE`
stands first on their path.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

#: What keeps things from one test to the next: tests of such a file are taken together.
KEPT = ("functools.cache", "@cache", "lru_cache", "scope=")


#: A file ``sitecustomize.py`` that makes every process record itself.
SITE = "import coverage\n\ncoverage.process_startup()\n"


class Recorder:
    """Coverage with the running test as its context.

    Parameters
    ----------
    out
        File to be written.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.seconds, self.failed = out, dict[str, float](), list[str]()
        self.room = Path(tempfile.mkdtemp(prefix="recorder"))
        self.coverage = coverage.Coverage(data_file=str(self.room / "data"), source=["mortalsim"], config_file=False)
        self.coverage.set_option("run:disable_warnings", ["no-data-collected", "module-not-imported", "module-not-measured"])
        self.whole = False
        self.coverage.start()

    def begin(self, name: str) -> None:
        """Let what runs from now on belong to a test or a file, here and in processes to come."""
        self.coverage.switch_context(name)
        own = self.room / f"of-children-{len(self.seconds)}.ini"
        settings = {"source": "mortalsim", "parallel": "true", "context": name, "data_file": self.room / "data"}
        own.write_text("\n".join(["[run]", *(f"{key} = {value}" for key, value in settings.items())]), encoding="utf-8")
        os.environ["COVERAGE_PROCESS_START"] = str(own)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        if isinstance(collector, pytest.Module):
            self.whole = any(word in collector.path.read_text(encoding="utf-8") for word in KEPT)
            self.begin(collector.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.begin(item.nodeid.partition("::")[0] if self.whole else item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        self.coverage.combine(keep=True)
        lines = self._lines()
        found = {"seconds": self.seconds, "failed": self.failed, "lines": lines}
        self.out.write_text(json.dumps(found), encoding="utf-8")

    def _lines(self) -> dict[str, dict[str, list[int]]]:
        """Return by test and by file of the package the lines that the test executes."""
        data, root = self.coverage.get_data(), Path.cwd()
        lines: dict[str, dict[str, list[int]]] = {}
        for file in data.measured_files():
            place = str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else ""
            for line, tests in data.contexts_by_lineno(file).items() if place else ():
                for test in tests:
                    lines.setdefault(test, {}).setdefault(place, []).append(line)
        return lines


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Recorder(Path(os.environ["MUTANTS_RECORD"])), "recorder")
