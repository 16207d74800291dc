"""Nudge ports: what is asked of them is not quite what they apply."""

from __future__ import annotations

from pydantic import Field

from mortalsim.settings import Group


class NudgePorts(Group):
    """Gain mismatch of the two nudge ports, one gain per output line."""

    current_gain_dtod: float = Field(0.0, ge=0, le=10, description="spread of the gain of current nudges, neuron to neuron")
    weight_gain_dtod: float = Field(
        0.0, ge=0, le=10, description="spread of the amplitude of weight nudges, column to column"
    )
