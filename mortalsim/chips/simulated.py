"""The simulated chip: a design and a seed make one physical individual, which learners meet only through the seam."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import inf, isnan, prod
from numbers import Integral

import numpy as np

from mortalsim.checks import (
    LARGEST_INPUT,
    ChipFault,
    DesignError,
    FloatArray,
    RangeError,
    ShapeError,
    all_finite,
    check_array,
    check_name,
    check_whole,
)
from mortalsim.chips import snapshot
from mortalsim.chips.array import Array
from mortalsim.chips.design import Design
from mortalsim.chips.footprint import check_machine
from mortalsim.chips.meter import Clock, Meter
from mortalsim.chips.netlist import ArrayParts, total
from mortalsim.chips.population import Population
from mortalsim.chips.reading import Reading, lines_of
from mortalsim.chips.write_cost import WriteCost
from mortalsim.chips.writing import change_of, replayed, target_of
from mortalsim.hardware import (
    NUDGE_PORTS,
    WANTS,
    WRITE_PORTS,
    CurrentNudge,
    Datasheet,
    Nudge,
    Outer,
    Overlaid,
    Port,
    Program,
    Replay,
    Samples,
    Shrink,
    Trace,
    Want,
    WeightNudge,
    WriteRequest,
)
from mortalsim.kernels import Draw
from mortalsim.parallel import one_blas_thread
from mortalsim.streams import Streams

#: Multiplications of a product that OpenBLAS does on one thread whatever it may use.
ALWAYS_ONE_THREAD = 9000


class SimulatedChip:
    """One chip of a design; to be used from one thread at a time, as it carries a clock, a meter and memories.

    Parameters
    ----------
    design
        What all its kind share.
    seed
        Which individual it is: the node of its streams, as `chip_streams` makes it of a run's seed and a number, or a run's
        seed alone, which stands for number 0. Devices, neurons, converters and ports come from named streams of it.
    clock
        Time; chips may share one. None: a clock of its own that starts at 0.
    noise
        Where the noise of reads and writes comes from, if not from ``seed``: the same devices with other noise.

    Raises
    ------
    DesignError
        ``design`` is no `Design`, or a chip of it takes more memory than this machine has; or a technology's own law gives
        what none can.

    Attributes
    ----------
    meter
        What it has been put through. Not part of the seam.
    """

    def __init__(
        self,
        design: Design,
        seed: int | Streams,
        *,
        clock: Clock | None = None,
        noise: int | Streams | None = None,
    ) -> None:
        if not isinstance(design, Design):
            raise DesignError(
                f"design: expected a Design, found {type(design).__name__} {design!r:.80}. Write "
                "load_design('mild'), say, or "
                "use mortalsim.build.make_chip, which takes names."
            )
        if not isinstance(clock, Clock | None):
            raise DesignError(
                f"clock: expected a Clock or None, found {type(clock).__name__} {clock!r:.80}. Write Clock(5.0)."
            )
        check_machine(design.name, design.netlist)
        self.design, self.streams = design, seed if isinstance(seed, Streams) else chip_streams(Streams(seed))
        self.clock = Clock() if clock is None else clock
        self.meter = Meter()
        sheet = self._datasheet = design.datasheet()
        parts, streams, sizes = design.netlist, self.streams, {name: p.size for name, p in sheet.populations.items()}
        self.arrays = [
            Array(
                own, place, sizes[own.spec.source], sizes[own.spec.target], streams, self.clock.moment,
                own.spec.source in sheet.inputs, before,
            )
            for place, (own, before) in enumerate(zip(parts.arrays, _weights_before(parts.arrays), strict=True))
        ]  # fmt: skip
        places = {name: place for place, name in enumerate(sheet.populations)}
        self.populations = {name: Population(parts.populations[name], places[name], streams) for name in sheet.fed}
        self.boxes = {
            name: stage.fabricate(sizes[str(own.source)], sizes[name], streams.generator("stage", places[name]))
            for name, own in parts.populations.items()
            if (stage := own.stage) is not None
        }
        self._tapped = Port.TAPS in sheet.ports
        self._lines = lines_of(sheet, self.arrays, self.populations, self.boxes)
        read_on = {spec.source for spec in sheet.arrays} | {str(own.source) for own in parts.populations.values()}
        #: Populations whose states nobody reads on, or all where each is read by another.
        self._ends = tuple(name for name in (*sheet.fed, *sheet.stages) if name not in read_on) or sheet.fed
        self._ageing = [array.crossbar for array in self.arrays if array.crossbar.ages]
        self._largest = max(array.crossbar.weights.size for array in self.arrays)
        own_noise = self.streams if noise is None else noise if isinstance(noise, Streams) else chip_streams(Streams(noise))
        self._key = own_noise.key("noise")
        #: Counts reads and writes: it numbers the random draws, so nothing but the chip may change it.
        self._turn = 0

    def __repr__(self) -> str:
        return f"SimulatedChip({self.design.name!r}, {self.streams})"

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        return self._datasheet

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample of ``x`` (B, n_inputs) once.

        Raises
        ------
        ShapeError, RangeError, UnknownName
            ``x`` or a nudge is not a finite array of the right shape, or names what the chip has not.
        MissingPort
            The nudge goes through a port that the design lacks.
        ChipFault
            What the chip gives is not finite.
        """
        sheet = self._datasheet
        v = check_array("x", x, {"B": None, "n_inputs": sheet.n_inputs}, "Write one row per sample.", LARGEST_INPUT)
        nudge = self._check_nudge(nudge, len(v))
        if not isinstance(want, str) or want not in WANTS:
            check_name("want", str(want), WANTS)
        want = want if self._tapped else "output"
        for crossbar in self._ageing:
            crossbar.keep_up(self.clock.now, self.clock.temperature)
        reading = Reading(sheet, v, x if isinstance(x, Overlaid) else None, nudge, want)
        # BLAS never wakes a second thread for less than this, and a small chip's read is over in microseconds.
        if len(v) * self._largest > ALWAYS_ONE_THREAD:
            with one_blas_thread:
                reading.walk(self._lines, self._key, self._turn)
        else:
            reading.walk(self._lines, self._key, self._turn)
        self._turn += 1
        self._read_account(len(v))
        self._check_answer(reading)
        return reading.trace(sheet.output, want)

    def _check_answer(self, reading: Reading) -> None:
        """Stop where NaN or infinity has come out; what is wrong elsewhere reaches one of these populations."""
        for name in self._ends:
            if not all_finite(reading.last(name)):
                advice = "Lower the learning rate or limit the converters' range."
                raise ChipFault(f"{self!r} gave NaN or infinity at turn {self._turn}, in {name!r}. {advice}")

    def write(self, request: WriteRequest) -> None:
        """Ask for a change; it goes through the devices' pulse response.

        Raises
        ------
        ShapeError, RangeError, UnknownName
            The request names what this chip has not, or carries an array of the wrong shape or kind or numbers that are not
            finite. Nothing is written then.
        MissingPort
            The design lacks the request's port.
        """
        port = WRITE_PORTS.get(type(request))
        if port is None:
            kinds = ", ".join(kind.__name__ for kind in WRITE_PORTS)
            raise ShapeError(f"request: expected one of {kinds}, found {type(request).__name__}.")
        if port not in self._datasheet.ports:
            self._datasheet.require(f"the request {type(request).__name__}", port)
        draw = Draw(self._key, 0, self._turn)
        if isinstance(request, Replay):
            self._replay(request, draw)
        else:
            array = self._array(request.array)
            # A refused request leaves everything as it was, so devices age only once it is known to be right.
            if isinstance(request, Program):
                target = target_of(request, array)
                array.crossbar.keep_up(self.clock.now, self.clock.temperature)
                cost = array.crossbar.program(target, self.clock.moment, draw)
            else:
                rows, scale = change_of(request, array)
                array.crossbar.keep_up(self.clock.now, self.clock.temperature)
                with one_blas_thread:
                    cost = array.crossbar.change(rows, self.clock.moment, draw, scale=scale)
            parallel = type(request) in (Outer, Shrink)
            self._write_account(array, cost, cost.parallel if parallel else cost.by_row)
        self._turn += 1
        self.meter.requests += 1

    def _replay(self, request: Replay, draw: Draw) -> None:
        terms = request.terms
        for nudge, _ in terms:
            self._check_weight_nudge(nudge)
        changes = replayed(terms, self.arrays)
        for place in changes:
            self.arrays[place].crossbar.keep_up(self.clock.now, self.clock.temperature)
        moment = self.clock.moment
        costs = {place: self.arrays[place].crossbar.change(rows, moment, draw) for place, rows in changes.items()}
        slowest = 0.0  # all arrays are written at the same time
        for place, cost in costs.items():
            spec = self._datasheet.arrays[place]
            slowest = max(slowest, cost.parallel * spec.seconds_per_pulse)
            self.meter.pulses += cost.pulses
            self._spend(0.0, total(cost.pulses, spec.joules_per_pulse))
            self._verify_account(self.arrays[place], cost)
        self._spend(slowest, 0.0)

    def wait(self, seconds: float) -> None:
        """Let time pass: the devices drift. Below the seam; for experiments."""
        self.clock.advance(seconds)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the chip's changing state as plain arrays, with its identity; design and seed make everything else."""
        return snapshot.take(self)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back a `snapshot` of this same individual; its clock goes back too, for all chips that share it.

        Raises
        ------
        DesignError
            It is of a chip of another design, or of another individual. Nothing is taken then.
        ShapeError, RangeError
            Something is missing, or of another shape or kind, or not finite. Nothing is taken then.
        """
        snapshot.give_back(self, state)

    def _read_account(self, samples: int) -> None:
        self.meter.reads += samples
        self._spend(samples * self._datasheet.seconds_per_read, samples * self._datasheet.joules_per_read)

    def _write_account(self, array: Array, cost: WriteCost, slots: int) -> None:
        spec = array.parts.spec
        self.meter.pulses += cost.pulses
        self._spend(slots * spec.seconds_per_pulse, total(cost.pulses, spec.joules_per_pulse))
        self._verify_account(array, cost)

    def _verify_account(self, array: Array, cost: WriteCost) -> None:
        if not cost.verified:
            return
        # A round of verifying reads row after row: each drives its own devices once and converts the columns that feed.
        costs, parts = self.design.costs, array.parts
        rows, columns = parts.lines.sum(axis=1), parts.feeding.sum(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # costs that overflow are infinite
            joules = float(rows @ (columns * (parts.technology.pair_joules + costs.adc_joules) + costs.dac_joules))
        self._spend(cost.verified * int(rows.sum()) * costs.read_seconds, cost.verified * (inf if isnan(joules) else joules))

    def _spend(self, seconds: float, joules: float) -> None:
        self.meter.seconds += seconds
        self.meter.joules += joules
        self.clock.spend(seconds)

    def _check_nudge(self, nudge: Nudge | None, samples: int) -> Nudge | None:
        if nudge is None:
            return None
        if type(nudge) not in NUDGE_PORTS:
            raise ShapeError(f"nudge: expected CurrentNudge, WeightNudge or None, found {type(nudge).__name__}.")
        self._datasheet.require(f"a {type(nudge).__name__}", NUDGE_PORTS[type(nudge)])
        if isinstance(nudge, WeightNudge):
            self._check_weight_nudge(nudge)
            return nudge
        return CurrentNudge({name: self._current(name, value, samples) for name, value in nudge.currents.items()})

    def _current(self, name: str, current: FloatArray, samples: int) -> FloatArray:
        if name not in self.populations:
            check_name("currents: population", str(name), self.populations)
        return check_array(f"currents[{name}]", current, {"B": samples, "size": self.populations[name].size})

    def _check_weight_nudge(self, nudge: WeightNudge) -> None:
        if nudge.pattern not in self._datasheet.patterns:
            check_name("pattern", nudge.pattern, self._datasheet.patterns)
        for place in nudge.arrays or ():
            self._array(place)

    def _array(self, place: int) -> Array:
        if isinstance(place, bool) or not isinstance(place, Integral) or not 0 <= place < len(self.arrays):
            raise RangeError(f"array: expected 0 to {len(self.arrays) - 1}, the arrays of this chip, found {place!r}.")
        return self.arrays[place]


def _weights_before(arrays: Sequence[ArrayParts]) -> list[int]:
    """Return for each array how many weights the arrays at lower places have."""
    return [0, *accumulate(prod(parts.spec.shape) for parts in arrays)][: len(arrays)]


def chip_streams(run: Streams, number: int = 0) -> Streams:
    """Return the node of chip ``number`` of a run; it is the same individual in every design and for every experiment."""
    return run.child("chip", check_whole("number", number, 0))
