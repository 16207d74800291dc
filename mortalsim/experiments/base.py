"""What every experiment has: fields that are its options, an expectation written down beforehand, tasks and results."""

from __future__ import annotations

import datetime
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mortalsim import build
from mortalsim.chips import Design
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments._parallel import Task
from mortalsim.learners import Learner
from mortalsim.report.asked import Asked, machine, versions
from mortalsim.report.results import Results
from mortalsim.report.store import Keeper


class Experiment(BaseModel, ABC):
    """One question that can be asked of chips and learners.

    A subclass adds fields, each with a description: they are the command's options. The first line of its module's
    docstring is the question, as it stands in lists and on the report. `inputs` turns the fields into values, `tasks` cuts
    the work into pieces, `work` does one of them, wherever that may be, and `results` puts together what was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    expected: ClassVar[str]
    """What was expected before the experiment was first run, with the source of the expectation."""

    row: ClassVar[type]
    """What `work` returns, a frozen dataclass of plain values."""

    seed: int = Field(0, ge=0, lt=2**128, description="seed of everything random: chips, data split, learners, noise")
    out: Path | None = Field(
        None, description="run folder; an unfinished run of the same values is gone on with; default: runs/NAME-DATE-TIME"
    )

    @field_validator("*")
    @classmethod
    def _check_names_once(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            twice = [name for name in value if isinstance(name, str) and value.count(name) > 1]
            if twice:
                raise ValueError(f"expected every name once, found {twice[0]!r} {value.count(twice[0])} times")
        return value

    @abstractmethod
    def tasks(self, inputs: Inputs) -> Sequence[Task]:
        """Return the pieces of work, which know nothing of each other; frozen dataclasses of values."""

    @staticmethod
    @abstractmethod
    def work(task: Any, keeper: Keeper) -> Any:
        """Do one piece of work and return its `row`, which depends on the task alone; ``keeper`` keeps what takes long."""

    @abstractmethod
    def results(self, inputs: Inputs, found: Sequence[tuple[Any, Any]]) -> Results:
        """Put together what was found, pairs of task and row; of an unfinished run some tasks are missing."""

    def used_learners(self) -> dict[str, Learner]:
        """Return each learner with its hyper-parameters, by the name that the fields give; none by default."""
        return {}

    def used_chips(self, inputs: Inputs) -> dict[str, tuple[Design, Sequence[int]]]:
        """Return by design the design made to fit, and the numbers of its chips; none by default."""
        return {}

    def inputs(self, designs: Mapping[str, Design] | None = None, learners: Mapping[str, Learner] | None = None) -> Inputs:
        """Return everything by value; ``designs`` and ``learners`` stand for those that the fields name, if given."""
        names = [*getattr(self, "designs", ()), *filter(None, [getattr(self, "design", None)])]
        dataset: str | None = getattr(self, "dataset", None)
        return Inputs(
            seed=self.seed,
            designs={str(name): build.find_design(name) for name in names} if designs is None else designs,
            learners=self.used_learners() if learners is None else learners,
            data=None if dataset is None else Data.of(dataset, self.seed),
        )

    def asked(self, inputs: Inputs, command: str) -> Asked:
        """Return what is asked, as it is written down."""
        return Asked(
            experiment=self.name(),
            question=self.question(),
            expected=self.expected,
            command=command,
            config=self.model_dump(mode="json"),
            seed=self.seed,
            versions=versions(),
            machine=machine(),
            started=datetime.datetime.now().astimezone().replace(microsecond=0).isoformat(),
            **inputs.facts(self.used_chips(inputs)),
        )

    def run(self) -> Results:
        """Do all the work and return what was found; nothing is kept. `execute` does the same in a run folder."""
        from mortalsim.experiments._execute import run_without_folder

        return run_without_folder(self)

    @classmethod
    def name(cls) -> str:
        """Return the name of the experiment, which is that of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def question(cls) -> str:
        """Return the first line of the module's docstring."""
        return (sys.modules[cls.__module__].__doc__ or "").partition("\n")[0]
