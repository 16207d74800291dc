"""Models of a chip that can be differentiated, in plain numpy."""

from mortalsim.models.twin import ArrayModel, PopulationModel, Twin

__all__ = ["ArrayModel", "PopulationModel", "Twin"]
