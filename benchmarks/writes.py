"""Outer-product writes beside the product that asks for them and one pass over the devices."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from benchmarks.chips import SOFT_BOUNDS, OuterWrites, layer_chip
from benchmarks.limits import OWN_BITS, Product, StatePass
from benchmarks.timing import Case, Row, Setting, after, alternate, judged, row

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
    packed = StatePass([shape], drifts=False, threads=setting.threads, kept_bits=16)
    ours = outer_writes(setting.width, pulses, SOFT_BOUNDS)
    times, other, less = alternate([ours, after(product, stream), after(product, packed)], setting.runs)
    note = ours.note  # what was sent is known only now
    against = "sgemm + streaming pass over the state"
    yield row(name, times, other, against=against, reach=judged(reach, setting), note=f"{note}; {stream.note}")
    yield row(f"{name}{OWN_BITS}", times, less, against=f"{against}, in our bits", note=f"{note}; {packed.note}")


def _case(name: str, pulses: str, reach: float | None) -> Case:
    return Case((name, f"{name}{OWN_BITS}"), partial(outer_write, name=name, pulses=PULSES[pulses], reach=reach))


CASES = [_case("outer_b100", "dense", 1.5), _case("outer_b100_typical", "typical", None)]
