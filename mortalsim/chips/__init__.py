"""Things that satisfy the seam's `Chip`: simulated chips, made from a design and a seed."""

from mortalsim.chips.design import Design, design_names, load_design
from mortalsim.chips.simulated import Ledger, SimulatedChip

__all__ = ["Design", "Ledger", "SimulatedChip", "design_names", "load_design"]
