"""One crossbar array: differential pairs kept as physical state, and their folded weights for the read.

The devices (``cells``) are kept in siemens and seconds; everything frozen or slow is folded into ``weights`` and
``variance``, which is all that a read needs. The conversion between siemens and weights is `Design.unit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips.design import Design, initial_weights
from mortalsim.devices import Device
from mortalsim.kernels import apply_pulses, fold
from mortalsim.kernels.cells import DOWN, ERROR, HIGH, LOW, NU, UP, WRITTEN, Cells, G
from mortalsim.parallel import cut, spread
from mortalsim.streams import Streams

#: Drift is folded anew once the clock has moved by this fraction of t0: it changes log G by at most nu times as much.
DRIFT_TOLERANCE = 1e-3

#: Pairs of one piece of work, enough for a thread to be woken.
PIECE = 250_000


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
    """The array ``index`` of the chip whose streams are given.

    Parameters
    ----------
    design
        The technology.
    n_in, n_out
        Input lines, bias line included, and output lines.
    index
        Place of the array in the chip.
    streams
        The chip's streams.
    """

    def __init__(self, design: Design, n_in: int, n_out: int, index: int, streams: Streams) -> None:
        self.design, self.device, self.index = design, design.device, index
        self.shape = (n_in, n_out)
        self.cells = fabricate_cells(design, n_in, n_out, streams.child("devices", index))
        self.weights = np.empty(self.shape, np.float32)
        noisy = self.device.read_noise_relative > 0
        #: Variance of each weight by noise proportional to conductance; empty where there is none.
        self.variance = np.empty(self.shape if noisy else (0, 0), np.float32)
        self._tables = self.device.tables()
        self._key = streams.key("writes")
        self._verify = streams.child("verify", index)
        self._row_pulses = np.zeros(n_in, np.int64)
        #: Where rows are cut into pieces for threads; random bytes come in sixteens.
        self._rows = cut(n_in, max(16, PIECE // n_out), 16)
        #: Counts what may have changed the weights; who keeps something made from them compares it.
        self.version = 0
        self.fold(0.0)

    def fold(self, now: float) -> None:
        """Compute weights and variances anew from the physical state at time ``now``, seconds."""
        self.folded_at = now
        self.version += 1
        relative = self.device.read_noise_relative
        t0, unit = self.device.drift_t0, self.design.unit

        def piece(first: int, last: int) -> None:
            fold(*self.cells.arrays, now, t0, unit, relative, first, last, self.weights, self.variance)

        spread(piece, self._rows)

    def keep_up(self, now: float) -> None:
        """Fold anew if drift since the last folding could matter."""
        if self.device.drifts and now - self.folded_at > DRIFT_TOLERANCE * self.device.drift_t0:
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

    def change(self, rows: Rows, now: float, number: int, *, scale: float = 1.0, cap: int | None = None) -> WriteCost:
        """Ask for weight changes ``scale * rows``; ``number`` counts the chip's writes and picks the noise."""
        self.version += 1
        if not self.device.pulses:
            self._change_exactly(rows, scale, now)
            return WriteCost(0, 0, 0)
        up, down = self._tables
        pulses = []

        def piece(first: int, last: int) -> None:
            sent = apply_pulses(
                *self.cells.arrays,
                rows(first, last),
                self.design.pulses_per_weight * scale,
                self.device.max_train if cap is None else cap,
                up,
                down,
                self.device.step_ctoc,
                now,
                self.device.drift_t0,
                self.design.unit,
                self.device.read_noise_relative,
                self._key,
                number,
                self.index,
                first,
                self.weights,
                self.variance,
                self._row_pulses,
            )
            pulses.append(int(sent))

        spread(piece, self._rows)
        return WriteCost(sum(pulses), int(self._row_pulses.max()), int(self._row_pulses.sum()))

    def program(self, target: FloatArray, now: float, number: int) -> WriteCost:
        """Write and verify: read the pairs, with read noise, and pulse towards ``target`` until within half a step.

        Beyond the weight range the target is the range's end: a pair holds no more. Verification reads what the device
        conducts, so it also corrects its static error, its step and its asymmetry; what stays is read noise, stuck devices
        and bounds too narrow for the target.
        """
        pulses = parallel = by_row = verified = 0
        target = np.clip(target, -self.design.weight_range, self.design.weight_range)
        rng = self._verify.generator(number)
        # With both devices of the pair moving, half a step of each is one half of two weight steps.
        tolerance = self.device.step / self.design.unit
        for attempt in range(self.device.verify_steps):
            error = target - (self.weights + self._read_error(rng))
            verified += 1
            error[np.abs(error) <= tolerance] = 0
            if not error.any():
                break
            # Attempts share the request's number; the attempt shifts the counter so that none repeats a draw.
            # Twice the pulses from end to end are enough for any device; one that answers worse waits for the next round.
            cap = 2 * self.device.pulses
            cost = self.change(rows_of(error.astype(np.float32)), now, number + (attempt << 24), cap=cap)
            pulses, parallel, by_row = pulses + cost.pulses, parallel + cost.parallel, by_row + cost.by_row
        return WriteCost(pulses, parallel, by_row, verified)

    def _read_error(self, rng: np.random.Generator) -> FloatArray:
        spread: FloatArray | float = math.sqrt(self.design.line_variance)
        if self.variance.size:
            spread = np.sqrt(self.design.line_variance + self.variance)
        return np.asarray(spread * rng.standard_normal(self.shape, dtype=np.float32), dtype=np.float32)

    def _change_exactly(self, rows: Rows, scale: float, now: float) -> None:
        # Continuous devices: each of the pair takes half the change, up to its own bounds.
        half, cells = rows(0, self.shape[0]) * np.float32(scale * self.design.unit / 2), self.cells
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


def fabricate_cells(design: Design, n_in: int, n_out: int, streams: Streams) -> Cells:
    """Draw one array's devices.

    Each property comes from a stream of its own, so switching one on leaves the others as they were.
    """
    device, shape = design.device, (2, n_in, n_out)
    cells = Cells.blank(n_in, n_out, drift=device.drifts)

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
    half = initial_weights(design, n_in, n_out, streams.generator("weights")) * np.float32(design.unit / 2)
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
