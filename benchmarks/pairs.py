"""A checkout beside another one, row by row, in short pairs: `python -m benchmarks.pairs OTHER_CHECKOUT`.

Each side has a process of its own for the whole time; only one of them computes at a time, and before each run both are left
in peace until BLAS threads have stopped spinning. A pair is one run of either side right after the other, this one first in
every second pair, so that a machine that slows down slows both, and both take the same calls from the beginning on.

What a row says is the trimmed geometric mean of its pairs' ratios, this side's seconds over the other's: a fifth of the
logarithms is left out at either end, for a run that something else interrupted says nothing. Its 95 % interval is the t
interval of trimmed means after Tukey and McLaughlin (1963), from the winsorised variance.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from benchmarks._pair_worker import ROWS
from benchmarks.machine import machine, versions

HERE = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "pairs.json"
SCRIPT = Path(__file__).parent / "_pair_worker.py"

#: Threads of BLAS, and so of everything, on either side.
THREADS = 2

#: Seconds that a run should last, and that pass before each.
RUN, PAUSE = 0.03, 0.05

#: Fewest pairs of a row, and seconds that all rows together may take before a row is content with these.
FEWEST, LONGEST = 15, 1200

#: Share of the pairs that is left out at either end, and what an interval should cover.
TRIMMED, COVERED = 0.2, 0.95

#: Load average over the last minute from which intervals are wide.
BUSY = 0.5

#: Ratios that are too slow: where a row's whole interval lies above the first, or the mean of all rows above the second.
ROW_BAR, MEAN_BAR = 1.05, 1.02


@dataclass(frozen=True)
class Ratio:
    """A ratio of times with its interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """One row.

    Parameters
    ----------
    name
        Of the row.
    ratio, low, high
        This side's seconds over the other's, and the interval.
    pairs, calls
        How many pairs there were, and calls in each run.
    this_s, other_s
        Median seconds of one call.
    cpu_ratio
        The same of the processor seconds of all threads, which others on the machine hardly change; BLAS threads that spin
        while they wait count too. For looking.
    this_pulses, other_pulses
        Mean pulses sent in one call: chips of two versions may be different individuals.
    """

    name: str
    ratio: float
    low: float
    high: float
    pairs: int
    calls: int
    this_s: float
    other_s: float
    cpu_ratio: float
    this_pulses: float
    other_pulses: float

    @property
    def slower(self) -> bool:
        """Whether the whole interval lies above the bar."""
        return self.low > ROW_BAR


class WorkerFailed(RuntimeError):
    """A side could not do what a row asks."""


class Worker:
    """One side: a process that runs the worker's script with a checkout's package; to be used as a context."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout.resolve()
        paths = [str(self.checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": str(THREADS)}
        # -P: the script's own folder is no place to import from.
        command = [sys.executable, "-P", str(SCRIPT)]
        self._process = subprocess.Popen(
            command, cwd=self.checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._send(end=True)
        self._process.communicate()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        try:
            self._send(**request)
            line = self._process.stdout.readline() if self._process.stdout else ""
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(f"{self.checkout.name}: the worker ended with exit code {self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.checkout.name}: {answer['error']}")
        return answer

    def run(self, calls: int) -> dict[str, Any]:
        """Time so many calls after a pause."""
        time.sleep(PAUSE)
        return self.ask(calls=calls)

    def _send(self, **request: Any) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()


def trimmed(logs: Sequence[float]) -> tuple[float, float, int]:
    """Return the trimmed mean of some numbers, its standard error and its degrees of freedom."""
    values = np.sort(np.asarray(logs, float))
    cut = int(TRIMMED * len(values))
    kept = values[cut : len(values) - cut]
    winsorised = np.clip(values, kept[0], kept[-1])
    squares = float(((winsorised - winsorised.mean()) ** 2).sum())
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1))) if len(kept) > 1 else math.inf
    return float(kept.mean()), error, len(kept) - 1


def ratio_of(logs: Sequence[float]) -> Ratio:
    """Return what pairs say whose ratios have these logarithms."""
    mean, error, freedom = trimmed(logs)
    half = float(t.ppf(0.5 + COVERED / 2, freedom)) * error if freedom else math.inf
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(min(mean + half, 700.0)))


def mean_of(rows: Sequence[Found]) -> Ratio:
    """Return the geometric mean of the rows' ratios, with an interval as if these were normal and independent."""
    mean = float(np.mean([math.log(row.ratio) for row in rows]))
    halves = [math.log(row.high / row.low) / 2 for row in rows]
    half = math.hypot(*halves) / len(rows)
    # The rows' own intervals are a little wider than normal ones, and so is this.
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def calls_a_run(this: Worker, other: Worker) -> int:
    """Return how many calls make a run, by the other side's speed; both sides take the same calls meanwhile."""
    calls = 1
    for share in (0.2, 1.0):
        seconds, _ = (worker.run(calls)["seconds"] for worker in (other, this))
        calls = max(1, round(share * RUN * calls / max(seconds, 1e-9)))
    return calls


def compared(this: Worker, other: Worker, name: str, pairs: int, seconds: float) -> Found:
    """Prepare a row on both sides and take its pairs; after the fewest, none that would begin later than ``seconds``."""
    start = time.monotonic()
    for worker in (other, this):
        time.sleep(PAUSE)
        worker.ask(prepare=name)
    calls = calls_a_run(this, other)
    found: dict[Worker, list[dict[str, Any]]] = {this: [], other: []}
    for pair in range(pairs):
        if pair >= FEWEST and time.monotonic() - start > seconds:
            break
        for worker in (this, other) if pair % 2 else (other, this):
            found[worker].append(worker.run(calls))
    return row_of(name, calls, found[this], found[other])


def row_of(name: str, calls: int, own: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Found:
    """Return the row of both sides' answers, pair by pair."""

    def logs(key: str) -> list[float]:
        return [math.log(max(mine[key], 1e-9) / max(other[key], 1e-9)) for mine, other in zip(own, theirs, strict=True)]

    wall, processor = ratio_of(logs("seconds")), ratio_of(logs("cpu"))
    medians = (statistics.median(answer["seconds"] for answer in side) / calls for side in (own, theirs))
    pulses = (statistics.fmean(answer["pulses"] for answer in side) / calls for side in (own, theirs))
    return Found(name, wall.ratio, wall.low, wall.high, len(own), calls, *medians, processor.ratio, *pulses)


def all_compared(other: Path, wanted: Callable[[str], bool], pairs: int) -> Iterator[Found | str]:
    """Yield every wanted row, or a sentence about one that a side cannot do."""
    names = [row.name for row in ROWS if wanted(row.name)]
    with Worker(HERE) as this, Worker(other) as that:
        for name in names:
            try:
                yield compared(this, that, name, pairs, LONGEST / len(ROWS))
            except WorkerFailed as error:
                yield f"{name}: {error}"


def table(rows: Sequence[Found]) -> Table:
    """Return the rows as they are shown."""
    shown = Table()
    for heading in ("row", "this", "other", "ratio", "95 %", "processor", "pairs x calls", "pulses", ""):
        shown.add_column(heading, no_wrap=True)
    for row in rows:
        micro = [f"{1e6 * seconds:,.1f} µs" for seconds in (row.this_s, row.other_s)]
        sent = f"{row.this_pulses:,.0f} / {row.other_pulses:,.0f}" if row.other_pulses else ""
        verdict = f"[red]wholly above {ROW_BAR}[/]" if row.slower else ""
        span, taken = f"{row.low:.3f} to {row.high:.3f}", f"{row.pairs} x {row.calls}"
        shown.add_row(row.name, *micro, f"{row.ratio:.3f}", span, f"{row.cpu_ratio:.3f}", taken, sent, verdict)
    return shown


def commit(checkout: Path) -> str:
    """Return the commit of a checkout, with a plus sign where its package is not what was committed."""
    git = ["git", "-C", str(checkout)]
    found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "mortalsim"], capture_output=True, text=True, check=False)
    return found.stdout.strip() + "+" * bool(changed.stdout.strip())


def as_json(rows: Sequence[Found], other: Path, here: dict[str, Any]) -> str:
    """Return everything that was found, and what it was found on; numbers to six digits."""
    listed = [
        {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in asdict(row).items()}
        | {"slower": row.slower}
        for row in rows
    ]
    found = {
        "machine": here,
        "versions": versions(),
        "threads": THREADS,
        "this": commit(HERE),
        "other": commit(other),
        "mean": {name: float(f"{value:.6g}") for name, value in asdict(mean_of(rows)).items()},
        "rows": listed,
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


app = typer.Typer(add_completion=False)


@app.command()
def main(
    other: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="the checkout to compare with")],
    only: Annotated[str, typer.Option(help="rows whose names contain this; pairs.json is then left alone")] = "",
    pairs: Annotated[int, typer.Option(min=FEWEST, help="pairs of each row")] = 40,
    out: Annotated[Path | None, typer.Option(help="where to write the table")] = None,
) -> None:
    """Say, row by row, how much slower or faster this checkout is than another one."""
    console = Console() if Console().is_terminal else Console(width=160)
    here, rows, failed = machine(), [], []
    if not any(only in row.name for row in ROWS):
        raise typer.BadParameter(f"no row's name contains {only!r}.", param_hint="--only")
    progress = Console(stderr=True)
    if here["load"] > BUSY:
        progress.print(f"the machine is busy (load {here['load']}): intervals will be wide", style="yellow", markup=False)
    for found in all_compared(other, lambda name: only in name, pairs):
        if isinstance(found, str):
            failed.append(found)
            continue
        rows.append(found)
        progress.print(f"{found.name}: {found.ratio:.3f}", style="dim", markup=False)
    if rows:
        whole = mean_of(rows)
        console.print(table(rows))
        console.print(f"geometric mean of {len(rows)} rows: {whole.ratio:.3f} ({whole.low:.3f} to {whole.high:.3f})")
        if out or not only:
            (out or RESULTS).write_text(as_json(rows, other, here), encoding="utf-8")
            console.print(f"written: {out or RESULTS}", markup=False)
    for sentence in failed:
        console.print(f"failed: {sentence}", style="red", markup=False)
    slow = [row.name for row in rows if row.slower]
    if slow:
        console.print(f"wholly above {ROW_BAR}: {', '.join(slow)}", style="red", markup=False)
    if failed or slow or mean_of(rows).ratio > MEAN_BAR:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.pairs")
