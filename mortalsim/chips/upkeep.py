"""What a pair's upkeep may do with an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mortalsim.checks import FloatArray
from mortalsim.devices.base import Moment
from mortalsim.devices.pairs import Upkeep
from mortalsim.kernels import Draw
from mortalsim.kernels.devices import ERROR, LOW, WRITTEN, G

if TYPE_CHECKING:
    from mortalsim.chips.crossbar import Crossbar


class Workbench:
    """An array as `devices.pairs.Maintained`; every call takes attempts of its own, so that no random number comes twice.

    Parameters
    ----------
    crossbar
        The array.
    moment
        Of the write request.
    draw
        The first attempt.
    """

    def __init__(self, crossbar: Crossbar, moment: Moment, draw: Draw) -> None:
        self._crossbar, self._moment, self._draw = crossbar, moment, draw

    @property
    def writes(self) -> int:
        """Write requests that the array has had, this one included."""
        return self._crossbar.writes

    def measured(self) -> FloatArray:
        """Return conductances as a verifying read finds them, read noise included, siemens, (2, rows, n_out)."""
        crossbar, device = self._crossbar, self._crossbar.device
        g = crossbar.conducted(self._moment) * (1 + crossbar.devices.values(ERROR).astype(np.float64))
        place = np.clip(device.place(g), 0, 1)  # as a read's table is held beyond its ends
        normals = np.stack([crossbar.normals(self._next(1)) for _ in range(2)])
        return np.asarray(g + device.noise_at(place, self._moment) * normals)

    def reset(self, pairs: npt.NDArray[np.bool_] | None = None) -> Upkeep:
        """Bring both devices of these pairs, (rows, n_out), or of all, to their bottom by one strong pulse each."""
        crossbar = self._crossbar
        pairs = crossbar.wired if pairs is None else pairs & crossbar.wired
        devices, both = crossbar.devices, np.stack([pairs, pairs])
        moves = both & ~devices.stuck()
        if "written" in crossbar.device.state:
            devices.levels(WRITTEN)[moves] = self._moment.now - crossbar.epoch
        devices.levels(G)[moves] = devices.values(LOW)[moves]
        crossbar.wear.add(1, both)
        crossbar.compute_weights(self._moment)
        return Upkeep(int(both.sum()), int(pairs.any(axis=1).sum()))

    def program(self, target: FloatArray, pairs: npt.NDArray[np.bool_]) -> Upkeep:
        """Write and verify until no pulse brings these pairs' weights nearer to ``target`` (rows, n_out)."""
        crossbar = self._crossbar
        draw = self._next(crossbar.device.verify_steps)
        cost = crossbar.approach(target, self._moment, draw, pairs)
        return Upkeep(cost.pulses, cost.by_row, cost.verified)

    def _next(self, attempts: int) -> Draw:
        draw = self._draw
        self._draw = draw._replace(attempt=draw.attempt + attempts)
        return draw
