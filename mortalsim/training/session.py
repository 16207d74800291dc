"""One chip, one rule, one stream of batches: training that can be put down after any step and taken up again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np

from mortalsim.checks import ChipFault, FloatArray, RangeError, RunError, ShapeError, check_array, check_labels, check_whole
from mortalsim.files import digest_of
from mortalsim.hardware import Chip, Task
from mortalsim.learners.base import Batch, Learner
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.training.checkpoint import settings_of
from mortalsim.training.doubts import (
    RECENT,
    clipped,
    flat_loss,
    ink_under_the_label,
    label_lost,
    like_guessing,
    one_answer,
    other_scale,
)
from mortalsim.training.programming import check_start, program, started_state
from mortalsim.training.record import History, Record
from mortalsim.training.scoring import CAUSE, confusion, error_of
from mortalsim.training.shifting import check_shift, draw_shifts, shifted


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


#: Probability of a class from which on a target counts as a label.
SURE = 0.99


@dataclass(frozen=True)
class Validation:
    """When to validate, and on what.

    Parameters
    ----------
    every
        Epochs between two validations, which cost reads on the chip; the last epoch is always validated. 0: never.
    x, labels
        The samples, (M, n_inputs) and (M,); None: there are none.
    """

    every: int
    x: FloatArray | None = None
    labels: np.ndarray | None = None


class Options(TypedDict, total=False):
    """When `train` validates, on how many samples, and how far it moves images; it says what they mean."""

    validate_every: int | None
    validate_samples: int
    shift: int


class Session:
    """Training of one chip by one learner, step by step.

    Parameters
    ----------
    chip, learner, data, streams, start, validate_every, validate_samples, shift
        As in `train`.
    observe
        Returns what has been spent so far, by name; it is asked at the end of every epoch and goes into the record.
    """

    def __init__(
        self,
        chip: Chip,
        learner: Learner,
        data: TrainingData,
        streams: Streams,
        *,
        start: Sequence[FloatArray] | None = None,
        validate_every: int | None = None,
        validate_samples: int = 200,
        shift: int = 0,
        observe: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        if not isinstance(streams, Streams):
            raise RangeError(
                f"streams: expected Streams, found {type(streams).__name__} {streams!r}. Write Streams(0), say."
            )
        self.chip, self.learner, self.streams, self.observe = chip, learner, streams, observe
        self.x = check_array("train_x", data.train_x, {"N": None, "n_inputs": chip.datasheet.n_inputs})
        self.targets, self.task = _targets(data, len(self.x)), Task.of(data)
        self.validation = _validation(
            data, chip.datasheet.n_inputs, learner.epochs, validate_every, validate_samples, streams
        )
        self.shift = check_whole("shift", shift, 0)
        if self.shift:
            check_shift(self.task, chip.datasheet.n_inputs, self.shift)
        self.learned = learner.init(chip.datasheet, self.task, streams.generator("init"))
        self.start = None if start is None else check_start(chip.datasheet, start)
        if self.start is not None:
            self.learned = started_state(learner, chip.datasheet, self.learned, self.start)
        #: Weights that the chip is still to be programmed with, before the first step; a restored session has done so.
        self._due = self.start or ()
        #: Whether targets are sure of one class; a teacher's are not, and their loss cannot be told from guessing.
        self._hard = self.targets is not None and bool((self.targets.max(axis=1) > SURE).all())
        self.history = History()
        #: Of the last validation, as `confusion` counts; zeros before the first.
        self.seen = np.zeros((self.task.classes, self.task.classes), np.int64)
        # Near-equal batches rather than a small last one, whose estimate would be the noisiest of all.
        self.batches = max(1, round(len(self.x) / learner.batch_size))
        self.done, self.total = 0, learner.epochs * self.batches
        self._begin_epoch()

    @property
    def finished(self) -> bool:
        """Whether all epochs are over."""
        return self.done >= self.total

    @property
    def standing(self) -> Record:
        """The epoch under way, as far as it has come; the last one where all are over."""
        step = self.done % self.batches
        if not step and self.history:
            return self.history[-1]
        return Record(
            self.done // self.batches + 1,
            self._means(),
            None,
        )

    def steps(self, n: int) -> Record:
        """Take up to ``n`` steps, fewer where training ends before; return the `standing`.

        The last step of an epoch holds the validation and the record of the epoch.

        Raises
        ------
        ChipFault
            A loss, or what the learner computed from the chip's answers, was NaN or infinite.
        """
        for _ in range(n):
            if self.finished:
                break
            self._step()
        return self.standing

    def _begin_epoch(self) -> None:
        epoch = self.done // self.batches
        self._rows = np.array_split(self.streams.generator("shuffle", epoch).permutation(len(self.x)), self.batches)
        self._rng = self.streams.generator("learner", epoch)
        if self.shift:
            self._shifts = draw_shifts(self.streams.generator("shift", epoch), len(self.x), self.shift)
        self._sums: dict[str, float] = {}
        self._told: dict[str, int] = {}

    def _step(self) -> None:
        epoch, step = divmod(self.done, self.batches)
        rows = self._rows[step]
        targets = None if self.targets is None else self.targets[rows]
        x = shifted(self.x[rows], self._shifts[rows], self.task) if self.shift else self.x[rows]
        batch = Batch(x, targets, self.done / self.total, final=self.done + 1 == self.total)
        where = f"{self.learner.name}, epoch {epoch + 1} of {self.learner.epochs}, step {step + 1} of {self.batches}"
        program(self.chip, self._due)
        self._due = ()
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported below, once and in words
                self.learned, info = self.learner.step(self.chip, self.task, batch, self.learned, self._rng)
        except (ChipFault, RangeError) as error:
            raise ChipFault(f"{where}: {error} {CAUSE}") from error
        bad = [name for name, value in info.items() if not np.isfinite(value)]
        if bad:
            raise ChipFault(f"{where}: {bad[0]} became {info[bad[0]]}. {CAUSE}")
        for name, value in info.items():
            self._sums[name] = self._sums.get(name, 0.0) + value / self.batches
            self._told[name] = self._told.get(name, 0) + 1
        if step + 1 == self.batches:
            self._end_epoch(epoch)
        self.done += 1
        if step + 1 == self.batches:
            self._begin_epoch()

    def _end_epoch(self, epoch: int) -> None:
        valid, error = self.validation, None
        last = epoch + 1 == self.learner.epochs
        if valid.every and valid.x is not None and valid.labels is not None and (last or (epoch + 1) % valid.every == 0):
            self.seen = confusion(self.chip, self.learner, self.task, valid.x, valid.labels, self.learned)
            error = error_of(self.seen)
        self.history.add(self._means(), error, {} if self.observe is None else self.observe())

    def _means(self) -> dict[str, float]:
        """Return the mean of everything that the learner has reported in this epoch, over the steps that reported it."""
        return {name: value * (self.batches / self._told[name]) for name, value in self._sums.items()}

    def doubts(self) -> list[str]:
        """Return what can be said by now against what is learned; the data are judged as well."""
        found = [clipped(self.x, self.chip.datasheet)]
        strength = self.learner.written_label()
        if strength is not None:
            found += [
                ink_under_the_label(self.x, self.task.label_lines),
                label_lost(self.x, strength * float(np.abs(self.x).max(initial=0))),
            ]
        if self.validation.x is not None:
            found.append(other_scale(self.x, self.validation.x, "validation"))
        return [*filter(None, found), *self.doubts_of_learning()]

    def doubts_of_learning(self) -> list[str]:
        """Return what losses and validated answers say against it."""
        guessing = self.learner.guessing_loss(self.chip.datasheet, self.task.classes) if self._hard else None
        found = [flat_loss(self.history.column("info/loss")[-RECENT:].tolist(), guessing)]
        if self.seen.any():
            found.append(one_answer(self.seen, "validation") or like_guessing(self.seen, "validation"))
        return list(filter(None, found))

    def identity(self) -> dict[str, Any]:
        """Return what must agree for a kept state to be of this training: rule, settings, task, chance, data and start."""
        valid = self.validation
        identity: dict[str, Any] = {
            "learner": self.learner.name,
            "settings": settings_of(self.learner),
            "task": dataclasses.asdict(self.task),
            "seed": int(self.streams.seed),
            "streams": list(self.streams.path),
            "training data": digest_of(self.x, self.targets),
            "validation data": digest_of(valid.x, valid.labels) if valid.every else "none",
            "validate_every": valid.every,
        }
        if self.start is not None:
            identity["start"] = digest_of(*self.start)
        if self.shift:
            identity["shift"] = self.shift
        return identity

    def state(self) -> dict[str, np.ndarray]:
        """Return all that changes but the chip, as named arrays; `restore` takes it back."""
        state = {f"learned/{name}": np.asarray(value) for name, value in self.learned.items()}
        state |= {f"history/{name}": column for name, column in self.history.state().items()}
        state |= {f"sums/{name}": np.array(value) for name, value in self._sums.items()}
        state |= {f"told/{name}": np.array(value) for name, value in self._told.items()}
        return state | {"done": np.array(self.done), "seen": self.seen} | _chance(self._rng)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take back what `state` gave.

        Raises
        ------
        RunError
            Something is missing or of another kind. Nothing is taken then.
        """
        groups: dict[str, dict[str, np.ndarray]] = {"learned": {}, "history": {}, "sums": {}, "told": {}}
        for name, value in state.items():
            group, _, key = name.partition("/")
            if group in groups:
                groups[group][key] = value
        odd = [
            name
            for name in groups["learned"].keys() | self.learned.keys()
            if name not in groups["learned"]
            or name not in self.learned
            or groups["learned"][name].dtype != np.asarray(self.learned[name]).dtype
        ]
        try:
            done, seen, history = int(state["done"]), np.asarray(state["seen"]), History.of(groups["history"])
            if odd or not 0 <= done <= self.total or len(history) != done // self.batches or seen.shape != self.seen.shape:
                raise ValueError(odd[0] if odd else f"{done} steps, {len(history)} epochs")
            chance = _with_chance(np.random.Generator(np.random.Philox(0)), state)
        except (KeyError, ValueError, TypeError) as error:
            raise RunError(f"state: expected the state of such a session, found another ({error}).") from error
        self.done, self.seen, self.history = done, seen, history
        self.learned = groups["learned"]
        self._due = () if done else self.start or ()
        self._begin_epoch()
        self._sums = {name: float(value) for name, value in groups["sums"].items()}
        self._told = {name: int(value) for name, value in groups["told"].items()}
        self._rng = chance


def _chance(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the state of a Philox generator as arrays."""
    state = dict(rng.bit_generator.state)
    few = np.array([state["buffer_pos"], state["has_uint32"], state["uinteger"]], np.int64)
    words = state["state"]
    return {
        "chance/counter": words["counter"],
        "chance/key": words["key"],
        "chance/buffer": state["buffer"],
        "chance/few": few,
    }


def _with_chance(rng: np.random.Generator, state: Mapping[str, np.ndarray]) -> np.random.Generator:
    position, has, word = (int(value) for value in state["chance/few"])
    words = {name: np.asarray(state[f"chance/{name}"], np.uint64) for name in ("counter", "key")}
    rng.bit_generator.state = {
        "bit_generator": "Philox",
        "state": words,
        "buffer": np.asarray(state["chance/buffer"], np.uint64),
        "buffer_pos": position,
        "has_uint32": has,
        "uinteger": word,
    }
    return rng


def _validation(
    data: TrainingData, n_inputs: int, epochs: int, every: int | None, samples: int, streams: Streams
) -> Validation:
    every = None if every is None else check_whole("validate_every", every, 0, 10**9)
    samples = check_whole("validate_samples", samples, 0, 10**9)
    if data.valid_y is None or every == 0:
        return Validation(0)
    hint = "Give at least one sample, or validate_every=0."
    x = check_array("valid_x", data.valid_x, {"M": None, "n_inputs": n_inputs}, hint)
    labels = check_labels("valid_y", data.valid_y, _classes(data), len(x))
    if samples and samples < len(x):  # drawn, as data may lie in the order of their classes
        some = np.sort(streams.generator("validation").permutation(len(x))[:samples])
        x, labels = x[some], labels[some]
    return Validation(max(1, epochs // 10) if every is None else every, x, labels)


def _classes(data: TrainingData) -> int:
    """Return the number of classes of labelled data."""
    classes = check_whole("classes", data.classes, 0, 10**6)
    if classes < 2:
        raise RangeError(
            f"classes: expected at least 2, found {classes}. Chips are trained to tell classes apart; to predict a real "
            "number (regression) is no aim of mortalsim: cut its range into classes."
        )
    return classes


def _targets(data: TrainingData, samples: int) -> FloatArray | None:
    """Return target distributions, (N, classes); None where nobody has labelled the samples."""
    if data.train_y is None:
        return None
    classes = _classes(data)
    try:
        shape = np.shape(data.train_y)
    except ValueError as error:
        raise ShapeError(f"train_y: expected labels (N,) or targets (N, classes), found uneven rows ({error}).") from error
    if len(shape) != 2 or shape[1] == 1:
        return one_hot(check_labels("train_y", data.train_y, classes, samples), classes)
    targets = check_array("train_y", data.train_y, {"N": samples, "classes": classes})
    if (targets < 0).any() or not np.allclose(targets.sum(axis=1), 1, atol=1e-3):
        raise RangeError(
            "train_y: expected a label a sample, (N,), or rows of probabilities that sum to 1, (N, classes), found "
            "others. "
            "Rows are how sure one is of each class; to predict real numbers (regression) is no aim of mortalsim."
        )
    return targets
