"""Work that shows itself: a bar in a terminal or a notebook, plain lines in a log, ``progress.json`` in the folder."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mortalsim.checks import MortalsimError
from mortalsim.files import read_json, write_json
from mortalsim.report.store import PROGRESS
from mortalsim.report.table import engineering

#: Seconds between two lines in a log, and between two states of ``progress.json``.
LINES, FILES = 30.0, 2.0

#: Share of a first task from which on its speed tells how long all will take.
SURE = 0.02


@dataclass(frozen=True)
class Standing:
    """How far a task is.

    Parameters
    ----------
    what
        What is being done: ``"training"``, ``"probes"``.
    done, total
        Epochs, or whatever else is counted; a fraction where one is under way.
    loss, error, reads
        The learner's loss, the last validation error, samples read; None where there is none.
    """

    what: str
    done: float
    total: float
    loss: float | None = None
    error: float | None = None
    reads: float | None = None

    @property
    def text(self) -> str:
        """The standing in a few words."""
        parts = [f"{self.what} {min(int(self.done) + 1, int(self.total))} of {int(self.total)}"]
        parts += [f"loss {self.loss:.3g}"] if self.loss is not None else []
        parts += [f"error {100 * self.error:.1f} %"] if self.error is not None else []
        parts += [f"reads {engineering(self.reads)}"] if self.reads else []
        return ", ".join(parts)


class Watch:
    """Shows how far a run is, as a context.

    Parameters
    ----------
    label
        The run's name.
    names
        Of all tasks, in order.
    finished
        Seconds that each finished task took, by name.
    folder
        The run's folder.
    jobs
        Tasks that are worked on at a time.
    """

    def __init__(self, label: str, names: Sequence[str], finished: Mapping[str, float], folder: Path, jobs: int) -> None:
        self.label, self.names, self.folder, self.jobs = label, list(names), folder, max(jobs, 1)
        self.seconds = dict(finished)
        self.running: dict[str, tuple[float, Standing | None]] = {}
        console = Console(stderr=True)
        shown = sys.stderr is not None and (console.is_terminal or console.is_jupyter)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not shown)
        self._lines: dict[str, TaskID] = {}
        self._shown, self._said, self._written = shown, 0.0, 0.0
        self._all = self._bar.add_task(escape(label), total=len(names), completed=len(self.seconds), text="")

    def __enter__(self) -> Watch:
        self._bar.start()
        self._keep("running", now=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
        with suppress(MortalsimError):  # a full disk has been told of already
            self._keep("stopped" if error is not None else "finished", now=True)

    def begin(self, name: str) -> None:
        """Note that a task is begun."""
        self.running[name] = (time.time(), None)
        if len(self.names) > 1:
            self._lines[name] = self._bar.add_task(escape(f"  {name}"), total=None, text="")
        self._keep("running")

    def at(self, name: str, standing: Standing | str) -> None:
        """Note how far a task is; a text is a warning for everybody."""
        if isinstance(standing, str):
            self.say(f"Warning: {name}: {standing}")
            return
        started, before = self.running.get(name, (time.time(), None))
        self.running[name] = (started, standing)
        line = self._lines.get(name, self._all)
        text = standing.text + (f", {self.left}" if line == self._all and self.left else "")
        self._bar.update(line, completed=standing.done, total=standing.total, text=text)
        if int(standing.done) > (0 if before is None else int(before.done)):
            self._say(name, standing)
        self._keep("running")

    def end(self, name: str) -> None:
        """Note that a task is finished."""
        started, _ = self.running.pop(name, (time.time(), None))
        self.seconds[name] = time.time() - started
        if name in self._lines:
            self._bar.remove_task(self._lines.pop(name))
        self._bar.update(self._all, completed=len(self.seconds), total=len(self.names), text=self._count)
        self._keep("running")

    def drop(self, name: str) -> None:
        """Note that a task was given up; it will be begun again."""
        self.running.pop(name, None)
        if name in self._lines:
            self._bar.remove_task(self._lines.pop(name))

    def say(self, sentence: str) -> None:
        """Print a sentence that everybody should see."""
        if self._shown:
            self._bar.console.print(sentence, markup=False, highlight=False)
        else:
            _print(sentence)

    @property
    def _count(self) -> str:
        left = self.left
        return f"{len(self.seconds)} of {len(self.names)} done" + (f", {left}" if left else "")

    @property
    def left(self) -> str:
        """About how long it still takes, in words; empty if nobody knows yet."""
        seconds = self.estimate()
        if seconds is None:
            return ""
        unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if seconds >= 2 * s), ("s", 1))
        return f"about {seconds / size:.0f} {unit} left"

    def estimate(self) -> float | None:
        """Return the seconds that the run will still take, judged by what it has done; None before anything is done."""
        now, rates = time.time(), list(self.seconds.values())
        shares = {}
        for name, (started, standing) in self.running.items():
            shares[name] = min(standing.done / standing.total, 1.0) if standing and standing.total else 0.0
            if shares[name] > SURE and not self.seconds:
                rates.append((now - started) / shares[name])
        if not rates:
            return None
        mean = sum(rates) / len(rates)
        due = len(self.names) - len(self.seconds) - sum(shares.values())
        return max(due, 0.0) * mean / min(self.jobs, max(len(self.names) - len(self.seconds), 1))

    def _say(self, name: str, standing: Standing) -> None:
        """Print a plain line, where there is no bar, at most one every `LINES` seconds."""
        if self._shown or (time.monotonic() - self._said < LINES and self._said):
            return
        self._said = time.monotonic()
        who = "" if len(self.names) == 1 else f"{self._count}; {name}: "
        left = f", {self.left}" if len(self.names) == 1 and self.left else ""
        _print(f"{time.strftime('%H:%M:%S')} {self.label}: {who}{standing.text}{left}")

    def _keep(self, state: str, now: bool = False) -> None:
        if not now and time.monotonic() - self._written < FILES:
            return
        running = [
            {"task": name, "since": started, **({} if standing is None else asdict(standing))}
            for name, (started, standing) in self.running.items()
        ]
        content = {
            "state": state,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "at": time.time(),
            "tasks": len(self.names),
            "done": len(self.seconds),
            "running": running,
            "seconds_left": self.estimate(),
        }
        write_json(self.folder / PROGRESS, "progress", content)
        self._written = time.monotonic()


def progress_in(folder: Path) -> dict[str, Any] | None:
    """Return what ``progress.json`` of a run says; None if there is none that can be read."""
    try:
        return read_json(folder / PROGRESS, "progress", "")
    except (FileNotFoundError, MortalsimError):
        return None  # it is only for looking at, and the run makes it anew


def _print(line: str) -> None:
    """Print on standard error, which may be missing or closed."""
    with suppress(AttributeError, ValueError, OSError):
        sys.stderr.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stderr.flush()
