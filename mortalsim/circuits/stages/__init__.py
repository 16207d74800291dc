"""Black-box stages between arrays, one a file; a file put here is found by its name."""

from typing import Annotated, TypeAlias

from mortalsim.circuits.stages.base import Box, Stage
from mortalsim.registry import Registry
from mortalsim.settings import choice

__all__ = ["STAGES", "AnyStage", "Box", "Stage"]

STAGES = Registry("mortalsim.circuits.stages", Stage)

#: A field that holds any stage: in a design file ``"mixing"`` or ``{kind = "mixing", gain = 2.0}``.
AnyStage: TypeAlias = Annotated[Stage, *choice(STAGES, "kind")]
