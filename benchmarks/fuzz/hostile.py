"""Values and bytes that programs stumble over, drawn at random."""

from __future__ import annotations

import datetime
import random
from typing import Any

import numpy as np

NUMBERS = (
    0, 1, -1, 2, 3, 7, 10, 64, 255, 1000, 10**6, 10**9, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), 0.0, -0.0,
    0.5, 1.0, 1.5, -0.5, 0.1, 1e-3, 1e-9, 1e-30, 1e-44, 1e-300, 5e-324, 1e6, 1e12, 1e20, 1e38, 1e39, 1e300, 1.7e308,
    float("inf"), -float("inf"), float("nan"), True, False,
)  # fmt: skip

TEXTS = (
    "", " ", "mild", "ff", "digits", "1", "0.1", "1e3", "-1", "nan", "inf", "true", "none", "[1,2]", "{}", "a.toml", "../x",
    "/dev/zero", "é", "\udce9", "\x1b[31m", "$\\oops$", "%s", "<b>", "x" * 300, "٣", "1_000", "0x10", "NaN", "linear",
    "relu", "dense", "\n", "\0",
)  # fmt: skip


def number(rng: random.Random) -> Any:
    """Return a number of some kind, mostly of Python's."""
    value = rng.choice(NUMBERS) if rng.random() < 0.7 else rng.choice((rng.random(), rng.gauss(0, 100), rng.randrange(100)))
    if rng.random() < 0.2 and abs(float(value)) < 1e30:
        return rng.choice((np.float32, np.float64, np.float16))(value)
    if rng.random() < 0.1 and isinstance(value, int) and abs(value) < 2**31:
        return np.int64(value)
    return value


def value(rng: random.Random, depth: int = 2) -> Any:
    """Return anything."""
    kind = rng.randrange(12)
    if kind < 6:
        return number(rng)
    if kind == 6:
        return rng.choice(TEXTS)
    if kind == 7:
        return rng.choice(
            (None, 1j, b"x", object(), datetime.date(2020, 1, 1), np.datetime64("2020"), [], {}, (), set(), print)
        )
    if kind == 8 and depth:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 9 and depth:
        return {rng.choice(TEXTS): value(rng, depth - 1) for _ in range(rng.randrange(3))}
    if kind == 10:
        return array(rng)
    return tuple(number(rng) for _ in range(rng.randrange(4)))


def array(rng: random.Random, shape: tuple[int, ...] | None = None) -> Any:
    """Return an array of some kind and shape."""
    if shape is None or rng.random() < 0.3:
        shape = tuple(rng.choice((0, 1, 2, 3, 4, 5, 8)) for _ in range(rng.randrange(4)))
    made = np.random.default_rng(rng.randrange(2**32)).standard_normal(shape)
    kind = rng.randrange(14)
    if kind < 5:
        return made.astype(rng.choice((np.float32, np.float64, np.float16)))
    if kind == 5:
        return (made * rng.choice((1e10, 1e19, 1e38, 1e300))).astype(np.float64)
    if kind == 6:
        return np.where(made > 1, rng.choice((np.nan, np.inf, -np.inf)), made)
    if kind == 7:
        return made.astype(rng.choice((np.int8, np.int64, bool)))
    if kind == 8:
        return np.ma.masked_array(made, mask=made > 0)
    if kind == 9:
        return made * 1j
    if kind == 10:
        return made.astype(rng.choice(("U5", "S3", object)))
    if kind == 11:
        return np.full(shape, 5).astype(rng.choice(("M8[s]", "m8[s]")))
    if kind == 12:
        return np.asfortranarray(made).astype(">f4")
    return made.tolist()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with some of them flipped, cut, moved, doubled or replaced."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(found) + 1) if rng.random() < 0.5 else min(rng.randrange(200), len(found))
        kind = rng.randrange(6)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[place:]
        elif kind == 2:
            del found[place : place + rng.randrange(1, 20)]
        elif kind == 3:
            found[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 12)))
        elif kind == 4:
            other = rng.randrange(len(found) + 1)
            found[place:place] = found[other : other + rng.randrange(40)]
        else:
            found[place : place + 8] = rng.choice((2**64 - 1, 2**63, 0, 2**31, 10**12)).to_bytes(8, "little")
    return bytes(found)
