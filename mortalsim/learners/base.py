"""The contract of every learning rule."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import AtLeastOne, check_fields
from mortalsim.hardware import ArraySpec, Chip, Datasheet, Port, Task, Trace
from mortalsim.parallel import one_blas_thread

#: What a learner remembers between steps: named arrays, nothing else, so that a checkpoint is data.
State: TypeAlias = dict[str, np.ndarray]

#: What a step reports, numbers by name: at least ``"loss"``.
Info: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class Batch:
    """One mini-batch.

    Parameters
    ----------
    x
        (B, n_inputs), the input populations side by side; label lines that nobody writes hold a neutral label.
    targets
        (B, classes), rows that sum to 1: one-hot labels or soft targets; None: nobody has labelled these samples.
    progress
        Fraction of all training steps done before this batch, from 0 to just below 1.
    final
        True for the last batch of all.
    """

    x: FloatArray
    targets: FloatArray | None
    progress: float
    final: bool = False

    def labelled(self, who: str) -> FloatArray:
        """Return the targets; raise `ShapeError` in a sentence where there are none."""
        if self.targets is None:
            raise ShapeError(f"{who}: expected a batch with targets, found an unlabelled one. Choose labelled data.")
        return self.targets


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """A learning rule that sees nothing of a chip but the seam.

    Subclasses are frozen dataclasses whose fields are the hyper-parameters. A field's annotation says its type and both ends
    of its range: ``rate: Rate``, or ``Annotated[float, Field(ge=0, le=1)]``. One instance serves any number of chips:
    everything that changes lives in the state. A subclass's docstring describes its state in the section ``State``, by
    ``key : type shape``, and what its steps report in the section ``Info``, by ``key : unit``. The reference page of the
    learners is made from these, and a test compares them with what `init` and `step` return.

    Parameters
    ----------
    epochs
        Passes through the training data.
    batch_size
        Samples per step.
    """

    name: ClassVar[str]

    #: What must reach the arrays from outside, beside what is measured around them; for tables of rules.
    signals: ClassVar[str] = "not said"

    epochs: AtLeastOne = 10
    batch_size: AtLeastOne = 50

    def __init_subclass__(cls, **named: Any) -> None:
        """Hold the products of every rule to one BLAS thread, so that its results do not depend on the number of cores.

        The chip's own work still uses them all.
        """
        super().__init_subclass__(**named)
        for name in ("init", "step", "predict"):
            if name in vars(cls):
                setattr(cls, name, _held(vars(cls)[name]))

    def __post_init__(self) -> None:
        check_fields(self)

    def guessing_loss(self, sheet: Datasheet, classes: int) -> float | None:
        """Return the loss that a step reports while every class gets the same chance; None: there is none of that kind."""
        return float(np.log(classes)) if classes else None

    def written_label(self) -> float | None:
        """Return what a label's line carries that the rule writes, in units of the largest input; None: it writes none."""
        return None

    def host_work(self, sheet: Datasheet, task: Task) -> int | None:
        """Return the multiply-adds that the host does for one sample of a step, in products of matrices; None: not said.

        For tables of rules. What goes through every number once, such as a softmax, does not count.
        """
        return None

    def softened(self, temperature: float) -> Learner | None:
        """Return the same rule for soft targets of this temperature; None: it draws one label at a time from them."""
        return None

    def started(self, sheet: Datasheet, state: State, weights: Sequence[FloatArray]) -> State | None:
        """Return the state before the first step on a chip that has just been programmed with ``weights``.

        Parameters
        ----------
        sheet
            Of the chip.
        state
            What `init` returned; it is used up.
        weights
            What every array was asked to hold, one of each array's shape.

        Returns
        -------
        state
            The state given, for a rule that keeps no weights of its own. None: this rule does not go on from weights.
        """
        return state

    @property
    @abstractmethod
    def ports(self) -> tuple[Port, ...]:
        """What this rule, with these settings, needs of a chip beyond its output."""

    @abstractmethod
    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        """Return the state before the first step.

        Raises
        ------
        MissingPort, ShapeError
            The chip lacks a port, or this rule cannot serve it or the task; in a sentence.
        """

    @abstractmethod
    def step(self, chip: Chip, task: Task, batch: Batch, state: State, rng: np.random.Generator) -> tuple[State, Info]:
        """Learn from one batch; return the new state and what happened.

        The state given is used up: the new one may share its arrays, changed in place. A caller that needs it again must
        copy it first.

        Returns
        -------
        state, info
            As the docstring's sections ``State`` and ``Info`` describe them; ``info`` has at least ``"loss"``.

        Raises
        ------
        ShapeError
            The batch lacks labels that this rule needs.
        """

    @abstractmethod
    def predict(self, chip: Chip, task: Task, x: FloatArray, state: State) -> FloatArray:
        """Return scores (B, classes) for ``x`` (B, n_inputs); the largest is the prediction."""


def _held(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def held(*given: Any, **named: Any) -> Any:
        with one_blas_thread:
            return method(*given, **named)

    return held


def require_hidden(sheet: Datasheet, who: str) -> None:
    """Raise `ShapeError`, in a sentence, unless the chip has a hidden population."""
    if not sheet.hidden:
        raise ShapeError(f"{who} needs a hidden population, which the design {sheet.design!r} lacks. Add one to its design.")


def output_of(trace: Trace) -> FloatArray:
    """Return the output of a chip that has one."""
    if trace.output is None:
        raise ShapeError("output: expected a chip with an output population, found none. Choose another learner.")
    return trace.output


def random_weights(sheet: Datasheet, rng: np.random.Generator) -> list[FloatArray]:
    """Return starting weights for every array, N(0, 1) / sqrt(lines to the neuron), bias lines at 0.

    Source: ``ffnew.m`` lines 79-80, whose layers have one array each; here the lines of all arrays into a population count.
    """
    fan_in = {name: np.zeros(sheet.populations[name].size) for name in sheet.fed}
    lines = [_source_lines(spec, sheet.populations[spec.source].size) for spec in sheet.arrays]
    for spec, own in zip(sheet.arrays, lines, strict=True):
        reach = own.sum(axis=-2, keepdims=True) * np.ones(spec.n_out)
        fan_in[spec.target] += spec.collect(reach, len(fan_in[spec.target]))[0]
    weights = []
    for spec, own in zip(sheet.arrays, lines, strict=True):
        spread = spec.spread(1 / np.sqrt(np.maximum(fan_in[spec.target], 1))[None])
        matrix = rng.standard_normal(spec.shape, dtype=np.float32) * (own * spread).astype(np.float32)
        weights.append(np.clip(matrix, -spec.target_range, spec.target_range))
    return weights


def _source_lines(spec: ArraySpec, size: int) -> np.ndarray:
    """Return 1 for rows that carry an output of the source and 0 for bias and ground, (..., n_in, 1)."""
    rows = np.arange(spec.n_in) if spec.rows is None else spec.rows
    return (rows < size).astype(float)[..., None]
