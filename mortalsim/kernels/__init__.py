"""The hot loops, compiled: random numbers from a counter, sign patterns, converters, the read's epilogue and write pulses.

The only room that imports numba. Every kernel has a plain twin in ``tests/naive.py`` that it must equal.
"""

from mortalsim.kernels.jit import compiled_beside

with compiled_beside("pulses", "_apply_pulses"):
    from mortalsim.kernels.dac import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, drive_blocks, drive_lines
    from mortalsim.kernels.epilogue import read_epilogue
    from mortalsim.kernels.philox import fill_normal, philox4x32
    from mortalsim.kernels.signs import add_signs, sign_pattern

from mortalsim.kernels.counters import Draw
from mortalsim.kernels.effective import Effective, Present, ReadNoise, compute_weights, drifted
from mortalsim.kernels.pulses import Asked, Sent, apply_pulses
from mortalsim.kernels.responses import PulseLaw

__all__ = [
    "BY_BLOCK",
    "BY_SOURCE",
    "NOT_NORMALISED",
    "Asked",
    "Draw",
    "Effective",
    "Present",
    "PulseLaw",
    "ReadNoise",
    "Sent",
    "add_signs",
    "apply_pulses",
    "compute_weights",
    "drifted",
    "drive_blocks",
    "drive_lines",
    "fill_normal",
    "philox4x32",
    "read_epilogue",
    "sign_pattern",
]
