"""One trial: one learner trains one chip, is tested once, and its weights are tried on a different chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from mortalsim.checks import DesignError, check_name
from mortalsim.chips import Design, Ledger, SimulatedChip, load_design, oracle
from mortalsim.data import SUMMARIES, Dataset
from mortalsim.experiments._oracle import Oracle
from mortalsim.hardware import Program
from mortalsim.learners import LEARNERS, Learner, State
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Record, error_rate, train

LEARNER_NAMES = ("ff", "ap", "wp", "readout", "insilico", "physics_aware", "oracle")


def learner_kind(name: str) -> type[Learner]:
    """Return the class of a learner, or of the oracle."""
    check_name("learner", name, (*LEARNERS.names(), Oracle.name))
    return Oracle if name == Oracle.name else LEARNERS.get(name)


def _known_design(name: str) -> str:
    load_design(name)
    return name


def _known_learner(name: str) -> str:
    learner_kind(name)
    return name


def _known_dataset(name: str) -> str:
    return check_name("dataset", name, SUMMARIES)


DesignName: TypeAlias = Annotated[str, AfterValidator(_known_design)]
LearnerName: TypeAlias = Annotated[str, AfterValidator(_known_learner)]
DatasetName: TypeAlias = Annotated[str, AfterValidator(_known_dataset)]
Hidden: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    Field(description="neurons of each hidden array; empty: as many as the design has"),
]


def fitted_design(name: str, data: Dataset, hidden: tuple[int, ...] = ()) -> Design:
    """Return the design with as many inputs and outputs as the data need, and other ``hidden`` arrays if any are given."""
    design = load_design(name)
    return design.with_sizes((data.train_x.shape[1], *(hidden or design.sizes[1:-1]), data.classes))


def chip_seed(streams: Streams, number: int) -> int:
    """Return the seed of chip ``number``: the same for every learner and design of a run, so that trials can be paired."""
    return streams.integer("chip", number)


def make_learner(name: str, data: Dataset, scale: float = 1.0, settings: Mapping[str, Any] | None = None) -> Learner:
    """Return a learner with its defaults, told which input lines may carry labels.

    Parameters
    ----------
    name
        A learner's name, or ``"oracle"``.
    data
        What it will learn; ``data.label_lines`` are handed to learners that write labels over inputs.
    scale
        Factor of the learner's own number of epochs.
    settings
        Hyper-parameters by name; values may be text, as from a command line.

    Raises
    ------
    UnknownName
        There is no such learner or hyper-parameter.
    DesignError
        A value does not fit its hyper-parameter.
    """
    kind = learner_kind(name)
    known: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
    chosen: dict[str, Any] = {"label_lines": data.label_lines} if "label_lines" in known else {}
    if scale != 1:
        chosen["epochs"] = max(1, round(scale * known["epochs"]))
    types = get_type_hints(kind)
    for key, value in (settings or {}).items():
        check_name(f"hyper-parameter of {name}", key, known)
        try:
            chosen[key] = TypeAdapter(types[key], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
        except ValidationError as error:
            raise DesignError(
                f"{key}: {error.errors()[0]['msg']}, found {value!r}; the default is {known[key]!r}."
            ) from error
    return kind(**chosen)


@dataclass(frozen=True)
class Point:
    """A validated epoch: how many samples had been read for training, and the validation error then."""

    reads: int
    error: float


@dataclass(frozen=True)
class Outcome:
    """What one trial gave; errors are fractions, costs are those of training alone."""

    test_error: float
    copied_error: float
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
    on_epoch: Callable[[Record, Ledger], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train ``chip``, test it once, then program its true weights onto the ``other`` chip and test that.

    Reads for validation cost the learner nothing here: their number is known exactly, because every read of one sample costs
    the same, and is taken off.

    Parameters
    ----------
    chip, other
        Two fresh chips of one design.
    learner, data, streams, checkpoint
        As in `mortalsim.training.train`.
    on_epoch
        Called after every epoch with its record and the chip's ledger.
    """
    spent: list[tuple[Record, int]] = []

    def note(record: Record) -> None:
        spent.append((record, chip.ledger.reads))
        if on_epoch is not None:
            on_epoch(record, chip.ledger)

    result = train(chip, learner, data, streams, validate_samples=0, on_epoch=note, checkpoint=checkpoint)
    trained = dataclasses.replace(chip.ledger)
    test_error = error_rate(chip, learner, data.test_x, data.test_y, result.state)
    per_sample = (chip.ledger.reads - trained.reads) // len(data.test_x)
    per_validation = per_sample * len(data.valid_x)
    validations = [(reads, record.valid_error) for record, reads in spent if record.valid_error is not None]
    curve = tuple(Point(reads - (k + 1) * per_validation, error) for k, (reads, error) in enumerate(validations))
    unpaid = per_validation * sum(record.valid_error is not None for record in result.history)
    sheet = chip.datasheet
    return Outcome(
        test_error=test_error,
        copied_error=copied_error(chip, other, learner, data, result.state),
        reads=trained.reads - unpaid,
        pulses=trained.pulses,
        joules=trained.joules - unpaid * sheet.joules_per_read,
        seconds=trained.seconds - unpaid * sheet.seconds_per_read,
        losses=tuple(record.info["loss"] for record in result.history),
        curve=curve,
    )


def copied_error(chip: SimulatedChip, other: SimulatedChip, learner: Learner, data: Dataset, state: State) -> float:
    """Return the test error of ``other`` once it is programmed with the true weights of ``chip``."""
    copy_weights(chip, other)
    return error_rate(other, learner, data.test_x, data.test_y, state)


def copy_weights(chip: SimulatedChip, other: SimulatedChip) -> None:
    """Program ``other`` with the true weights of ``chip``, which only an oracle can see."""
    for array, weights in enumerate(oracle.weights(chip)):
        other.write(Program(array, weights))
