"""Questions, one a file; a file put here is found by its name and becomes a command."""

from mortalsim.experiments._execute import execute, resume
from mortalsim.experiments._inputs import Data, Inputs
from mortalsim.experiments.base import Experiment
from mortalsim.registry import Registry

__all__ = ["EXPERIMENTS", "Data", "Experiment", "Inputs", "execute", "resume"]

EXPERIMENTS = Registry("mortalsim.experiments", Experiment)
