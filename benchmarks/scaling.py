"""How costs grow with the number of weights, with processes over chips, and what the first use costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from benchmarks._study import study
from benchmarks.chips import OuterWrites, layer_chip
from benchmarks.reads import read_work
from benchmarks.steps import Steps
from benchmarks.timing import Case, Row, Setting, Times, alternate, compare, judged, once, plain_row
from benchmarks.writes import PULSES
from mortalsim.chips import SimulatedChip
from mortalsim.learners.ff import ForwardForward

SAMPLES = 100

#: Weights of a square layer, and its side.
SIDES = {"1e4": 100, "1e5": 316, "1e6": 1000, "5e6": 2236, "5e7": 7071}

#: Side of the largest layer over the width of the others, so that a trial of the harness stays small.
LARGEST = 4

CHIPS, STEPS, SMALL_NET = 4, 60, (64, 256, 256, 10)

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Sized:
    """One size's rows."""

    fabricate: Row
    read: Row
    write: Row


@lru_cache
def sized(setting: Setting, size: str) -> Sized:
    """Fabricate, read and write a square layer; once for all rows that want it."""
    chips: list[SimulatedChip] = []
    fabricated = once(lambda: chips.append(layer_chip("mild", SIDES[size])))
    (chip,) = chips
    weights = (SIDES[size] + 1) * SIDES[size]
    (read,) = alternate([read_work(chip, SAMPLES)], setting.runs)
    writes = OuterWrites(chip, SAMPLES, PULSES["typical"])
    (write,) = alternate([writes], setting.runs)

    def cost(name: str, found: Times, note: str) -> Row:
        note = f"`mild`, {note}; the ratio is nanoseconds per weight"
        return plain_row(f"{name}_{size}", found, against="no other", ratio=1e9 * found.median / weights, note=note)

    return Sized(
        cost("fabricate", fabricated, f"{weights:,} pairs, once"),
        cost("scaling_read", read, f"{SAMPLES} samples"),
        cost("scaling_write", write, f"`Outer` of {SAMPLES} samples, {writes.note}"),
    )


def one_size(setting: Setting, *, size: str) -> Iterable[Row]:
    """Give one size's costs per weight."""
    if SIDES[size] <= LARGEST * setting.width:
        found = sized(setting, size)
        yield from (found.read, found.write, found.fabricate)


def per_weight(setting: Setting, *, kind: str, name: str, reach: float | None) -> Iterable[Row]:
    """Compare the costs per weight of all sizes."""
    rows = [getattr(sized(setting, size), kind) for size in SIDES if SIDES[size] <= LARGEST * setting.width]
    dear, cheap = max(rows, key=lambda row: row.ratio), min(rows, key=lambda row: row.ratio)
    note = f"largest over smallest cost per weight: {dear.name} {dear.ratio:.3g} ns, {cheap.name} {cheap.ratio:.3g} ns"
    yield replace(
        dear,
        name=name,
        against=f"{cheap.name}, per weight",
        against_median_s=cheap.median_s,
        ratio=dear.ratio / cheap.ratio,
        reach=judged(reach, setting),
        note=note,
    )


def train_one(seed: int) -> int:
    """Train one small chip for some steps; return the pulses that it took."""
    steps = Steps(ForwardForward(), SMALL_NET, seed)
    for _ in range(STEPS):
        steps()
    return steps.chip.meter.pulses


def processes(setting: Setting) -> Iterable[Row]:
    """Chips over one and two processes, by the experiments' own machinery."""
    seeds = list(range(CHIPS))
    note = f"{CHIPS} chips of sizes {'-'.join(map(str, SMALL_NET))}, {STEPS} Forward-Forward steps; starting them counts"
    yield compare(
        "scaling_processes",
        lambda: _in_processes(seeds, 2),
        lambda: _in_processes(seeds, 1),
        setting,
        against="one process",
        reach=1.8,
        sense="at least",
        note=note,
    )


def first_use(setting: Setting) -> Iterable[Row]:
    """Import and compile the kernels with an empty cache, then with what that left."""
    with tempfile.TemporaryDirectory() as folder:
        cold = Times((import_seconds(folder),))
        warm = Times(tuple(import_seconds(folder) for _ in range(setting.runs)))
    note = (
        "seconds that importing the kernels and `compile_all` take in a new process, numpy and numba included; the ratio is "
        "the seconds"
    )
    for name, found, reach in (("compile_first", cold, 20.0), ("compile_later", warm, 1.0)):
        yield plain_row(name, found, against="no other", ratio=found.median, reach=judged(reach, setting), note=note)


def import_seconds(folder: str) -> float:
    """Return the seconds until the kernels are ready in a process whose cache is in ``folder``."""
    code = (
        "import time; t = time.perf_counter(); from mortalsim.kernels import compile_all; compile_all(); "
        "print(time.perf_counter() - t)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": folder}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


CASES = [
    *(
        Case((f"scaling_read_{size}", f"scaling_write_{size}", f"fabricate_{size}"), partial(one_size, size=size))
        for size in SIDES
    ),
    Case(("scaling_weights",), partial(per_weight, kind="read", name="scaling_weights", reach=1.5)),
    Case(("scaling_weights_write",), partial(per_weight, kind="write", name="scaling_weights_write", reach=None)),
    Case(("scaling_processes",), processes),
    Case(("compile_first", "compile_later"), first_use),
]


def _in_processes(seeds: list[int], jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study(train_one, seeds, "scaling", jobs, Path(folder))
