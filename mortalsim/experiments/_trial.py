"""One trial: one learner trains one chip, is tested once, and its weights are tried on a different chip."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from mortalsim import build
from mortalsim.checks import FloatArray, check_name
from mortalsim.chips import Design, SimulatedChip, oracle
from mortalsim.data import DATASETS, Dataset
from mortalsim.experiments._needs import Needs
from mortalsim.experiments._oracle import Oracle
from mortalsim.experiments._start import HeadStart
from mortalsim.hardware import Port, Program
from mortalsim.learners import LEARNERS, Learner, State
from mortalsim.models.twin import assumptions
from mortalsim.report.progress import Standing
from mortalsim.report.store import Keeper
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Hooks, Result, Session, confusion, error_of, error_rate, recall_of, train
from mortalsim.training.doubts import like_guessing, one_answer, other_scale

#: Context of validation under which the names of designs that are written down already stand.
KNOWN = "designs"

#: Seconds between two words about how far a training is.
TELL = 0.5

_FIRST = ("ff", "mono", "learned_feedback", "ap", "wp", "readout", "insilico", "physics_aware")

#: Shipped rules that are compared only where they are named.
_ON_REQUEST = ("groups", "ff_unsupervised")


def _learner_names() -> tuple[str, ...]:
    """Return every learner that there is a file for, the usual ones first, and the oracle."""
    found = LEARNERS.readable()
    usual = [name for name in _FIRST if name in found]
    return (*usual, *(name for name in found if name not in usual), Oracle.name)


LEARNER_NAMES = _learner_names()

#: What is compared unless somebody chooses.
COMPARED = tuple(name for name in LEARNER_NAMES if name not in _ON_REQUEST)


def learner_kind(name: str) -> type[Learner]:
    """Return the class of a learner, or of the oracle."""
    check_name("learner", name, (*LEARNERS.names(), Oracle.name))
    return Oracle if name == Oracle.name else LEARNERS.get(name)


def _known_design(name: str, info: ValidationInfo) -> str:
    # A run that is gone on with has its designs written down; their files may be gone.
    if name not in (info.context or {}).get(KNOWN, ()):
        build.find_design(name)
    return name


def _known_learner(name: str) -> str:
    learner_kind(name)
    return name


def _known_dataset(name: str) -> str:
    return check_name("dataset", name, DATASETS.names())


DATASET_HELP = ", ".join(DATASETS.names())

DesignName: TypeAlias = Annotated[str, AfterValidator(_known_design)]
LearnerName: TypeAlias = Annotated[str, AfterValidator(_known_learner)]
DatasetName: TypeAlias = Annotated[str, AfterValidator(_known_dataset)]
Hidden: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    Field(description="neurons of each hidden population of a design in short form; empty: as many as it has"),
]


def make_learner(name: str, scale: float = 1.0, settings: Mapping[str, Any] | None = None) -> Learner:
    """Return what `build.make_learner` returns, the oracle included, which is no file of the learners' room."""
    return build.make_learner(learner_kind(name), scale, settings)


def assumed(design: Design, learners: Iterable[str]) -> tuple[str, ...]:
    """Return what those learners that use the nominal twin take for granted on this design, a sentence each."""
    return assumptions(design.datasheet()) if {"insilico", "physics_aware"} & set(learners) else ()


@dataclass(frozen=True)
class Point:
    """A validated epoch: how many samples had been read for training, and the validation error then."""

    reads: int
    error: float


@dataclass(frozen=True)
class Outcome:
    """What one trial gave; errors are fractions, costs are those of training alone.

    Parameters
    ----------
    test_error, copied_error
        None where the test samples have no labels, the second also where chips cannot be programmed.
    reads, pulses, joules, seconds
        What training cost, without validation and test.
    losses
        One an epoch.
    curve
        One point for each validated epoch.
    recall
        Of each class the share of test samples that was answered right; None for a class without any.
    warnings
        What looks as if nothing, or the wrong thing, was learned.
    needs
        What the rule needed beside the chip.
    wall
        Seconds that it was computed in; 0: nobody looked.
    """

    test_error: float | None
    copied_error: float | None
    reads: int
    pulses: int
    joules: float
    seconds: float
    losses: tuple[float, ...]
    curve: tuple[Point, ...]
    recall: tuple[float | None, ...] = ()
    warnings: tuple[str, ...] = ()
    needs: Needs | None = None
    wall: float = 0.0

    @property
    def costs(self) -> dict[str, float]:
        """Reads, pulses, joules and seconds."""
        return {name: getattr(self, name) for name in ("reads", "pulses", "joules", "seconds")}


def trial(
    chip: SimulatedChip,
    other: SimulatedChip | None,
    learner: Learner,
    data: Dataset,
    streams: Streams,
    keeper: Keeper | None = None,
    start: HeadStart | None = None,
    shift: int = 0,
    look: Callable[[Result], None] | None = None,
) -> Outcome:
    """Train ``chip``, test it once, then program its true weights onto the ``other`` chip and test that.

    What programming a head start takes is part of the costs, and nothing that the model took in a computer.

    Reads for validation are not counted as costs of the learner. Their number is known exactly, because every read of one
    sample costs the same.

    Parameters
    ----------
    chip, other
        Two fresh chips of one design; no ``other``: nothing is copied.
    learner, data, streams
        As in `mortalsim.training.train`.
    keeper
        Keeps the training, and is told how far it is; None: nobody does.
    start
        Where the weights come from that ``chip`` is programmed with first; None: it stays as it was fabricated.
    shift
        As in `mortalsim.training.train`.
    look
        Called with the training's result when all else is done; what it reads costs nobody anything. None: nobody looks.
    """
    tell = None if keeper is None else keeper.tell
    weights: list[FloatArray] | None = None
    doubts: tuple[str, ...] = ()
    if start is not None:
        weights, doubts = start.weights(chip.datasheet, data, keeper, None if tell is None else teller(tell, "head start"))
    hooks = Hooks(None if tell is None else teller(tell), lambda: {"reads": chip.meter.reads}, tell)
    kept = None if keeper is None else keep_training(keeper, "training", chip)
    result = train(
        chip, learner, data, streams, start=weights, validate_samples=0, hooks=hooks, checkpoint=kept, shift=shift
    )
    trained = dataclasses.replace(chip.meter)
    counts = _confusion(chip, learner, data, result.state)
    test_error = None if counts is None else error_of(counts)
    reads_of_test = chip.meter.reads - trained.reads
    tested = counts is not None
    per_sample = reads_of_test // len(data.test_x) if tested else _per_sample(chip, learner, data, result.state)
    per_validation = per_sample * len(data.valid_x)
    validated = [record for record in result.history if record.valid_error is not None]
    unpaid = per_validation * len(validated)
    curve = tuple(
        Point(int(record.costs["reads"]) - k * per_validation, float(record.valid_error or 0.0))
        for k, record in enumerate(validated, 1)
    )
    sheet, samples = chip.datasheet, learner.epochs * len(data.train_x)
    needs = Needs.of(learner, sheet, data.task, result.state, (trained.reads - unpaid) / samples, per_sample)
    copied = None if other is None else copied_error(chip, other, learner, data, result.state)
    if look is not None:
        look(result)
    return Outcome(
        test_error=test_error,
        copied_error=copied,
        reads=trained.reads - unpaid,
        pulses=trained.pulses,
        joules=trained.joules - unpaid * sheet.joules_per_read,
        seconds=trained.seconds - unpaid * sheet.seconds_per_read,
        losses=tuple(record.info["loss"] for record in result.history),
        curve=curve,
        recall=() if counts is None else recall_of(counts),
        warnings=(*doubts, *result.warnings, *doubts_of_the_test(data, counts, tell)),
        needs=needs,
    )


def doubts_of_the_test(data: Dataset, counts: np.ndarray | None, tell: Callable[[str], None] | None) -> list[str]:
    """Return, and tell, what the answers on the test samples say against what was learned."""
    found = [other_scale(data.train_x, data.test_x, "the test")]
    if counts is not None:
        found.append(one_answer(counts, "the test") or like_guessing(counts, "the test"))
    doubts = list(filter(None, found))
    if tell is not None:
        for doubt in doubts:
            tell(doubt)
    return doubts


def keep_training(keeper: Keeper, name: str, chip: SimulatedChip) -> Checkpoint:
    """Return where the training of ``chip`` is kept, with all that is needed to make the chip again."""
    return keeper.checkpoint(
        name, chip, design=chip.design.fields(), seed=chip.streams.seed, streams=list(chip.streams.path)
    )


def teller(hear: Callable[[Any], None], what: str = "epoch") -> Callable[[Session], None]:
    """Return what tells after every step, now and then, how far a training is, and ``what`` is being done."""
    last = [0.0]

    def tell(session: Session) -> None:
        now = time.monotonic()
        ended = session.done % session.batches == 0
        if not ended and now - last[0] < TELL:
            return
        last[0] = now
        errors = session.history.column("valid_error")
        known = errors[~np.isnan(errors)]
        reads = session.observe()["reads"] if session.observe is not None else None
        error = float(known[-1]) if len(known) else None
        epochs = session.done / session.batches
        hear(Standing(what, epochs, session.learner.epochs, session.standing.info.get("loss"), error, reads))

    return tell


def copied_error(chip: SimulatedChip, other: SimulatedChip, learner: Learner, data: Dataset, state: State) -> float | None:
    """Return the test error of ``other`` once it is programmed with the true weights of ``chip``; None if it cannot be."""
    if data.test_y is None or not can_copy(other.design):
        return None
    copy_weights(chip, other)
    return error_rate(other, learner, data.task, data.test_x, data.test_y, state)


def _per_sample(chip: SimulatedChip, learner: Learner, data: Dataset, state: State) -> int:
    """Return how many reads one prediction takes, by making one."""
    before = chip.meter.reads
    learner.predict(chip, data.task, data.valid_x[:1], state)
    return chip.meter.reads - before


def _confusion(chip: SimulatedChip, learner: Learner, data: Dataset, state: State) -> np.ndarray | None:
    return None if data.test_y is None else confusion(chip, learner, data.task, data.test_x, data.test_y, state)


def can_copy(design: Design) -> bool:
    """Return whether weights can be programmed onto chips of the design."""
    return Port.PROGRAM in design.ports


def copy_weights(chip: SimulatedChip, other: SimulatedChip) -> None:
    """Program ``other`` with the true weights of ``chip``, which only an oracle can see."""
    for array, weights in enumerate(oracle.weights(chip)):
        other.write(Program(array, weights))
