"""Models of a chip that can be differentiated, in plain numpy."""

from mortalsim.models.rows import ArrayModel
from mortalsim.models.twin import PopulationModel, Twin

__all__ = ["ArrayModel", "PopulationModel", "Twin"]
