"""What every experiment has: fields that are its options, an expectation written down beforehand, and a way to run."""

from __future__ import annotations

import datetime
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from threadpoolctl import threadpool_limits

from mortalsim import build
from mortalsim.report.results import Results
from mortalsim.report.runfolder import RunRecord, new_folder, versions


class Experiment(BaseModel, ABC):
    """One question that can be asked of chips and learners.

    A subclass adds fields, each with a description: they are the command's options. The first line of its module's
    docstring is the question, as it stands in lists and on the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    expected: ClassVar[str]
    """What was expected before the experiment was first run, with the source of the expectation."""

    seed: int = Field(0, ge=0, description="seed of everything random: chips, data split, learners, noise")
    out: Path | None = Field(None, description="run folder to write, which must not exist yet; default: runs/NAME-DATE-TIME")

    @field_validator("*")
    @classmethod
    def _check_names_once(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            twice = [name for name in value if isinstance(name, str) and value.count(name) > 1]
            if twice:
                raise ValueError(f"expected every name once, found {twice[0]!r} {value.count(twice[0])} times")
        return value

    @abstractmethod
    def run(self) -> Results:
        """Do the work and return what was found; the same fields give the same results."""

    def what_remains(self) -> str:
        """Return what remains of a run that is stopped before its end, as a sentence for the user."""
        return "nothing was written"

    def used_designs(self) -> dict[str, dict[str, Any]]:
        """Return all fields of each design that the fields ``design`` and ``designs`` name; a file may change later."""
        names = [*getattr(self, "designs", ()), *filter(None, [getattr(self, "design", None)])]
        return {str(name): build.find_design(name).fields() for name in names}

    @classmethod
    def name(cls) -> str:
        """Return the name of the experiment, which is that of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def question(cls) -> str:
        """Return the first line of the module's docstring."""
        return (sys.modules[cls.__module__].__doc__ or "").partition("\n")[0]


def execute(experiment: Experiment) -> tuple[Results, Path]:
    """Run ``experiment`` and write its run folder; return what was found and where it lies.

    Matrix products use one thread, so that numbers do not depend on the number of cores.

    Raises
    ------
    OutputError
        The run folder exists already or cannot be written; this is said before any work is done.
    """
    started = datetime.datetime.now().astimezone().replace(microsecond=0)
    out = experiment.out or Path("runs") / f"{experiment.name()}-{started:%Y%m%d-%H%M%S}"
    with new_folder(out, numbered=experiment.out is None) as folder:
        clock, designs = time.perf_counter(), experiment.used_designs()
        with threadpool_limits(1):
            results = experiment.run()
        record = RunRecord(
            experiment=experiment.name(),
            question=experiment.question(),
            expected=experiment.expected,
            config=experiment.model_dump(mode="json"),
            designs=designs,
            seed=experiment.seed,
            versions=versions(),
            started=started.isoformat(),
            seconds=round(time.perf_counter() - clock, 1),
        )
        record.write(folder.hidden, results)
    return results, out.with_name(folder.out.name)
