"""Learning rules, one a file; a file put here is found by its name."""

from mortalsim.learners.base import Batch, Info, Learner, State
from mortalsim.registry import Registry

__all__ = ["LEARNERS", "Batch", "Info", "Learner", "State", "get", "names", "summaries"]

LEARNERS = Registry("mortalsim.learners", Learner)

names = LEARNERS.names
get = LEARNERS.get
summaries = LEARNERS.summaries
