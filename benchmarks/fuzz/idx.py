"""IDX files: gzipped, mutated before or after, cut, or of any bytes."""

from __future__ import annotations

import gzip
import random

import numpy as np

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim.data._idx import read_idx


class Kind(Base):
    """A small valid file, mutated."""

    def prepare(self) -> None:
        images = np.arange(3 * 4 * 5, dtype=np.uint8)
        self.plain = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (3, 4, 5)) + images.tobytes()

    def try_one(self, rng: random.Random) -> str:
        content = hostile.mutated(self.plain, rng) if rng.random() < 0.6 else self.plain
        content = gzip.compress(content, 1)
        if rng.random() < 0.6:
            content = hostile.mutated(content, rng)
        if rng.random() < 0.002:
            content = gzip.compress(bytes(10**8), 1)  # much from little
        path = self.folder / "a-ubyte.gz"
        path.write_bytes(content)
        read_idx(path)
        return "bytes"
