"""Learning rules, one a file; a file put here is found by its name. `schedules` holds the step-size schedules."""

from mortalsim.learners.base import Batch, Info, Learner, State
from mortalsim.registry import Registry

__all__ = ["LEARNERS", "Batch", "Info", "Learner", "State"]

LEARNERS = Registry("mortalsim.learners", Learner, helpers=("schedules", "steps"))
