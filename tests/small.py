"""Chips small enough for kernels that run as plain Python, and inputs for them."""

import numpy as np

from mortalsim.chips import load_design

SIZES = (12, 8, 6, 4)
RNG = np.random.default_rng


def small(name, **fields):
    """Return a shipped design at `SIZES`, other fields as given."""
    return load_design(name).revised(sizes=SIZES, **fields)


def inputs(samples, seed=0):
    """Return random samples, (samples, 12)."""
    return RNG(seed).random((samples, SIZES[0]), dtype=np.float32)
