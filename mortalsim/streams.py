"""Independent named random streams from one seed.

A stream is a path of names under one seed: ``Streams(7).child("chip").child("neurons")``. Streams of different paths are
independent, and drawing more from one never changes another. Each is offered in two forms: a numpy generator for what is
drawn once (fabrication, shuffles), and a two-word key for the counter-based kernels (read noise, writes, sign patterns).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mortalsim.checks import RangeError

Key = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Streams:
    """A node in the tree of named streams.

    Parameters
    ----------
    seed
        A whole number of at least 0; the same seed gives the same streams on every machine.
    path
        Names from the root to this node.

    Raises
    ------
    RangeError
        ``seed`` is not a whole number of at least 0.

    Examples
    --------
    >>> chip = Streams(7).child("chip")
    >>> int(chip.generator("neurons").integers(100)) == int(chip.generator("neurons").integers(100))
    True
    """

    seed: int
    path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise RangeError(f"seed: expected a whole number of at least 0, found {self.seed!r}. Write seed=0, for example.")

    def child(self, *names: str | int) -> Streams:
        """Return the stream below this one; numbers serve as names too (epoch, chip, probe)."""
        return Streams(int(self.seed), self.path + tuple(str(name) for name in names))

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a fresh numpy generator at the start of the stream below this one."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.child(*names)._digest()[:16], "little")))

    def key(self, *names: str | int) -> Key:
        """Return the stream's key for counter-based kernels, shape (2,)."""
        return np.frombuffer(self.child(*names)._digest()[16:24], dtype="<u4").astype(np.uint32)

    def _digest(self) -> bytes:
        # Lengths are part of what is hashed, so ("ab", "c") and ("a", "bc") are different streams.
        text = "".join(f"{len(part)}:{part}" for part in (str(self.seed), *self.path))
        return hashlib.blake2b(text.encode(), digest_size=32).digest()
