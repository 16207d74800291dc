"""Dynamics, one a file: who answers when, and from which states.

A file NAME.py holds a function NAME(order, feeds, inputs, SETTINGS) that returns the timetable, a list of `hardware.Answer`:
``order`` names the populations that answer, in the order of the design file; ``feeds`` gives for each of them pairs of an
array's place, or of the population that a stage stands on, and of the name of its source; ``inputs`` are clamped, tick 0.
"""

from mortalsim.chips.dynamics.base import Feeds, check_timetable
from mortalsim.registry import Functions

__all__ = ["DYNAMICS", "Feeds", "check_timetable"]

DYNAMICS = Functions("mortalsim.chips.dynamics")
