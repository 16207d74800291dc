"""One trial: one learner trains one chip, is tested once, and its weights are tried on a different chip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from mortalsim.checks import DesignError, check_name
from mortalsim.chips import Design, Ledger, SimulatedChip, load_design, oracle
from mortalsim.data import SUMMARIES, Dataset
from mortalsim.experiments._oracle import Oracle
from mortalsim.hardware import Port, Program
from mortalsim.learners import LEARNERS, Learner, State
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


def digest(design: Design) -> str:
    """Return 64 hexadecimal digits that stand for all fields of the design."""
    return hashlib.sha256(json.dumps(design.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def check_ports(design: Design, learners: Iterable[str]) -> None:
    """Raise `MissingPort` if the design lacks a port of one of the ``learners``; to be asked before anything is trained."""
    sheet = design.datasheet()
    for name in learners:
        sheet.require(name, *learner_kind(name).ports)


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
        Hyper-parameters by name; values may be text, as from a command line, lists as ``[1,2,3]``.

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
            adapter: TypeAdapter[Any] = TypeAdapter(types[key], config=ConfigDict(arbitrary_types_allowed=True))
            listed = isinstance(value, str) and value.startswith("[")
            chosen[key] = adapter.validate_json(value) if listed else adapter.validate_python(value)
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
    """What one trial gave; errors are fractions, costs are those of training alone.

    ``copied_error`` is None where chips cannot be programmed: no weights can be copied then.
    """

    test_error: float
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
    on_epoch: Callable[[Record, Ledger], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train ``chip``, test it once, then program its true weights onto the ``other`` chip and test that.

    Reads for validation cost the learner nothing here: their number is known exactly, because every read of one sample costs
    the same, and is taken off. Of epochs before a resumption only the validation error is on record; reads are laid to them
    in proportion, which is exact for every learner that reads equally much in every epoch.

    Parameters
    ----------
    chip, other
        Two fresh chips of one design.
    learner, data, streams, checkpoint
        As in `mortalsim.training.train`.
    on_epoch
        Called after every epoch with its record and the chip's ledger.
    """
    spent: dict[int, int] = {}

    def note(record: Record) -> None:
        spent[record.epoch] = chip.ledger.reads
        if on_epoch is not None:
            on_epoch(record, chip.ledger)

    result = train(chip, learner, data, streams, validate_samples=0, on_epoch=note, checkpoint=checkpoint)
    trained = dataclasses.replace(chip.ledger)
    test_error = error_rate(chip, learner, data.test_x, data.test_y, result.state)
    per_sample = (chip.ledger.reads - trained.reads) // len(data.test_x)
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
    if not can_copy(other.design):
        return None
    copy_weights(chip, other)
    return error_rate(other, learner, data.test_x, data.test_y, state)


def can_copy(design: Design) -> bool:
    """Return whether weights can be programmed onto chips of the design."""
    return Port.PROGRAM in design.ports


def copy_weights(chip: SimulatedChip, other: SimulatedChip) -> None:
    """Program ``other`` with the true weights of ``chip``, which only an oracle can see."""
    for array, weights in enumerate(oracle.weights(chip)):
        other.write(Program(array, weights))
