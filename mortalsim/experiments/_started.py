"""What experiments share whose learners train chips as they were made, and again after a head start."""

from __future__ import annotations

import dataclasses

from pydantic import Field

from mortalsim.experiments import _trial
from mortalsim.experiments._inputs import Inputs
from mortalsim.experiments._parallel import Jobs
from mortalsim.experiments._start import FABRICATED, START_HELP, Start
from mortalsim.experiments._trial import COMPARED, LearnerName
from mortalsim.experiments.base import Experiment
from mortalsim.learners import Learner


class Started(Experiment):
    """Several learners, each from what chips hold at first and from other starts."""

    learners: tuple[LearnerName, ...] = Field(COMPARED, min_length=1, description="learners, and oracle for true backprop")
    epochs_scale: float = Field(1.0, gt=0, le=1000, description="factor of every learner's own number of epochs")
    starts: tuple[Start, ...] = Field(
        ("fabricated", "insilico"), min_length=1, description=f"what chips hold before a learner begins: {START_HELP}"
    )
    started_epochs: int = Field(
        3, ge=1, le=1_000_000_000, description="epochs of a learner after a head start, whatever the scale"
    )
    jobs: Jobs = 0

    def used_learners(self) -> dict[str, Learner]:
        givers = [start for start in self.starts if start != FABRICATED]
        return {name: _trial.make_learner(name, self.epochs_scale) for name in dict.fromkeys((*self.learners, *givers))}

    def begun(self, inputs: Inputs, learner: str, start: Start) -> tuple[Learner, Learner | None]:
        """Return the rule that trains, and the one whose weights the chip is programmed with first, if any."""
        rule = inputs.learners[learner]
        if start == FABRICATED:
            return rule, None
        return dataclasses.replace(rule, epochs=self.started_epochs), inputs.learners[start]
