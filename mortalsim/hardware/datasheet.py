"""The data sheet: what is true of every chip of a design, and betrays no single chip's flaws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import inf, prod

import numpy as np

from mortalsim.checks import FloatArray, MissingPort, RangeError, ShapeError

#: What a bias line carries.
BIAS = 1.0


class Port(StrEnum):
    """What a chip can do beyond giving its output; a learner declares the ports that it needs."""

    TAPS = "taps"  #: what rows carry and every population's states can be measured
    CURRENT_NUDGE = "current_nudge"  #: a current can be added at each neuron's input
    WEIGHT_NUDGE = "weight_nudge"  #: weights can be disturbed by a keyed pattern
    OUTER = "outer"  #: parallel in-memory update by an outer product
    DELTA = "delta"  #: a change sent weight by weight
    REPLAY = "replay"  #: a weight nudge made permanent
    SHRINK = "shrink"  #: every weight multiplied by a factor below 1
    PROGRAM = "program"  #: absolute targets, written and verified


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """A neuron's transfer curve as a data sheet prints it: a table of values and slopes at equal steps.

    Between knots the slope is interpolated linearly and the value is its integral, so the curve is smooth and monotone
    where the slopes are positive; beyond the table it goes on with the end slopes.

    Parameters
    ----------
    start, step
        Input of the first knot and distance between knots, in units of weight times input.
    value, slope
        Output and its derivative at the knots, each of shape (knots,).
    """

    start: float
    step: float
    value: FloatArray
    slope: FloatArray

    def __call__(self, z: FloatArray) -> FloatArray:
        """Return the neurons' output at input ``z``, any shape."""
        k, t = self._locate(z)
        inside = np.minimum(np.maximum(t, 0), 1)
        beyond = t - inside  # outside the table: end slopes
        bend = 0.5 * (self.slope[k + 1] - self.slope[k]) * inside**2
        end = np.where(t < 0, self.slope[k], self.slope[k + 1])
        return np.asarray(self.value[k] + self.step * (self.slope[k] * inside + bend + end * beyond))

    def derivative(self, z: FloatArray) -> FloatArray:
        """Return the slope at input ``z``, any shape."""
        k, t = self._locate(z)
        return np.asarray(self.slope[k] + (self.slope[k + 1] - self.slope[k]) * np.minimum(np.maximum(t, 0), 1))

    def _locate(self, z: FloatArray) -> tuple[np.ndarray, np.ndarray]:
        place = (np.asarray(z) - self.start) / self.step
        k = np.fmin(np.fmax(np.floor(place), 0), len(self.value) - 2).astype(np.intp)  # NaN gives 0, and goes on as NaN in t
        return k, place - k


@dataclass(frozen=True)
class PopulationSpec:
    """Neurons that answer together, inputs that are set from outside, or a black-box stage.

    Parameters
    ----------
    name
        What arrays, nudges and states call it.
    shape
        Layout: (n,), (height, width) or (height, width, channels).
    curve
        Nominal transfer curve of its neurons; a single neuron may differ from it. None: an input, or a stage of which
        nothing is promised.
    read_noise
        Nominal standard deviation of the noise at a neuron's input where all its rows carry vectors of unit mean square.
    output_range
        Largest output that the converters can tell, in absolute value; 0 means unlimited.
    adc_bits
        Bits of its converters; 0 means that there is none.
    unipolar
        True if its converters tell no output below 0.
    """

    name: str
    shape: tuple[int, ...]
    curve: TransferCurve | None
    read_noise: float = 0.0
    output_range: float = 0.0
    adc_bits: int = 0
    unipolar: bool = False

    @property
    def size(self) -> int:
        """Number of its neurons or inputs."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class ArraySpec:
    """A crossbar between two populations: weights (n_in, n_out), or a stack of blocks (blocks, n_in, n_out).

    Parameters
    ----------
    source, target
        Names of the populations that it reads and feeds.
    shape
        (n_in, n_out) or (blocks, n_in, n_out): the shape of everything said about its weights. A bias line is a row.
    weight_range
        Largest weight that a pair can hold, in absolute value. Bounds and static errors differ from device to device, so
        most pairs hold less.
    weight_step
        Nominal change of a weight by one pulse on one of its two devices, at mid range; 0 means continuous.
    input_range
        Largest input, after normalisation, that a row can carry, in absolute value; 0 means unlimited.
    dac_bits
        Bits of its input converters; 0 means that there is none.
    normaliser
        ``"source"``: rows carry the source's outputs divided by their root mean square. ``"block"``: each block's rows
        divided by their own. ``"none"``: as they are.
    unipolar
        True if its rows carry nothing below 0.
    seconds_per_pulse, joules_per_pulse
        Of one pulse on one device.
    rows
        (blocks, n_in): which output of the source each row carries; n, one more than the last, stands for the bias and n + 1
        for ground. None: all of them in order, and the bias line last if there is a row more.
    columns
        (blocks, n_out): which neuron of the target each column feeds; one more than the last stands for none. Several blocks
        may feed one neuron. None: column j feeds neuron j.
    target_range
        Largest weight that `Program` aims at, in absolute value; beyond it the target is this. Weight of a nominal pair with
        one device at the top of its range and the other at the bottom; a pair may well hold less. Left out, or above
        ``weight_range``: the same as that.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    weight_range: float
    weight_step: float = 0.0
    input_range: float = 0.0
    dac_bits: int = 0
    normaliser: str = "source"
    unipolar: bool = False
    seconds_per_pulse: float = 0.0
    joules_per_pulse: float = 0.0
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None
    target_range: float = inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_range", min(self.target_range, self.weight_range))

    @property
    def n_in(self) -> int:
        """Rows of one block."""
        return self.shape[-2]

    @property
    def n_out(self) -> int:
        """Columns of one block."""
        return self.shape[-1]

    def gather(self, v: FloatArray) -> FloatArray:
        """Return what the rows see, (..., [blocks,] B, n_in), of the source's (..., B, n): bias and ground included."""
        end = np.full((*v.shape[:-1], 1), BIAS, v.dtype)
        if self.rows is None:
            return np.concatenate([v, end], axis=-1) if self.n_in > v.shape[-1] else v
        whole = np.concatenate([v, end, 0 * end], axis=-1)
        return np.moveaxis(whole[..., self.rows], -2, -3)

    def scatter(self, slopes: FloatArray, size: int) -> FloatArray:
        """Return slopes at the rows, (..., [blocks,] B, n_in), added up at the source's ``size`` outputs: `gather` back."""
        if self.rows is None:
            return slopes[..., :size]
        out = np.zeros((size + 2, *slopes.shape[:-3], slopes.shape[-2]), slopes.dtype)
        np.add.at(out, self.rows, np.moveaxis(slopes, (-3, -1), (0, 1)))
        return np.moveaxis(out[:size], 0, -1)

    def spread(self, post: FloatArray) -> FloatArray:
        """Return the target's (..., B, size) as each block sees it, (..., [blocks,] B, n_out)."""
        if self.columns is None:
            return post
        if self._highest_column >= post.shape[-1]:
            post = np.concatenate([post, np.zeros((*post.shape[:-1], 1), post.dtype)], axis=-1)
        return np.moveaxis(post[..., self.columns], -2, -3)

    def collect(self, z: FloatArray, size: int) -> FloatArray:
        """Return the blocks' columns (..., [blocks,] B, n_out) added up at the target's ``size`` neurons: `spread` back."""
        if self.columns is None:
            return z
        out = np.zeros((*z.shape[:-3], z.shape[-2], size + 1), z.dtype)
        for block, columns in enumerate(self.columns):  # no block feeds a neuron twice
            out[..., columns] += z[..., block, :, :]
        return out[..., :size]

    def product(self, pre: FloatArray, post: FloatArray) -> FloatArray:
        """Return the sum over samples of the outer products of ``pre`` and the target's ``post`` (..., B, size)."""
        return np.asarray(np.swapaxes(pre, -1, -2) @ self.spread(post))

    @cached_property
    def _highest_column(self) -> int:
        return -1 if self.columns is None else int(self.columns.max())


@dataclass(frozen=True)
class Answer:
    """One line of a timetable: a population takes a new state.

    Parameters
    ----------
    population
        The population that answers.
    tick
        Number of the state that it takes; the first is 0.
    wave
        Answers of one wave happen at once; a read takes as many read times as there are waves.
    via
        What it answers to: (place of an array, tick of that array's source) for each array that feeds it then; for a stage
        the one pair (name of the population that it stands on, tick).
    keep
        Share of an old state in the new one, mixed digitally behind the converters, or where a stage is sampled; 0 to below
        1.
    old
        Tick of that old state.
    """

    population: str
    tick: int
    wave: int
    via: tuple[tuple[int | str, int], ...]
    keep: float = 0.0
    old: int = -1


@dataclass(frozen=True, eq=False)
class Datasheet:
    """What is true of every chip of a design.

    Parameters
    ----------
    design
        The design's name.
    populations
        By name, inputs and stages included.
    arrays
        In the order of the design file; requests and taps call an array by its place here.
    timetable
        Which population answers when, from which states: reads, taps, costs and models walk it from top to bottom.
    inputs
        Populations set from outside; a sample holds them side by side, in this order.
    output
        The population whose last state is the chip's output; None if the chip has none.
    ports
        What the chip can do.
    patterns
        Names of the patterns that weight nudges may have.
    families
        Those patterns whose indices belong together under one key: a learner should walk through them, 0, 1, 2, ...
    seconds_per_read, joules_per_read
        Of one sample: waves times the read time; devices and output converters of every answer, and input converters once
        for every state that drives an array.
    """

    design: str
    populations: Mapping[str, PopulationSpec]
    arrays: tuple[ArraySpec, ...]
    timetable: tuple[Answer, ...]
    inputs: tuple[str, ...]
    output: str | None
    ports: frozenset[Port]
    patterns: frozenset[str]
    seconds_per_read: float
    joules_per_read: float
    families: frozenset[str] = frozenset()

    @cached_property
    def n_inputs(self) -> int:
        """Numbers that one sample must have."""
        return sum(self.populations[name].size for name in self.inputs)

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """Populations that arrays feed and that are not the output, in the order of their first answers."""
        fed = {spec.target for spec in self.arrays} - {self.output}
        return tuple(dict.fromkeys(answer.population for answer in self.timetable if answer.population in fed))

    @cached_property
    def fed(self) -> tuple[str, ...]:
        """The hidden populations and then the output, if there is one."""
        return self.hidden if self.output is None else (*self.hidden, self.output)

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Black-box stages: populations that no array feeds and that are no inputs."""
        fed = {spec.target for spec in self.arrays}
        return tuple(name for name in self.populations if name not in self.inputs and name not in fed)

    def into(self, population: str) -> tuple[int, ...]:
        """Return the places of the arrays that feed a population."""
        return tuple(place for place, spec in enumerate(self.arrays) if spec.target == population)

    def ticks(self, population: str) -> int:
        """Return how many states a population takes in one read."""
        return sum(answer.population == population for answer in self.timetable)

    def span(self, population: str) -> tuple[int, int]:
        """Return the first position of an input population in x, and the one after its last."""
        first = 0
        for name in self.inputs:
            last = first + self.populations[name].size
            if name == population:
                return first, last
            first = last
        raise RangeError(f"population: expected one of the inputs {', '.join(self.inputs)}, found {population!r}.")

    def output_of(self, who: str, classes: int | None = None) -> str:
        """Return the output population; raise `ShapeError` unless there is one, of as many neurons as there are classes."""
        if self.output is None:
            raise ShapeError(
                f"{who} needs an output, which the design {self.design!r} lacks. Choose a learner that reads hidden "
                "populations, or name a population as `output` in the design."
            )
        size = self.populations[self.output].size
        if classes is not None and size != classes:
            raise ShapeError(
                f"classes: expected as many as the output {self.output!r} has neurons = {size}, found {classes}. "
                f"Give that population {classes} neurons, or choose a learner with a digital head."
            )
        return self.output

    def require(self, who: str, *ports: Port) -> None:
        """Raise `MissingPort`, in a sentence, unless the chip has every one of ``ports``."""
        missing = [port.value for port in ports if port not in self.ports]
        if missing:
            has = ", ".join(sorted(port.value for port in self.ports)) or "none"
            raise MissingPort(
                f"{who} needs the port{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which the design "
                f"{self.design!r} lacks (it has {has}). Choose another learner or add the port to the design's list `ports`."
            )
