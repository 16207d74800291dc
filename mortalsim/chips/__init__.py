"""Things that satisfy the seam's `Chip`: simulated chips, made from a design and a seed."""

from mortalsim.chips.design import Design
from mortalsim.chips.design_file import design_names, load_design
from mortalsim.chips.meter import Clock, Meter
from mortalsim.chips.simulated import SimulatedChip, chip_streams

__all__ = ["Clock", "Design", "Meter", "SimulatedChip", "chip_streams", "design_names", "load_design"]
