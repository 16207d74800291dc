"""Kill runs at random instants and write a table of what came of it; a study that is begun again goes on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import tempfile
from pathlib import Path

from benchmarks.kills.study import PATIENCE, RUNS, Kill, Undisturbed, kill_once, undisturbed
from benchmarks.machine import machine


def main() -> None:
    """Parse the options, do what is not done yet, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/kills.md"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mortalsim-kills")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    right = {name: _right(name, options.work) for name in RUNS}
    record = options.work / f"kills-{options.seed}.jsonl"
    done = [Kill(**json.loads(line)) for line in record.read_text().splitlines()] if record.exists() else []
    for number in range(len(done), options.kills):
        name = list(RUNS)[number % len(RUNS)]
        folder = options.work / f"kill-{options.seed}-{number}"
        kill = kill_once(name, right[name], folder, random.Random(f"{options.seed} {number}"))
        done.append(kill)
        with record.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(kill)) + "\n")
        print(f"{number + 1} of {options.kills}: {name}, killed after {kill.at:.2f} s: {kill.faults or 'passed'}")
    options.out.write_text(table(done, right, options.seed), encoding="utf-8")


def _right(name: str, work: Path) -> Undisturbed:
    kept = work / f"right-{list(RUNS).index(name)}.json"
    if not kept.exists():
        folder = work / f"undisturbed-{list(RUNS).index(name)}"
        kept.write_text(json.dumps(dataclasses.asdict(undisturbed(name, folder))))
    return Undisturbed(**json.loads(kept.read_text()))


def table(kills: list[Kill], right: dict[str, Undisturbed], seed: int) -> str:
    """Return the page."""
    found = machine()
    lines = [
        "# Runs killed at random instants",
        "",
        f"`python -m benchmarks.kills --kills {len(kills)} --seed {seed}`: SIGKILL at an instant drawn "
        "uniformly from the time",
        "that the undisturbed run took; then the same command, or `mortalsim resume`. Passed: the same rows to "
        "the last bit, no",
        "process after 10 s, nothing hidden, half-written or left over, and no more batches computed twice "
        "than the workers had",
        f"done since their last saves (one every {PATIENCE} s here, 60 s by default). Processor: "
        f"{found['cpu']}, {found['cores']} cores.",
        "",
        "| run | kills | passed | undisturbed, s | its batches | most batches computed again | done since the "
        "last saves then |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in right.items():
        own = [kill for kill in kills if kill.run == name]
        if own:
            most = max(own, key=lambda kill: kill.batches_again)
            passed = sum(not kill.faults for kill in own)
            lines.append(
                f"| {name} | {len(own)} | {passed} | {one.seconds:.1f} | {one.batches} | {most.batches_again} | "
                f"{most.allowed} |"
            )
    passed = sum(not kill.faults for kill in kills)
    lines += [f"| all | {len(kills)} | {passed} | | | | |", ""]
    lines += [f"- {kill.run}, after {kill.at:.2f} s: {'; '.join(kill.faults)}" for kill in kills if kill.faults]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
