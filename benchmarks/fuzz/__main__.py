"""Hand in generated inputs, kind by kind, and write a table of what came of them."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from mortalsim.checks import MortalsimError
from mortalsim.kernels import compile_all

KINDS = ("designs", "idx", "checkpoints", "run_folders", "command_lines", "messages", "arrays")

#: Seconds that a call may take, and megabytes above idle.
LONGEST, MOST = 10, 200


def main() -> None:
    """Parse the options; do one kind here, or all of them in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--only", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.kind:
        only = None if options.only is None else [options.only]
        print(json.dumps(tried(options.kind, options.inputs, options.seed, only)))
        return
    shares = {kind: import_module(f"benchmarks.fuzz.{kind}").Kind.share for kind in KINDS}
    found = []
    for kind, share in shares.items():
        inputs = round(options.inputs * share / sum(shares.values()))
        command = [
            sys.executable,
            "-m",
            "benchmarks.fuzz",
            "--kind",
            kind,
            "--inputs",
            str(inputs),
            "--seed",
            str(options.seed),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(found[-1])[:2000], flush=True)
    if options.out:
        options.out.write_text(table(found, options), encoding="utf-8")


def tried(kind: str, inputs: int, seed: int, only: list[int] | None = None) -> dict[str, Any]:
    """Return counts and failures of one kind."""
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    logging.getLogger("mortalsim").setLevel(logging.ERROR)  # no doubts about what is learned from nonsense
    compile_all()  # which takes longer than any call may
    counts, failures, slowest = Counter[str](), dict[str, list[int]](), 0.0
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        one = import_module(f"benchmarks.fuzz.{kind}").Kind(Path(folder))
        idle = _memory()
        for number in only or range(inputs):
            rng = random.Random(f"{seed} {kind} {number}")
            started = time.monotonic()
            signal.alarm(LONGEST)
            try:
                one.try_one(rng)
                counts["taken"] += 1
            except MortalsimError as error:
                counts["refused"] += 1
                if only:
                    print(type(error).__name__, error, file=sys.stderr)
            except (Exception, TooLong) as error:
                if only:
                    traceback.print_exc()
                frames = traceback.extract_tb(error.__traceback__)
                place = next(
                    (f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames) if "mortalsim/" in f.filename), "?"
                )
                failures.setdefault(f"{type(error).__name__} at {place}: {str(error)[:100]}", []).append(number)
            finally:
                signal.alarm(0)
            took = time.monotonic() - started
            if took > LONGEST:
                failures.setdefault(f"longer than {LONGEST} s", []).append(number)
            slowest = max(slowest, took)
        most = _memory() - idle
        os.chdir(here)
    if most > MOST:
        failures["memory"] = []
    counts["failed"] = sum(map(len, failures.values()))
    shown = {name: numbers[:3] for name, numbers in failures.items()}
    return {"kind": kind, "inputs": inputs, **counts, "slowest": slowest, "memory": most, "failures": shown}


class TooLong(BaseException):
    """Longer than a call may take; no handler of ordinary errors swallows it."""


def _too_long(*_: object) -> None:
    raise TooLong(f"longer than {LONGEST} s")


def _memory() -> float:
    """Return the most megabytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(found: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Return the page."""
    lines = [
        "# Generated inputs",
        "",
        f"`python -m benchmarks.fuzz --inputs {options.inputs} --seed {options.seed}`, in process. Taken: it "
        "worked. Refused:",
        f"one of our own errors, in a sentence. Failed: any other error, a call beyond {LONGEST} s, or more than {MOST} MB",
        "above idle.",
        "",
        "| kind | inputs | taken | refused | failed | slowest call, s | memory above idle, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        counts = " | ".join(str(one.get(name, 0)) for name in ("inputs", "taken", "refused", "failed"))
        lines.append(f"| {one['kind'].replace('_', ' ')} | {counts} | {one['slowest']:.2f} | {one['memory']:.0f} |")
    total = " | ".join(str(sum(one.get(name, 0) for one in found)) for name in ("inputs", "taken", "refused", "failed"))
    lines += [f"| all | {total} | | |", ""]
    lines += [f"- {one['kind']}: {name} (inputs {numbers})" for one in found for name, numbers in one["failures"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
