"""Class groups: every hidden population is cut into one group of neurons a class, and the group that answers most wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from mortalsim.checks import FloatArray, ShapeError
from mortalsim.fields import Rate
from mortalsim.hardware import Chip, Datasheet, Task, Trace
from mortalsim.learners._single_read import SingleRead, Verdict
from mortalsim.learners.base import Batch, State
from mortalsim.objectives import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Groups(SingleRead):
    """Class groups (CwComp, Papachristodoulou et al. 2024; DeeperForward, Sun et al. 2025): no head, and one read a step.

    The scores of the classes are the mean activities of their groups of neurons; each hidden population lowers the
    cross-entropy of its own scores. Nothing is kept on the host.

    Parameters
    ----------
    rate, output_rate
        Dimensionless step sizes of the hidden populations and of the output, as `steps.ask` has them, falling as
        `half_linear` says.
    sharpness
        What the groups' means, of activities of unit root mean square, are multiplied with before the softmax.
    gate
        A neuron learns from a sample on which its activity, in units of the population's root mean square, is above it in
        absolute value: of a neuron that is off nothing would change.
    dropout
        Share of a population's activities, drawn anew for each sample, that its judge does not see in a step, and whose
        neurons learn nothing from it (Srivastava et al. 2014). The chip itself, and heads on it, see all of them.
    center
        Share of what rows have in common that is left to the bias lines, as `steps.ask` has it; 0: none.
    predict_by
        ``"output"``: the output population; a chip without one is judged as by ``"heads"``. ``"heads"``: the scores of all
        hidden populations but the first (unless it is the only one) and of the output, as logarithms of probabilities,
        added up.

    State
    -----
    rows{array} : float32 (rows)
        Of each array, with ``center``: running mean of what each of its rows carries.

    Info
    ----
    loss : nats
        Mean cross-entropy of the hidden populations' scores before the step.
    """

    name: ClassVar[str] = "groups"
    signals: ClassVar[str] = "one number a class"

    rate: Rate = 1.0
    sharpness: Annotated[float, Field(ge=1e-3, le=1e6)] = 10.0

    def init(self, sheet: Datasheet, task: Task, rng: np.random.Generator) -> State:
        state = super().init(sheet, task, rng)
        for name in sheet.hidden:
            size = sheet.populations[name].size
            if size < task.classes:
                raise ShapeError(
                    f"groups: expected at least one neuron a class in every hidden population, found {size} in {name!r} for "
                    f"{task.classes} classes. Widen it, or choose mono."
                )
        return state

    def host_work(self, sheet: Datasheet, task: Task) -> int:
        return sum(2 * sheet.populations[name].size for name in sheet.hidden)

    def scores(self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, state: State) -> FloatArray:
        owners = _owners(activity.shape[-1], task.classes)
        sums = np.add.reduceat(activity, np.searchsorted(owners, np.arange(task.classes)), axis=-1)
        return np.asarray(np.float32(self.sharpness) * sums / np.bincount(owners).astype(np.float32))

    def judge(
        self, chip: Chip, task: Task, trace: Trace, name: str, activity: FloatArray, batch: Batch, state: State
    ) -> Verdict:
        loss, slope = cross_entropy(self.scores(chip, task, trace, name, activity, state), batch.labelled(self.name))
        return Verdict(loss, slope[..., _owners(chip.datasheet.populations[name].size, task.classes)])


def _owners(neurons: int, classes: int) -> np.ndarray:
    """Return the class whose group each neuron belongs to: groups are neighbours, of sizes that differ by one at most."""
    return np.arange(neurons) * classes // neurons
