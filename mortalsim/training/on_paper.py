"""A head start: the data sheet's model is trained on paper, and gives the weights that a chip is programmed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mortalsim.checks import ChipFault, FloatArray, RunError
from mortalsim.hardware import Datasheet, Nudge, Program, Samples, Trace, Want, WriteRequest
from mortalsim.learners.base import Learner
from mortalsim.learners.insilico import InSilico
from mortalsim.streams import Streams
from mortalsim.training.checkpoint import Checkpoint
from mortalsim.training.loop import Hooks, train
from mortalsim.training.session import TrainingData


def head_start(
    sheet: Datasheet,
    data: TrainingData,
    streams: Streams,
    learner: Learner | None = None,
    *,
    hooks: Hooks | None = None,
    keep: Callable[[PaperChip], Checkpoint] | None = None,
) -> list[FloatArray]:
    """Return the weights that the data sheet's model learns, one of each array's shape; no chip is touched.

    They are those that `train` would program onto a chip with the same data, streams and learner.

    Parameters
    ----------
    sheet
        Of the chip that is to be programmed.
    data, streams
        As in `train`.
    learner
        Whoever learns them: it reads no chip, and programs all arrays. None: `InSilico` with its defaults.
    hooks
        Whom to tell; None: as in `train`.
    keep
        Returns where the training of the chip on paper is kept, and gone on from. None: nowhere.

    Raises
    ------
    MissingPort, ShapeError
        The chip cannot be programmed, or the learner cannot serve it or the data.
    ChipFault
        The learner reads the chip, or does not program all of it.

    Examples
    --------
    >>> from mortalsim import build
    >>> from mortalsim.learners import LEARNERS
    >>> run = build.streams(0)
    >>> design, digits = build.fitted("wild", "digits", (16,), run)
    >>> weights = head_start(design.datasheet(), digits, run.child("model"), LEARNERS.get("insilico")(epochs=3))
    >>> chip, learner = build.make_chip(design, run), build.make_learner("ap", settings={"epochs": 1})
    >>> train(chip, learner, digits, run.child("train"), start=weights).history[-1].valid_error < 0.9
    True
    """
    chip, learner = PaperChip(sheet), InSilico() if learner is None else learner
    checkpoint = None if keep is None else keep(chip)
    train(chip, learner, data, streams, validate_every=0, hooks=hooks or Hooks(), checkpoint=checkpoint)
    return chip.weights


class PaperChip:
    """A chip that exists on paper alone: it takes the weights that it is programmed with, and nothing else.

    Parameters
    ----------
    datasheet
        Of the chip that is to come.
    """

    def __init__(self, datasheet: Datasheet) -> None:
        self._datasheet = datasheet
        self._weights: dict[int, FloatArray] = {}

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of the design."""
        return self._datasheet

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Refuse: nothing is there that could answer."""
        raise ChipFault("a head start is worked out on paper, where no chip can be read. Choose a learner that reads none.")

    def write(self, request: WriteRequest) -> None:
        """Take the weights of a `Program`; refuse all other requests."""
        if not isinstance(request, Program):
            raise ChipFault(
                f"a head start is worked out on paper, where weights can be programmed alone, found the request "
                f"{type(request).__name__}. Choose a learner that programs its weights."
            )
        self._weights[request.array] = np.array(request.weights, np.float32)

    @property
    def weights(self) -> list[FloatArray]:
        """What every array was programmed with; raises `ChipFault` where one never was."""
        arrays = range(len(self._datasheet.arrays))
        missing = [array for array in arrays if array not in self._weights]
        if missing:
            raise ChipFault(f"head start: expected weights for every array, array {missing[0]} was given none.")
        return [self._weights[array] for array in arrays]

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return what was programmed, by the array's place."""
        return {str(array): weights for array, weights in self._weights.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back a `snapshot`."""
        shapes = {str(array): spec.shape for array, spec in enumerate(self._datasheet.arrays)}
        odd = [name for name, weights in state.items() if shapes.get(name) != weights.shape]
        if odd:
            raise RunError(f"weights {odd[0]}: expected the weights of such a chip, found {state[odd[0]].shape}.")
        self._weights = {int(name): weights for name, weights in state.items()}
