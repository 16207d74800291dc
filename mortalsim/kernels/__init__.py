"""The hot loops, compiled: random numbers from a counter, sign patterns, converters, the readout and write pulses.

The only room that imports numba. Every kernel has a reference implementation in ``tests/naive.py`` that it must equal.
"""

from mortalsim.kernels.compiling import compile_all
from mortalsim.kernels.continuous import Wanted, move_devices
from mortalsim.kernels.counters import Draw
from mortalsim.kernels.dac import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, Converter, Normaliser, drive_blocks, drive_lines
from mortalsim.kernels.effective import Effective, Present, ReadNoise, compute_weights, drifted
from mortalsim.kernels.philox import fill_normal, philox4x32
from mortalsim.kernels.pulses import Asked, Sent, apply_pulses
from mortalsim.kernels.readout import NeuronCircuits, Noise, read_out
from mortalsim.kernels.responses import PulseLaw
from mortalsim.kernels.signs import add_signs, sign_pattern

__all__ = [
    "BY_BLOCK",
    "BY_SOURCE",
    "NOT_NORMALISED",
    "Asked",
    "Converter",
    "Draw",
    "Effective",
    "NeuronCircuits",
    "Noise",
    "Normaliser",
    "Present",
    "PulseLaw",
    "ReadNoise",
    "Sent",
    "Wanted",
    "add_signs",
    "apply_pulses",
    "compile_all",
    "compute_weights",
    "drifted",
    "drive_blocks",
    "drive_lines",
    "fill_normal",
    "move_devices",
    "philox4x32",
    "read_out",
    "sign_pattern",
]
