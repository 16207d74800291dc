"""What the scripts of the peers share: options, threads, timing, and the one line of JSON.

Only the standard library is imported here. A peer's interpreter has neither the project nor its dependencies, and the
number of threads must stand in the environment before any numerical library loads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

#: Exit code that says: the peer is not here, skip it by its name.
CANNOT_IMPORT = 3

#: A median of fewer runs is not worth its name.
FEWEST = 3

#: Inputs and outputs of the layer that all peers read.
SIZE = 2000


@dataclass
class Report:
    """Rows of one peer and the settings that they are measured under.

    Parameters
    ----------
    peer
        Name of the peer.
    threads
        Threads of every numerical library.
    runs
        Runs of each case after its warm-up.
    budget
        Seconds one case may take; a slow case gets fewer runs, but never fewer than three.
    """

    peer: str
    threads: int
    runs: int
    budget: float = 12.0
    version: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, name: str, call: Callable[[], object], note: str, warmups: int = 2) -> dict[str, Any]:
        """Time one case after its warm-up and keep its row."""
        for _ in range(warmups):
            last = _seconds(call)
        runs = max(FEWEST, min(self.runs, int(self.budget / last)))
        row = row_of(name, [_seconds(call) for _ in range(runs)], note)
        self.rows.append(row)
        return row

    def best(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Repeat the fastest of some rows under a common name: what the peer can do when it is set well."""
        fastest = min(rows, key=lambda row: row["median_s"])
        self.rows.append({**fastest, "name": name, "note": f"fastest, {fastest['name']}: {fastest['note']}"})

    def print(self) -> None:
        """Print the JSON object, alone on the last line."""
        body = {"peer": self.peer, "version": self.version, "threads": self.threads, "rows": self.rows}
        print(json.dumps(body), flush=True)


def row_of(name: str, seconds: list[float], note: str) -> dict[str, Any]:
    """One row of the protocol."""
    return {
        "name": name,
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "runs": len(seconds),
        "note": note,
    }


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return the options that every script of a peer knows."""
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--threads", type=int, default=2, help="threads of every numerical library")
    options.add_argument("--runs", type=int, default=7, help="runs of each case after its warm-up; slow cases get fewer")
    return options


def begin(peer: str, options: argparse.Namespace) -> Report:
    """Set the numbers of threads; to be called before the first import of a numerical library."""
    if "numpy" in sys.modules or "torch" in sys.modules:
        raise RuntimeError("numpy or torch has been imported before the number of threads was set")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    return Report(peer, options.threads, options.runs)


@contextlib.contextmanager
def importing(peer: str) -> Iterator[None]:
    """Leave with the agreed exit code and one line where an import of the peer fails."""
    try:
        yield
    except ImportError as error:
        print(f"{peer}: cannot be imported ({error})".replace("\n", " "), file=sys.stderr)
        raise SystemExit(CANNOT_IMPORT) from None


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
