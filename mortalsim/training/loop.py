"""One training loop for every learning rule: shuffled mini-batches, validation, checkpoints, a stop when numbers break."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

from mortalsim.checks import FloatArray
from mortalsim.hardware import Chip
from mortalsim.learners.base import Learner
from mortalsim.streams import Streams
from mortalsim.training.checkpoint import Checkpoint, Keeping
from mortalsim.training.record import Record, Result
from mortalsim.training.session import Options, Session, TrainingData

LOG = logging.getLogger("mortalsim")

#: Epochs, and their share, after which what looks like no learning is said before the end.
EARLY, EARLY_SHARE = 3, 1 / 3


@dataclass(frozen=True)
class Hooks:
    """What is told, and asked, while a training goes on.

    Parameters
    ----------
    on_step
        Called with the `Session` after every step.
    observe
        Returns what has been spent so far, by name, for the records.
    on_warning
        Called once with each sentence that says what looks wrong. None: it goes to the log called ``mortalsim``, which
        Python prints on standard error unless it is told otherwise.
    """

    on_step: Callable[[Session], None] | None = None
    observe: Callable[[], Mapping[str, float]] | None = None
    on_warning: Callable[[str], None] | None = None


def train(
    chip: Chip,
    learner: Learner,
    data: TrainingData,
    streams: Streams,
    *,
    start: Sequence[FloatArray] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    hooks: Hooks = Hooks(),
    checkpoint: Checkpoint | None = None,
    **options: Unpack[Options],
) -> Result:
    """Train ``chip`` by ``learner`` for the learner's own number of epochs.

    Parameters
    ----------
    chip
        Anything with the three members of `hardware.Chip`.
    learner
        The rule and its hyper-parameters.
    data
        Training and validation data that span the chip's inputs; ``train_y`` may hold labels or target distributions, or be
        None. The learner decides whether the chip needs an output, of how many neurons, and what the loss is.
    streams
        Source of the shuffles and of the learner's draws; each epoch has streams of its own.
    start
        Weights that the chip is programmed with before the first step, one array for each of its arrays and of that one's
        shape; the learner goes on from there. The cost is the chip's. None: the chip stays as it is.
    validate_every
        Epochs between two validations, which cost reads on the chip. None, or left out: about ten in all; 0: none. The last
        epoch is always validated unless 0.
    validate_samples
        Most validation samples to read each time, drawn once; 0: all. Left out: 200.
    shift
        Pixels, up or down and to either side, by which each training image is moved at most, anew in every epoch. 0, or left
        out: none is moved.
    on_epoch
        Called after every epoch, for progress bars and meters.
    hooks
        Whom else to tell.
    checkpoint
        Where to keep the training, and to go on from if there is something. What is kept is of this training alone: the same
        rule, settings, data, seed and chip. Going on gives the same numbers to the last bit.

    Raises
    ------
    MissingPort
        The chip lacks a port that the learner or the head start needs.
    DesignError
        The learner does not go on from weights that a chip holds.
    ShapeError, RangeError
        Data or ``start`` do not fit the chip, or are not finite.
    ChipFault
        A loss, or what the learner computed from the chip's answers, was NaN or infinite.
    RunError
        The checkpoint is damaged or of another training.
    OutputError
        The checkpoint cannot be written.
    """
    session = Session(chip, learner, data, streams, start=start, observe=hooks.observe, **options)
    keeping = None if checkpoint is None else Keeping(checkpoint, session.identity())
    if keeping is not None:
        keeping.load(session.restore)
    said = _Said(learner.name, hooks.on_warning)
    while not session.finished:
        session.steps(1)
        if keeping is not None and (keeping.due or session.finished):
            keeping.save(session.state(), last=session.finished)
        if session.done % session.batches == 0:
            _end_of_epoch(session, said, on_epoch)
        if hooks.on_step is not None:
            hooks.on_step(session)
    warnings = session.doubts()
    said.say(warnings)
    return Result(session.task, session.learned, session.history, tuple(warnings))


def _end_of_epoch(session: Session, said: _Said, on_epoch: Callable[[Record], None] | None) -> None:
    epochs, record = session.done // session.batches, session.history[-1]
    early = epochs < max(EARLY, EARLY_SHARE * session.learner.epochs)
    # A long training that stands still says so before it is over. Losses and answers must both look like it: some rules
    # write to the chip at the end alone, and others are slow at first.
    if record.valid_error is not None and not early and not session.finished:
        doubts = session.doubts_of_learning()
        said.say(doubts if len(doubts) > 1 else [], f", epoch {epochs}")
    if on_epoch is not None:
        on_epoch(record)


class _Said:
    """Says every kind of sentence once."""

    def __init__(self, who: str, to: Callable[[str], None] | None) -> None:
        self._who, self._to = who, to or LOG.warning
        self._kinds: set[str] = set()

    def say(self, sentences: list[str], when: str = "") -> None:
        for sentence in sentences:
            kind = sentence[:12]  # the numbers in it change from epoch to epoch
            if kind not in self._kinds:
                self._kinds.add(kind)
                self._to(f"{self._who}{when}: {sentence}")
