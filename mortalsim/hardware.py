"""The seam: everything a learner may know of a chip, ask of it, or do to it.

Shapes: B samples, n_in input lines (the last one is the constant bias line) and n_out output lines of one array.
Numbers on this side are dimensionless; siemens, volts, seconds and joules live below.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from mortalsim.checks import FloatArray, MissingPort, ShapeError, check_between, check_name

#: What the bias line of every array carries.
BIAS = 1.0


class Port(StrEnum):
    """What a chip can do beyond giving its output; a learner declares the ports that it needs."""

    TAPS = "taps"  #: every array's input lines and neurons can be measured
    CURRENT_NUDGE = "current_nudge"  #: a current can be added at each neuron's input
    WEIGHT_NUDGE = "weight_nudge"  #: weights can be disturbed by a keyed sign pattern
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
        beyond = np.where(t < 0, t, np.maximum(t - 1, 0))  # outside the table: end slopes
        inside = np.clip(t, 0, 1)
        bend = 0.5 * (self.slope[k + 1] - self.slope[k]) * inside**2
        end = np.where(t < 0, self.slope[k], self.slope[k + 1])
        return np.asarray(self.value[k] + self.step * (self.slope[k] * inside + bend + end * beyond))

    def derivative(self, z: FloatArray) -> FloatArray:
        """Return the slope at input ``z``, any shape."""
        k, t = self._locate(z)
        return np.asarray(self.slope[k] + (self.slope[k + 1] - self.slope[k]) * np.clip(t, 0, 1))

    def _locate(self, z: FloatArray) -> tuple[np.ndarray, np.ndarray]:
        place = (np.asarray(z) - self.start) / self.step
        k = np.fmin(np.fmax(np.floor(place), 0), len(self.value) - 2).astype(np.intp)  # NaN gives 0, and goes on as NaN in t
        return k, place - k


@dataclass(frozen=True)
class ArraySpec:
    """One crossbar array on the data sheet.

    Parameters
    ----------
    n_in
        Input lines, the constant bias line (the last) included.
    n_out
        Output lines, one neuron each.
    weight_range
        Largest weight that a device pair can hold, in absolute value.
    curve
        Nominal transfer curve of its neurons. No single neuron promises to keep to it.
    """

    n_in: int
    n_out: int
    weight_range: float
    curve: TransferCurve

    @property
    def shape(self) -> tuple[int, int]:
        """(n_in, n_out): the shape of everything said about this array's weights."""
        return self.n_in, self.n_out


@dataclass(frozen=True)
class Datasheet:
    """What is true of every chip of a design; it betrays no single chip's flaws.

    Parameters
    ----------
    design
        The design's name.
    arrays
        The arrays in the order in which a signal passes them.
    ports
        What the chip can do.
    normalised
        True if a length normaliser stands before every array, so that its input lines carry a vector of unit mean square.
    input_range
        Largest input, after normalisation, that a line can carry, in absolute value; 0 means unlimited.
    output_range
        Largest neuron output that the converters can tell, in absolute value; 0 means unlimited.
    dac_bits, adc_bits
        Bits of the converters; 0 means that there is none.
    read_noise
        Nominal standard deviation of the noise at a neuron's input for an input of unit mean square.
    weight_step
        Nominal change of a weight by one pulse on one of its two devices, at mid range; 0 means continuous.
    seconds_per_read, joules_per_read
        Of one sample passing all arrays.
    seconds_per_pulse, joules_per_pulse
        Of one pulse on one device.
    """

    design: str
    arrays: tuple[ArraySpec, ...]
    ports: frozenset[Port]
    normalised: bool
    input_range: float
    output_range: float
    dac_bits: int
    adc_bits: int
    read_noise: float
    weight_step: float
    seconds_per_read: float
    joules_per_read: float
    seconds_per_pulse: float
    joules_per_pulse: float

    @property
    def n_inputs(self) -> int:
        """Numbers that one sample must have: the first array's lines less the bias line."""
        return self.arrays[0].n_in - 1

    @property
    def n_outputs(self) -> int:
        """Numbers that the last array gives."""
        return self.arrays[-1].n_out

    def require(self, who: str, *ports: Port) -> None:
        """Raise `MissingPort`, in a sentence, unless the chip has every one of ``ports``."""
        missing = [port.value for port in ports if port not in self.ports]
        if missing:
            has = ", ".join(sorted(port.value for port in self.ports)) or "none"
            raise MissingPort(
                f"{who} needs the port{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which the design "
                f"{self.design!r} lacks (it has {has}). Choose another learner or add the port to the design's list `ports`."
            )


@dataclass(frozen=True, eq=False)
class Tap:
    """What was measured around one array during a read.

    Dense layer: ``pre`` (B, n_in), the bias line included, and ``post`` (B, n_out).
    """

    array: int
    pre: FloatArray
    post: FloatArray


@dataclass(frozen=True, eq=False)
class Trace:
    """What one read gives: the output (B, n_out of the last array) and, with `Port.TAPS`, the taps in time order."""

    output: FloatArray
    taps: tuple[Tap, ...] = ()


@dataclass(frozen=True, eq=False)
class CurrentNudge:
    """Currents added at the neurons' inputs during one read: one (B, n_out) per crossbar array, or None for no current."""

    currents: tuple[FloatArray | None, ...]


@dataclass(frozen=True)
class WeightNudge:
    """A disturbance of all weights during one read: ``amplitude`` times a pattern of signs, a pure function of ``key``.

    Parameters
    ----------
    key
        A whole number from 0 to 2**64 - 1. The same key gives the same pattern on every chip.
    amplitude
        Size of the disturbance in weight units; may be negative.
    pattern
        ``"signs"``: one sign per weight. ``"rank1"``: one sign per row times one per column.
    """

    key: int
    amplitude: float
    pattern: Literal["signs", "rank1"] = "signs"

    def __post_init__(self) -> None:
        check_between("key", self.key, 0, 2**64 - 1)
        check_between("amplitude", self.amplitude, -1e6, 1e6)
        check_name("pattern", str(self.pattern), ("signs", "rank1"))


Nudge: TypeAlias = CurrentNudge | WeightNudge

#: The port that each kind of nudge goes through.
NUDGE_PORTS: Final[dict[type, Port]] = {CurrentNudge: Port.CURRENT_NUDGE, WeightNudge: Port.WEIGHT_NUDGE}


@dataclass(frozen=True, eq=False)
class Outer:
    """Ask array ``array`` to change by ``rate * pre.T @ post``; pre (B, n_in), post (B, n_out)."""

    array: int
    pre: FloatArray
    post: FloatArray
    rate: float


@dataclass(frozen=True, eq=False)
class Delta:
    """Ask array ``array`` to change by ``scale * matrix``; matrix (n_in, n_out), valid until the write returns."""

    array: int
    matrix: FloatArray
    scale: float = 1.0


@dataclass(frozen=True)
class Replay:
    """Ask every array to change by ``scale * nudge.amplitude`` times the nudge's pattern, summed over the nudges.

    The patterns are worked out anew where they are written, from their keys; several nudges in one request are added up
    there first, so that opposite signs cancel before they cost pulses.

    Parameters
    ----------
    nudge, scale
        One nudge and its scale, or equally long tuples of them.
    """

    nudge: WeightNudge | tuple[WeightNudge, ...]
    scale: float | tuple[float, ...]

    @property
    def terms(self) -> tuple[tuple[WeightNudge, float], ...]:
        """The nudges with their scales; raises `ShapeError` where their numbers differ or something else stands there."""
        nudges = self.nudge if isinstance(self.nudge, tuple) else (self.nudge,)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if len(nudges) != len(scales) or not nudges:
            raise ShapeError(f"Replay: expected one scale per nudge, found {len(nudges)} nudges and {len(scales)} scales.")
        for nudge, scale in zip(nudges, scales, strict=True):
            if not isinstance(nudge, WeightNudge) or not isinstance(scale, Real):
                found = f"{type(nudge).__name__} and {type(scale).__name__}"
                raise ShapeError(f"Replay: expected a WeightNudge and a number, or tuples of them, found {found}.")
        return tuple(zip(nudges, scales, strict=True))


@dataclass(frozen=True)
class Shrink:
    """Ask array ``array`` to multiply its weights by ``factor``, 0 to 1."""

    array: int
    factor: float


@dataclass(frozen=True, eq=False)
class Program:
    """Ask array ``array`` to take the weights ``target`` (n_in, n_out), written and verified.

    Beyond the weight range the pair goes to its end.
    """

    array: int
    target: FloatArray


WriteRequest: TypeAlias = Outer | Delta | Replay | Shrink | Program

#: The port that each kind of write request goes through.
WRITE_PORTS: Final[dict[type, Port]] = {
    Outer: Port.OUTER,
    Delta: Port.DELTA,
    Replay: Port.REPLAY,
    Shrink: Port.SHRINK,
    Program: Port.PROGRAM,
}


@dataclass(frozen=True, eq=False)
class Overlaid:
    """Samples that are the same images with different things written over some of their lines.

    Stands for the plain array (V * B, n_inputs) of all images with the first values, then all with the second, and so on;
    numpy turns it into that where a chip asks for an array. A chip that knows of it can work out once what the images share.

    Parameters
    ----------
    images
        (B, n_inputs).
    lines
        (k,): different lines, integers; may be empty.
    values
        (V, B, k).

    Raises
    ------
    ShapeError
        The shapes do not fit together, or there is no such line.
    """

    images: FloatArray
    lines: np.ndarray
    values: FloatArray

    def __post_init__(self) -> None:
        shapes = {"images": "(B, n_inputs)", "lines": "(k,)", "values": "(V, B, k)"}
        for (name, wanted), dimensions in zip(shapes.items(), (2, 1, 3), strict=True):
            if np.ndim(getattr(self, name)) != dimensions:
                raise ShapeError(f"{name}: expected shape {wanted}, found {np.shape(getattr(self, name))}.")
        (samples, width), lines, found = np.shape(self.images), np.asarray(self.lines), np.shape(self.values)
        if found[1:] != (samples, lines.size) or not found[0]:
            raise ShapeError(f"values: expected shape (V, B, k) = (any, {samples}, {lines.size}), found {found}.")
        whole = not lines.size or np.issubdtype(lines.dtype, np.integer)
        if not whole or np.unique(lines).size < lines.size or not np.isin(lines, np.arange(width)).all():
            raise ShapeError(f"lines: expected different whole numbers, 0 to {width - 1}, found {self.lines}.")
        object.__setattr__(self, "lines", lines.astype(np.int64))

    @classmethod
    def repeated(cls, images: FloatArray, times: int) -> Overlaid:
        """Return ``images`` (B, n_inputs) so many times over, with nothing written on them."""
        return cls(images, np.zeros(0, np.int64), np.zeros((times, len(images), 0), np.float32))

    def __len__(self) -> int:
        return len(self.values) * len(self.images)

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        x = np.tile(np.asarray(self.images, dtype or np.float32), (len(self.values), 1))
        x[:, self.lines] = np.reshape(self.values, (len(x), len(self.lines)))
        return x


#: What a chip can be asked to read.
Samples: TypeAlias = FloatArray | Overlaid


@runtime_checkable
class Chip(Protocol):
    """A piece of hardware that can be trained: three members, whatever is behind them."""

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        ...

    def read(self, x: Samples, nudge: Nudge | None = None) -> Trace:
        """Present every sample of ``x`` (B, n_inputs) once, with fresh noise each."""
        ...

    def write(self, request: WriteRequest) -> None:
        """Ask for a change; what was really taken cannot be read back."""
        ...
