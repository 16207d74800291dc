"""Draws one-line faults and prints which of them no test notices.

    python -m benchmarks.mutants --seed 0 --count 100 --out faults.tsv

A part of the faults is drawn from a table of the claims, the rest from all that could be wrong with single lines. Each is
judged in a copy of the tree by the tests that execute its line. The first run records which tests these are, which takes
as long as the suite; what is judged in ``--out`` already is not judged again.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.mutants.claims import CLAIMS, claimed
from benchmarks.mutants.faults import Fault, faults_of
from benchmarks.mutants.judging import ROOT, Verdict, judge, make_map, scratch_copy
from mortalsim.streams import Streams

#: Share of the faults that is drawn from the claims, if not said.
SHARE = 0.3

#: Where it is kept which tests execute which line.
RECORD = ROOT / "runs" / "mutants"

app = typer.Typer(add_completion=False)


def drawn(seed: int, count: int, claims: int) -> list[tuple[str, Fault]]:
    """Return what is to be judged, (kind, fault): ``claims`` of the table and the others from all generated ones."""
    pool = faults_of(ROOT / "mortalsim")
    print(f"{len(pool)} faults to draw from, and {len(CLAIMS)} of claims", flush=True)
    named = [(f"claim: {claim.kind}", claimed(claim, ROOT)) for claim in CLAIMS]
    own = _lots(seed, named)[:claims]
    return own + _lots(seed, [("drawn", fault) for fault in pool])[: count - len(own)]


def _lots(seed: int, faults: list[tuple[str, Fault]]) -> list[tuple[str, Fault]]:
    """Return the faults by a lot that each draws for itself, so that those of other lines change nothing for it."""
    streams, lots = Streams(seed).child("faults"), dict[str, int]()
    seen = Counter[str]()
    for _, fault in faults:
        kind = f"{fault.file} {fault.operator} {fault.old} {fault.new}"
        lots[fault.name] = int.from_bytes(streams.key(kind, seen[kind]).tobytes(), "little")
        seen[kind] += 1
    return sorted(faults, key=lambda one: lots[one[1].name])


def judged(out: Path | None) -> dict[str, Verdict]:
    """Return the verdicts that a file holds already, by the names of the faults."""
    if out is None or not out.exists():
        return {}
    rows = [line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    return {name: Verdict(verdict, by, float(seconds)) for verdict, _, name, by, seconds in rows}


@app.command()
def main(
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 0,
    count: Annotated[int, typer.Option(min=1, help="faults in all")] = 100,
    claims: Annotated[int | None, typer.Option(min=0, help="of these, from the table of claims; left out: 30 %")] = None,
    out: Annotated[Path | None, typer.Option(help="table of verdicts, written as they come, and taken up again")] = None,
    record: Annotated[Path, typer.Option("--map", help="folder of what is recorded: who executes what")] = RECORD,
) -> None:
    """Judge faults one after the other; print each, and at the end the survivors."""
    faults = drawn(seed, count, round(SHARE * count) if claims is None else claims)
    known, found = judged(out), list[tuple[str, Fault, Verdict]]()
    with scratch_copy() as tree:
        tests = make_map(record, tree)
        for kind, fault in faults:
            verdict = known.get(fault.name) or judge(fault, tree, tests)
            found.append((kind, fault, verdict))
            print(f"{verdict.verdict:9} {fault.name}  [{kind}; {verdict.by}; {verdict.seconds:.0f} s]", flush=True)
            if out is not None:
                write(out, found)
    survivors = [(kind, fault) for kind, fault, verdict in found if verdict.verdict == "survived"]
    print(f"\nseed {seed}: {len(survivors)} of {len(found)} survive")
    for kind, fault in survivors:
        print(f"  {fault.name}  [{kind}]")


def write(out: Path, found: list[tuple[str, Fault, Verdict]]) -> None:
    """Write the table of verdicts."""
    rows = [(v.verdict, kind, fault.name, v.by, f"{v.seconds:.0f}") for kind, fault, v in found]
    lines = ["\t".join(row) for row in [("verdict", "kind", "fault", "by", "seconds"), *rows]]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.mutants")
