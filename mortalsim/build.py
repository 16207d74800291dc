"""From names to objects: data, a design that fits them, a chip of a run, a learner; one door for all who build.

Notebooks, experiments and the command line all come in here. Each argument may be a name, or the object itself where there
is one already:

>>> from mortalsim import build
>>> from mortalsim.training import train
>>> run = build.streams(0)
>>> design, digits = build.fitted("mild", build.load_data("digits", run), hidden=(32,))
>>> chip = build.make_chip(design, run, number=3)
>>> learner = build.make_learner("ap", scale=0.1, settings={"rate": 0.1})
>>> train(chip, learner, digits, run.child("train")).history[-1].valid_error < 0.9
True
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from mortalsim import data as datasets
from mortalsim.checks import DataError, DesignError, check_name, check_whole
from mortalsim.chips import Design, SimulatedChip, chip_streams, load_design
from mortalsim.data import Dataset, suited
from mortalsim.fields import check_value, kind_of
from mortalsim.learners import LEARNERS, Learner
from mortalsim.streams import Streams

L = TypeVar("L", bound=Learner)


def streams(run: Streams | int) -> Streams:
    """Return the streams of a run, which a whole number of at least 0, its seed, may stand for.

    Raises
    ------
    RangeError
        ``run`` is something else.
    """
    return run if isinstance(run, Streams) else Streams(check_whole("run", run, 0))


def load_data(data: str | Dataset, run: Streams | int = 0, *, labelled: bool = False) -> Dataset:
    """Return a data set.

    Parameters
    ----------
    data
        Its name, one of `mortalsim.data.DATASETS`; or one that is loaded already, which stays as it is split.
    run
        The run that splits it, or its seed.
    labelled
        Whether all three parts must have labels.

    Raises
    ------
    UnknownName
        No data set bears this name.
    DataError
        The files cannot be found, fetched or read; or needed labels are missing; or ``data`` is something else.
    """
    if not isinstance(data, str | Dataset):
        raise DataError(_refusal("data", "a name or a Dataset", data, "digits"))
    found = data if isinstance(data, Dataset) else datasets.load(data, streams(run))
    if labelled and (found.train_y is None or found.valid_y is None or found.test_y is None):
        raise DataError(f"dataset: expected labels for training, validation and test, found none in {found.name!r}.")
    return found


def find_design(design: str | Path | Design) -> Design:
    """Return a design by its shipped name or by the path of its file, or as it was handed in.

    Raises
    ------
    UnknownName
        It is neither a shipped name nor a path that ends in ``.toml``.
    DesignError
        Its file cannot be read or built; or ``design`` is something else.
    """
    if isinstance(design, Design):
        return design
    if not isinstance(design, str | Path):
        raise DesignError(_refusal("design", "a name, the path of a .toml file or a Design", design, "mild"))
    return load_design(design)


def design_for(
    design: str | Path | Design, data: str | Dataset, hidden: Sequence[int] = (), run: Streams | int = 0
) -> Design:
    """Return a design, made to fit.

    The short form gets as many inputs and outputs as the data need, and other ``hidden`` populations if any are given; the
    long form is taken as it is.

    Parameters
    ----------
    design
        As `find_design` takes it.
    data
        The data that it is to fit, as `load_data` takes them.
    hidden
        Neurons of each hidden population, a tuple or list; empty: as many as the design has.
    run
        The run that splits data that are given by name, or its seed.

    Raises
    ------
    UnknownName, DesignError
        As `find_design`; or ``hidden`` is no tuple or list of whole numbers of at least 1, or is given for a design that
        lists its populations.
    DataError
        As `load_data`.
    """
    found = find_design(design)
    sizes = _check_hidden(hidden)
    if found.long:
        if sizes:
            raise DesignError(
                f"hidden: the design {found.name!r} lists its populations, found {sizes}. Change their shapes in its file."
            )
        return found
    data = load_data(data, run)
    return found.with_sizes((data.train_x.shape[1], *(sizes or found.sizes[1:-1]), data.classes or found.sizes[-1]))


def fitted(
    design: str | Path | Design, data: str | Dataset, hidden: Sequence[int] = (), run: Streams | int = 0
) -> tuple[Design, Dataset]:
    """Return the design and the data, each made to fit the other; arguments and errors as `design_for` has them."""
    data = load_data(data, run)
    found = design_for(design, data, hidden)
    return found, suited(data, found.datasheet())


def make_chip(design: str | Path | Design, run: Streams | int, number: int = 0) -> SimulatedChip:
    """Return a chip: the same individual for every learner and experiment.

    Parameters
    ----------
    design
        As `find_design` takes it.
    run
        The run that the chip is of, or its seed.
    number
        Which chip of the run, from 0.

    Raises
    ------
    UnknownName, DesignError
        As `find_design`.
    RangeError
        ``run`` or ``number`` is no whole number of at least 0.
    """
    return SimulatedChip(find_design(design), chip_streams(streams(run), number))


@overload
def make_learner(learner: str, scale: float = 1.0, settings: Mapping[str, Any] | None = None) -> Learner: ...
@overload
def make_learner(learner: type[L] | L, scale: float = 1.0, settings: Mapping[str, Any] | None = None) -> L: ...
def make_learner(
    learner: str | type[Learner] | Learner, scale: float = 1.0, settings: Mapping[str, Any] | None = None
) -> Learner:
    """Return a learner, its hyper-parameters as they are but for what is said.

    Parameters
    ----------
    learner
        Its name, one of `mortalsim.learners.LEARNERS`, or its class: the defaults hold. Or a learner: its own hold.
    scale
        Factor of the number of epochs that hold, above 0 and at most a million; at least one epoch is left.
    settings
        Hyper-parameters by name; values may be text, as from a command line, lists as ``[1,2,3]``.

    Raises
    ------
    UnknownName
        There is no such learner or no such hyper-parameter.
    DesignError
        ``scale`` or ``settings`` is none; or ``learner`` is something else.
    RangeError
        A value does not fit its hyper-parameter.
    """
    if isinstance(learner, str):
        learner = LEARNERS.get(learner)
    kind = learner if isinstance(learner, type) else type(learner)
    settings = _check_settings(scale, settings)
    if not issubclass(kind, Learner) or inspect.isabstract(kind):
        raise DesignError(_refusal("learner", "a name, a subclass of Learner or a Learner", learner, "ap"))
    known: dict[str, Any] = {
        field.name: field.default if isinstance(learner, type) else getattr(learner, field.name)
        for field in dataclasses.fields(kind)
    }
    chosen: dict[str, Any] = {}
    if scale != 1:
        chosen["epochs"] = max(1, round(scale * known["epochs"]))
    for key, value in settings.items():
        check_name(f"hyper-parameter of {kind.name}", key, known)
        chosen[key] = check_value(key, value, kind_of(kind, key), known[key], text=True)
    return kind(**chosen) if isinstance(learner, type) else dataclasses.replace(learner, **chosen)


def check_served(
    design: str | Path | Design,
    data: str | Dataset,
    learners: Iterable[str | type[Learner] | Learner],
    run: Streams | int = 0,
) -> None:
    """Let each learner look at the data sheet and the task, so that it refuses before anything is trained.

    Parameters
    ----------
    design
        As `find_design` takes it.
    data, run
        As `load_data` takes them.
    learners
        Each as `make_learner` takes it.

    Raises
    ------
    MissingPort, ShapeError
        The chip lacks a port or a population that the learner needs, or the task lacks something.
    UnknownName, DesignError, DataError
        As `find_design`, `load_data` and `make_learner`; or ``learners`` is one learner and no list.
    """
    if isinstance(learners, str) or not isinstance(learners, Iterable):
        raise DesignError(_refusal("learners", "a list of learners", learners, ["ap"]))
    sheet, task = find_design(design).datasheet(), load_data(data, run).task
    for learner in learners:
        make_learner(learner).init(sheet, task, np.random.Generator(np.random.Philox(0)))


def _check_hidden(hidden: Any) -> tuple[int, ...]:
    listed = isinstance(hidden, tuple | list)
    if not listed or any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in hidden):
        raise DesignError(_refusal("hidden", "a tuple of whole numbers of at least 1", hidden, (32,)))
    return tuple(int(size) for size in hidden)


def _check_settings(scale: Any, settings: Any) -> Mapping[str, Any]:
    if not isinstance(scale, Real) or not 0 < float(scale) <= 1e6:
        raise DesignError(_refusal("scale", "a number above 0 and at most 1e+06", scale, 0.1))
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise DesignError(_refusal("settings", "a mapping of names to values", settings, {"rate": 0.1}))
    return settings


def _refusal(name: str, expected: str, found: Any, example: Any) -> str:
    return f"{name}: expected {expected}, found {type(found).__name__} {found!r}. Write {example!r}, say."
