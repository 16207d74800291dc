"""Bytes of a device's state, and the peak memory of a training run."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.steps import BATCH, RATE, Steps, ff_sizes
from benchmarks.timing import Case, Row, Setting, Times, judged, once, plain_row
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.learners.ff import ForwardForward

#: Steps of the training runs whose memory is looked at.
STEPS = 3

ROOT = Path(__file__).parents[1]


def device_bytes(setting: Setting) -> Iterable[Row]:
    """Count the state of the fullest design's devices, and everything that its crossbar holds."""
    design = load_design("harsh").with_sizes((setting.width, setting.width))
    chips: list[SimulatedChip] = []
    made = once(lambda: chips.append(SimulatedChip(design, seed=1)))
    (array,) = chips[0].arrays
    held = {id(array): array for array in arrays_in(array.crossbar, set())}
    devices = 2 * np.prod(array.crossbar.shape)
    parts = ", ".join(
        f"{array.nbytes / devices:.2f} ({array.dtype} {array.shape})"
        for array in sorted(held.values(), key=lambda array: -array.nbytes)
        if array.nbytes >= 0.01 * devices
    )
    what = "`harsh`, which drifts (others hold 6 bytes less); the ratio is bytes per physical device, two a weight"
    state = plain_row(
        "memory_per_device",
        made,
        against="bytes; no time",
        ratio=sum(array.nbytes for array in array.crossbar.devices.arrays) / devices,
        reach=judged(32.0, setting),
        note=f"{what}: conductance, steps, bounds, error, drift, time of the last write; the seconds are of fabrication",
    )
    yield state
    total = sum(array.nbytes for array in held.values()) / devices
    yield replace(
        state, name="memory_per_device_held", ratio=total, reach=None, note=f"{what}, folded weights included: {parts}"
    )


def arrays_in(thing: Any, seen: set[int]) -> Iterator[np.ndarray]:
    """Yield the arrays that own the memory reachable from ``thing``, each once for each way that leads there."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        while isinstance(thing.base, np.ndarray):
            thing = thing.base
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from arrays_in(value, seen)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from arrays_in(value, seen)
    elif is_dataclass(thing) or type(thing).__module__.startswith("mortalsim"):
        yield from arrays_in(vars(thing), seen)


def peak_memory(setting: Setting) -> Iterable[Row]:
    """Run a few steps of Forward-Forward in a process of its own."""
    found = own_peak(setting)
    yield plain_row(
        "memory_ff_peak",
        Times((found["seconds"],)),
        against="peak RSS in MB; no time",
        ratio=found["peak_mb"],
        note=f"{found['note']}; the ratio is the process's peak RSS in MB, {found['before_mb']:.0f} of them imports; "
        "the seconds are of fabrication and steps",
    )


def own_peak(setting: Setting) -> dict[str, Any]:
    """Return what `main` prints, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", str(setting.width)]
    return last_json(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def last_json(text: str) -> dict[str, Any]:
    """Return the JSON object on the last line of ``text``."""
    found = json.loads(text.strip().splitlines()[-1])
    if not isinstance(found, dict):
        raise TypeError(f"expected a JSON object on the last line, found {found!r}.")
    return found


def peak_mb() -> float:
    """Return the largest resident size in MB.

    On Linux from the kernel's own count of this program: `getrusage` there would also count the parent before the exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e6


def main(width: int) -> None:
    """Train, then print what it took as JSON."""
    before, notes = peak_mb(), []

    def run() -> None:
        steps = Steps(ForwardForward(batch_size=BATCH, rate=RATE), ff_sizes(width))
        for _ in range(STEPS):
            steps()
        notes.append(steps.note)

    seconds = once(run).median
    print(json.dumps({"before_mb": before, "peak_mb": peak_mb(), "seconds": seconds, "note": notes[0]}))


CASES = [Case(("memory_per_device", "memory_per_device_held"), device_bytes), Case(("memory_ff_peak",), peak_memory)]

if __name__ == "__main__":
    main(int(sys.argv[1]))
