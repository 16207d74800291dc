"""Chips, inputs and requests that several cases share."""

from __future__ import annotations

from typing import Any

import numpy as np

from mortalsim.chips import SimulatedChip, load_design
from mortalsim.chips.design import Design
from mortalsim.hardware import Outer

#: Switches on the noise that a device makes in proportion to its conductance.
PROPORTIONAL: dict[str, Any] = {"read_noise_relative": 0.01}

#: Resistive memory with every spread there is but drift, of the sizes of the design `harsh`.
SOFT_BOUNDS: dict[str, Any] = {
    "technology": "soft_bounds",
    "pulses": 300,
    "step_dtod": 0.3,
    "step_ctoc": 0.3,
    "asymmetry_dtod": 0.05,
    "bound_dtod": 0.15,
    "stuck": 0.02,
    "conductance_dtod": 0.05,
}

#: A pair whose devices answer by an exponential law, as phase-change memory does, with the same spreads.
EXPONENTIAL: dict[str, Any] = {**SOFT_BOUNDS, "technology": "exponential"}


def layer_design(name: str, width: int, **fields: Any) -> Design:
    """Return a shipped design with one square array, whose neurons have the curve of its hidden ones."""
    design = load_design(name)
    # A single array is the last one, and the last one's neurons would be straight lines.
    curve = design.model_dump()["neurons"]["curve"]
    return design.revised(sizes=(width, width), neurons={"output_curve": curve}, **fields)


def layer_chip(name: str, width: int, **fields: Any) -> SimulatedChip:
    """Return the chip with one square array."""
    return SimulatedChip(layer_design(name, width, **fields), seed=1)


def inputs(samples: int, lines: int, seed: int = 0) -> np.ndarray:
    """Return random samples (samples, lines), uniform in 0 to 1."""
    return np.random.default_rng(seed).random((samples, lines), dtype=np.float32)


class OuterWrites:
    """Outer-product writes to a chip's only array, each undoing the one before as far as the devices let it.

    Parameters
    ----------
    chip
        Whom to write to.
    samples
        Rows of both factors.
    pulses
        Mean number of pulses for one device and write.
    """

    def __init__(self, chip: SimulatedChip, samples: int, pulses: float) -> None:
        n_in, n_out = chip.datasheet.arrays[0].shape
        rng = np.random.default_rng(0)
        pre = rng.standard_normal((samples, n_in), dtype=np.float32)
        post = rng.standard_normal((samples, n_out), dtype=np.float32)
        # Rounding is stochastic, so the mean of what is sent is the mean of what is asked.
        rate = pulses / (float(np.abs(pre.T @ post).mean()) * chip.design.technology.pulses_per_weight)
        self.chip, self._requests = chip, (Outer(0, pre, post, rate), Outer(0, pre, post, -rate))
        self._written, self._from = 0, chip.meter.pulses

    def __call__(self) -> None:
        """Write once."""
        self.chip.write(self._requests[self._written % 2])  # to and fro, or all devices would end at their bounds
        self._written += 1

    @property
    def note(self) -> str:
        """How many pulses a device was really sent."""
        devices = 2 * np.prod(self.chip.datasheet.arrays[0].shape)
        return f"{(self.chip.meter.pulses - self._from) / devices / self._written:.3f} pulses per device and write"
