"""Wirings, one a file: which outputs of the source an array's rows carry, and which neurons its columns feed.

A file NAME.py holds a function NAME(below, above, SETTINGS, bias) that returns two index tables, or None twice: ``rows``
(blocks, n_in) into the source's outputs, where n stands for the bias line and n + 1 for ground, and ``columns`` (blocks,
n_out) into the target's neurons, where their number stands for a column that feeds nobody.
"""

from mortalsim.chips.wiring.base import Shape, Tables, check_blocks, check_tables
from mortalsim.registry import Functions

__all__ = ["WIRINGS", "Shape", "Tables", "check_blocks", "check_tables"]

WIRINGS = Functions("mortalsim.chips.wiring")
