"""A data set of 4 classes and 16 pixels: small enough for kernels that run as plain Python."""

from __future__ import annotations

import numpy as np

from mortalsim.data import Dataset
from mortalsim.streams import Streams


def load_tiny(name: str, streams: Streams) -> Dataset:
    """Return noisy copies of four random pictures; a stand-in for `mortalsim.data.load`."""
    rng = streams.generator("tiny")
    pictures = rng.random((4, 16)) > 0.5
    y = np.arange(72) % 4
    x = np.clip(pictures[y] + 0.2 * rng.standard_normal((72, 16)), 0, 1).astype(np.float32)
    return Dataset(name, x[:40], y[:40], x[40:52], y[40:52], x[52:], y[52:], 4, (0, 1, 2, 3), (4, 4))
