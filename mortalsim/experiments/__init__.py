"""Questions, one a file; a file put here is found by its name and becomes a command."""

from mortalsim.experiments.base import Experiment, execute
from mortalsim.registry import Registry

__all__ = ["EXPERIMENTS", "Experiment", "execute"]

EXPERIMENTS = Registry("mortalsim.experiments", Experiment)
