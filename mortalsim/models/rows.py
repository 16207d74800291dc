"""What the rows of an array carry in a model, and how slopes go back through normaliser and converters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.hardware import ArraySpec

Array: TypeAlias = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ArrayModel:
    """An array and its input side: rows carry ``gain * clip(normaliser_gain * v / (eps + rms)) + offset``.

    Parameters
    ----------
    weights
        Of the array's shape.
    normaliser_gain
        What the normaliser really gives per unit.
    low, high
        Ends of the input converters' range.
    gain, offset
        Of the input converters, a number or (n_in,) or (blocks, 1, n_in); rows of bias and ground keep what they carry if it
        is 1 and 0 there.
    eps
        Added to the root mean square in the normaliser.
    sum_gain, sum_offset
        Of the converters of digital partial sums, a number or (blocks, 1, n_out).
    """

    weights: Array
    normaliser_gain: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    gain: Array | float = 1.0
    offset: Array | float = 0.0
    eps: float = 1e-6
    sum_gain: Array | float = 1.0
    sum_offset: Array | float = 0.0


def rows_of(spec: ArraySpec, model: ArrayModel, v: Array) -> Array:
    """Return what the rows carry, (..., [blocks,] B, n_in), for the source's state ``v`` (B, n)."""
    if _by_block(spec):
        seen, wired = _seen(spec, v)
        scaled = seen * _scale(_rms(seen, wired), model)
        rows = np.where(wired, _clipped(scaled, model), spec.gather(v))
    elif spec.normaliser == "none":
        rows = spec.gather(_clipped(v, model))
    else:
        rows = spec.gather(_clipped(v * _scale(_rms(v, None), model), model))
    return np.asarray(affine(rows, model.gain, model.offset), v.dtype)


def to_source(spec: ArraySpec, model: ArrayModel, v: Array, slopes: Array) -> Array:
    """Return slopes at the source's state ``v`` (B, n) for ``slopes`` at the columns, (..., [blocks,] B, n_out)."""
    slopes = np.asarray(affine(slopes @ np.swapaxes(model.weights, -1, -2), model.gain, 0.0), v.dtype)
    if _by_block(spec):
        seen, wired = _seen(spec, v)
        rms = _rms(seen, wired)
        slopes = _passed(slopes * wired, seen * _scale(rms, model), model)
        return spec.scatter(_normalise_back(slopes, seen, rms, _count(wired, v), model), v.shape[-1])
    slopes = spec.scatter(slopes, v.shape[-1])
    if spec.normaliser == "none":
        return _passed(slopes, v, model)
    rms = _rms(v, None)
    slopes = _passed(slopes, v * _scale(rms, model), model)
    return _normalise_back(slopes, v, rms, _count(None, v), model)


def affine(v: Array, gain: Array | float, offset: Array | float) -> Array:
    """Return gain * v + offset; a data sheet promises 1 and 0, which cost nothing."""
    if isinstance(gain, float) and isinstance(offset, float) and (gain, offset) == (1.0, 0.0):
        return v
    return np.asarray(gain * v + offset)


def _by_block(spec: ArraySpec) -> bool:
    return spec.normaliser == "block" and spec.rows is not None


def _seen(spec: ArraySpec, v: Array) -> tuple[Array, np.ndarray]:
    """Return what each block sees of the source, (blocks, B, n_in), and which rows see it at all, (blocks, 1, n_in)."""
    assert spec.rows is not None  # noqa: S101 - `_by_block` has looked
    wired = (spec.rows < v.shape[-1])[:, None, :]
    return np.where(wired, spec.gather(v), np.zeros(1, v.dtype)), wired


def _clipped(scaled: Array, model: ArrayModel) -> Array:
    return scaled if model.high == np.inf == -model.low else np.clip(scaled, model.low, model.high)


def _passed(slopes: Array, scaled: Array, model: ArrayModel) -> Array:
    """Return slopes where the range does not clip what they belong to."""
    if model.high == np.inf == -model.low:
        return slopes
    return np.asarray(slopes * ((scaled > model.low) & (scaled < model.high)), slopes.dtype)


def _count(wired: np.ndarray | None, v: Array) -> Array | float:
    """Return how many numbers ``v`` (..., n) has, or each block sees of them."""
    if wired is None:
        return float(v.shape[-1])
    # A block that sees nothing of the source carries nothing, whatever its length is taken for.
    return np.asarray(np.maximum(wired.sum(axis=-1, keepdims=True), 1), v.dtype)


def _rms(v: Array, wired: np.ndarray | None) -> Array:
    return np.asarray(np.sqrt(np.sum(v * v, axis=-1, keepdims=True) / _count(wired, v)), v.dtype)


def _scale(rms: Array, model: ArrayModel) -> Array:
    """Return what brings a vector of this root mean square to about 1."""
    return np.asarray(model.normaliser_gain / (rms + model.eps), rms.dtype)


def _normalise_back(slope: Array, v: Array, rms: Array, n: Array | float, model: ArrayModel) -> Array:
    # d(v / (eps + rms)): the second term is the shrinking that a longer vector brings; it vanishes for v = 0.
    scale = 1 / (rms + model.eps)
    along = np.sum(slope * v, axis=-1, keepdims=True) / (n * np.where(rms > 0, rms, 1))
    return np.asarray(affine(scale * slope - scale**2 * along * v, model.normaliser_gain, 0.0), v.dtype)
