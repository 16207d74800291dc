"""Nudge ports: what is asked of them is not quite what they apply."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class NudgePorts(BaseModel):
    """Gain mismatch of the two nudge ports, one gain per output line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    current_gain_dtod: float = Field(0.0, ge=0, description="spread of the gain of current nudges, neuron to neuron")
    weight_gain_dtod: float = Field(0.0, ge=0, description="spread of the amplitude of weight nudges, column to column")
