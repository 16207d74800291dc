"""The seam: everything a learner may know of a chip, ask of it, or do to it; one topic a page.

Shapes: B samples stand on axis -2, the blocks of an array in front of them; learners count axes from the end. Numbers on
this side are dimensionless; siemens, volts, seconds and joules live below.
"""

from mortalsim.hardware.chip import WANTS, Chip, Tap, Trace, Want
from mortalsim.hardware.datasheet import (
    BIAS,
    Answer,
    ArraySpec,
    Datasheet,
    PopulationSpec,
    Port,
    TransferCurve,
)
from mortalsim.hardware.nudges import DEFAULT_PATTERN, NUDGE_PORTS, CurrentNudge, Nudge, WeightNudge
from mortalsim.hardware.requests import (
    WRITE_PORTS,
    Delta,
    Outer,
    Program,
    Replay,
    Scale,
    Shrink,
    WriteRequest,
)
from mortalsim.hardware.samples import Overlaid, Samples
from mortalsim.hardware.task import Task

__all__ = [
    "BIAS",
    "DEFAULT_PATTERN",
    "NUDGE_PORTS",
    "WANTS",
    "WRITE_PORTS",
    "Answer",
    "ArraySpec",
    "Chip",
    "CurrentNudge",
    "Datasheet",
    "Delta",
    "Nudge",
    "Outer",
    "Overlaid",
    "PopulationSpec",
    "Port",
    "Program",
    "Replay",
    "Samples",
    "Scale",
    "Shrink",
    "Tap",
    "Task",
    "Trace",
    "TransferCurve",
    "Want",
    "WeightNudge",
    "WriteRequest",
]
