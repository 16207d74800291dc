"""One training loop for every learning rule: shuffled mini-batches, validation, checkpoints, a stop when numbers break."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mortalsim.checks import ChipFault, DesignError, FloatArray, OutputError, RangeError, ShapeError, check_array
from mortalsim.hardware import Chip, Task
from mortalsim.learners.base import Batch, Learner, State
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams


class TrainingData(Protocol):
    """What the loop needs of a data set; `mortalsim.data.Dataset` has it.

    It may also have a ``task``, or ``label_lines``, ``image_shape`` and ``image_lines`` from which `Task.of` makes one.
    """

    @property
    def train_x(self) -> FloatArray:
        """Training samples, (N, n_inputs)."""
        ...

    @property
    def train_y(self) -> np.ndarray | None:
        """Labels (N,), whole numbers, or target distributions (N, classes); None: nobody has labelled the samples."""
        ...

    @property
    def valid_x(self) -> FloatArray:
        """Validation samples, (M, n_inputs)."""
        ...

    @property
    def valid_y(self) -> np.ndarray | None:
        """Labels (M,); None: there is nothing to measure an error by."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes; 0 where nothing is labelled."""
        ...


@dataclass(frozen=True)
class Record:
    """One epoch's history.

    Parameters
    ----------
    epoch
        From 1.
    info
        Mean over the epoch's steps of what the learner reported, at least ``"loss"``.
    valid_error
        Fraction of validation samples that the chip got wrong, or None where it was not measured.
    """

    epoch: int
    info: dict[str, float]
    valid_error: float | None


@dataclass(frozen=True, eq=False)
class Result:
    """What training returns: the task, the learner's state (the weights are in the chip) and one `Record` per epoch."""

    task: Task
    state: State
    history: tuple[Record, ...]


@dataclass(frozen=True)
class Checkpoint:
    """Where and how to keep training from being lost; an existing file of the same run is resumed.

    Parameters
    ----------
    path
        A ``.safetensors`` file, replaced as a whole after each save.
    save_chip, load_chip
        Give and take back everything of the chip that changes, as named arrays.
    every
        Epochs between two saves; the last epoch is always saved.
    """

    path: Path
    save_chip: Callable[[], dict[str, np.ndarray]]
    load_chip: Callable[[dict[str, np.ndarray]], None]
    every: int = 1


@dataclass
class _Run:
    """What changes from epoch to epoch."""

    state: State
    history: list[Record] = field(default_factory=list)


def train(
    chip: Chip,
    learner: Learner,
    data: TrainingData,
    streams: Streams,
    *,
    validate_every: int | None = None,
    validate_samples: int = 200,
    on_epoch: Callable[[Record], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train ``chip`` by ``learner`` for the learner's own number of epochs.

    Parameters
    ----------
    chip
        Anything with the three members of `hardware.Chip`.
    learner
        The rule and its hyper-parameters.
    data
        Training and validation data that span the chip's inputs; ``train_y`` may hold labels or target distributions, or be
        None. The learner decides whether the chip needs an output, of how many neurons, and what the loss is.
    streams
        Source of the shuffles and of the learner's draws; each epoch has streams of its own, so that training resumed at
        an epoch's end goes on exactly as it would have.
    validate_every
        Epochs between two validations, which cost reads on the chip. None: about ten in all; 0: none. The last epoch is
        always validated unless 0.
    validate_samples
        Most validation samples to read each time, the first ones of all; 0: all.
    on_epoch
        Called after every epoch, for progress bars and ledgers.
    checkpoint
        Where to save, and to resume from if the file exists.

    Raises
    ------
    MissingPort
        The chip lacks a port that the learner needs.
    ChipFault
        A loss, or what the learner computed from the chip's answers, was NaN or infinite.
    DesignError
        The checkpoint is of another run.
    """
    x = check_array("train_x", data.train_x, {"N": None, "n_inputs": chip.datasheet.n_inputs})
    targets, task = _targets(data, len(x)), Task.of(data)
    if data.valid_y is None:
        validate_every = 0
    if validate_every != 0:
        _check_validation(data, chip.datasheet.n_inputs)
    if checkpoint is not None and not Path(checkpoint.path).resolve().parent.is_dir():
        raise OutputError(f"checkpoint {checkpoint.path}: its folder does not exist. Make it, or choose another one.")
    run = _Run(learner.init(chip.datasheet, task, streams.generator("init")))
    signature = _signature(learner, task, streams, x.shape)
    if checkpoint is not None:
        _resume(checkpoint, run, signature)
    every = max(1, learner.epochs // 10) if validate_every is None else validate_every
    samples = slice(validate_samples or None)
    for epoch in range(len(run.history), learner.epochs):
        info = _epoch(chip, learner, task, x, targets, run, streams, epoch)
        last = epoch + 1 == learner.epochs
        error = None
        if every and (last or (epoch + 1) % every == 0):
            labels = np.asarray(data.valid_y)[samples]
            error = error_rate(chip, learner, task, data.valid_x[samples], labels, run.state)
        run.history.append(Record(epoch + 1, info, error))
        if checkpoint is not None and (last or (epoch + 1) % checkpoint.every == 0):
            _save(checkpoint, run, signature)
        if on_epoch is not None:
            on_epoch(run.history[-1])
    return Result(task, run.state, tuple(run.history))


def error_rate(
    chip: Chip, learner: Learner, task: Task, x: FloatArray, labels: np.ndarray, state: State, batch_size: int = 100
) -> float:
    """Return the fraction of samples ``x`` (N, n_inputs) whose largest score is not at ``labels`` (N,); costs reads."""
    cuts = range(0, len(x), batch_size)
    scores = np.concatenate([learner.predict(chip, task, x[cut : cut + batch_size], state) for cut in cuts])
    if not np.isfinite(scores).all():
        raise ChipFault(f"{learner.name}: predicted {scores[~np.isfinite(scores)][0]}. {_CAUSE}")
    return float(np.mean(np.argmax(scores, axis=1) != labels))


def _targets(data: TrainingData, samples: int) -> FloatArray | None:
    if data.train_y is None:
        return None
    labels = np.asarray(data.train_y)
    if labels.ndim == 1:
        if not np.issubdtype(labels.dtype, np.integer):
            raise ShapeError(f"train_y: expected whole numbers, one label per sample, found {labels.dtype}.")
        if len(labels) != samples or labels.min() < 0 or labels.max() >= data.classes:
            raise RangeError(
                f"train_y: expected {samples} labels from 0 to {data.classes - 1}, found {len(labels)} "
                f"from {labels.min()} to {labels.max()}. Number the classes from 0."
            )
        return one_hot(labels, data.classes)
    targets = check_array("train_y", labels, {"N": samples, "classes": data.classes})
    if (targets < 0).any() or not np.allclose(targets.sum(axis=1), 1, atol=1e-3):
        raise RangeError("train_y: expected rows of probabilities that sum to 1. Divide each row by its sum.")
    return targets


def _check_validation(data: TrainingData, n_inputs: int) -> None:
    hint = "Give at least one sample, or validate_every=0."
    x = check_array("valid_x", data.valid_x, {"M": None, "n_inputs": n_inputs}, hint)
    labels = np.asarray(data.valid_y)
    if labels.shape != (len(x),):
        raise ShapeError(f"valid_y: expected shape (M,) = ({len(x)},), one label per sample, found {labels.shape}.")


def _epoch(
    chip: Chip,
    learner: Learner,
    task: Task,
    x: FloatArray,
    targets: FloatArray | None,
    run: _Run,
    streams: Streams,
    epoch: int,
) -> dict[str, float]:
    """Run one epoch; return the mean of what the steps reported."""
    order = streams.generator("shuffle", epoch).permutation(len(x))
    rng = streams.generator("learner", epoch)
    # Near-equal batches rather than a small last one, whose estimate would be the noisiest of all.
    batches = np.array_split(order, max(1, round(len(x) / learner.batch_size)))
    total: dict[str, float] = {}
    for step, rows in enumerate(batches):
        done, steps = epoch * len(batches) + step, learner.epochs * len(batches)
        batch = Batch(x[rows], None if targets is None else targets[rows], done / steps, final=done + 1 == steps)
        where = f"{learner.name}, epoch {epoch + 1} of {learner.epochs}, step {step + 1} of {len(batches)}"
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported below, once and in words
                run.state, info = learner.step(chip, task, batch, run.state, rng)
        except (ChipFault, RangeError) as error:
            raise ChipFault(f"{where}: {error} {_CAUSE}") from error
        bad = [name for name, value in info.items() if not np.isfinite(value)]
        if bad:
            raise ChipFault(f"{where}: {bad[0]} became {info[bad[0]]}. {_CAUSE}")
        for name, value in info.items():
            total[name] = total.get(name, 0.0) + value / len(batches)
    return total


_CAUSE = "Training stopped. The likely cause is a step size that is too large for this chip: try a `rate` ten times smaller."


def _signature(learner: Learner, task: Task, streams: Streams, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what must agree for a checkpoint to belong to a run."""
    return {
        "learner": learner.name,
        "settings": dataclasses.asdict(learner),
        "task": dataclasses.asdict(task),
        "seed": streams.seed,
        "streams": dict(enumerate(streams.path)),
        "train_shape": list(shape),
    }


def _difference(saved: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return the first thing in which two signatures differ, in words; empty if there is none."""
    for name, value in wanted.items():
        there = saved.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _difference(there, value)
            if inner:
                return inner
        elif there != value:
            return f"{name} is {there!r} there and {value!r} here"
    return ""


def _save(checkpoint: Checkpoint, run: _Run, signature: dict[str, Any]) -> None:
    """Write the checkpoint beside its place, then move it there, so that a file is always whole."""
    tensors = {f"state/{name}": np.ascontiguousarray(value) for name, value in run.state.items()}
    tensors |= {f"chip/{name}": np.ascontiguousarray(value) for name, value in checkpoint.save_chip().items()}
    history = [dataclasses.asdict(record) for record in run.history]
    metadata = {"signature": json.dumps(signature), "history": json.dumps(history)}
    path = Path(checkpoint.path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        os.close(handle)
        try:
            save_file(tensors, name, metadata)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"checkpoint {path}: cannot be written ({error}). Choose a folder that is writable.") from error


def _resume(checkpoint: Checkpoint, run: _Run, signature: dict[str, Any]) -> None:
    """Take up ``run`` where the checkpoint left it, if there is one."""
    path = Path(checkpoint.path)
    if not path.exists():
        return
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise DesignError(f"checkpoint {path}: cannot be read ({error}). Delete it to start anew.") from error
    try:
        saved, history = json.loads(metadata["signature"]), json.loads(metadata["history"])
        records = [Record(**record) for record in history]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DesignError(f"checkpoint {path}: not one of ours ({error}). Give this run another path.") from error
    difference = _difference(saved, json.loads(json.dumps(signature)))
    if difference:
        raise DesignError(
            f"checkpoint {path}: it is of another run: {difference}. Give this run another path, or delete the file."
        )
    run.state = {name.removeprefix("state/"): value for name, value in tensors.items() if name.startswith("state/")}
    run.history = records
    checkpoint.load_chip({name.removeprefix("chip/"): value for name, value in tensors.items() if name.startswith("chip/")})
