"""A chip in a page of numpy: every port, exact arithmetic, optional read noise."""

from __future__ import annotations

import numpy as np

from mortalsim.hardware import (
    BIAS,
    ArraySpec,
    CurrentNudge,
    Datasheet,
    Delta,
    Outer,
    Port,
    Program,
    Replay,
    Shrink,
    Tap,
    Trace,
    TransferCurve,
    WeightNudge,
)

RELU = TransferCurve(-5e-4, 1e-3, np.array([0, 5e-4], np.float32), np.array([0, 1], np.float32))
LINE = TransferCurve(-1, 2, np.array([-1, 1], np.float32), np.array([1, 1], np.float32))


def make_datasheet(
    sizes=(64, 48, 48, 10), *, ports=frozenset(Port), normalised=True, weight_range=4.0, curve=RELU, input_range=0.0
):
    curves = [curve] * (len(sizes) - 2) + [LINE]
    arrays = tuple(ArraySpec(a + 1, b, weight_range, c) for a, b, c in zip(sizes[:-1], sizes[1:], curves, strict=True))
    return Datasheet("fake", arrays, frozenset(ports), normalised, input_range, 0.0, 0, 0, 0.0, 0.0, 1e-6, 1e-9, 1e-7, 1e-12)


class IdealChip:
    """Random as fabricated, N(0, 1)/sqrt(n_in) from ``seed``; ``noise``: standard deviation added at the neurons' inputs."""

    eps = 1e-6

    def __init__(self, datasheet=None, seed=0, noise=0.0):
        self.datasheet = datasheet or make_datasheet()
        rng = np.random.default_rng(seed)
        self.weights = [
            (rng.standard_normal(spec.shape) / np.sqrt(spec.n_in)).astype(np.float32) for spec in self.datasheet.arrays
        ]
        self.seed, self.noise = seed, noise
        self.reads = self.writes = 0

    def read(self, x, nudge=None):
        v = np.asarray(x, np.float32)
        self.reads += len(v)
        rng = np.random.default_rng((self.seed, self.reads))
        taps = []
        for array, spec in enumerate(self.datasheet.arrays):
            if self.datasheet.normalised:
                v = v / (np.sqrt(np.mean(v * v, axis=1, keepdims=True)) + self.eps)
            if self.datasheet.input_range:
                v = np.clip(v, -self.datasheet.input_range, self.datasheet.input_range)
            pre = np.concatenate([v, np.full((len(v), 1), BIAS, np.float32)], axis=1)
            z = pre @ self._disturbed(array, nudge)
            if self.noise:
                z += np.float32(self.noise) * rng.standard_normal(z.shape, dtype=np.float32)
            if isinstance(nudge, CurrentNudge) and nudge.currents[array] is not None:
                z = z + nudge.currents[array]
            v = np.maximum(z, 0) if spec.curve is RELU else spec.curve(z)
            taps.append(Tap(array, pre, v))
        return Trace(v, tuple(taps) if Port.TAPS in self.datasheet.ports else ())

    def write(self, request):
        self.writes += 1
        match request:
            case Outer(array, pre, post, rate):
                self.weights[array] += rate * (pre.T @ post)
            case Delta(array, matrix, scale):
                self.weights[array] += np.float32(scale) * matrix
            case Shrink(array, factor):
                self.weights[array] *= factor
            case Program(array, target):
                self.weights[array] = np.array(target, np.float32)
            case Replay():
                for nudge, scale in request.terms:
                    for array, weights in enumerate(self.weights):
                        weights += np.float32(scale * nudge.amplitude) * self._pattern(nudge, array)
        for weights, spec in zip(self.weights, self.datasheet.arrays, strict=True):
            np.clip(weights, -spec.weight_range, spec.weight_range, out=weights)

    def save(self):
        return {f"weights{i}": w.copy() for i, w in enumerate(self.weights)} | {"reads": np.array([self.reads])}

    def load(self, saved):
        self.weights = [saved[f"weights{i}"].copy() for i in range(len(self.weights))]
        self.reads = int(saved["reads"][0])

    def _disturbed(self, array, nudge):
        if not isinstance(nudge, WeightNudge):
            return self.weights[array]
        return self.weights[array] + np.float32(nudge.amplitude) * self._pattern(nudge, array)

    def _pattern(self, nudge, array):
        n_in, n_out = self.datasheet.arrays[array].shape
        rng = np.random.default_rng((nudge.key, array))
        if nudge.pattern == "rank1":
            return np.outer(_signs(rng, n_in), _signs(rng, n_out))
        return _signs(rng, n_in * n_out).reshape(n_in, n_out)


def _signs(rng, n):
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-n // 8)), np.uint8))[:n]
    return bits.astype(np.float32) * 2 - 1
