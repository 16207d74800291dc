"""Questions, one a file; a file put here is found by its name and becomes a command."""

from mortalsim.experiments._execute import execute, resume
from mortalsim.experiments.base import Experiment
from mortalsim.registry import Registry

__all__ = ["EXPERIMENTS", "Experiment", "execute", "resume"]

EXPERIMENTS = Registry("mortalsim.experiments", Experiment)
