"""From names to objects: designs that fit data, chips of a run, learners with settings; one door for all who build."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from mortalsim import data as datasets
from mortalsim.checks import DataError, DesignError, check_name
from mortalsim.chips import Design, SimulatedChip, chip_streams, load_design
from mortalsim.data import Dataset, suited
from mortalsim.learners import Learner
from mortalsim.streams import Streams

L = TypeVar("L", bound=Learner)


def load_data(name: str, run: Streams, *, labelled: bool = False) -> Dataset:
    """Return the data set called ``name``, as a run splits it; raise `DataError` where needed labels are missing."""
    found = datasets.load(name, run)
    if labelled and (found.train_y is None or found.valid_y is None or found.test_y is None):
        raise DataError(f"dataset: expected labels for training, validation and test, found none in {name!r}.")
    return found


def design_for(name: str, data: Dataset, hidden: tuple[int, ...] = ()) -> Design:
    """Return the design of this name or path, made to fit.

    The short form gets as many inputs and outputs as the data need, and other ``hidden`` populations if any are given; the
    long form is taken as it is.

    Raises
    ------
    DesignError
        ``hidden`` is given for a design that lists its populations.
    """
    design = load_design(name)
    if design.long:
        if hidden:
            raise DesignError(
                f"hidden: the design {design.name!r} lists its populations, found {hidden}. Change their shapes in its file."
            )
        return design
    return design.with_sizes((data.train_x.shape[1], *(hidden or design.sizes[1:-1]), data.classes or design.sizes[-1]))


def fitted(name: str, data: Dataset, hidden: tuple[int, ...] = ()) -> tuple[Design, Dataset]:
    """Return the design and the data, each made to fit the other."""
    design = design_for(name, data, hidden)
    return design, suited(data, design.datasheet())


def make_chip(design: Design, run: Streams, number: int) -> SimulatedChip:
    """Return chip ``number`` of a run: the same individual for every learner and experiment."""
    return SimulatedChip(design, chip_streams(run, number))


def make_learner(kind: type[L], scale: float = 1.0, settings: Mapping[str, Any] | None = None) -> L:
    """Return a learner with its defaults but for what is said.

    Parameters
    ----------
    kind
        Its class.
    scale
        Factor of the learner's own number of epochs.
    settings
        Hyper-parameters by name; values may be text, as from a command line, lists as ``[1,2,3]``.

    Raises
    ------
    UnknownName
        There is no such hyper-parameter.
    DesignError
        A value does not fit its hyper-parameter.
    """
    known: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
    chosen: dict[str, Any] = {}
    if scale != 1:
        chosen["epochs"] = max(1, round(scale * known["epochs"]))
    types = get_type_hints(kind)
    for key, value in (settings or {}).items():
        check_name(f"hyper-parameter of {kind.name}", key, known)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(types[key], config=ConfigDict(arbitrary_types_allowed=True))
            listed = isinstance(value, str) and value.startswith("[")
            chosen[key] = adapter.validate_json(value) if listed else adapter.validate_python(value)
        except ValidationError as error:
            raise DesignError(
                f"{key}: {error.errors()[0]['msg']}, found {value!r}; the default is {known[key]!r}."
            ) from error
    return kind(**chosen)


def check_served(design: Design, data: Dataset, learners: Iterable[Learner]) -> None:
    """Let each learner look at the data sheet and the task, so that it refuses before anything is trained.

    Raises
    ------
    MissingPort, ShapeError
        The chip lacks a port or a population that the learner needs, or the task lacks something.
    """
    for learner in learners:
        learner.init(design.datasheet(), data.task, np.random.Generator(np.random.Philox(0)))
