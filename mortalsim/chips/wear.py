"""Wear: the pulses that devices have taken, and which of them move no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mortalsim.checks import DesignError
from mortalsim.kernels.devices import DOWN, UP, Devices


class Wear:
    """State of an array's devices that no kernel reads; nothing of it is kept for technologies that want none.

    Parameters
    ----------
    devices
        The devices.
    state
        Names of what the technology keeps; ``"taken"`` and ``"dead"`` belong here.

    Attributes
    ----------
    sent
        int32 (rows, n_out, 2): where a write notes the pulses of each device; (0, 0, 2) where nobody counts.
    """

    def __init__(self, devices: Devices, state: Sequence[str]) -> None:
        self._devices = devices
        rows, n_out = devices.state.shape[:2]
        self._kept = {name: np.zeros((2, rows, n_out), np.float64) for name in ("taken", "dead") if name in state}
        self.sent: npt.NDArray[np.int32] = np.zeros((rows, n_out, 2) if self._kept else (0, 0, 2), np.int32)
        #: Codes of the steps as fabricated: a dead device has lost them.
        self._steps = {code: devices.codes(code).copy() for code in (UP, DOWN)} if "dead" in self._kept else {}

    def belong_to(self, devices: Devices) -> None:
        """Be the state of these devices, of which it was made or a copy was."""
        self._devices = devices

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state by name, (2, rows, n_out) each, not copied."""
        return dict(self._kept)

    def count(self) -> bool:
        """Add up what the last write has sent; return whether devices may have died of it."""
        if "taken" in self._kept:
            self._kept["taken"] += np.moveaxis(self.sent, -1, 0)
        return "dead" in self._kept

    def add(self, pulses: int, where: npt.NDArray[np.bool_]) -> None:
        """Add pulses to the devices at ``where`` (2, rows, n_out)."""
        if "taken" in self._kept:
            self._kept["taken"][where] += pulses

    def bury(self, dead: npt.NDArray[np.bool_]) -> None:
        """Let these devices (2, rows, n_out) move no more; the dead stay dead.

        Raises
        ------
        DesignError
            These are no truth values, one a device.
        """
        wanted = self._kept["dead"].shape
        if dead.shape != wanted or dead.dtype != bool:
            raise DesignError(
                f"dead: expected truth values of shape (2, rows, n_out) = {wanted}, found {dead.dtype} of {dead.shape}. "
                "Return a comparison, such as parameters['taken'] >= 1e6."
            )
        self._kept["dead"][dead] = 1
        self.stick()

    def stick(self) -> None:
        """Give dead devices steps of 0, which no pulse moves, and all others those of their fabrication."""
        for code, steps in self._steps.items():
            self._devices.codes(code)[...] = np.where(self._kept["dead"] > 0, 0, steps)
