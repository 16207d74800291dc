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
from mortalsim.hardware import Answer, ArraySpec, Datasheet, Tap, Trace
from mortalsim.models.rows import ArrayModel, affine, rows_of, to_source
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
        One model for each array, by its place.
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
        return self._walked(x)[0]

    def _walked(self, x: Array) -> tuple[Trace, Slopes]:
        """Return a read, and what reached the curves of every population at every tick."""
        preactivations: Slopes = {}
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
                        spec = self.sheet.arrays[int(array)]
                        pres[int(array), at] = rows_of(spec, self.arrays[int(array)], states[spec.source, at])
                preactivation = self._preactivation(name, [(int(array), pres[int(array), at]) for array, at in answer.via])
                preactivations[name, tick] = preactivation
                # A tabulated curve may compute in float64.
                new = np.asarray(self.populations[name].curve(preactivation), x.dtype)
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
        return Trace(output, by_name, tuple(taps)), preactivations

    def backward(self, trace: Trace, slope: Array) -> Slopes:
        """Return the derivative of the loss by the current into every neuron, at every tick that the loss depends on.

        Parameters
        ----------
        trace
            The model's own, or one measured on a chip: the derivative is taken at its values.
        slope
            (B, size of the output), derivative of the loss by the chip's output.
        """
        return self._backward(trace, slope, {})

    def _backward(self, trace: Trace, slope: Array, preactivations: Slopes) -> Slopes:
        """Return what `backward` returns; preactivations that are not given are worked out from the taps."""
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
            error = np.asarray(error * self._gain(answer, pres, preactivations), pres[places[0][0], tick].dtype)
            found[name, tick] = error
            for array, at in places:
                source = self.sheet.arrays[array].source
                if source not in self.sheet.inputs:  # nobody asks for slopes at the inputs
                    spec, columns = self.sheet.arrays[array], self._at_columns(array, error)
                    _add(back, (source, at), to_source(spec, self.arrays[array], trace.states[source][at], columns))
        return found

    def gains(self, trace: Trace) -> Slopes:
        """Return how much each neuron's new state changes with the current into it, damping left out, at every tick."""
        pres = {(tap.array, tap.tick): tap.pre for tap in trace.taps}
        lines = [line for line in self.sheet.timetable if line.population not in self.stages]
        return {(line.population, line.tick): self._gain(line, pres, {}) for line in lines}

    def _gain(self, line: Answer, pres: Mapping[tuple[int, int], FloatArray], preactivations: Slopes) -> Array:
        preactivation = preactivations.get((line.population, line.tick))
        if preactivation is None:
            carried = [(int(array), pres[int(array), line.tick]) for array, _ in line.via]
            preactivation = self._preactivation(line.population, carried)
        model = self.populations[line.population]
        return np.asarray(affine(model.curve.derivative(preactivation), model.gain, 0.0))

    def _preactivation(self, name: str, carried: Sequence[tuple[int, FloatArray]]) -> Array:
        """Return what reaches the curves of a population, (B, size), for what the rows of arrays carry."""
        (array, pre), *others = carried
        z = self._current(array, pre)
        for other, more in others:
            z = z + self._current(other, more)
        return affine(z, self.populations[name].gain, self.populations[name].offset)

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
        output = self.sheet.output_of("a gradient")
        trace, preactivations = self._walked(x)
        states = trace.states[output]
        loss, slope = cross_entropy(states[max(states)], targets)
        return float(loss.mean()), self.products(trace, self._backward(trace, slope / len(x), preactivations))

    def gradient(self, x: Array, targets: Array) -> list[Array]:
        """Return the derivative of the mean cross-entropy (nats) by every weight: one of each array's shape."""
        return self.loss_and_gradient(x, targets)[1]

    def _current(self, array: int, pre: Array) -> Array:
        spec, model = self.sheet.arrays[array], self.arrays[array]
        sums = affine(pre @ model.weights, model.sum_gain, model.sum_offset)
        return spec.collect(sums, self.sheet.populations[spec.target].size)

    def _at_columns(self, array: int, slopes: Array) -> Array:
        """Return slopes at the target's currents (B, size) as slopes at the columns, (..., B, n_out)."""
        return affine(self.sheet.arrays[array].spread(slopes), self.arrays[array].sum_gain, 0.0)


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
