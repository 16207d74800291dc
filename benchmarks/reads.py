"""Reads of one layer beside the products they cannot do without, and of a tiny chip beside its bare kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import cycle
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.chips import PROPORTIONAL, inputs, layer_chip
from benchmarks.limits import Product, Vector
from benchmarks.timing import Case, Row, Setting, Work, after, alternate, compare, judged, plain_row
from mortalsim.chips import SimulatedChip, array, load_design, population

CIRCUITS = "normaliser, 8-bit DAC, folded read noise, output noise, own gain, offset, curve, saturation, 8-bit ADC"


def read_work(chip: SimulatedChip, samples: int) -> Work:
    """Return a read of ``samples`` rows, never those of the read before, whose product the chip may have kept."""
    batches = cycle([inputs(samples, chip.datasheet.n_inputs, seed) for seed in range(2)])
    return lambda: chip.read(next(batches))


@lru_cache(maxsize=1)
def read_chip(design: str, width: int, proportional: bool = False) -> SimulatedChip:
    """Return a chip for reading alone, made once for neighbouring rows."""
    return layer_chip(design, width, device=PROPORTIONAL if proportional else {})


def plain_read(setting: Setting, *, name: str, design: str, samples: int) -> Iterable[Row]:
    """Constant read noise, folded: one product."""
    limit = Product(samples, setting.width + 1, setting.width)
    ours = read_work(read_chip(design, setting.width), samples)
    note = f"{samples} samples, circuits of `{design}`: {CIRCUITS}"
    yield compare(name, ours, limit, setting, against="one sgemm of its shape", reach=1.25, note=note)


def proportional_read(setting: Setting, *, name: str, samples: int) -> Iterable[Row]:
    """Read noise in proportion to each device's conductance: a second product, of squares."""
    one, two = (Product(samples, setting.width + 1, setting.width) for _ in range(2))
    chip = read_chip("mild", setting.width, proportional=True)
    limit = after(one, two)
    note = f"{samples} samples, circuits of `mild`, read_noise_relative = 0.01"
    yield compare(name, read_work(chip, samples), limit, setting, against="two sgemms of its shape", reach=1.25, note=note)


def single_read(setting: Setting) -> Iterable[Row]:
    """One sample: the product is a pass over the weights."""
    chip = read_chip("mild", setting.width)
    limit = Vector(setting.width + 1, setting.width)
    note = "1 sample, circuits of `mild`; the limit is numpy's (k,) @ (k, n) into a given array"
    yield compare("read_b1", read_work(chip, 1), limit, setting, against="one sgemv of its shape", reach=1.5, note=note)


def tiny_read(setting: Setting) -> Iterable[Row]:
    """Measure what Python adds to a read too small for the kernels to matter."""
    chip = SimulatedChip(load_design("mild").with_sizes((64, 64, 10)), seed=1)
    ours, bare = alternate([read_work(chip, 1), bare_kernels(chip)], setting.runs)
    note = (
        "sizes 64-64-10, 1 sample; the ratio is not one: it is the overhead, ours less bare, in microseconds a read. "
        f"{1 / ours.median:,.0f} reads a second"
    )
    yield plain_row(
        "read_tiny",
        ours,
        against="bare kernel calls",
        against_median_s=bare.median,
        ratio=1e6 * (ours.median - bare.median),
        reach=judged(30.0, setting),
        note=note,
    )


def bare_kernels(chip: SimulatedChip) -> Work:
    """Return the calls that one read of one sample makes, with the very arrays that it made them with.

    They are listened to during a read instead of being written down again here: the kernels' parameters are the chip's
    business. The product goes into the array that the readout was given.
    """
    heard: list[tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]] = []

    def listening(kernel: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **named: Any) -> None:
            heard.append((kernel, args, named))
            kernel(*args, **named)

        return call

    x = inputs(1, chip.datasheet.n_inputs)
    with (
        mock.patch.object(array, "drive_lines", listening(array.drive_lines)),
        mock.patch.object(population, "read_out", listening(population.read_out)),
    ):
        taps = chip.read(x).taps
    if len(heard) != 2 * len(taps):
        raise RuntimeError(f"expected one drive_lines and one read_out an array, heard {len(heard)} calls.")
    ways = zip(heard[::2], heard[1::2], taps, chip.arrays, strict=True)
    calls = [(drive, readout, tap.pre, part.crossbar.weights) for drive, readout, tap, part in ways]

    def bare() -> None:
        for (drive, into, names), (readout, given, more), pre, weights in calls:
            drive(*into, **names)
            np.matmul(pre, weights, out=given[0])
            readout(*given, **more)

    return bare


CASES = [
    Case(("read_b1",), single_read),
    *(
        Case((name,), partial(plain_read, name=name, design=design, samples=samples))
        for design, ending in (("mild", ""), ("wild", "_wild"))
        for samples in (100, 1000)
        for name in (f"read_b{samples}{ending}",)
    ),
    *(
        Case((name,), partial(proportional_read, name=name, samples=samples))
        for samples in (100, 1000)
        for name in (f"read_proportional_b{samples}",)
    ),
    Case(("read_tiny",), tiny_read),
]
