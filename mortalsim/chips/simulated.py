"""The simulated chip: a design and a seed make one physical individual, which learners meet only through the seam."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from numbers import Integral

import numpy as np

from mortalsim.checks import ChipFault, FloatArray, RangeError, ShapeError, all_finite, check_array, check_between
from mortalsim.chips.crossbar import Crossbar, Rows, rows_of
from mortalsim.chips.design import Design
from mortalsim.chips.layer import Layer
from mortalsim.hardware import (
    NUDGE_PORTS,
    WRITE_PORTS,
    CurrentNudge,
    Datasheet,
    Delta,
    Nudge,
    Outer,
    Overlaid,
    Port,
    Program,
    Replay,
    Samples,
    Shrink,
    Tap,
    Trace,
    WriteRequest,
)
from mortalsim.parallel import one_blas_thread, workspace
from mortalsim.streams import Streams

#: What a float32 can hold.
LARGEST = float(np.finfo(np.float32).max)

#: Multiplications of a product that OpenBLAS does on one thread whatever it may use.
ALWAYS_ONE_THREAD = 9000


@dataclass
class Ledger:
    """What a chip has been put through.

    Parameters
    ----------
    reads, nudged_reads
        Samples presented; the second counts those with a nudge and is part of the first.
    requests
        Write requests carried out; those refused are not counted.
    pulses
        Pulses sent to devices, stuck ones included.
    seconds, joules
        Time taken and energy spent by reads and writes, nominal figures; the reads that verify a `Program` are in it.
    """

    reads: int = 0
    nudged_reads: int = 0
    requests: int = 0
    pulses: int = 0
    seconds: float = 0.0
    joules: float = 0.0


class SimulatedChip:
    """One chip of a design; to be used from one thread at a time, as it carries a clock and a ledger.

    Parameters
    ----------
    design
        What all its kind share.
    seed
        What is its own: devices, neurons, converters, ports and all noise come from named streams of it.

    Attributes
    ----------
    ledger
        What it has been put through. Not part of the seam.
    clock
        Seconds since fabrication. Reads and writes advance it; `wait` lets it pass.
    """

    def __init__(self, design: Design, seed: int) -> None:
        self.design, self.seed = design, seed
        streams = Streams(seed, ("chip",))
        self._datasheet = design.datasheet()
        self.layers = [Layer(design, index, streams) for index in range(len(design.sizes) - 1)]
        self._largest = max(layer.crossbar.weights.size for layer in self.layers)
        self.ledger = Ledger()
        self.clock = 0.0
        self._read_key = streams.key("read noise")
        self._read_number = 0

    def __repr__(self) -> str:
        return f"SimulatedChip({self.design.name!r}, seed={self.seed})"

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        return self._datasheet

    def read(self, x: Samples, nudge: Nudge | None = None) -> Trace:
        """Present every sample of ``x`` (B, n_inputs) once.

        Raises
        ------
        ShapeError, RangeError
            ``x`` or a nudge is not a finite array of the right shape.
        MissingPort
            The nudge goes through a port that the design lacks.
        ChipFault
            The output is not finite.
        """
        v = check_array("x", x, {"B": None, "n_inputs": self._datasheet.n_inputs}, "Write one row per sample.")
        nudge = self._check_nudge(nudge, len(v))
        # BLAS never wakes a second thread for less than this, and a small chip's read is over in microseconds.
        with one_blas_thread if len(v) * self._largest > ALWAYS_ONE_THREAD else nullcontext():
            taps = self._pass(v, nudge, x if isinstance(x, Overlaid) else None)
        v = taps[-1].post
        self._read_number += 1
        self._account(reads=len(v), nudged=len(v) if nudge is not None else 0)
        if not all_finite(v):
            advice = "Lower the learning rate or limit the converters' range."
            raise ChipFault(f"{self!r} gave NaN or infinity at read {self._read_number}. {advice}")
        return Trace(v, tuple(taps) if Port.TAPS in self._datasheet.ports else ())

    def _pass(self, v: FloatArray, nudge: Nudge | None, overlaid: Overlaid | None) -> list[Tap]:
        taps: list[Tap] = []
        for layer in self.layers:
            layer.crossbar.keep_up(self.clock)
            taps.append(layer.read(v, nudge, self._read_number, self._read_key, None if taps else overlaid))
            v = taps[-1].post
        return taps

    def write(self, request: WriteRequest) -> None:
        """Ask for a change; it goes through the devices' pulse response.

        Raises
        ------
        ShapeError, RangeError
            The request names no array of this chip, or carries an array of the wrong shape or kind or numbers that are not
            finite. Nothing is written then.
        MissingPort
            The design lacks the request's port.
        """
        port = WRITE_PORTS.get(type(request))
        if port is None:
            kinds = ", ".join(kind.__name__ for kind in WRITE_PORTS)
            raise ShapeError(f"request: expected one of {kinds}, found {type(request).__name__}.")
        self._datasheet.require(f"the request {type(request).__name__}", port)
        number = self.ledger.requests
        if isinstance(request, Replay):
            changes = [rows_of(self._replayed(request, layer)) for layer in self.layers]
            crossbars = [layer.crossbar for layer in self.layers]
            for crossbar in crossbars:
                crossbar.keep_up(self.clock)
            pairs = zip(crossbars, changes, strict=True)
            costs = [crossbar.change(change, self.clock, number) for crossbar, change in pairs]
            self._account(pulses=sum(cost.pulses for cost in costs), slots=max(cost.parallel for cost in costs))
        else:
            crossbar = self._array(request.array)
            if isinstance(request, Program):
                target = check_array("target", request.target, _weights_shape(crossbar))
                crossbar.keep_up(self.clock)
                cost = crossbar.program(target, self.clock, number)
            else:
                rows, scale = self._rows(request, crossbar)
                crossbar.keep_up(self.clock)  # a refused request leaves everything as it was, so only now
                with one_blas_thread:
                    cost = crossbar.change(rows, self.clock, number, scale=scale)
            parallel = isinstance(request, Outer | Shrink)
            self._account(pulses=cost.pulses, slots=cost.parallel if parallel else cost.by_row)
            self._account_verify(crossbar, cost.verified)
        self.ledger.requests += 1

    def wait(self, seconds: float) -> None:
        """Let time pass: the devices drift. Below the seam; for experiments."""
        self.clock += check_between("seconds", seconds, 0, unit="s")

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the chip's changing state as plain arrays; with design and seed it is all that a checkpoint needs."""
        state = {"clock": np.array([self.clock]), "read_number": np.array([self._read_number])}
        state["ledger"] = np.array([float(value) for value in asdict(self.ledger).values()])
        for layer in self.layers:
            state |= {f"{name}.{layer.index}": array for name, array in layer.crossbar.state().items()}
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back a `snapshot` of a chip of the same design and seed.

        Raises
        ------
        ShapeError
            The snapshot is of a chip with other arrays, or of numbers of another kind.
        RangeError
            It holds NaN or infinity.
        """
        present = [layer.crossbar.arrays() for layer in self.layers]
        for layer, arrays in zip(self.layers, present, strict=True):
            for name, array in arrays.items():
                found = np.asarray(state.get(f"{name}.{layer.index}", np.zeros(0)))
                if found.shape != array.shape or found.dtype != array.dtype:
                    raise ShapeError(
                        f"state: expected {name}.{layer.index} of shape {array.shape}, {array.dtype}, found {found.shape}, "
                        f"{found.dtype}. Restore only what a chip of the same design and sizes gave."
                    )
                if not all_finite(found):
                    raise RangeError(
                        f"state: expected finite numbers, found NaN or infinity in {name}.{layer.index}. "
                        "Restore a snapshot made before they came up."
                    )
        for layer, arrays in zip(self.layers, present, strict=True):
            layer.crossbar.take({name: state[f"{name}.{layer.index}"] for name in arrays})
        self.clock = float(state["clock"][0])
        reads, nudged, requests, pulses, seconds, joules = (float(value) for value in state["ledger"])
        self.ledger = Ledger(int(reads), int(nudged), int(requests), int(pulses), seconds, joules)
        self._read_number = int(state["read_number"][0])

    def _account(self, reads: int = 0, nudged: int = 0, pulses: int = 0, slots: int = 0) -> None:
        sheet, ledger = self._datasheet, self.ledger
        ledger.reads += reads
        ledger.nudged_reads += nudged
        ledger.pulses += pulses
        seconds = reads * sheet.seconds_per_read + slots * sheet.seconds_per_pulse
        self._spend(seconds, reads * sheet.joules_per_read + pulses * sheet.joules_per_pulse)

    def _account_verify(self, crossbar: Crossbar, rounds: int) -> None:
        # A round reads the rows one after the other: each row drives its own devices once and converts every column.
        n_in, n_out = crossbar.shape
        costs = self.design.costs
        row = n_out * (self.design.pair_joules + costs.adc_joules) + costs.dac_joules
        self._spend(rounds * n_in * costs.read_seconds, rounds * n_in * row)

    def _spend(self, seconds: float, joules: float) -> None:
        self.ledger.seconds += seconds
        self.ledger.joules += joules
        self.clock += seconds

    def _check_nudge(self, nudge: Nudge | None, samples: int) -> Nudge | None:
        if nudge is None:
            return None
        if type(nudge) not in NUDGE_PORTS:
            raise ShapeError(f"nudge: expected CurrentNudge, WeightNudge or None, found {type(nudge).__name__}.")
        self._datasheet.require(f"a {type(nudge).__name__}", NUDGE_PORTS[type(nudge)])
        if isinstance(nudge, CurrentNudge):
            found, wanted = len(nudge.currents), len(self.layers)
            if found != wanted:
                raise ShapeError(
                    f"currents: expected {wanted} entries, one per array, found {found}. Write None for no current."
                )
            return CurrentNudge(tuple(self._current(i, current, samples) for i, current in enumerate(nudge.currents)))
        return nudge

    def _current(self, index: int, current: FloatArray | None, samples: int) -> FloatArray | None:
        n_out = self.layers[index].crossbar.shape[1]
        return None if current is None else check_array(f"currents[{index}]", current, {"B": samples, "n_out": n_out})

    def _array(self, index: int) -> Crossbar:
        if not isinstance(index, Integral) or not 0 <= index < len(self.layers):
            raise RangeError(f"array: expected 0 to {len(self.layers) - 1}, the arrays of this chip, found {index!r}.")
        return self.layers[index].crossbar

    def _rows(self, request: Outer | Delta | Shrink, crossbar: Crossbar) -> tuple[Rows, float]:
        """Return the change asked for, row by row, and what to multiply it with."""
        n_in, n_out = crossbar.shape
        if isinstance(request, Delta):
            matrix = check_array("matrix", request.matrix, _weights_shape(crossbar))
            return rows_of(matrix), check_between("scale", request.scale, -1e9, 1e9)
        if isinstance(request, Shrink):
            check_between("factor", request.factor, 0, 1)
            return lambda first, last: crossbar.weights[first:last].copy(), request.factor - 1
        pre = check_array("pre", request.pre, {"B": None, "n_in": n_in}, "Take it from a tap: the bias line belongs to it.")
        post = check_array("post", request.post, {"B": len(pre), "n_out": n_out})
        rate = check_between("rate", request.rate, -1e9, 1e9)
        largest = len(pre) * float(max(pre.max(), -pre.min())) * float(max(post.max(), -post.min()))
        if largest > LARGEST:
            raise RangeError(
                f"pre, post: expected sums of products up to {LARGEST:g}, could be {largest:g}. Scale them down."
            )

        def rows(first: int, last: int) -> FloatArray:
            return np.matmul(pre[:, first:last].T, post, out=workspace(last - first, n_out))

        return rows, rate

    def _replayed(self, request: Replay, layer: Layer) -> FloatArray:
        change = np.zeros(layer.crossbar.shape, np.float32)
        for nudge, scale in request.terms:
            size = check_between("scale", scale, -1e9, 1e9) * nudge.amplitude
            layer.add_pattern(change, nudge, size)
        return change


def _weights_shape(crossbar: Crossbar) -> dict[str, int | None]:
    return dict(zip(("n_in", "n_out"), crossbar.shape, strict=True))
