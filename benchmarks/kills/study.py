"""One kill: begin a run, kill it, look at what it left, go on, compare."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import mortalsim
from mortalsim.checks import RunError
from mortalsim.files import read_arrays, read_json
from mortalsim.report.store import held

#: Seconds between two saves of a training in these runs.
PATIENCE = 0.15

#: Seconds after a kill by which every process must be gone.
GONE = 10.0

SMALL = ["--hidden", "16", "--seed", "3"]

#: Runs of a few seconds, over all experiments, in this process and in workers.
RUNS = {
    "train": ["train", "--learner", "ap", "--epochs", "30", *SMALL],
    "train, forward-forward": ["train", "--learner", "ff", "--design", "harsh", "--epochs", "20", *SMALL],
    "compare, 2 workers": [
        "compare",
        "--designs",
        "mild,harsh",
        "--learners",
        "ap,readout,oracle",
        "--chips",
        "2",
        "--epochs-scale",
        "0.3",
        "--jobs",
        "2",
        *SMALL,
    ],
    "compare, no worker": [
        "compare",
        "--designs",
        "wild",
        "--learners",
        "wp,insilico",
        "--chips",
        "2",
        "--epochs-scale",
        "0.15",
        "--jobs",
        "1",
        *SMALL,
    ],
    "transfer, 2 workers": [
        "transfer",
        "--designs",
        "mild",
        "--students",
        "ap,ff",
        "--chips",
        "2",
        "--epochs-scale",
        "0.2",
        "--jobs",
        "2",
        *SMALL,
    ],
    "variance, 2 workers": ["variance", "--widths", "8,24", "--probes", "600", "--jobs", "2", "--seed", "3"],
}


@dataclass
class Undisturbed:
    """A run that nobody killed: its rows, how long it took, and how many batches it computed."""

    rows: list[dict[str, object]]
    seconds: float
    batches: int


@dataclass
class Kill:
    """What one kill showed; ``faults`` is empty if it is passed."""

    run: str
    at: float
    batches_again: int = 0
    allowed: int = 0
    faults: list[str] = field(default_factory=list)


def start(arguments: list[str], folder: Path, count: Path) -> subprocess.Popen[bytes]:
    """Begin a command in a session of its own; its batches are counted in ``count``."""
    counting = Path(__file__).parent / "counting"
    path = os.pathsep.join([str(counting), str(Path(mortalsim.__file__).parents[1])])
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    environment |= {"PYTHONPATH": path, "KILLS_COUNT": str(count), "KILLS_PATIENCE": str(PATIENCE)}
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mortalsim", *arguments], cwd=folder, env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


def undisturbed(name: str, folder: Path) -> Undisturbed:
    """Do a run to its end."""
    folder.mkdir(parents=True)
    started, count = time.monotonic(), folder / "count"
    code = start([*RUNS[name], "--out", "run"], folder, count).wait()
    if code:
        raise RuntimeError(f"{name}: exit code {code}: {(folder / 'log').read_text()[-500:]}")
    return Undisturbed(rows_of(folder / "run"), time.monotonic() - started, batches(count))


def rows_of(run: Path) -> list[dict[str, object]]:
    """Return the rows of ``results.json``."""
    rows: list[dict[str, object]] = json.loads((run / "results.json").read_text())["rows"]
    return rows


def batches(count: Path) -> int:
    """Return how many batches were computed."""
    return sum(what == "batch" for _, what in _counted(count))


def since_the_last_save(count: Path) -> int:
    """Return how many batches all processes had computed since each had last saved or begun, the ones under way included."""
    since: dict[int, int] = {}
    for process, what in _counted(count):
        since[process] = since.get(process, 1) + 1 if what == "batch" else 1
    return sum(since.values())


def _counted(count: Path) -> list[tuple[int, str]]:
    lines = count.read_text().splitlines() if count.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines if len(line.split()) == 2]


def kill_once(name: str, right: Undisturbed, folder: Path, rng: random.Random) -> Kill:
    """Kill a run at a random instant, sometimes a second time while it goes on; return what was found."""
    folder.mkdir(parents=True)
    count, run = folder / "count", folder / "run"
    kill = Kill(name, rng.uniform(0, right.seconds))
    process = start([*RUNS[name], "--out", "run"], folder, count)
    _kill(process, kill, run)
    kill.allowed = since_the_last_save(count)
    again = ["resume", "run"] if (run / "config.json").exists() and rng.random() < 0.5 else [*RUNS[name], "--out", "run"]
    code = start(again, folder, count).wait()
    if code:
        kill.faults.append(f"going on ended with exit code {code}: {(folder / 'log').read_text()[-300:]}")
        return kill
    if rows_of(run) != right.rows:
        kill.faults.append("other rows than the undisturbed run's")
    kill.faults += [*_left_over(run), *_broken(run)]
    kill.batches_again = batches(count) - right.batches
    if kill.batches_again > kill.allowed:
        kill.faults.append(f"{kill.batches_again} batches computed again, but {kill.allowed} since the last saves")
    if not kill.faults:
        shutil.rmtree(folder)
    return kill


def _kill(process: subprocess.Popen[bytes], kill: Kill, run: Path) -> None:
    """Kill the first process alone, wait until all it began is gone, and look at what it left."""
    try:
        process.wait(kill.at)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.monotonic()
    while others := _alive(process.pid):
        if time.monotonic() - killed > GONE:
            kill.faults.append(f"{len(others)} processes alive {GONE:.0f} s after the kill")
            break
        time.sleep(0.02)
    hidden = [path.name for path in run.parent.rglob(".*")]
    if hidden:
        kill.faults.append(f"hidden on disk: {', '.join(hidden)}")


def _alive(session: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def _left_over(run: Path) -> list[str]:
    odd = [str(path.relative_to(run)) for path in run.rglob("*") if ".part" in path.name or ".before." in path.name]
    odd += ["lock"] * (run / "lock").exists()
    return [f"left over: {', '.join(odd)}"] if odd else []


def _broken(run: Path) -> list[str]:
    """Return which kept files cannot be read."""
    faults = ["the lock is held"] if held(run) else []
    for path in sorted([*run.rglob("*.json"), *run.rglob("*.safetensors")]):
        kinds = {"config.json": "config", "results.json": "results", "progress.json": "progress", "row.json": "row"}
        try:
            if path.suffix == ".json":
                read_json(path, kinds[path.name], "")
            else:
                read_arrays(path, "once" if path.stem.startswith("found-") else "training", "")
        except RunError as error:
            faults.append(str(error))
    return faults
