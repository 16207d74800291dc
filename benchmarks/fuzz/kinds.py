"""The contract of a kind of input."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path


class Kind(ABC):
    """One kind of input.

    Parameters
    ----------
    folder
        Where files may be written; it exists and is empty.
    """

    #: Share of all inputs.
    share: float = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make what all inputs are made from."""

    @abstractmethod
    def try_one(self, rng: random.Random) -> str:
        """Make an input and hand it in; return a few words about it. Errors that are said on purpose may come out."""
