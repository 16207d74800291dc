"""70,000 handwritten digits of 28 x 28 pixels; downloaded once, or read from MORTALSIM_DATA.

Source: LeCun et al. 1998.
"""

from __future__ import annotations

from mortalsim.data import _published
from mortalsim.data.base import Dataset, Source
from mortalsim.streams import Streams


class Mnist(Source):
    """The published training images, one in six of them for validation, and the 10,000 published test images."""

    def load(self, streams: Streams) -> Dataset:
        return _published.load("mnist", streams)
