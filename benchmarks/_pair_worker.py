"""One side of `pairs`: prepares rows and times them in a checkout of its own, by lines of JSON on standard input and output.

It is run as a script with another checkout's package in front, so it imports nothing of the benchmarks; and it drives both
the package as it is here and as it was before learners were given a task and chips were made of arrays and populations.

Requests are ``{"prepare": row}``, ``{"calls": n}`` (one call that does not count, then n that do) and ``{"end": true}``;
answers are ``{"seconds", "cpu", "pulses"}``, of the n calls, or ``{"error"}``; ``cpu`` are seconds of all threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import mortalsim
from mortalsim import hardware
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import CurrentNudge, Delta, Outer, Overlaid, Replay, Shrink, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Batch
from mortalsim.objectives import one_hot

Call: TypeAlias = Callable[[], object]

WIDE, CLASSES = 2000, 10

#: Inputs and neurons of nets.
TINY, ONE_TINY, DIGITS, NET = (64, 64, 10), (64, 64), (64, 64, 64, 10), (784, 1000, 1000, 10)

#: As `benchmarks.chips` has them, which a worker of another checkout cannot import.
PROPORTIONAL: dict[str, Any] = {"read_noise_relative": 0.01}
SOFT_BOUNDS: dict[str, Any] = {
    "technology": "soft_bounds",
    "pulses": 300,
    "step_dtod": 0.3,
    "step_ctoc": 0.3,
    "asymmetry_dtod": 0.05,
    "bound_dtod": 0.15,
    "stuck": 0.02,
    "conductance_dtod": 0.05,
}

#: Mean number of pulses for one device and write.
DENSE, TYPICAL = 1.0, 0.05


class Prepared(NamedTuple):
    """A row ready to be timed: what to call, and the chip whose pulses are counted."""

    call: Call
    chip: SimulatedChip


@dataclass(frozen=True)
class Row:
    """One thing that both sides do.

    Parameters
    ----------
    name
        Of the row.
    prepare
        Makes it ready.
    before
        Calls that are made before any is timed.
    """

    name: str
    prepare: Callable[[], Prepared]
    before: int = 2


# --- what differs between checkouts --------------------------------------------------------------------------------------

#: Learners are given the task; before, they were told the label lines, and took the first ones if not.
TASKED = hasattr(hardware, "Task")


def pulses_of(chip: SimulatedChip) -> int:
    """Return how many pulses a chip has been sent."""
    return int((chip.meter if hasattr(chip, "meter") else chip.ledger).pulses)


def pulses_per_weight(chip: SimulatedChip) -> float:
    """Return the pulses that each device takes for a weight change of 1."""
    return float(getattr(chip.design, "technology", chip.design).pulses_per_weight)


def currents(chip: SimulatedChip, values: list[np.ndarray]) -> CurrentNudge:
    """Return currents into all neurons, in the order of the arrays."""
    return CurrentNudge(dict(zip(chip.datasheet.fed, values, strict=True)) if TASKED else tuple(values))


def stepper(learner: Any, chip: SimulatedChip) -> Callable[[Batch], None]:
    """Return what takes one step of a learner that writes labels on the first lines."""
    given = (hardware.Task(CLASSES, tuple(range(CLASSES))),) if TASKED else ()
    rng = np.random.default_rng(1)
    held = {"state": learner.init(chip.datasheet, *given, rng)}

    def step(batch: Batch) -> None:
        held["state"], _ = learner.step(chip, *given, batch, held["state"], rng)

    return step


# --- chips and samples ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def layer_chip(name: str, width: int, device: str) -> SimulatedChip:
    """Return a chip with one square array whose neurons have the curve of hidden ones; made once for neighbouring rows."""
    fields = {"": {}, "proportional": PROPORTIONAL, "soft bounds": SOFT_BOUNDS}[device]
    design = load_design(name)
    curve = design.model_dump()["neurons"]["curve"]
    return SimulatedChip(design.revised(sizes=(width, width), neurons={"output_curve": curve}, device=fields), seed=1)


def net_chip(sizes: tuple[int, ...]) -> SimulatedChip:
    """Return a `mild` chip of these sizes."""
    return SimulatedChip(load_design("mild").with_sizes(sizes), seed=1)


def inputs(samples: int, lines: int, seed: int = 0) -> np.ndarray:
    """Return random samples (samples, lines), uniform in 0 to 1."""
    return np.random.default_rng(seed).random((samples, lines), dtype=np.float32)


def two(chip: SimulatedChip, samples: int) -> list[np.ndarray]:
    """Return two batches, to be read in turn: a chip may have kept the products of the one before."""
    return [inputs(samples, chip.datasheet.n_inputs, seed) for seed in range(2)]


# --- rows ----------------------------------------------------------------------------------------------------------------


def plain_read(name: str, width: int, samples: int, device: str = "") -> Prepared:
    """Read a square array."""
    chip = layer_chip(name, width, device)
    x = cycle(two(chip, samples))
    return Prepared(lambda: chip.read(next(x)), chip)


def tiny_read(samples: int) -> Prepared:
    """Read a chip so small that Python is most of it."""
    chip = net_chip(TINY)
    x = cycle(two(chip, samples))
    return Prepared(lambda: chip.read(next(x)), chip)


def tiny_current() -> Prepared:
    """Read one sample with a current into every neuron."""
    chip = net_chip(TINY)
    x = cycle(two(chip, 1))
    nudge = currents(chip, [0.1 * inputs(1, n) for n in TINY[1:]])
    return Prepared(lambda: chip.read(next(x), nudge), chip)


def outer(chip: SimulatedChip, samples: int, pulses: float) -> Prepared:
    """Write outer products to and fro, or all devices would end at their bounds."""
    n_in, n_out = chip.datasheet.arrays[0].shape
    rng = np.random.default_rng(0)
    pre, post = (rng.standard_normal((samples, n), dtype=np.float32) for n in (n_in, n_out))
    rate = pulses / (float(np.abs(pre.T @ post).mean()) * pulses_per_weight(chip))
    requests = cycle([Outer(0, pre, post, rate), Outer(0, pre, post, -rate)])
    return Prepared(lambda: chip.write(next(requests)), chip)


def wide_outer(pulses: float) -> Prepared:
    """Write to soft-bounds pairs with every spread."""
    return outer(layer_chip("mild", WIDE, "soft bounds"), 100, pulses)


def tiny_outer() -> Prepared:
    """Write to a tiny array."""
    return outer(net_chip(ONE_TINY), 50, TYPICAL)


def tiny_delta() -> Prepared:
    """Send changes weight by weight, to and fro."""
    chip = net_chip(ONE_TINY)
    matrix = np.random.default_rng(0).standard_normal(chip.datasheet.arrays[0].shape, dtype=np.float32)
    scale = TYPICAL / (float(np.abs(matrix).mean()) * pulses_per_weight(chip))
    requests = cycle([Delta(0, matrix, scale), Delta(0, matrix, -scale)])
    return Prepared(lambda: chip.write(next(requests)), chip)


def tiny_shrink() -> Prepared:
    """Shrink so little that the weights stay what they are over many thousand calls."""
    chip = net_chip(ONE_TINY)
    return Prepared(lambda: chip.write(Shrink(0, 1 - 1e-5)), chip)


def tiny_replay() -> Prepared:
    """Make eight nudges permanent and take them back."""
    chip, probes = net_chip(TINY), 8
    nudges = tuple(WeightNudge(key, 0.03) for key in range(1, probes + 1))
    size = TYPICAL / (0.03 * probes**0.5 * pulses_per_weight(chip))
    requests = cycle([Replay(nudges, (size,) * probes), Replay(nudges, (-size,) * probes)])
    return Prepared(lambda: chip.write(next(requests)), chip)


def signs_pair() -> Prepared:
    """Read an antithetic pair, a new key and another batch each time."""
    chip, keys = layer_chip("mild", WIDE, ""), count(1)
    x = cycle(two(chip, 100))

    def pair() -> None:
        key, own = next(keys), next(x)
        chip.read(own, WeightNudge(key, 0.03))
        chip.read(own, WeightNudge(key, -0.03))

    return Prepared(pair, chip)


def rank1() -> Prepared:
    """Read the same batch with a new rank-1 pattern each time."""
    chip, keys = layer_chip("mild", WIDE, ""), count(1)
    x = inputs(100, WIDE)
    return Prepared(lambda: chip.read(x, WeightNudge(next(keys), 0.03, "rank1")), chip)


def labelled() -> Prepared:
    """Read a hundred images with each of ten labels."""
    chip, samples = net_chip(NET), 100
    labels = np.broadcast_to(np.eye(CLASSES, dtype=np.float32)[:, None], (CLASSES, samples, CLASSES))
    x = cycle([Overlaid(images, np.arange(CLASSES), labels) for images in two(chip, samples)])
    return Prepared(lambda: chip.read(next(x)), chip)


def repeated() -> Prepared:
    """Read a hundred images twice over, as antithetic currents do."""
    chip = net_chip(NET)
    x = cycle([Overlaid.repeated(images, 2) for images in two(chip, 100)])
    return Prepared(lambda: chip.read(next(x)), chip)


def steps(name: str, sizes: tuple[int, ...], **settings: Any) -> Prepared:
    """Take steps of a learner with its defaults, or with other settings, on noisy copies of ten random pictures."""
    learner, chip, rng = LEARNERS.get(name)(**settings), net_chip(sizes), np.random.default_rng(0)
    labels = np.arange(learner.batch_size) % CLASSES
    pictures = rng.random((CLASSES, sizes[0])) > 0.7

    def batch() -> Batch:
        x = np.clip(pictures[labels] + 0.2 * rng.standard_normal((len(labels), sizes[0])), 0, 1)
        return Batch(x.astype(np.float32), one_hot(labels, CLASSES), progress=0.0)

    given, step = cycle([batch() for _ in range(4)]), stepper(learner, chip)
    return Prepared(lambda: step(next(given)), chip)


def _named(prepare: Callable[..., Prepared], name: str, *args: Any, before: int = 2, **named: Any) -> Row:
    return Row(name, partial(prepare, *args, **named), before)


#: Neighbours share chips where they can.
ROWS: tuple[Row, ...] = (
    _named(plain_read, "read_1", "mild", WIDE, 1),
    _named(plain_read, "read_100", "mild", WIDE, 100),
    _named(plain_read, "read_1000", "mild", WIDE, 1000),
    _named(signs_pair, "nudged_signs_pair"),
    _named(rank1, "nudged_rank1"),
    _named(plain_read, "read_wild_100", "wild", WIDE, 100),
    _named(plain_read, "read_proportional_100", "mild", WIDE, 100, "proportional"),
    _named(tiny_read, "read_tiny_1", 1, before=100),
    _named(tiny_read, "read_tiny_50", 50, before=100),
    _named(tiny_current, "read_tiny_current", before=100),
    _named(wide_outer, "write_outer_dense", DENSE),
    _named(wide_outer, "write_outer_typical", TYPICAL),
    _named(tiny_outer, "write_tiny_outer", before=100),
    _named(tiny_delta, "write_tiny_delta", before=100),
    _named(tiny_shrink, "write_tiny_shrink", before=100),
    _named(tiny_replay, "write_tiny_replay", before=100),
    _named(labelled, "overlaid_labels"),
    _named(repeated, "overlaid_repeats"),
    *(
        _named(steps, f"step_{name}_digits", name, DIGITS, before=30)
        for name in ("ff", "ap", "wp", "readout", "physics_aware", "insilico")
    ),
    # The defaults suit narrow nets; the first steps of a wide one send many times the pulses of most.
    _named(steps, "step_ff_wide", "ff", NET, batch_size=100, rate=0.01, before=30),
    _named(steps, "step_ap_wide", "ap", NET, batch_size=100, rate=0.003, probes=1, before=5),
)


# --- the protocol --------------------------------------------------------------------------------------------------------


class Side:
    """What a worker holds between requests."""

    def __init__(self) -> None:
        self.prepared: Prepared | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        if "prepare" in request:
            (row,) = (row for row in ROWS if row.name == request["prepare"])
            self.prepared = None  # its chip may go before the next one is made
            self.prepared = row.prepare()
            return self._timed(row.before)
        return self._timed(int(request["calls"]))

    def _timed(self, calls: int) -> dict[str, Any]:
        if self.prepared is None:
            raise RuntimeError("nothing has been prepared.")
        call, chip = self.prepared
        call()  # fetches what another process may have driven out of the caches
        before = pulses_of(chip)
        processor, start = time.process_time(), time.perf_counter()
        for _ in range(calls):
            call()
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        return {"seconds": seconds, "cpu": processor, "pulses": pulses_of(chip) - before}


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed must not look like an answer
    side, here, found = Side(), Path.cwd().resolve(), Path(mortalsim.__file__ or "").resolve()
    for line in sys.stdin:
        request = json.loads(line)
        if "end" in request:
            return
        try:
            if not found.is_relative_to(here):
                raise RuntimeError(f"expected the package of {here}, found {found}.")
            answer = side.answer(request)
        except Exception:  # the other side says what went wrong, by row
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    serve()
