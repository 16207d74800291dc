"""What an experiment works on, by value: designs, learners and data that were checked once, at the start."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mortalsim import build
from mortalsim.checks import RunError
from mortalsim.chips import Design, chip_streams
from mortalsim.chips.design import build_design
from mortalsim.data import Dataset
from mortalsim.experiments import _trial
from mortalsim.learners import Learner
from mortalsim.report.asked import Asked
from mortalsim.streams import Streams
from mortalsim.training.checkpoint import settings_of


@dataclass(frozen=True)
class Data:
    """A data set as it was when the run was asked for.

    Parameters
    ----------
    name, seed
        What it is, and the seed of the run that splits it.
    digest
        What its arrays must give.
    """

    name: str
    seed: int
    digest: str

    @classmethod
    def of(cls, name: str, seed: int) -> Data:
        """Load a data set and note what it is."""
        return cls(name, seed, _loaded(name, seed).digest())

    def load(self) -> Dataset:
        """Return the data set, loaded once a process.

        Raises
        ------
        RunError
            It is another one than it was.
        """
        found = _loaded(self.name, self.seed)
        if found.digest() != self.digest:
            raise RunError(
                f"dataset: {self.name} is not what it was when the run was begun (its digest differs). Restore its files, "
                "or begin a new run."
            )
        return found

    @property
    def facts(self) -> dict[str, Any]:
        """Name, digest and sizes, for `Asked`."""
        found = self.load()
        parts = {"train": found.train_x, "valid": found.valid_x, "test": found.test_x}
        shapes = {part: list(x.shape) for part, x in parts.items()}
        return {"name": self.name, "digest": self.digest, "samples": shapes}


@functools.lru_cache(maxsize=2)
def _loaded(name: str, seed: int) -> Dataset:
    return build.load_data(name, Streams(seed))


@dataclass(frozen=True)
class Inputs:
    """What an experiment was asked to work on.

    Parameters
    ----------
    seed
        Of the run.
    designs
        As they are in their files, by the name or path that the experiment's fields give.
    learners
        By the name that the fields give.
    data
        The data set; None: the experiment has none.
    """

    seed: int
    designs: Mapping[str, Design] = field(default_factory=dict)
    learners: Mapping[str, Learner] = field(default_factory=dict)
    data: Data | None = None

    @property
    def streams(self) -> Streams:
        """The streams of the run."""
        return Streams(self.seed)

    @property
    def dataset(self) -> Dataset:
        """The data set of an experiment that has one."""
        return self.checked_data.load()

    @property
    def checked_data(self) -> Data:
        """Name and digest of the data set of an experiment that has one."""
        if self.data is None:
            raise RunError("dataset: the experiment names none. Give it a field `dataset`.")
        return self.data

    def fitted(self, name: str, hidden: tuple[int, ...] = ()) -> Design:
        """Return a design made to fit the data, or as it is where there are none."""
        design = self.designs[name]
        return design if self.data is None else build.design_for(design, self.dataset, hidden)

    def facts(self, chips: Mapping[str, tuple[Design, Iterable[int]]]) -> dict[str, Any]:
        """Return designs, learners, data and chips, for `Asked`; ``chips`` by design: the fitted design and the numbers."""
        return {
            "designs": {name: design.fields() for name, design in self.designs.items()},
            "learners": {name: settings_of(learner) for name, learner in self.learners.items()},
            "data": {} if self.data is None else self.data.facts,
            "chips": {
                name: [identity(design, self.streams, k) for k in numbers] for name, (design, numbers) in chips.items()
            },
        }


def first_images(data: Dataset, count: int) -> Dataset:
    """Return the data with the first ``count`` training samples alone; 0: with all of them."""
    if not count:
        return data
    labels = data.train_y
    return dataclasses.replace(data, train_x=data.train_x[:count], train_y=None if labels is None else labels[:count])


def identity(design: Design, streams: Streams, number: int) -> dict[str, Any]:
    """Return what makes chip ``number`` of a run this individual."""
    own = chip_streams(streams, number)
    return {"number": number, "design": design.digest(), "seed": int(own.seed), "streams": list(own.path)}


def kept_designs(asked: Asked) -> dict[str, Design]:
    """Return the designs that a run was asked for, from what is written down."""
    return {name: build_design(fields, f"design {name!r} of the run") for name, fields in asked.designs.items()}


def kept_learners(asked: Asked) -> dict[str, Learner]:
    """Return the learners that a run was asked for, with every hyper-parameter as it is written down."""
    return {name: _trial.make_learner(name, settings=settings) for name, settings in asked.learners.items()}
