"""Random signs, drawn cheaply."""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray


def random_signs(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """Return (rows, columns) of -1 and 1, equally likely, float32."""
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-rows * columns // 8)), np.uint8), count=rows * columns)
    return bits.reshape(rows, columns) * np.float32(2) - np.float32(1)
