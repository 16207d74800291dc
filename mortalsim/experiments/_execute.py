"""Running an experiment in a folder that lives, and going on with one that was cut off."""

from __future__ import annotations

import datetime
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mortalsim.checks import RunError
from mortalsim.experiments._inputs import Inputs, kept_designs, kept_learners
from mortalsim.experiments._parallel import run_tasks, task_names
from mortalsim.experiments._trial import KNOWN
from mortalsim.experiments.base import Experiment
from mortalsim.report.asked import Asked
from mortalsim.report.render import REPORT, render
from mortalsim.report.results import Results
from mortalsim.report.store import Store, asked_in, row_in


def execute(
    experiment: Experiment, *, anyway: bool = False, tell: Callable[[str], None] | None = None
) -> tuple[Results, Path]:
    """Run ``experiment`` in its run folder; return what was found and where it lies.

    A folder that holds the same run unfinished is gone on with; of a finished one the results are read.

    Parameters
    ----------
    experiment
        What to run.
    anyway
        Go on also with other versions or on another kind of processor.
    tell
        Called with a sentence for the user: that pictures could not be drawn. None: it is raised as a warning.

    Raises
    ------
    OutputError
        The run folder cannot be made or written.
    RunError
        The folder is in use, or of a run that was asked for other values.
    """
    return _execute(experiment, experiment.inputs(), anyway, tell)


def resume(
    folder: Path | str,
    *,
    jobs: int | None = None,
    anyway: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[Experiment, Results, Path]:
    """Go on with the run in ``folder``; return its experiment, what was found and where it lies.

    Designs and hyper-parameters are those that were written down when the run was begun.

    Parameters
    ----------
    folder
        A run folder.
    jobs
        Worker processes; None: as many as before.
    anyway, tell
        As in `execute`.

    Raises
    ------
    RunError
        There is no run in the folder, or it is damaged, in use, or was begun on other ground.
    """
    experiment, inputs = reopened(Path(folder))
    changes: dict[str, Any] = {"out": Path(folder)}
    if jobs is not None and "jobs" in type(experiment).model_fields:
        changes["jobs"] = jobs
    experiment = experiment.model_copy(update=changes)
    return experiment, *_execute(experiment, inputs, anyway, tell)


def run_without_folder(experiment: Experiment) -> Results:
    """Run ``experiment`` in a folder that is removed afterwards, and return what was found."""
    with tempfile.TemporaryDirectory() as folder:
        alone = experiment.model_copy(update={"out": Path(folder) / "run"})
        return _execute(alone, alone.inputs(), anyway=False, tell=None, pictures=False)[0]


def reopened(folder: Path) -> tuple[Experiment, Inputs]:
    """Return the experiment of a run folder and what it works on, from what is written down."""
    asked = _asked_in(folder)
    experiment = _experiment_of(folder, asked)
    return experiment, experiment.inputs(kept_designs(asked), kept_learners(asked))


def found_in(folder: Path, experiment: Experiment, inputs: Inputs) -> list[tuple[Any, Any]]:
    """Return the finished tasks of a run, each with what it found."""
    tasks = experiment.tasks(inputs)
    rows = ((task, row_in(folder, name, experiment.row)) for task, name in zip(tasks, task_names(tasks), strict=True))
    return [(task, row) for task, row in rows if row is not None]


def _execute(
    experiment: Experiment, inputs: Inputs, anyway: bool, tell: Callable[[str], None] | None, pictures: bool = True
) -> tuple[Results, Path]:
    asked = experiment.asked(inputs, _command())
    tasks = experiment.tasks(inputs)  # refuses what cannot be done, before there is a folder
    now = datetime.datetime.now()
    out = experiment.out or Path("runs") / f"{experiment.name()}-{now:%Y%m%d-%H%M%S}"
    store = Store.begin(out, asked, numbered=experiment.out is None, anyway=anyway)
    folder = out.with_name(store.folder.name)
    try:
        results = store.finished
        if results is None:
            jobs = getattr(experiment, "jobs", 0)
            rows = run_tasks(type(experiment).work, tasks, store, experiment.row, jobs, experiment.name())
            results = experiment.results(inputs, list(zip(tasks, rows, strict=True)))
            store.finish(results)
            results = store.finished or results
        if pictures and not (store.folder / REPORT).exists():
            _draw(store.folder, tell)
    except BaseException as error:
        error.add_note(f"What was done is kept in {folder}. Go on with: mortalsim resume {folder}")
        raise
    finally:
        store.close()
    return results, folder


def _draw(folder: Path, tell: Callable[[str], None] | None) -> None:
    """Draw pictures and page; a failure is told, for the numbers are there already."""
    try:
        render(folder)
    except Exception as error:
        sentence = (
            f"the numbers are whole in {folder / 'results.json'}, but pictures and page could not be made "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); `mortalsim resume {folder}` tries again"
        )
        if tell is None:
            raise RunError(sentence) from error
        tell(sentence)


def _asked_in(folder: Path) -> Asked:
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a run folder, found none. Name the folder that `--out` named.")
    asked = asked_in(folder)
    if asked is None:
        raise RunError(
            f"{folder}: it holds no config.json, so no run was begun there. Give the command that was to begin it once more."
        )
    return asked


def _experiment_of(folder: Path, asked: Asked) -> Experiment:
    from mortalsim.experiments import EXPERIMENTS

    kind = EXPERIMENTS.get(asked.experiment)
    fields: Mapping[str, Any] = {name: value for name, value in asked.config.items() if name != "out"}
    try:
        return kind.model_validate({**fields, "out": folder}, context={KNOWN: asked.designs})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(
            f"{folder}: what was asked there is not what {asked.experiment} can be asked now ({where}: {first['msg']}). "
            "Use the mortalsim that began the run."
        ) from error


def _command() -> str:
    """Return the command line of this process."""
    return shlex.join(sys.argv)
