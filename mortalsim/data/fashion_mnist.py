"""70,000 pictures of clothes of 28 x 28 pixels; downloaded once, or read from MORTALSIM_DATA.

Source: Xiao, Rasul and Vollgraf 2017.
"""

from __future__ import annotations

from mortalsim.data import _published
from mortalsim.data.base import Dataset, Source
from mortalsim.streams import Streams


class FashionMnist(Source):
    """The published training images, one in six of them for validation, and the 10,000 published test images."""

    def load(self, streams: Streams) -> Dataset:
        return _published.load("fashion-mnist", streams)
