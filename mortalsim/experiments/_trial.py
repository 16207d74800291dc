"""One trial: one learner trains one chip, is tested once, and its weights are tried on a different chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field

from mortalsim import build
from mortalsim.checks import check_name
from mortalsim.chips import Design, Meter, SimulatedChip, oracle
from mortalsim.data import DATASETS, Dataset
from mortalsim.experiments._oracle import Oracle
from mortalsim.hardware import Port, Program
from mortalsim.learners import LEARNERS, Learner, State
from mortalsim.models.twin import assumptions
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Record, error_rate, train

_FIRST = ("ff", "ap", "wp", "readout", "insilico", "physics_aware")


def _learner_names() -> tuple[str, ...]:
    """Return every learner that there is a file for, the usual ones first, and the oracle."""
    found = LEARNERS.names()
    usual = [name for name in _FIRST if name in found]
    return (*usual, *(name for name in found if name not in usual), Oracle.name)


LEARNER_NAMES = _learner_names()


def learner_kind(name: str) -> type[Learner]:
    """Return the class of a learner, or of the oracle."""
    check_name("learner", name, (*LEARNERS.names(), Oracle.name))
    return Oracle if name == Oracle.name else LEARNERS.get(name)


def _known_design(name: str) -> str:
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


def check_served(design: Design, data: Dataset, learners: Iterable[str]) -> None:
    """Do what `build.check_served` does, the oracle included."""
    build.check_served(design, data, [learner_kind(name) for name in learners])


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

    ``test_error`` is None where the test samples have no labels, ``copied_error`` also where chips cannot be programmed.
    """

    test_error: float | None
    copied_error: float | None
    reads: int
    pulses: int
    joules: float
    seconds: float
    losses: tuple[float, ...]
    curve: tuple[Point, ...]


def trial(
    chip: SimulatedChip,
    other: SimulatedChip,
    learner: Learner,
    data: Dataset,
    streams: Streams,
    on_epoch: Callable[[Record, Meter], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train ``chip``, test it once, then program its true weights onto the ``other`` chip and test that.

    Reads for validation are not counted as costs of the learner. Their number is known exactly, because every read of one
    sample costs the same. For epochs before a resumption only the validation error is on record. Each is given an equal
    share of the reads, which is exact for every learner that reads equally much in every epoch.

    Parameters
    ----------
    chip, other
        Two fresh chips of one design.
    learner, data, streams, checkpoint
        As in `mortalsim.training.train`.
    on_epoch
        Called after every epoch with its record and the chip's meter.
    """
    spent: dict[int, int] = {}

    def note(record: Record) -> None:
        spent[record.epoch] = chip.meter.reads
        if on_epoch is not None:
            on_epoch(record, chip.meter)

    result = train(chip, learner, data, streams, validate_samples=0, on_epoch=note, checkpoint=checkpoint)
    trained = dataclasses.replace(chip.meter)
    test_error = _test_error(chip, learner, data, result.state)
    tested = test_error is not None
    reads_of_test = chip.meter.reads - trained.reads
    per_sample = reads_of_test // len(data.test_x) if tested else _per_sample(chip, learner, data, result.state)
    per_validation = per_sample * len(data.valid_x)
    validations = [(record.epoch, record.valid_error) for record in result.history if record.valid_error is not None]
    unpaid = per_validation * len(validations)
    reads, epochs = trained.reads - unpaid, len(result.history)
    curve = tuple(
        Point(spent[epoch] - k * per_validation if epoch in spent else reads * epoch // epochs, error)
        for k, (epoch, error) in enumerate(validations, 1)
    )
    sheet = chip.datasheet
    return Outcome(
        test_error=test_error,
        copied_error=copied_error(chip, other, learner, data, result.state),
        reads=reads,
        pulses=trained.pulses,
        joules=trained.joules - unpaid * sheet.joules_per_read,
        seconds=trained.seconds - unpaid * sheet.seconds_per_read,
        losses=tuple(record.info["loss"] for record in result.history),
        curve=curve,
    )


def copied_error(chip: SimulatedChip, other: SimulatedChip, learner: Learner, data: Dataset, state: State) -> float | None:
    """Return the test error of ``other`` once it is programmed with the true weights of ``chip``; None if it cannot be."""
    if data.test_y is None or not can_copy(other.design):
        return None
    copy_weights(chip, other)
    return _test_error(other, learner, data, state)


def _per_sample(chip: SimulatedChip, learner: Learner, data: Dataset, state: State) -> int:
    """Return how many reads one prediction takes, by making one."""
    before = chip.meter.reads
    learner.predict(chip, data.task, data.valid_x[:1], state)
    return chip.meter.reads - before


def _test_error(chip: SimulatedChip, learner: Learner, data: Dataset, state: State) -> float | None:
    return None if data.test_y is None else error_rate(chip, learner, data.task, data.test_x, data.test_y, state)


def can_copy(design: Design) -> bool:
    """Return whether weights can be programmed onto chips of the design."""
    return Port.PROGRAM in design.ports


def copy_weights(chip: SimulatedChip, other: SimulatedChip) -> None:
    """Program ``other`` with the true weights of ``chip``, which only an oracle can see."""
    for array, weights in enumerate(oracle.weights(chip)):
        other.write(Program(array, weights))
