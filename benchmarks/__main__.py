"""The command line: runs the cases, prints the table, writes ``results.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks import beside_peers, kernels, memory, reads, scaling, steps, writes
from benchmarks.beside_peers import PeerFailed, Skipped
from benchmarks.machine import machine, versions
from benchmarks.timing import FULL_WIDTH, Case, Row, Setting

RESULTS = Path(__file__).parent / "results.json"

CASES: list[Case] = [*reads.CASES, *writes.CASES, *steps.CASES, *memory.CASES, *kernels.CASES, *scaling.CASES]

#: Load average over the last minute from which times mean little; our own imports make some of it.
BUSY = 0.5

app = typer.Typer(add_completion=False)


@app.command()
def main(
    peers: Annotated[Path | None, typer.Option(help="interpreter of the environment that has the peers")] = None,
    only: Annotated[str, typer.Option(help="rows whose names contain this; results.json is then left alone")] = "",
    out: Annotated[Path | None, typer.Option(help="where to write the results")] = None,
    runs: Annotated[int, typer.Option(min=7, help="recorded runs of everything timed")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="threads of the matrix products and of the limits")] = 2,
    width: Annotated[int, typer.Option(min=1, help="neurons of a layer; smaller ones try out the harness")] = FULL_WIDTH,
) -> None:
    """Measure what mortalsim costs beside the least that the same work could cost."""
    setting = Setting(runs, threads, width, peers)
    console = wide_console()
    here = machine()
    if here["load"] > BUSY:
        console.print(f"the machine is busy (load {here['load']}): do not trust these times", style="yellow", markup=False)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    failed: list[str] = []
    try:
        with threadpool_limits(threads):
            for found in measured(setting, lambda name: only in name):
                if isinstance(found, Row):
                    rows.append(found)
                elif isinstance(found, Skipped):
                    skipped.append(found)
                    console.print(f"skipped: {found.name} ({found.reason})", markup=False)
                else:
                    failed.append(str(found))
    finally:  # what was measured before an error is worth seeing
        if rows:
            console.print(table(rows))
    if not rows and not skipped and not failed:
        raise typer.BadParameter(f"no row's name contains {only!r}.", param_hint="--only")
    if out or (not only and width == FULL_WIDTH):
        write(out or RESULTS, here, rows, skipped, setting)
        console.print(f"written: {out or RESULTS}", markup=False)
    if failed:
        for message in failed:
            console.print(f"failed: {message}", style="red", markup=False)
        raise typer.Exit(1)


def measured(setting: Setting, wanted: Callable[[str], bool]) -> Iterator[Row | Skipped | PeerFailed]:
    """Run every case that has a wanted row, then the peers; say on standard error what is going on."""
    progress = Console(stderr=True)
    for case in CASES:
        if any(wanted(name) for name in case.names):
            start = time.perf_counter()
            yield from (row for row in case.run(setting) if wanted(row.name))
            progress.print(f"{case.names[-1]}: {time.perf_counter() - start:.1f} s", style="dim", markup=False)
    yield from beside_peers.beside_peers(setting, wanted)


def table(rows: list[Row]) -> Table:
    """Return the rows as they are shown."""
    shown = Table()
    for heading in ("name", "median", "min to max", "against", "median", "ratio", "bar", "met"):
        shown.add_column(heading, no_wrap=heading != "against", overflow="fold")
    signs = {"at most": "≤", "at least": "≥"}
    for row in rows:
        other = "" if row.against_median_s is None else duration(row.against_median_s)
        bar = "" if row.reach is None else f"{signs[row.sense]} {row.reach:g}"
        met = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.met]
        span = f"{duration(row.min_s)} to {duration(row.max_s)}"
        shown.add_row(row.name, duration(row.median_s), span, row.against, other, f"{row.ratio:.3g}", bar, met)
    return shown


def wide_console() -> Console:
    """Return a console that leaves room for the table where its width is not known."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def duration(seconds: float) -> str:
    """Return seconds with a unit that suits them."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def write(path: Path, here: dict[str, Any], rows: list[Row], skipped: list[Skipped], setting: Setting) -> None:
    """Write everything that was found, and what it was found on."""
    found: dict[str, Any] = {
        "machine": here,
        "versions": versions(),
        "threads": setting.threads,
        "width": setting.width,
        "rows": [row.as_dict() for row in rows],
        "skipped": [asdict(entry) for entry in skipped],
    }
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
