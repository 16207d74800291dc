"""Write requests as changes of an array's rows, worked out some rows at a time where they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mortalsim.checks import FloatArray, RangeError, ShapeError, check_array, check_between, check_name
from mortalsim.chips.array import Array
from mortalsim.chips.crossbar import Rows, rows_of
from mortalsim.circuits.patterns import Pattern, pattern_of
from mortalsim.hardware import Delta, Outer, Program, Scale, Shrink, WeightNudge
from mortalsim.parallel import workspace

#: What a float32 can hold.
LARGEST = float(np.finfo(np.float32).max)


def shape_of(array: Array) -> dict[str, int | None]:
    """Return the names and sizes of an array's axes."""
    shape = array.parts.spec.shape
    names = ("blocks", "n_in", "n_out")[-len(shape) :]
    return dict(zip(names, shape, strict=True))


def target_of(request: Program, array: Array) -> FloatArray:
    """Return the weights that are asked for, the blocks one below the other."""
    weights = check_array("weights", request.weights, shape_of(array))
    return weights.reshape(array.crossbar.shape)


def change_of(request: Outer | Delta | Shrink, array: Array) -> tuple[Rows, float]:
    """Return the change asked for, row by row, and what to multiply it with; raises for what cannot be written."""
    crossbar = array.crossbar
    if isinstance(request, Delta):
        matrix = check_array("matrix", request.matrix, shape_of(array)).reshape(crossbar.shape)
        return rows_of(matrix), check_between("scale", request.scale, -1e9, 1e9)
    if isinstance(request, Shrink):
        factor = check_between("factor", request.factor, 0, 1)
        return lambda first, last: crossbar.weights[first:last].copy(), factor - 1
    return _outer(request, array), check_between("rate", request.rate, -1e9, 1e9)


def _outer(request: Outer, array: Array) -> Rows:
    spec = array.parts.spec
    *blocks, n_in, _ = spec.shape
    wanted = {"blocks": blocks[0]} if blocks else {}
    pre = check_array(
        "pre", request.pre, {**wanted, "B": None, "n_in": n_in}, "Take it from a tap: a bias line belongs to it."
    )
    post = check_array("post", request.post, {"B": pre.shape[-2], "size": array.n_target})
    largest = pre.shape[-2] * float(max(pre.max(), -pre.min())) * float(max(post.max(), -post.min()))
    if largest > LARGEST:
        raise RangeError(f"pre, post: expected sums of products up to {LARGEST:g}, could be {largest:g}. Scale them down.")
    spread = np.ascontiguousarray(spec.spread(post)) if blocks else post
    if not blocks:
        return lambda first, last: np.matmul(pre[:, first:last].T, post, out=workspace("outer", last - first, spec.n_out))

    def rows(first: int, last: int) -> FloatArray:
        out = workspace("outer of blocks", last - first, spec.n_out)
        for block, start, stop in _by_block(first, last, n_in):
            own = out[block * n_in + start - first : block * n_in + stop - first]
            np.matmul(pre[block][:, start:stop].T, spread[block], out=own)
        return out

    return rows


def _by_block(first: int, last: int, n_in: int) -> Iterator[tuple[int, int, int]]:
    """Yield each block that rows ``first`` to ``last`` - 1 of an array touch, with its own first row and end."""
    for block in range(first // n_in, (last - 1) // n_in + 1):
        yield block, max(first - block * n_in, 0), min(last - block * n_in, n_in)


class Term(NamedTuple):
    """One nudge as it is written to one array.

    Parameters
    ----------
    pattern
        Its pattern on the array.
    amplitude, scales
        What the pattern is multiplied with: a number, weight units, and each column's factor, float32 (blocks, n_out).
    """

    pattern: Pattern
    amplitude: float
    scales: FloatArray


def replayed(terms: Sequence[tuple[WeightNudge, Scale]], arrays: Sequence[Array]) -> dict[int, Rows]:
    """Return the change that each array is asked for, by its place; arrays that no nudge changes are left out."""
    changes: dict[int, list[Term]] = {}
    for nudge, scale in terms:
        targets, factor = (scale, 1.0) if isinstance(scale, Mapping) else (None, scale)
        _check_scale(scale, arrays)
        for array in arrays:
            if nudge.disturbs(array.place) and (targets is None or array.parts.spec.target in targets):
                changes.setdefault(array.place, []).append(_term(nudge, targets, factor, array))
    return {place: _sum(own, arrays[place]) for place, own in changes.items()}


def _check_scale(scale: Scale, arrays: Sequence[Array]) -> None:
    if not isinstance(scale, Mapping):
        check_between("scale", scale, -1e9, 1e9)
        return
    if not scale:
        raise ShapeError('scale: expected at least one population, found none. Write {"h1": scales}, say, or a number.')
    for name in scale:
        check_name("scale: population", str(name), {array.parts.spec.target for array in arrays})


def _term(nudge: WeightNudge, targets: Mapping[str, FloatArray] | None, factor: float, array: Array) -> Term:
    pattern, amplitude, columns = pattern_of(nudge, array.site), factor * nudge.amplitude, array.weight_gain.shape
    if targets is None:
        return Term(pattern, amplitude, _ones(columns))
    spec = array.parts.spec
    own = check_array(f"scale[{spec.target}]", targets[spec.target], {"size": array.n_target})
    return Term(pattern, amplitude, np.ascontiguousarray(np.reshape(spec.spread(own[None]), columns)))


@lru_cache(64)
def _ones(shape: tuple[int, ...]) -> FloatArray:
    ones = np.ones(shape, np.float32)
    ones.flags.writeable = False  # all terms share it
    return ones


def _sum(terms: Sequence[Term], array: Array) -> Rows:
    *_, n_in, n_out = array.parts.spec.shape

    def rows(first: int, last: int) -> FloatArray:
        out = np.zeros((last - first, n_out), np.float32)
        for block, start, stop in _by_block(first, last, n_in):
            begin = block * n_in + start
            own = out[begin - first : begin - first + stop - start]
            for pattern, amplitude, scales in terms:
                pattern.add(own, amplitude, scales[block], begin, 0, own)
        return out

    return rows
