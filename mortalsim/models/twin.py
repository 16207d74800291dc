"""The twin: a model of a chip that walks the data sheet's timetable, forward and in reverse, in plain numpy.

Made from a data sheet it is what an engineer believes of every chip of a design; given one chip's own weights, gains,
offsets and curves it is the exact noise-free model of that chip. The same steps as in the chip, without noise and rounding:
normaliser, clip to the input range, bias line, weights, the sum of all arrays and blocks, each neuron's own gain, offset and
curve, damping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.hardware import ArraySpec, Datasheet, Tap, Trace
from mortalsim.objectives import cross_entropy

Array = npt.NDArray[np.floating]

#: Derivatives by the current that reaches each neuron, (B, size), by population and tick.
Slopes: TypeAlias = dict[tuple[str, int], Array]


class Curve(Protocol):
    """Anything with a value and a slope; ``z`` is (B, size), so each neuron may have its own curve."""

    def __call__(self, z: FloatArray) -> FloatArray:
        """Return the neurons' outputs."""
        ...

    def derivative(self, z: FloatArray) -> FloatArray:
        """Return the slope of each neuron's output."""
        ...


class Box(Protocol):
    """Anything that a stage does, and what it does to slopes."""

    def answer(self, v: FloatArray) -> FloatArray:
        """Return what comes out, (B, n_out), for what goes in, (B, n_in)."""
        ...

    def vjp(self, v: FloatArray, slope: FloatArray) -> FloatArray:
        """Return slopes (B, n_in) for slopes (B, n_out)."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayModel:
    """An array and its input side: rows carry ``gain * clip(normaliser_gain * v / (eps + rms)) + offset``.

    Parameters
    ----------
    weights
        Of the array's shape.
    normaliser_gain
        What the normaliser really gives per unit.
    low, high
        Ends of the input converters' range.
    gain, offset
        Of the input converters, a number or (n_in,) or (blocks, 1, n_in); rows of bias and ground keep what they carry if it
        is 1 and 0 there.
    eps
        Added to the root mean square in the normaliser.
    sum_gain, sum_offset
        Of the converters of digital partial sums, a number or (blocks, 1, n_out).
    """

    weights: Array
    normaliser_gain: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    gain: Array | float = 1.0
    offset: Array | float = 0.0
    eps: float = 1e-6
    sum_gain: Array | float = 1.0
    sum_offset: Array | float = 0.0


@dataclass(frozen=True, eq=False)
class PopulationModel:
    """Neurons: ``post = curve(gain * z + offset)``, gain and offset (size,) or one number for all."""

    curve: Curve
    gain: Array | float = 1.0
    offset: Array | float = 0.0


@dataclass(frozen=True, eq=False)
class Twin:
    """A chip's model.

    Parameters
    ----------
    sheet
        Its data sheet, whose timetable and index tables it follows.
    arrays
        One a crossbar.
    populations
        By name, for each that arrays feed.
    stages
        By name, for each black box.
    """

    sheet: Datasheet
    arrays: tuple[ArrayModel, ...]
    populations: Mapping[str, PopulationModel]
    stages: Mapping[str, Box] = field(default_factory=dict)

    @classmethod
    def nominal(cls, sheet: Datasheet, weights: Sequence[Array]) -> Twin:
        """Return the model that the data sheet promises for a chip holding ``weights``, one of each array's shape.

        A stage of which nothing is promised is taken for the identity; `assumptions` says so in words.

        Raises
        ------
        ShapeError
            The weights have other shapes, or such a stage has not as many outputs as inputs.
        """
        wanted = [spec.shape for spec in sheet.arrays]
        if [matrix.shape for matrix in weights] != wanted:
            raise ShapeError(
                f"weights: expected one array of weights per crossbar = {wanted}, "
                f"found {[matrix.shape for matrix in weights]}. A bias line is a row of them."
            )
        arrays = tuple(_nominal_array(spec, matrix) for spec, matrix in zip(sheet.arrays, weights, strict=True))
        populations = {}
        for name in sheet.fed:
            curve = sheet.populations[name].curve
            if curve is None:
                raise ShapeError(f"twin: expected a nominal curve of {name!r} on the data sheet, found none.")
            populations[name] = PopulationModel(curve)
        return cls(sheet, arrays, populations, {name: _nominal_stage(sheet, name) for name in sheet.stages})

    def forward(self, x: Array) -> Trace:
        """Return what a read of ``x`` (B, n_inputs) would give, all states and taps included."""
        states = {(name, 0): x[:, slice(*self.sheet.span(name))] for name in self.sheet.inputs}
        pres: dict[tuple[int, int], Array] = {}
        taps = []
        for answer in self.sheet.timetable:
            name, tick = answer.population, answer.tick
            if name in self.stages:
                new = self.stages[name].answer(states[str(answer.via[0][0]), answer.via[0][1]])
            else:
                for array, at in answer.via:
                    if (array, at) not in pres:
                        pres[int(array), at] = self._rows(int(array), states[self.sheet.arrays[int(array)].source, at])
                drive = self._drive(name, [(int(array), pres[int(array), at]) for array, at in answer.via])
                new = np.asarray(self.populations[name].curve(drive), x.dtype)  # a tabulated curve may compute in float64
            if answer.keep:
                new = x.dtype.type(answer.keep) * states[name, answer.old] + x.dtype.type(1 - answer.keep) * new
            states[name, tick] = new
            if name not in self.stages:
                taps += [Tap(int(array), tick, at, pres[int(array), at], new) for array, at in answer.via]
        by_name: dict[str, dict[int, FloatArray]] = {}
        for (name, tick), state in states.items():
            if name not in self.sheet.inputs:
                by_name.setdefault(name, {})[tick] = state
        output = None if self.sheet.output is None else by_name[self.sheet.output][max(by_name[self.sheet.output])]
        return Trace(output, by_name, tuple(taps))

    def backward(self, trace: Trace, slope: Array) -> Slopes:
        """Return the derivative of the loss by the current into every neuron, at every tick that the loss depends on.

        Parameters
        ----------
        trace
            The model's own, or one measured on a chip: the derivative is taken at its values.
        slope
            (B, size of the output), derivative of the loss by the chip's output.
        """
        output = self.sheet.output_of("a gradient")
        pres = {(tap.array, tap.tick): tap.pre for tap in trace.taps}
        back: Slopes = {(output, max(trace.states[output])): np.asarray(slope)}
        found: Slopes = {}
        for answer in reversed(self.sheet.timetable):
            name, tick = answer.population, answer.tick
            error = back.pop((name, tick), None)
            if error is None:
                continue
            if answer.keep:
                _add(back, (name, answer.old), answer.keep * error)
                error = (1 - answer.keep) * error
            if name in self.stages:
                source, at = str(answer.via[0][0]), answer.via[0][1]
                if source not in self.sheet.inputs:
                    _add(back, (source, at), self.stages[name].vjp(trace.states[source][at], error))
                continue
            places = [(int(array), at) for array, at in answer.via]
            error = np.asarray(error * self._gain(name, tick, places, pres), pres[places[0][0], tick].dtype)
            found[name, tick] = error
            for array, at in places:
                source = self.sheet.arrays[array].source
                if source not in self.sheet.inputs:  # nobody asks for slopes at the inputs
                    _add(back, (source, at), self._to_source(array, trace.states[source][at], error))
        return found

    def gains(self, trace: Trace) -> Slopes:
        """Return how much each neuron's new state changes with the current into it, damping left out, at every tick."""
        pres = {(tap.array, tap.tick): tap.pre for tap in trace.taps}
        lines = [answer for answer in self.sheet.timetable if answer.population not in self.stages]
        return {
            (line.population, line.tick): self._gain(
                line.population, line.tick, [(int(array), at) for array, at in line.via], pres
            )
            for line in lines
        }

    def _gain(
        self, name: str, tick: int, places: Sequence[tuple[int, int]], pres: Mapping[tuple[int, int], FloatArray]
    ) -> Array:
        model = self.populations[name]
        slope = model.curve.derivative(self._drive(name, [(array, pres[array, tick]) for array, _ in places]))
        return np.asarray(_affine(slope, model.gain, 0.0))

    def _drive(self, name: str, carried: Sequence[tuple[int, FloatArray]]) -> Array:
        """Return what reaches the curves of a population, (B, size), for what the rows of arrays carry."""
        (array, pre), *others = carried
        z = self._current(array, pre)
        for other, more in others:
            z = z + self._current(other, more)
        return _affine(z, self.populations[name].gain, self.populations[name].offset)

    def products(self, trace: Trace, slopes: Slopes) -> list[Array]:
        """Return the derivative by every array's weights, summed over samples and ticks."""
        total: dict[int, Array] = {}
        for tap in trace.taps:
            spec = self.sheet.arrays[tap.array]
            slope = slopes.get((spec.target, tap.tick))
            if slope is not None:
                product = np.swapaxes(tap.pre, -1, -2) @ self._at_columns(tap.array, slope)
                total[tap.array] = total[tap.array] + product if tap.array in total else product
        return [
            total[place] if place in total else np.zeros(model.weights.shape, model.weights.dtype)
            for place, model in enumerate(self.arrays)
        ]

    def loss_and_gradient(self, x: Array, targets: Array) -> tuple[float, list[Array]]:
        """Return the mean cross-entropy in nats and its derivative by every weight.

        Parameters
        ----------
        x
            (B, n_inputs).
        targets
            (B, classes), rows that sum to 1.

        Returns
        -------
        loss
            One number.
        gradient
            One of each array's shape.
        """
        trace = self.forward(x)
        assert trace.output is not None  # noqa: S101 - `backward` says so in a sentence
        loss, slope = cross_entropy(trace.output, targets)
        return float(loss.mean()), self.products(trace, self.backward(trace, slope / len(x)))

    def gradient(self, x: Array, targets: Array) -> list[Array]:
        """Return the derivative of the mean cross-entropy (nats) by every weight: one of each array's shape."""
        return self.loss_and_gradient(x, targets)[1]

    def _current(self, array: int, pre: Array) -> Array:
        spec, model = self.sheet.arrays[array], self.arrays[array]
        sums = _affine(pre @ model.weights, model.sum_gain, model.sum_offset)
        return spec.collect(sums, self.sheet.populations[spec.target].size)

    def _at_columns(self, array: int, slopes: Array) -> Array:
        """Return slopes at the target's currents (B, size) as slopes at the columns, (..., B, n_out)."""
        return _affine(self.sheet.arrays[array].spread(slopes), self.arrays[array].sum_gain, 0.0)

    def _rows(self, array: int, v: Array) -> Array:
        """Return what the rows carry for the source's state ``v`` (B, n)."""
        spec, model = self.sheet.arrays[array], self.arrays[array]
        if _by_block(spec):
            seen, wired = _seen(spec, v)
            rows = np.where(wired, _clipped(seen * _scale(seen, wired, model), model), spec.gather(v))
        else:
            rows = spec.gather(_clipped(_scaled(spec, v, model), model))
        return np.asarray(_affine(rows, model.gain, model.offset), v.dtype)

    def _to_source(self, array: int, v: Array, error: Array) -> Array:
        """Return slopes at the source's state ``v`` (B, n) for slopes ``error`` (B, size) at the target's currents."""
        spec, model = self.sheet.arrays[array], self.arrays[array]
        slopes = np.asarray(
            _affine(self._at_columns(array, error) @ np.swapaxes(model.weights, -1, -2), model.gain, 0.0), v.dtype
        )
        if _by_block(spec):
            seen, wired = _seen(spec, v)
            slopes = _passed(slopes * wired, seen * _scale(seen, wired, model), model)
            return spec.scatter(_normalise_back(slopes, seen, wired, model), v.shape[-1])
        slopes = _passed(spec.scatter(slopes, v.shape[-1]), _scaled(spec, v, model), model)
        return slopes if spec.normaliser == "none" else _normalise_back(slopes, v, None, model)


@dataclass(frozen=True, eq=False)
class _Promised:
    """A stage as the data sheet has it: a curve for each input, or the identity."""

    curve: Curve | None

    def answer(self, v: FloatArray) -> FloatArray:
        return v if self.curve is None else np.asarray(self.curve(v), v.dtype)

    def vjp(self, v: FloatArray, slope: FloatArray) -> FloatArray:
        return slope if self.curve is None else np.asarray(slope * self.curve.derivative(v))


def assumptions(sheet: Datasheet) -> tuple[str, ...]:
    """Return what the nominal twin takes for granted though the data sheet does not promise it, a sentence each."""
    return tuple(
        f"{name} is a black box of which the data sheet of {sheet.design!r} says nothing: the twin takes it for identity."
        for name in sheet.stages
        if sheet.populations[name].curve is None
    )


def _nominal_array(spec: ArraySpec, weights: Array) -> ArrayModel:
    high = spec.input_range or np.inf
    return ArrayModel(weights, low=0.0 if spec.unipolar else -high, high=high)


def _nominal_stage(sheet: Datasheet, name: str) -> Box:
    (source,) = {answer.via[0][0] for answer in sheet.timetable if answer.population == name}
    below, above = sheet.populations[str(source)].size, sheet.populations[name].size
    if below != above:
        raise ShapeError(
            f"twin: {name!r} turns {below} numbers into {above}, and the data sheet does not say how. "
            "Choose a learner that needs no model of the chip."
        )
    return _Promised(sheet.populations[name].curve)


def _add(slopes: Slopes, where: tuple[str, int], more: Array) -> None:
    slopes[where] = slopes[where] + more if where in slopes else more


def _affine(v: Array, gain: Array | float, offset: Array | float) -> Array:
    """Return gain * v + offset; a data sheet promises 1 and 0, which cost nothing."""
    if isinstance(gain, float) and isinstance(offset, float) and (gain, offset) == (1.0, 0.0):
        return v
    return np.asarray(gain * v + offset)


def _by_block(spec: ArraySpec) -> bool:
    return spec.normaliser == "block" and spec.rows is not None


def _scaled(spec: ArraySpec, v: Array, model: ArrayModel) -> Array:
    return v if spec.normaliser == "none" else v * _scale(v, None, model)


def _seen(spec: ArraySpec, v: Array) -> tuple[Array, np.ndarray]:
    """Return what each block sees of the source, (blocks, B, n_in), and which rows see it at all, (blocks, 1, n_in)."""
    assert spec.rows is not None  # noqa: S101 - `_by_block` has looked
    wired = (spec.rows < v.shape[-1])[:, None, :]
    return np.where(wired, spec.gather(v), np.zeros(1, v.dtype)), wired


def _clipped(scaled: Array, model: ArrayModel) -> Array:
    return scaled if model.high == np.inf == -model.low else np.clip(scaled, model.low, model.high)


def _passed(slopes: Array, scaled: Array, model: ArrayModel) -> Array:
    """Return slopes where the range does not clip what they belong to."""
    if model.high == np.inf == -model.low:
        return slopes
    return np.asarray(slopes * ((scaled > model.low) & (scaled < model.high)), slopes.dtype)


def _count(wired: np.ndarray | None, v: Array) -> Array | float:
    """Return how many numbers ``v`` (..., n) has, or each block sees of them."""
    if wired is None:
        return float(v.shape[-1])
    # A block that sees nothing of the source carries nothing, whatever its length is taken for.
    return np.asarray(np.maximum(wired.sum(axis=-1, keepdims=True), 1), v.dtype)


def _rms(v: Array, wired: np.ndarray | None) -> Array:
    return np.asarray(np.sqrt(np.sum(v * v, axis=-1, keepdims=True) / _count(wired, v)), v.dtype)


def _scale(v: Array, wired: np.ndarray | None, model: ArrayModel) -> Array:
    """Return what brings ``v`` (..., n) to unit mean square over what is wired; None: all of it."""
    return np.asarray(model.normaliser_gain / (_rms(v, wired) + model.eps), v.dtype)


def _normalise_back(slope: Array, v: Array, wired: np.ndarray | None, model: ArrayModel) -> Array:
    # d(v / (eps + rms)): the second term is the shrinking that a longer vector brings; it vanishes for v = 0.
    rms = _rms(v, wired)
    scale = 1 / (rms + model.eps)
    along = np.sum(slope * v, axis=-1, keepdims=True) / (_count(wired, v) * np.where(rms > 0, rms, 1))
    return np.asarray(_affine(scale * slope - scale**2 * along * v, model.normaliser_gain, 0.0), v.dtype)
