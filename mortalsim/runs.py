"""Runs opened from Python: what was asked, rows, curves and trained chips, also while a run is unfinished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mortalsim import build
from mortalsim.checks import RunError, check_name
from mortalsim.chips import SimulatedChip
from mortalsim.chips.design import build_design
from mortalsim.distill.transfer import Trained
from mortalsim.experiments import Experiment, _trial
from mortalsim.experiments._execute import found_in, reopened
from mortalsim.experiments._inputs import Inputs
from mortalsim.files import read_arrays
from mortalsim.hardware import Task
from mortalsim.report.asked import Asked
from mortalsim.report.results import Results
from mortalsim.report.store import TASKS, asked_in, results_in
from mortalsim.streams import Streams
from mortalsim.training import History
from mortalsim.training.checkpoint import KIND


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not. Nothing in it is changed, and the run may be going on meanwhile.

    Parameters
    ----------
    folder
        Where it is.
    """

    folder: Path

    @cached_property
    def asked(self) -> Asked:
        """What was asked, with all that is written down about it."""
        asked = asked_in(self.folder) if self.folder.is_dir() else None
        if asked is None:
            raise RunError(f"{self.folder}: expected a run folder, found none. Name the folder that `--out` named.")
        return asked

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return self.asked.plain()

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return results_in(self.folder) is not None

    @property
    def results(self) -> Results:
        """What was found; of an unfinished run, what its finished tasks give."""
        found = results_in(self.folder)
        return self.experiment.results(self._inputs, found_in(self.folder, *self._reopened)) if found is None else found

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of the table, as in ``results.json``; of an unfinished run those that there are."""
        return self.results.rows

    @cached_property
    def _reopened(self) -> tuple[Experiment, Inputs]:
        return reopened(self.folder)

    @property
    def experiment(self) -> Experiment:
        """The experiment with its fields."""
        return self._reopened[0]

    @property
    def _inputs(self) -> Inputs:
        return self._reopened[1]

    @property
    def curves(self) -> dict[str, History]:
        """The history of every training that was kept, finished or not, by the name that `chips` gives it."""
        return {name: _history(path) for name, path in self._kept.items()}

    @property
    def chips(self) -> Mapping[str, Trained]:
        """Every training that was kept, made into a chip with its learner when it is asked for; names are those of tasks."""
        return _Chips(self._kept)

    @property
    def _kept(self) -> dict[str, Path]:
        paths = sorted((self.folder / TASKS).glob("*/*.safetensors"))
        kept = [path for path in paths if not path.stem.endswith(".before") and _is_training(path)]
        return {path.parent.name if path.stem == "training" else f"{path.parent.name}/{path.stem}": path for path in kept}


def open_run(folder: Path | str) -> Run:
    """Return the run in a folder, finished or not.

    Parameters
    ----------
    folder
        A run folder.

    Raises
    ------
    RunError
        There is no run in it.

    Examples
    --------
    >>> run = open_run("runs/mine")  # doctest: +SKIP
    >>> trained = run.chips["000-mild-ff-0"]  # doctest: +SKIP
    >>> trained.answers(x)  # doctest: +SKIP
    """
    run = Run(Path(folder))
    _ = run.asked
    return run


class _Chips(Mapping[str, Trained]):
    """Trained chips by name, made when they are asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> Trained:
        return _trained(self._paths[check_name("chip", name, self._paths)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


_REMEDY = "Delete it; the run then makes it anew when it is resumed."


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return read_arrays(path, KIND, _REMEDY)


def _is_training(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(8 + min(int.from_bytes(file.read(8), "little"), 1 << 20))
    return b'"kind":"training"' in head and b'\\"design\\"' in head


def _history(path: Path) -> History:
    arrays, _ = _read(path)
    own = "session/history/"
    return History.of({name.removeprefix(own): column for name, column in arrays.items() if name.startswith(own)})


def _trained(path: Path) -> Trained:
    arrays, facts = _read(path)
    identity = facts["identity"]
    design = build_design(facts["design"], f"design of {path}")
    chip = SimulatedChip(design, Streams(int(facts["seed"]), tuple(facts["streams"])))
    chip.restore({name.removeprefix("chip/"): value for name, value in arrays.items() if name.startswith("chip/")})
    learner = build.make_learner(_trial.learner_kind(identity["learner"]), settings=identity["settings"])
    own = "session/learned/"
    state = {name.removeprefix(own): value for name, value in arrays.items() if name.startswith(own)}
    task = identity["task"]
    lines, shape = task["label_lines"], task["image_shape"]
    return Trained(
        chip,
        learner,
        Task(
            task["classes"],
            None if lines is None else tuple(lines),
            None if shape is None else tuple(shape),
            tuple(task["image_lines"]),
        ),
        state,
    )
