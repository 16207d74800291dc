"""What every family of transfer curves offers: tables for the read kernel, the nominal curve for the data sheet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import TransferCurve
from mortalsim.settings import Group


@dataclass(frozen=True, eq=False)
class CurveTables:
    """The curves of one population's neurons, as the read kernel takes them.

    Parameters
    ----------
    leak
        Slope below zero of a curve that is two straight lines; used where there is no table.
    start, step
        First knot and distance of knots, in units of weight times input.
    values, slopes
        (T, knots): T is 1 where all neurons share a curve, or one row per neuron; (1, 0) for two straight lines.
    """

    leak: float
    start: float
    step: float
    values: FloatArray
    slopes: FloatArray

    @classmethod
    def lines(cls, leak: float) -> CurveTables:
        """Two straight lines meeting at zero: slope ``leak`` below and 1 above."""
        return cls(leak, 0.0, 1.0, np.zeros((1, 0), np.float32), np.zeros((1, 0), np.float32))

    @classmethod
    def integrate(cls, start: float, step: float, first: FloatArray, slopes: FloatArray) -> CurveTables:
        """Build values from ``slopes`` (T, knots), linear between knots, and the ``first`` value (T,) of each row."""
        rise = step * (slopes[:, 1:] + slopes[:, :-1]) / 2
        values = first[:, None] + np.concatenate([np.zeros_like(first)[:, None], np.cumsum(rise, axis=1)], axis=1)
        return cls(0.0, start, step, values.astype(np.float32), np.ascontiguousarray(slopes, dtype=np.float32))

    def respond(self, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs and slopes of all neurons for ``v`` (..., neurons), as the read kernel computes them.

        For plots and oracles, in the precision of ``v``; not for the hot path.
        """
        if self.values.shape[1] == 0:
            return np.where(v > 0, v, self.leak * v), np.where(v > 0, 1.0, self.leak)
        rows = np.arange(v.shape[-1]) if len(self.values) > 1 else 0
        place = (v - self.start) / self.step
        k = np.clip(np.floor(place), 0, self.values.shape[1] - 2).astype(np.intp)
        t = place - k
        inside = np.clip(t, 0, 1)
        left, right = self.slopes[rows, k], self.slopes[rows, k + 1]
        beyond = np.where(t < 0, left * t, right * np.maximum(t - 1, 0))
        value = self.values[rows, k] + self.step * (left * inside + (right - left) * inside**2 / 2 + beyond)
        return value, left + (right - left) * inside

    def curve(self, neuron: int) -> TransferCurve:
        """Return one neuron's curve, mismatch of gain, offset and saturation left out."""
        if self.values.shape[1] == 0:
            return _kink(self.leak)
        row = neuron if len(self.values) > 1 else 0
        return TransferCurve(self.start, self.step, self.values[row], self.slopes[row])


class Curve(Group, ABC):
    """One family of transfer curves, unit slope and unit scale wherever that makes sense."""

    #: Whether all neurons share what is drawn: it then comes from a stream that does not know how many they are.
    shared: ClassVar[bool] = False

    @abstractmethod
    def fabricate(self, neurons: int, rng: np.random.Generator) -> CurveTables:
        """Return the curves of one population's ``neurons``; families that the data sheet knows ignore ``rng``."""

    def nominal(self) -> TransferCurve:
        """Return the curve printed on the data sheet."""
        return self.fabricate(1, np.random.Generator(np.random.Philox(key=0))).curve(0)


def _kink(leak: float) -> TransferCurve:
    # A bend of width 1e-6 is as sharp as float32 can tell around inputs of order 1.
    width = 1e-6
    slope = np.array([leak, 1.0], np.float32)
    value = np.array([-leak * width / 2, width / 2], np.float32)
    return TransferCurve(-width / 2, width, value, slope)
