"""One crossbar array: differential pairs kept as physical state, and their folded weights for the read.

The devices (``cells``) are kept in siemens and seconds; everything frozen or slow is folded into ``weights`` and
``variance``, which is all that a read needs. The conversion between siemens and weights is `Technology.unit`. The blocks of
an array stand one below the other: row i of block k is row k n_in + i here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.netlist import ArrayParts
from mortalsim.devices import Device
from mortalsim.kernels import Draw, apply_pulses, fill_normal, fold
from mortalsim.kernels.cells import DOWN, ERROR, HIGH, LOW, NU, UP, WRITTEN, Cells, G
from mortalsim.kernels.counters import ROUND, VERIFY
from mortalsim.parallel import chunks, map_chunks
from mortalsim.streams import Streams

#: Drift is folded anew once the clock has moved by this fraction of t0: it changes log G by at most nu times as much.
DRIFT_TOLERANCE = 1e-3

#: Pairs of one chunk, enough for a thread to be woken.
CHUNK = 250_000


#: A change of weights, row by row: called with the first row and the one after the last, returns float32 (rows, n_out),
#: which its caller may use until the same thread's next call.
Rows: TypeAlias = Callable[[int, int], FloatArray]


def rows_of(matrix: FloatArray) -> Rows:
    """Return the rows of a matrix that is there already."""
    return lambda first, last: matrix[first:last]


@dataclass(frozen=True)
class WriteCost:
    """What one write request took.

    Parameters
    ----------
    pulses
        Sent in all.
    parallel, by_row
        Pulse slots if rows are written together, or one after the other.
    verified
        Times that all rows were read, one after the other, to verify.
    """

    pulses: int
    parallel: int
    by_row: int
    verified: int = 0


class Crossbar:
    """The devices of one array.

    Parameters
    ----------
    parts
        What the array is made of.
    place
        Of the array in the chip.
    streams
        The chip's streams.
    now
        Time of fabrication, seconds.

    Attributes
    ----------
    shape
        (rows, n_out), the rows of all blocks.
    weights
        float32, of this shape: what the devices conduct, in units of weight.
    variance
        float32, of this shape: variance of each weight by noise proportional to conductance; empty where there is none.
    version
        Counts what may have changed the weights; who keeps something made from them compares it.
    """

    def __init__(self, parts: ArrayParts, place: int, streams: Streams, now: float = 0.0) -> None:
        self.parts, self.place = parts, place
        self.technology, self.device = parts.technology, parts.technology.device
        rows, n_out = self.shape = (parts.lines.size, parts.spec.n_out)
        self.cells = fabricate_cells(parts, streams.child("devices", place))
        self.weights = np.empty(self.shape, np.float32)
        noisy = self.device.read_noise_relative > 0
        self.variance = np.empty(self.shape if noisy else (0, 0), np.float32)
        self.version = 0
        self._tables = self.device.tables()
        self._row_pulses = np.zeros(rows, np.int64)
        #: What a request does not reach: grounded rows, and columns that feed nobody.
        self._unwired = None if parts.lines.all() and parts.feeding.all() else _unwired(parts)
        #: Where rows are cut into chunks for threads; random bytes come in sixteens.
        self._rows = chunks(rows, max(16, CHUNK // n_out), 16)
        if self.device.drifts:
            self.cells.levels(WRITTEN)[...] = now
        #: Seconds for which the effective weights hold.
        self._patience = DRIFT_TOLERANCE * self.device.drift_t0 if self.device.drifts else math.inf
        self.fold(now)

    def fold(self, now: float) -> None:
        """Compute weights and variances anew from the physical state at time ``now``, seconds."""
        self.folded_at = now
        self.version += 1
        relative = self.device.read_noise_relative
        t0, unit = self.device.drift_t0, self.technology.unit

        def chunk(first: int, last: int) -> None:
            fold(*self.cells.arrays, now, t0, unit, relative, first, last, self.weights, self.variance)

        map_chunks(chunk, self._rows)

    def keep_up(self, now: float) -> None:
        """Fold anew if drift since the last folding could matter."""
        if abs(now - self.folded_at) > self._patience:  # a restored clock may have gone back
            self.fold(now)

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all that changes; the folded values too, for they remember when each device was last folded.

        Traits are not in it: design and seed make them anew.
        """
        return {name: array.copy() for name, array in self.arrays().items()}

    def take(self, state: dict[str, np.ndarray]) -> None:
        """Take back what `state` gave."""
        for name, array in self.arrays().items():
            array[...] = state[name]
        self.folded_at = float(state["folded_at"][0])
        self.version += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `state` copies, not copied."""
        folded = {"weights": self.weights, "variance": self.variance, "folded_at": np.array([self.folded_at])}
        return {"state": self.cells.state} | folded

    def change(self, rows: Rows, now: float, draw: Draw, *, scale: float = 1.0, cap: int | None = None) -> WriteCost:
        """Ask for weight changes.

        Parameters
        ----------
        rows
            The changes; grounded rows and columns that feed nobody are left out of them.
        now
            Time of writing, seconds.
        draw
            The chip's key and turn, and the attempt; place and purpose are added here.
        scale
            Factor of ``rows``.
        cap
            Most pulses for one device; None: as many as the device takes in one request.
        """
        self.version += 1
        if not self.device.pulses:
            self._change_exactly(rows, scale, now)
            return WriteCost(0, 0, 0)
        up, down = self._tables
        address = Draw(draw.key, ROUND, draw.turn, self.place, attempt=draw.attempt).address()
        pulses = []

        def chunk(first: int, last: int) -> None:
            sent = apply_pulses(
                *self.cells.arrays,
                self._wired(rows(first, last), first, last),
                self.technology.pulses_per_weight * scale,
                self.device.max_train if cap is None else cap,
                up,
                down,
                self.device.step_ctoc,
                now,
                self.device.drift_t0,
                self.technology.unit,
                self.device.read_noise_relative,
                *address,
                first,
                self.weights,
                self.variance,
                self._row_pulses,
            )
            pulses.append(int(sent))

        map_chunks(chunk, self._rows)
        return WriteCost(sum(pulses), int(self._row_pulses.max()), int(self._row_pulses.sum()))

    def program(self, target: FloatArray, now: float, draw: Draw) -> WriteCost:
        """Write and verify: read the pairs, with read noise, and pulse towards ``target`` until within half a step.

        Beyond the weight range the target is the range's end: a pair holds no more. Verification reads what the device
        conducts, so it also corrects its static error, its step and its asymmetry; what stays is read noise, stuck devices
        and bounds too narrow for the target.

        Parameters
        ----------
        target
            Weights (rows, n_out).
        now, draw
            As in `change`.
        """
        pulses = parallel = by_row = verified = 0
        target = np.clip(target, -self.technology.weight_range, self.technology.weight_range)
        # With both devices of the pair moving, half a step of each is one half of two weight steps.
        tolerance = self.technology.weight_step
        for attempt in range(self.device.verify_steps):
            own = draw._replace(attempt=attempt)
            error = self._wired(target - (self.weights + self._read_error(own)), 0, self.shape[0])
            verified += 1
            error[np.abs(error) <= tolerance] = 0
            if not error.any():
                break
            # Twice the pulses from end to end are enough for any device; one that answers worse waits for the next round.
            cap = 2 * self.device.pulses
            cost = self.change(rows_of(error.astype(np.float32)), now, own, cap=cap)
            pulses, parallel, by_row = pulses + cost.pulses, parallel + cost.parallel, by_row + cost.by_row
        return WriteCost(pulses, parallel, by_row, verified)

    def _read_error(self, draw: Draw) -> FloatArray:
        constant = self.technology.line_variance
        if not constant and not self.variance.size:
            return np.zeros((1, 1), np.float32)
        normals = np.empty(self.shape, np.float32)
        key, turn, where = draw._replace(purpose=VERIFY, place=self.place).address()
        fill_normal(key, 0, turn, where, normals)
        spread = np.sqrt(constant + self.variance) if self.variance.size else math.sqrt(constant)
        return np.asarray(spread * normals, dtype=np.float32)

    def _wired(self, change: FloatArray, first: int, last: int) -> FloatArray:
        """Return a change of rows ``first`` to ``last`` - 1 with 0 where nothing is wired."""
        if self._unwired is None:
            return change
        return np.where(self._unwired[first:last], np.float32(0), change)

    def _change_exactly(self, rows: Rows, scale: float, now: float) -> None:
        # Continuous devices: each of the pair takes half the change, up to its own bounds.
        half, cells = (
            self._wired(rows(0, self.shape[0]), 0, self.shape[0]) * np.float32(scale * self.technology.unit / 2),
            self.cells,
        )
        g, moves = cells.levels(G), ~cells.stuck() & (half != 0)
        start: FloatArray = g
        if self.device.drifts:
            # Drift starts anew in the devices that move, from where it has taken them; the others go on drifting.
            age = np.maximum(now - cells.levels(WRITTEN).astype(np.float64), 0)
            start = g * (1 + age / self.device.drift_t0) ** -cells.values(NU)
            cells.levels(WRITTEN)[moves] = now
        after = np.clip(start + np.stack([half, -half]), cells.values(LOW), cells.values(HIGH))
        g[moves] = after[moves]
        self.fold(now)


def _unwired(parts: ArrayParts) -> np.ndarray:
    return np.reshape(~(parts.lines[:, :, None] & parts.feeding[:, None, :]), (-1, parts.spec.n_out))


def initial_weights(parts: ArrayParts, rng: np.random.Generator) -> FloatArray:
    """Return the weights that fabrication happens to leave, (rows, n_out), zero mean: spread / sqrt(lines to the neuron)."""
    blocks, n_in = parts.lines.shape
    normals = rng.standard_normal((blocks * n_in, parts.spec.n_out)).reshape(blocks, n_in, -1)
    weights = parts.technology.initial_spread / np.sqrt(parts.fan_in)[:, None, :] * normals
    return np.asarray(weights.reshape(blocks * n_in, -1))


def fabricate_cells(parts: ArrayParts, streams: Streams) -> Cells:
    """Draw one array's devices.

    Each property comes from a stream of its own, so switching one on leaves the others as they were.
    """
    device, rows, n_out = parts.technology.device, parts.lines.size, parts.spec.n_out
    shape, cells = (2, rows, n_out), Cells.blank(rows, n_out, drift=device.drifts)

    def normal(name: str) -> FloatArray:
        return streams.generator(name).standard_normal(shape, dtype=np.float32)

    cells.fix(LOW, np.maximum(device.g_min * (1 + device.bound_dtod * normal("low")), 0))
    high = device.g_max * (1 + device.bound_dtod * normal("high"))
    # A device whose bounds cross would have no range at all: leave it a tenth of the nominal one.
    cells.fix(HIGH, np.maximum(high, cells.values(LOW) + (device.g_max - device.g_min) / 10))
    step = (device.step or device.g_max) * np.abs(1 + device.step_dtod * normal("step"))
    asymmetry = device.asymmetry + device.asymmetry_dtod * normal("asymmetry")
    # Counted from 0, which is what stuck devices have.
    cells.fix(UP, step * np.maximum(1 + asymmetry, 0), base=0.0)
    cells.fix(DOWN, step * np.maximum(1 - asymmetry, 0), base=0.0)
    cells.fix(ERROR, np.maximum(device.conductance_dtod * normal("error"), -1))  # nothing conducts less than nothing
    if device.drifts:
        cells.fix(NU, np.maximum(device.drift + device.drift_dtod * normal("drift"), 0))
    half = initial_weights(parts, streams.generator("weights")) * np.float32(parts.technology.unit / 2)
    g = device.g_mid + np.stack([half, -half])
    _stick(cells, g, device, streams)
    cells.levels(G)[...] = np.clip(g, cells.values(LOW), cells.values(HIGH))
    return cells


def _stick(cells: Cells, g: FloatArray, device: Device, streams: Streams) -> None:
    # A stuck device sits anywhere between its bounds and answers no pulse. Drawn for all, so that the fraction can change.
    rng = streams.generator("stuck")
    stuck = rng.random(g.shape) < device.stuck
    low, high = cells.values(LOW), cells.values(HIGH)
    g[stuck] = (low + rng.random(g.shape) * (high - low))[stuck]
    cells.codes(UP)[stuck] = 0
    cells.codes(DOWN)[stuck] = 0
