"""Outer-product writes beside the product that asks for them and one pass over the devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.chips import SOFT_BOUNDS, OuterWrites, layer_chip
from benchmarks.limits import Product, StatePass
from benchmarks.timing import Case, Row, Setting, compare

SAMPLES = 100

#: Mean number of pulses for one device and write: large steps early in training, and what most steps ask for.
PULSES = {"dense": 1.0, "typical": 0.05}


def outer_writes(width: int, pulses: float, device: dict[str, Any]) -> OuterWrites:
    """Return writes of 100 samples to one square array of these devices."""
    return OuterWrites(layer_chip("mild", width, device=device), SAMPLES, pulses)


def outer_write(setting: Setting, *, name: str, pulses: float, reach: float | None) -> Iterable[Row]:
    """Soft-bounds pairs with every spread and cycle-to-cycle noise."""
    shape = (setting.width + 1, setting.width)
    product = Product(shape[0], SAMPLES, shape[1], transposed=True)
    stream = StatePass([shape], drifts=False, threads=setting.threads)
    ours = outer_writes(setting.width, pulses, SOFT_BOUNDS)

    def limit() -> None:
        product()
        stream()

    found = compare(name, ours, limit, setting, against="sgemm + streaming pass over the state", reach=reach)
    yield replace(found, note=f"{ours.note}; {stream.note}")  # what was sent is known only now


CASES = [
    Case(("outer_b100",), partial(outer_write, name="outer_b100", pulses=PULSES["dense"], reach=1.5)),
    Case(("outer_b100_typical",), partial(outer_write, name="outer_b100_typical", pulses=PULSES["typical"], reach=None)),
]
