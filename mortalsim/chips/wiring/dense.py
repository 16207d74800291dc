"""Dense: every output of the source reaches every neuron of the target."""

from __future__ import annotations

from mortalsim.chips.wiring.base import Shape, Tables


def dense(below: Shape, above: Shape, bias: bool = True) -> Tables:
    """Return no tables: one block whose rows carry all outputs in order, and a bias line if there is one."""
    return None, None
