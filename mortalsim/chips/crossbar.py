"""One crossbar array: pairs of devices kept as physical state, and their effective weights for the read.

Devices are kept in siemens and seconds. Everything frozen or slow is folded into the effective ``weights`` and ``variance``,
which is all that a read needs. The conversion between siemens and weights is `Technology.unit`. The blocks of an array stand
one below the other: row i of block k is row k n_in + i here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from mortalsim.checks import DesignError, FloatArray, all_finite
from mortalsim.chips.fabrication import FROZEN, fabricate_devices, own_parameters
from mortalsim.chips.netlist import ArrayParts
from mortalsim.chips.upkeep import Workbench
from mortalsim.chips.wear import Wear
from mortalsim.chips.write_cost import WriteCost
from mortalsim.devices.base import MOST_PULSES, Device, Fields, Moment
from mortalsim.kernels import (
    Asked,
    Draw,
    Effective,
    Present,
    PulseLaw,
    Sent,
    Wanted,
    apply_pulses,
    compute_weights,
    fill_normal,
    move_devices,
)
from mortalsim.kernels.counters import ROUND, VERIFY
from mortalsim.kernels.devices import NU, WRITTEN, G
from mortalsim.parallel import chunks, map_chunks
from mortalsim.streams import Streams

#: Pairs of one chunk, enough for a thread to be woken.
CHUNK = 250_000

#: Times of writing are exact to this fraction of drift_t0, or the array's epoch is moved.
TIME_RESOLUTION = 1e-5

#: The first attempt of upkeep's draws: a request that verifies makes no more attempts than half of this.
UPKEEP = 8192

#: The first attempt of what is done before a pair is programmed.
PREPARING = 4096

#: A change of weights, row by row: called with the first row and the one after the last, returns float32 (rows, n_out),
#: which its caller may use until the same thread's next call.
Rows: TypeAlias = Callable[[int, int], FloatArray]

_NEVER_AGED = np.zeros((0, 0, 1, 2), np.float32)


def rows_of(matrix: FloatArray) -> Rows:
    """Return the rows of a matrix that is there already."""
    return lambda first, last: matrix[first:last]


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
    moment
        Of fabrication.

    Attributes
    ----------
    shape
        (rows, n_out), the rows of all blocks.
    devices
        The devices as kernels take them.
    weights
        float32, of this shape: effective weights, what the devices conduct in units of weight.
    line_variance
        Variance at a neuron's input for each squared unit of input, by read noise that is the same for all devices.
    variance
        float32, of this shape: variance of each weight by read noise that depends on conductance; empty where there is none.
    version
        Counts what may have changed the weights; who keeps something made from them compares it.
    writes
        Write requests so far.
    """

    def __init__(self, parts: ArrayParts, place: int, streams: Streams, moment: Moment) -> None:
        self.parts, self.place = parts, place
        self.technology, self.device = parts.technology, parts.technology.device
        rows, n_out = self.shape = (parts.lines.size, parts.spec.n_out)
        own = streams.child("devices", place)
        self.devices = fabricate_devices(parts, own)
        self._own = own_parameters(self.device, (2, rows, n_out), own)
        self.wear = Wear(self.devices, self.device.state)
        self.weights = np.empty(self.shape, np.float32)
        self.variance = np.empty((0, 0), np.float32)
        self.line_variance, self._noise = self.technology.read_noise(moment)
        self.version, self.writes = 0, 0
        self._law = PulseLaw(self.device.tables(), self.device.step_ctoc)
        # Worked out once: a small array's write is over in microseconds.
        self._shares, self._needs_upkeep = self.technology.pair.shares, self.technology.pair.needs_upkeep
        self._unit, self._steps_per_weight = self.technology.unit, self.technology.steps_per_weight
        self._own_ageing, self._continuous = self.device.ages_by_itself, not self.device.pulses
        self._own_noise = self.device.noise_depends_on_moment
        self._limit, self._t0 = self.device.most_pulses, self.device.drift_t0
        self._row_pulses = np.zeros(rows, np.int64)
        self._sent = Sent(self._row_pulses, self.wear.sent)
        #: What a request does not reach: grounded rows, and columns that feed nobody.
        self._unwired = None if parts.lines.all() and parts.feeding.all() else _unwired(parts)
        #: Where rows are cut into chunks for threads; random bytes come in sixteens.
        self._rows = chunks(rows, max(16, CHUNK // n_out), 16)
        #: Time, in seconds, from which the devices' times of writing count; it moves on so that float32 can hold them.
        self.epoch, self._epoch_ends = moment.now, epoch_ends(self._t0)
        self._timed = "written" in self.device.state  # all of them at the epoch, which is fabrication
        #: Seconds for which effective weights hold at one temperature; None: the technology is asked.
        self._patience = self.device.patience if type(self.device).stale is Device.stale else None
        self.compute_weights(moment)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Join again what shares memory: some ways to copy an object (joblib's) store an array once for each mention."""
        self.__dict__.update(state)
        self.wear.belong_to(self.devices)
        self._sent = Sent(self._row_pulses, self.wear.sent)
        self._effective = Effective(self.weights, self.variance, self._unit, self._noise)

    @property
    def ages(self) -> bool:
        """Whether effective weights or their noise change by themselves, or with the temperature."""
        return self._patience is None or self._patience < math.inf or self._own_noise

    def compute_weights(self, moment: Moment) -> None:
        """Compute effective weights and variances anew from the physical state at ``moment``."""
        self._set_noise(moment)
        self.computed_at = moment
        self.version += 1
        present, effective = self._present(moment), self._effective

        def chunk(first: int, last: int) -> None:
            compute_weights(self.devices, present, effective, first, last)

        map_chunks(chunk, self._rows)

    @property
    def wired(self) -> np.ndarray:
        """Which pairs requests reach, truth values (rows, n_out)."""
        return np.ones(self.shape, bool) if self._unwired is None else ~self._unwired

    def keep_up(self, now: float, temperature: float) -> None:
        """Compute effective weights anew if time or temperature have changed them."""
        then = self.computed_at
        if self._own_noise and self._set_noise(Moment(now, temperature)):
            return self.compute_weights(Moment(now, temperature))
        # What most technologies do by default, without a record made: this stands in the way of every read.
        if self._patience is not None:
            if temperature == then.temperature and abs(now - then.now) <= self._patience:
                return
        elif not self.device.stale(then, Moment(now, temperature)):
            return
        self.compute_weights(Moment(now, temperature))

    def take(self, state: dict[str, np.ndarray]) -> None:
        """Take back copies of what `arrays` gave."""
        for name, array in self.arrays().items():
            array[...] = state[name]
        self.epoch = float(state["epoch"][0]) if self._timed else 0.0
        self.writes = int(state["writes"][0]) if self._needs_upkeep else 0
        self.computed_at = Moment(*(float(part) for part in state["computed_at"]))
        self._set_noise(self.computed_at)
        self.wear.stick()
        self.version += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that changes, not copied; effective weights as well: each was computed at its own time.

        Parameters of the devices are not in it: design and seed make them anew.
        """
        arrays = {"state": self.devices.state, "weights": self.weights, "variance": self.variance}
        arrays |= {"computed_at": np.array(self.computed_at)} | self.wear.arrays()
        arrays |= {"epoch": np.array([self.epoch])} if self._timed else {}
        return arrays | ({"writes": np.array([self.writes], np.uint64)} if self._needs_upkeep else {})

    def change(self, rows: Rows, moment: Moment, draw: Draw, *, scale: float = 1.0) -> WriteCost:
        """Ask for weight changes, and do the pairs' upkeep.

        Parameters
        ----------
        rows
            The changes; grounded rows and columns that feed nobody are left out of them.
        moment
            Of writing.
        draw
            The chip's key and turn; place, purpose and attempt are added here.
        scale
            Factor of ``rows``.
        """
        cost = self._send(rows, moment, draw, scale, self._limit)
        return self._maintained(cost, moment, draw)

    def program(self, target: FloatArray, moment: Moment, draw: Draw) -> WriteCost:
        """Write and verify: read the pairs, with read noise, and pulse towards ``target`` until no pulse brings them nearer.

        Pairs that cannot go back by pulses are reset first. Beyond the nominal range the target is the range's end.
        Verification reads what the device conducts, so it also corrects its static error, its step and its asymmetry; what
        stays is read noise, stuck devices and bounds too narrow for the target. It ends after `verify_steps` rounds at the
        latest, or once twice the pulses from end to end, and at least `MOST_PULSES`, have been sent one after the other.

        Parameters
        ----------
        target
            Weights (rows, n_out).
        moment, draw
            As in `change`.
        """
        bench = Workbench(self, moment, draw._replace(attempt=PREPARING))
        cost = WriteCost.of(self.technology.pair.prepare(bench))
        return self._maintained(cost + self.approach(target, moment, draw), moment, draw)

    def approach(self, target: FloatArray, moment: Moment, draw: Draw, pairs: np.ndarray | None = None) -> WriteCost:
        """Do `program` without upkeep, for the ``pairs`` (rows, n_out) alone if given; ``draw`` is the first attempt's."""
        cost = WriteCost()
        target = np.clip(target, -self.technology.weight_range, self.technology.weight_range)
        # Half of the smallest change: one pulse on one device, or on both where both share a change.
        tolerance = self.technology.weight_step / (2 * float(abs(self._shares).max()))
        # Twice the pulses from end to end, an assumption: a device that answers worse than half waits for the next round.
        limit = min(math.ceil(2 * self.device.pulses), MOST_PULSES)
        # Where noise undoes what each round does, rounds would go on for hours.
        enough = max(MOST_PULSES, 2 * self.device.pulses)
        for attempt in range(self.device.verify_steps):
            own = draw._replace(attempt=draw.attempt + attempt)
            error = self._wired(target - (self.weights + self._read_error(own)), 0, self.shape[0])
            cost += WriteCost(verified=1)
            error[np.abs(error) <= tolerance] = 0
            if pairs is not None:
                error[~pairs] = 0
            if not error.any() or cost.parallel >= enough:
                break
            cost += self._send(rows_of(error.astype(np.float32)), moment, own, 1.0, limit)
        return cost

    def fields(self, now: float = math.inf) -> Fields:
        """Return the devices' parameters and state by name, (2, rows, n_out) each, for a technology's own laws.

        No device was written after ``now``, as one of a shared clock that has gone back would seem to be.
        """
        kept = {name: parameter for name, parameter in FROZEN.items() if parameter != NU or self.device.drifts}
        values: dict[str, FloatArray] = {name: self.devices.values(parameter) for name, parameter in kept.items()}
        if self._timed:
            values["written"] = np.minimum(self.epoch + self.devices.levels(WRITTEN).astype(np.float64), now)
        return values | self._own | self.wear.arrays()

    def conducted(self, moment: Moment) -> FloatArray:
        """Return what devices conduct at ``moment``, siemens, float64 (2, rows, n_out), without their static error.

        Raises
        ------
        DesignError
            The technology's law of ageing gives another shape, or something that is not finite.
        """
        g = self.devices.levels(G).astype(np.float64)
        aged = np.asarray(self.device.aged(g, self.fields(moment.now), moment), np.float64)
        if aged.shape != g.shape or not all_finite(aged):
            found = f"shape {aged.shape}" if aged.shape != g.shape else "NaN or infinity"
            raise DesignError(
                f"{type(self.device).__name__}.aged: expected finite siemens of shape (2, rows, n_out) = {g.shape}, found "
                f"{found} at {moment.now:g} s and {moment.temperature:g} K. Return what each device conducts then."
            )
        return aged

    def _send(self, rows: Rows, moment: Moment, draw: Draw, scale: float, limit: int) -> WriteCost:
        """Send the pulses that changes ask for, or change continuous devices exactly."""
        self.version += 1
        if self._continuous:
            self._change_exactly(rows, scale, moment)
            return WriteCost()
        present, effective, sent = self._present(moment), self._effective, self._sent
        address = Draw(draw.key, ROUND, draw.turn, self.place, attempt=draw.attempt).address()
        per_weight, pulses = self._steps_per_weight * scale, []

        def chunk(first: int, last: int) -> None:
            change = self._wired(rows(first, last), first, last)
            asked = Asked(change, per_weight, self._shares, limit, first)
            pulses.append(apply_pulses(self.devices, asked, self._law, present, effective, address, sent))

        map_chunks(chunk, self._rows)
        if self.wear.count():
            self.wear.bury(np.asarray(self.device.dead(self.fields())))
        return WriteCost(sum(pulses), int(self._row_pulses.max()), int(self._row_pulses.sum()))

    def _maintained(self, cost: WriteCost, moment: Moment, draw: Draw) -> WriteCost:
        """Count a request, do the pair's upkeep after it, and return the cost of both."""
        self.writes += 1
        if not self._needs_upkeep:
            return cost
        bench = Workbench(self, moment, draw._replace(attempt=UPKEEP))
        return cost + WriteCost.of(self.technology.pair.maintain(bench, self.device, self._unit))

    def _present(self, moment: Moment) -> Present:
        """Return when devices are looked at, and what they conduct then if they age by a law of their own."""
        if self._timed:
            self._move_epoch(moment.now)
        aged = _NEVER_AGED
        if self._own_ageing:
            pairs = np.moveaxis(self.conducted(moment), 0, -1)
            aged = np.ascontiguousarray(pairs[:, :, None], np.float32)
        return Present(moment.now - self.epoch, self._t0, aged)

    def _move_epoch(self, now: float) -> None:
        """Let times of writing count from ``now`` where float32 would round them, and ages with them, too coarsely."""
        if abs(now - self.epoch) > self._epoch_ends:
            written = self.devices.levels(WRITTEN)
            written[...] = written.astype(np.float64) + (self.epoch - now)
            self.epoch = now

    def _set_noise(self, moment: Moment) -> bool:
        """Take the law of the read noise at ``moment`` and make room for variances; return whether these have changed."""
        before = self._noise
        if self._own_noise:
            self.line_variance, self._noise = self.technology.read_noise(moment)
        # Where the law depends on the moment there is always room: a snapshot has the same shape at every temperature.
        varies = self._noise.relative > 0 or self._noise.table.size > 0 or self._own_noise
        if varies != (self.variance.size > 0):
            self.variance = np.empty(self.shape if varies else (0, 0), np.float32)
        self._effective = Effective(self.weights, self.variance, self._unit, self._noise)
        return before.relative != self._noise.relative or not np.array_equal(before.table, self._noise.table)

    def _read_error(self, draw: Draw) -> FloatArray:
        constant = self.line_variance
        if not constant and not self.variance.size:
            return np.zeros((1, 1), np.float32)
        spread = np.sqrt(constant + self.variance) if self.variance.size else math.sqrt(constant)
        return np.asarray(spread * self.normals(draw), dtype=np.float32)

    def normals(self, draw: Draw) -> FloatArray:
        """Return a standard normal number for each pair, float32 (rows, n_out), for verifying reads."""
        normals = np.empty(self.shape, np.float32)
        key, turn, where = draw._replace(purpose=VERIFY, place=self.place).address()
        fill_normal(key, 0, turn, where, normals)
        return normals

    def _wired(self, change: FloatArray, first: int, last: int) -> FloatArray:
        """Return a change of rows ``first`` to ``last`` - 1 with 0 where nothing is wired."""
        if self._unwired is None:
            return change
        return np.where(self._unwired[first:last], np.float32(0), change)

    def _change_exactly(self, rows: Rows, scale: float, moment: Moment) -> None:
        """Let each device of a pair take its share of the changes, up to its own bounds, and renew all weights."""
        self._set_noise(moment)
        self.computed_at = moment
        present, effective, per_weight = self._present(moment), self._effective, scale * self._unit

        def chunk(first: int, last: int) -> None:
            change = self._wired(rows(first, last), first, last)
            move_devices(self.devices, Wanted(change, per_weight, self._shares, first), present, effective)

        map_chunks(chunk, self._rows)
        if self._own_ageing:  # what such a device conducts just after it was written, its own law alone can say
            self.compute_weights(moment)


def epoch_ends(t0: float) -> float:
    """Return the seconds after which float32 holds a time more coarsely than `TIME_RESOLUTION` t0."""
    return TIME_RESOLUTION * t0 * 2.0**23


def _unwired(parts: ArrayParts) -> np.ndarray:
    return np.reshape(~(parts.lines[:, :, None] & parts.feeding[:, None, :]), (-1, parts.spec.n_out))
