"""The twin: a layered model of a chip that can be differentiated, in plain numpy.

Made from a data sheet it is what an engineer believes of every chip of a design; given one chip's own weights, gains,
offsets and curves it is the exact noise-free model of that chip. The same steps as in the chip, without noise and rounding:
normaliser, clip to the input range, bias line, weights, each neuron's own gain, offset and curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.hardware import BIAS, Datasheet, Tap, Trace
from mortalsim.objectives import cross_entropy

Array = npt.NDArray[np.floating]


class Curve(Protocol):
    """Anything with a value and a slope; ``z`` is (B, n_out), so each neuron may have its own curve."""

    def __call__(self, z: FloatArray) -> FloatArray:
        """Return the neurons' outputs."""
        ...

    def derivative(self, z: FloatArray) -> FloatArray:
        """Return the slope of each neuron's output."""
        ...


@dataclass(frozen=True, eq=False)
class Layer:
    """One array and its neurons: ``post = curve(gain * (pre @ weights) + offset)``.

    Parameters
    ----------
    weights
        (n_in, n_out), the bias line's weights in the last row.
    curve
        Transfer curve of the neurons.
    gain, offset
        Each neuron's own gain and offset before the curve: (n_out,) or one number for all.
    """

    weights: Array
    curve: Curve
    gain: Array | float = 1.0
    offset: Array | float = 0.0

    def drive(self, pre: Array) -> Array:
        """Return what reaches the curve, (B, n_out), for the input lines ``pre`` (B, n_in)."""
        return np.asarray(self.gain * (pre @ self.weights) + self.offset)


@dataclass(frozen=True, eq=False)
class Twin:
    """A chip's layered model.

    Parameters
    ----------
    layers
        The arrays in the order in which a signal passes them.
    normalised
        True if a length normaliser stands before every array.
    eps
        Added to the root mean square in the normaliser.
    input_range
        Largest value that an input line carries, after the normaliser; 0 means unlimited. One number, or one per array.

    Examples
    --------
    >>> import numpy as np
    >>> from mortalsim.hardware import TransferCurve
    >>> line = TransferCurve(-1, 1, np.array([-1, 0, 1]), np.array([1, 1, 1]))
    >>> twin = Twin((Layer(np.array([[2.0], [1.0]]), line),), normalised=False)
    >>> twin.forward(np.array([[3.0]])).output
    array([[7.]])
    """

    layers: tuple[Layer, ...]
    normalised: bool
    eps: float = 1e-6
    input_range: float | tuple[float, ...] = 0.0

    @classmethod
    def nominal(cls, datasheet: Datasheet, weights: Sequence[Array]) -> Twin:
        """Return the model that the data sheet promises for a chip holding ``weights``, one (n_in, n_out) per array."""
        wanted = [spec.shape for spec in datasheet.arrays]
        if [matrix.shape for matrix in weights] != wanted:
            raise ShapeError(
                f"weights: expected one matrix (n_in, n_out) per array = {wanted}, "
                f"found {[matrix.shape for matrix in weights]}. The last row of each belongs to the bias line."
            )
        layers = tuple(Layer(matrix, spec.curve) for matrix, spec in zip(weights, datasheet.arrays, strict=True))
        return cls(layers, datasheet.normalised, input_range=datasheet.input_range)

    def forward(self, x: Array) -> Trace:
        """Return what a read of ``x`` (B, n_inputs) would give, the taps of every array included."""
        taps = []
        for array, layer in enumerate(self.layers):
            lines = self._lines(x, array)[0]
            pre = np.concatenate([lines, np.full((len(x), 1), BIAS, lines.dtype)], axis=1)
            x = np.asarray(layer.curve(layer.drive(pre)), pre.dtype)  # a tabulated curve may compute in float64
            taps.append(Tap(array, pre, x))
        return Trace(taps[-1].post, tuple(taps))

    def backward(self, taps: Sequence[Tap], slope: Array) -> list[Array]:
        """Return each array's error, the derivative of the loss with respect to ``pre @ weights``.

        Parameters
        ----------
        taps
            The model's own taps of that read, or those measured on a chip: the derivative is taken at their values.
        slope
            (B, n_outputs), derivative of the loss with respect to the output.

        Returns
        -------
        list
            One (B, n_out) per array.
        """
        errors: list[Array] = []
        for layer, tap in zip(reversed(self.layers), reversed(taps), strict=True):
            error = np.asarray(slope * layer.curve.derivative(layer.drive(tap.pre)) * layer.gain, tap.pre.dtype)
            errors.append(error)
            if tap.array > 0:
                below = taps[tap.array - 1].post
                slope = self._lines(below, tap.array)[1](error @ layer.weights[:-1].T)
        return errors[::-1]

    def gradient(self, x: Array, targets: Array) -> list[Array]:
        """Return the derivative of the mean cross-entropy (nats) by every weight: one (n_in, n_out) per array."""
        return self.loss_and_gradient(x, targets)[1]

    def loss_and_gradient(self, x: Array, targets: Array) -> tuple[float, list[Array]]:
        """Return the mean cross-entropy in nats and its derivative with respect to every weight.

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
            One (n_in, n_out) per array.
        """
        trace = self.forward(x)
        loss, slope = cross_entropy(trace.output, targets)
        errors = self.backward(trace.taps, slope / len(x))
        return float(loss.mean()), [tap.pre.T @ error for tap, error in zip(trace.taps, errors, strict=True)]

    def _lines(self, v: Array, array: int) -> tuple[Array, Callable[[Array], Array]]:
        """Return what an array's lines carry for the digital input ``v`` (B, n), and what takes slopes back to ``v``."""
        if not self.normalised:
            return self._clip(v, array, lambda slope: slope)
        rms = np.sqrt(np.mean(v * v, axis=1, keepdims=True))
        scale = 1 / (rms + self.eps)

        def back(slope: Array) -> Array:
            # d(v / (eps + rms)): the second term is the shrinking that a longer vector brings; it vanishes for v = 0.
            along = np.sum(slope * v, axis=1, keepdims=True) / (v.shape[1] * np.where(rms > 0, rms, 1))
            return np.asarray(scale * slope - scale**2 * along * v)

        return self._clip(v * scale, array, back)

    def _clip(self, lines: Array, array: int, back: Callable[[Array], Array]) -> tuple[Array, Callable[[Array], Array]]:
        limit = self.input_range[array] if isinstance(self.input_range, tuple) else self.input_range
        if not limit:
            return lines, back
        passed = np.abs(lines) < limit
        return np.clip(lines, -limit, limit), lambda slope: back(slope * passed)
