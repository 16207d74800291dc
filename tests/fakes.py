"""A chip in a page of numpy: every port, any timetable, exact arithmetic, optional read noise."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np

from mortalsim.hardware import (
    Answer,
    ArraySpec,
    CurrentNudge,
    Datasheet,
    Delta,
    Outer,
    PopulationSpec,
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
PATTERNS = frozenset({"signs", "rank1"})


def make_datasheet(
    sizes=(64, 48, 48, 10), *, ports=frozenset(Port), normaliser="source", weight_range=4.0, curve=RELU, input_range=0.0
):
    """A chain of dense arrays: in, h1, h2, ..., out."""
    names = ["in", *(f"h{place}" for place in range(1, len(sizes) - 1)), "out"]
    curves = [None, *[curve] * (len(sizes) - 2), LINE]
    populations = {n: PopulationSpec(n, (size,), c) for n, size, c in zip(names, sizes, curves, strict=True)}
    arrays = tuple(
        ArraySpec(a, b, (populations[a].size + 1, populations[b].size), weight_range, 0.0, input_range, 0, normaliser)
        for a, b in pairwise(names)
    )
    timetable = tuple(Answer(name, 0, place, ((place, 0),)) for place, name in enumerate(names[1:]))
    return Datasheet("fake", populations, arrays, timetable, ("in",), "out", frozenset(ports), PATTERNS, 1e-6, 1e-9)


class IdealChip:
    """Random as fabricated, N(0, 1)/sqrt(n_in) from ``seed``; ``noise``: standard deviation added at the neurons' inputs.

    A stage gives what the data sheet promises of it, or what it gets.
    """

    eps = 1e-6

    def __init__(self, datasheet=None, seed=0, noise=0.0):
        self.datasheet = datasheet or make_datasheet()
        rng = np.random.default_rng(seed)
        self.weights = [
            (rng.standard_normal(spec.shape) / np.sqrt(spec.n_in)).astype(np.float32) for spec in self.datasheet.arrays
        ]
        self.seed, self.noise = seed, noise
        self.reads = self.writes = 0

    def read(self, x, nudge=None, want="taps"):
        x, sheet = np.asarray(x, np.float32), self.datasheet
        self.reads += len(x)
        rng = np.random.default_rng((self.seed, self.reads))
        now = {(name, 0): x[:, slice(*sheet.span(name))] for name in sheet.inputs}
        states, taps = {}, []
        for answer in sheet.timetable:
            name, tick, curve = answer.population, answer.tick, sheet.populations[answer.population].curve
            stage, pres = isinstance(answer.via[0][0], str), {}
            if stage:
                z = now[answer.via[0]]
            else:
                pres = {array: self._rows(array, now[sheet.arrays[array].source, at]) for array, at in answer.via}
                z = self._currents(name, pres, nudge, rng)
            v = z if curve is None else np.maximum(z, 0) if curve is RELU else np.asarray(curve(z), np.float32)
            if answer.keep:
                v = np.float32(answer.keep) * now[name, answer.old] + np.float32(1 - answer.keep) * v
            now[name, tick] = v
            states.setdefault(name, {})[tick] = v
            taps += [Tap(array, tick, at, pres[array], v) for array, at in answer.via if not stage]
        output = None if sheet.output is None else states[sheet.output][max(states[sheet.output])]
        if want == "output" or Port.TAPS not in sheet.ports:
            return Trace(output)
        return Trace(output, states, tuple(taps) if want == "taps" else ())

    def write(self, request):
        self.writes += 1
        match request:
            case Outer(array, pre, post, rate):
                self.weights[array] += rate * (np.swapaxes(pre, -1, -2) @ self.datasheet.arrays[array].spread(post))
            case Delta(array, matrix, scale):
                self.weights[array] += np.float32(scale) * matrix
            case Shrink(array, factor):
                self.weights[array] *= factor
            case Program(array, target):
                self.weights[array] = np.array(target, np.float32)
            case Replay():
                for nudge, scale in request.terms:
                    self._replay(nudge, scale)
        for weights, spec in zip(self.weights, self.datasheet.arrays, strict=True):
            np.clip(weights, -spec.weight_range, spec.weight_range, out=weights)

    def save(self):
        return {f"weights{i}": w.copy() for i, w in enumerate(self.weights)} | {"reads": np.array([self.reads])}

    def load(self, saved):
        self.weights = [saved[f"weights{i}"].copy() for i in range(len(self.weights))]
        self.reads = int(saved["reads"][0])

    def _rows(self, array, v):
        spec = self.datasheet.arrays[array]
        limit = spec.input_range or np.inf
        if spec.normaliser == "block" and spec.rows is not None:
            seen, wired = spec.gather(v), (spec.rows < v.shape[1])[:, None]
            rms = np.sqrt((seen**2 * wired).sum(axis=-1, keepdims=True) / np.maximum(wired.sum(axis=-1, keepdims=True), 1))
            return np.where(wired, np.clip(seen / (rms + self.eps), -limit, limit), seen).astype(np.float32)
        if spec.normaliser != "none":
            v = v / (np.sqrt(np.mean(v * v, axis=1, keepdims=True)) + np.float32(self.eps))
        return spec.gather(np.clip(v, -limit, limit))

    def _currents(self, name, pres, nudge, rng):
        size = self.datasheet.populations[name].size
        z = sum(
            self.datasheet.arrays[array].collect(pre @ self._disturbed(array, nudge), size) for array, pre in pres.items()
        )
        if self.noise:
            z = z + np.float32(self.noise) * rng.standard_normal(z.shape, dtype=np.float32)
        return z + nudge.currents[name] if isinstance(nudge, CurrentNudge) and name in nudge.currents else z

    def _disturbed(self, array, nudge):
        if not isinstance(nudge, WeightNudge) or not nudge.disturbs(array):
            return self.weights[array]
        return self.weights[array] + np.float32(nudge.amplitude) * self._pattern(nudge, array)

    def _replay(self, nudge, scale):
        for array, (weights, spec) in enumerate(zip(self.weights, self.datasheet.arrays, strict=True)):
            by_neuron = isinstance(scale, dict)
            if nudge.disturbs(array) and (not by_neuron or spec.target in scale):
                own = spec.spread(np.float32(scale[spec.target])[None]) if by_neuron else np.float32(scale)
                weights += np.float32(nudge.amplitude) * own * self._pattern(nudge, array)

    def _pattern(self, nudge, array):
        *blocks, n_in, n_out = self.datasheet.arrays[array].shape
        rng = np.random.default_rng((nudge.key, nudge.index, array))
        if nudge.pattern == "rank1":
            return _signs(rng, (*blocks, n_in, 1)) * _signs(rng, (*blocks, 1, n_out))
        return _signs(rng, (*blocks, n_in, n_out))


def _signs(rng, shape):
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-prod(shape) // 8)), np.uint8))[: prod(shape)]
    return (bits.astype(np.float32) * 2 - 1).reshape(shape)


class Watched(IdealChip):
    """Keeps what it is asked: ``presented`` holds (x, nudge) of every read, ``asked`` every write request."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.asked, self.presented = [], []

    def read(self, x, nudge=None, want="taps"):
        self.presented.append((np.array(x), nudge))
        return super().read(x, nudge, want)

    def write(self, request):
        self.asked.append(request)
        super().write(request)
