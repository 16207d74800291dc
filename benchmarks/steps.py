"""Probes and whole learning steps beside the reads, products and passes over the devices that they consist of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from unittest import mock

import numpy as np

from benchmarks.chips import inputs, layer_chip
from benchmarks.limits import OWN_BITS, Product, StatePass
from benchmarks.reads import read_work
from benchmarks.timing import Case, Row, Setting, after, alternate, compare, judged, row
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import ArraySpec, Task, WeightNudge
from mortalsim.learners import base
from mortalsim.learners.ap import ActivityPerturbation
from mortalsim.learners.base import Batch, Learner
from mortalsim.learners.ff import ForwardForward
from mortalsim.objectives import one_hot

BATCH, CLASSES, PIXELS = 100, 10, 784

#: The label takes the first lines.
TASK = Task(CLASSES, tuple(range(CLASSES)))


@dataclass(frozen=True)
class FFRow:
    """What one Forward-Forward row measures.

    Parameters
    ----------
    skip
        Of the learner.
    reach, peer_reach
        The bars, against the limit and against loeweX's step.
    """

    skip: float
    reach: float | None
    peer_reach: float | None


#: The published step size (ffnew.m line 15) at the width that it was published for; the learner's default suits narrow nets.
RATE = 0.01

#: Steps taken before any is timed: the first ones send many times the pulses of most.
BEFORE = 150

FF_ROWS = {"ff_step_4x2000": FFRow(0.0, 1.25, 0.9), "ff_step_4x2000_skip": FFRow(1e-3, None, 0.6)}


class Steps:
    """Steps of a learner, one after the other, on the same made-up batch: noisy copies of ten random pictures.

    Parameters
    ----------
    learner
        The rule.
    sizes
        Of a `mild` chip.
    seed
        Of the chip.
    """

    def __init__(self, learner: Learner, sizes: tuple[int, ...], seed: int = 1) -> None:
        rng = np.random.default_rng(0)
        labels = np.arange(BATCH) % CLASSES
        pictures = rng.random((CLASSES, sizes[0])) > 0.7
        x = np.clip(pictures[labels] + 0.2 * rng.standard_normal((BATCH, sizes[0])), 0, 1)
        self.batch = Batch(x.astype(np.float32), one_hot(labels, CLASSES), progress=0.0)
        self.chip = SimulatedChip(load_design("mild").with_sizes(sizes), seed)
        self.learner, self.rng = learner, np.random.default_rng(1)
        self.state = learner.init(self.chip.datasheet, TASK, self.rng)
        self.before = self.taken = self._pulses = 0

    def start_count(self) -> None:
        """Count steps and pulses from here on."""
        self.before, self.taken, self._pulses = self.before + self.taken, 0, 0

    def __call__(self) -> None:
        """Take one step."""
        before = self.chip.meter.pulses  # others may take steps on the same chip
        self.state, _ = self.learner.step(self.chip, TASK, self.batch, self.state, self.rng)
        self.taken += 1
        self._pulses += self.chip.meter.pulses - before

    @property
    def note(self) -> str:
        """What the steps were, and how many pulses they sent."""
        sizes = "-".join(str(size) for size in self.chip.design.sizes)
        devices = 2 * sum(np.prod(spec.shape) for spec in self.chip.datasheet.arrays)
        rate = self._pulses / devices / max(self.taken, 1)
        which = f"{self.taken} steps after {self.before}" if self.before else f"the first {self.taken} steps"
        return f"`mild`, sizes {sizes}, batch {BATCH}, {which}, {rate:.3f} pulses per device and step"


def signs_pair(setting: Setting) -> Iterable[Row]:
    """Both reads of an antithetic probe by one sign per weight, a new key each time."""
    chip = layer_chip("mild", setting.width)
    batches = [inputs(BATCH, setting.width, seed) for seed in range(2)]
    keys = count(1)

    def pair() -> None:
        key = next(keys)
        x = batches[key % 2]  # another batch each time: nothing is left of the pair before
        chip.read(x, WeightNudge(key, 0.03))
        chip.read(x, WeightNudge(key, -0.03))

    one = read_work(chip, BATCH)
    note = f"`mild`, batch {BATCH}, pattern `signs`, both signs of the amplitude; against reads of two different batches"
    yield compare("wp_signs_pair_b100", pair, after(one, one), setting, against="two plain reads", reach=1.3, note=note)


def rank1_probes(setting: Setting) -> Iterable[Row]:
    """Sixteen rank-1 probes of one batch."""
    probes = 16
    chip = layer_chip("mild", setting.width)
    batches = [inputs(BATCH, setting.width, seed) for seed in range(probes)]
    keys = count(1)

    def ours() -> None:
        for _ in range(probes):
            chip.read(batches[0], WeightNudge(next(keys), 0.03, "rank1"))

    def plain() -> None:
        for x in batches:
            chip.read(x)

    note = f"`mild`, batch {BATCH}, {probes} keys, the same x; against reads of {probes} different batches"
    yield compare("wp_rank1_k16", ours, plain, setting, against="16 plain reads", reach=0.35, note=note)


def ap_step(setting: Setting) -> Iterable[Row]:
    """One antithetic step of activity perturbation, its update included."""
    sizes = (PIXELS, setting.width, setting.width, CLASSES)
    # The default suits narrow nets; with it a net of this width saturates, and then nothing more is sent.
    steps = Steps(ActivityPerturbation(antithetic=True, probes=1, rate=0.003), sizes)
    other = SimulatedChip(load_design("mild").with_sizes(sizes), seed=2)
    one = read_work(other, BATCH)
    shapes = [spec.shape for spec in steps.chip.datasheet.arrays]
    products = [Product(n_in, BATCH, n_out, transposed=True) for n_in, n_out in shapes]
    stream = StatePass(shapes, drifts=True, threads=setting.threads)

    limit = after(one, one, *products, stream)
    against = "two reads + a product a layer + streaming pass"
    found = compare("ap_step", steps, limit, setting, against=against, reach=1.2)
    yield replace(found, note=f"{steps.note}; {stream.note}")


def ff_sizes(width: int) -> tuple[int, ...]:
    """Return the sizes of the net that the peers train too: four hidden layers."""
    return (PIXELS, width, width, width, width, CLASSES)


@lru_cache(maxsize=1)
def trained_steps(width: int) -> Steps:
    """Return Forward-Forward steps on a chip that has taken its first ones; all rows go on with it."""
    steps = Steps(ForwardForward(batch_size=BATCH, rate=RATE), ff_sizes(width))
    for _ in range(BEFORE):
        steps()
    return steps


def ff_steps(width: int, name: str) -> Steps:
    """Return the Forward-Forward steps of a row, on the chip of all rows."""
    steps = copy(trained_steps(width))
    steps.learner = replace(steps.learner, skip=FF_ROWS[name].skip)  # type: ignore[call-arg]
    steps.start_count()
    return steps


@contextmanager
def counted_samples() -> Iterator[list[int]]:
    """Give a list that gets the number of samples in every gradient that Forward-Forward forms inside."""
    used: list[int] = []
    remember = base.remember

    def counting(spec: ArraySpec, mean: np.ndarray, memory: float, pre: np.ndarray, post: np.ndarray) -> None:
        used.append(pre.shape[-2] - 1)  # the last row is the pull towards the mean, not a sample
        remember(spec, mean, memory, pre, post)

    with mock.patch.object(base, "remember", counting):
        yield used


def rows_used(steps: Steps) -> float:
    """Take a step and return the share of samples in its gradients."""
    with counted_samples() as used:
        steps()
    return float(np.mean(used)) / (2 * BATCH)


def ff_products(shapes: list[tuple[int, int]]) -> Iterator[Product]:
    """Yield the products of one step: positive, neutral and negative rows forward; the head on neutral rows; gradients."""
    for n_in, n_out in shapes[:-1]:
        yield Product(3 * BATCH, n_in, n_out)
        yield Product(n_in, 2 * BATCH, n_out, transposed=True)
    n_in, n_out = shapes[-1]
    yield Product(BATCH, n_in, n_out)
    yield Product(n_in, BATCH, n_out, transposed=True)


def ff_rows(setting: Setting) -> Iterable[Row]:
    """One step of Forward-Forward: a neutral, a positive and a negative batch, all arrays updated; one limit for all."""
    works = {name: ff_steps(setting.width, name) for name in FF_ROWS}
    shapes = [spec.shape for spec in trained_steps(setting.width).chip.datasheet.arrays]
    products = list(ff_products(shapes))
    stream, packed = (StatePass(shapes, drifts=True, threads=setting.threads, kept_bits=bits) for bits in (32, 16))
    limits = after(*products, stream), after(*products, packed)
    *ours, other, less = alternate([*works.values(), *limits], setting.runs)
    forward = f"the limit's forward products take {3 * BATCH} rows at once, its gradients {2 * BATCH}"
    for (name, steps), times in zip(works.items(), ours, strict=True):
        note = f"{steps.note}; {rows_used(steps):.0%} of the samples' rows in the gradients; {forward}; {stream.note}"
        reach = judged(FF_ROWS[name].reach, setting)
        yield row(name, times, other, against="the products of all samples + streaming pass", reach=reach, note=note)
    against = "the products of all samples + streaming pass, in our bits"
    yield row(f"{next(iter(works))}{OWN_BITS}", ours[0], less, against=against, note=packed.note)


CASES = [
    Case(("wp_signs_pair_b100",), signs_pair),
    Case(("wp_rank1_k16",), rank1_probes),
    Case(("ap_step",), ap_step),
    Case((*FF_ROWS, f"ff_step_4x2000{OWN_BITS}"), ff_rows),
]
