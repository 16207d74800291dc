"""What a learner asks of a chip, recorded instead of carried out; and many such recordings, kept now and then."""

from __future__ import annotations

import time

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.chips.writing import replayed
from mortalsim.experiments._trial import TELL
from mortalsim.hardware import Datasheet, Delta, Nudge, Outer, Replay, Samples, Shrink, Trace, Want, WriteRequest
from mortalsim.learners import Learner
from mortalsim.report.progress import Standing
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training.checkpoint import Keeping, settings_of


class Recorder:
    """A chip whose write requests are added up instead of carried out.

    Parameters
    ----------
    chip
        The chip that is read.

    Attributes
    ----------
    changes
        What was asked for, by array.
    steps
        The step of the last `Outer` or `Delta`, in absolute value, by array; 1 where there was none.
    """

    def __init__(self, chip: SimulatedChip) -> None:
        self.chip = chip
        self.inputs: list[FloatArray] = []
        self.clear()

    @property
    def datasheet(self) -> Datasheet:
        return self.chip.datasheet

    def clear(self) -> None:
        """Forget all requests and inputs."""
        self.inputs = []
        self.changes = [np.zeros(spec.shape, np.float32) for spec in self.chip.datasheet.arrays]
        self.steps = [1.0] * len(self.changes)

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        self.inputs.append(np.asarray(x))
        return self.chip.read(x, nudge, want)

    def write(self, request: WriteRequest) -> None:
        if isinstance(request, Replay):
            for place, rows in replayed(request.terms, self.chip.arrays).items():
                self.changes[place] += rows(0, self.chip.arrays[place].crossbar.shape[0]).reshape(self.changes[place].shape)
        elif isinstance(request, Outer):
            spec = self.chip.datasheet.arrays[request.array]
            self.steps[request.array] = abs(request.rate) or 1.0
            self.changes[request.array] += np.float32(request.rate) * spec.product(request.pre, request.post)
        elif isinstance(request, Delta):
            self.steps[request.array] = abs(request.scale) or 1.0
            self.changes[request.array] += np.float32(request.scale) * request.matrix
        elif isinstance(request, Shrink):
            held = oracle.weights(self.chip)[request.array]
            self.changes[request.array] += ((request.factor - 1) * held).astype(np.float32)
        else:
            held = oracle.weights(self.chip)[request.array]
            self.changes[request.array] += (request.weights - held).astype(np.float32)


class Seen:
    """Updates seen so far, kept now and then; one that is begun again finds them there."""

    def __init__(self, recorder: Recorder, learner: Learner, streams: Streams, probes: int, keeper: Keeper | None) -> None:
        self.updates: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []
        self._probes, self._keeper, self._told = probes, keeper, 0.0
        self._keeping: Keeping | None = None
        if keeper is not None:
            identity = {"settings": settings_of(learner), "streams": list(streams.path), "seed": int(streams.seed)}
            self._keeping = Keeping(keeper.checkpoint("probes", recorder.chip), identity)
            self._keeping.load(self._restore)

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.updates, self.truths = list(state["updates"]), list(state["truths"])

    def add(self, update: np.ndarray, truth: np.ndarray | None) -> None:
        self.updates.append(update)
        self.truths += [] if truth is None else [truth]
        if self._keeper is None or self._keeping is None:
            return
        if self._keeping.due and len(self.updates) < self._probes:
            self._keeping.save({"updates": np.array(self.updates), "truths": np.array(self.truths)})
        if time.monotonic() - self._told > TELL:
            self._told = time.monotonic()
            self._keeper.tell(Standing("probe", len(self.updates), self._probes))
