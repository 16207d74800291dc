"""How far a run is, in sentences: what is done, what runs, when it will end."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from mortalsim.checks import RunError
from mortalsim.report.progress import Standing, progress_in
from mortalsim.report.store import RESULTS, TASKS, asked_in, held


def status(folder: Path) -> list[str]:
    """Return the state of the run in ``folder``, a sentence a line.

    Raises
    ------
    RunError
        There is no run in the folder.
    """
    asked = asked_in(folder) if folder.is_dir() else None
    if asked is None:
        raise RunError(f"{folder}: expected a run folder, found none. Name the folder that `--out` named.")
    progress = progress_in(folder) or {}
    rows = len(list((folder / TASKS).glob("*/row.json")))
    total = progress.get("tasks", "an unknown number")
    lines = [f"{asked.experiment}: {asked.question}", f"Begun {asked.started}, by: {asked.command}"]
    lines += [f"Gone on with {entry.get('at')}." for entry in asked.resumed]
    lines.append(f"Done: {rows} of {total} tasks.")
    if (folder / RESULTS).exists():
        return [*lines, f"It is finished: {folder / RESULTS}."]
    if not held(folder):
        return [*lines, f"Nobody is at it. Go on with `mortalsim resume {folder}`."]
    age = time.time() - float(progress.get("at", time.time()))
    lines.append(
        f"Process {progress.get('process', '?')} on {progress.get('host', '?')} is at it, last heard {age:.0f} s ago."
    )
    lines += [f"Running: {_running(one)}" for one in progress.get("running", ())]
    left = progress.get("seconds_left")
    if left is not None:
        end = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=max(float(left) - age, 0))
        lines.append(f"It will end at about {end:%Y-%m-%d %H:%M}, in {max(float(left) - age, 0):.0f} s.")
    return lines


def _running(one: dict[str, Any]) -> str:
    known = {name: one[name] for name in Standing.__dataclass_fields__ if name in one}
    since = time.time() - float(one["since"])
    return f"{one['task']}, for {since:.0f} s" + (f": {Standing(**known).text}" if known else "")
