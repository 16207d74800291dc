"""Data sets: ``load(name, streams)`` gives images in 0..1 and labels, split for training, validation and test."""

from __future__ import annotations

import importlib
from types import MappingProxyType

from mortalsim.checks import check_name
from mortalsim.data.dataset import Dataset
from mortalsim.streams import Streams

#: Every data set and what it is, in one line.
SUMMARIES = MappingProxyType(
    {
        "digits": "1,797 real handwritten digits of 8 x 8 pixels, shipped with scikit-learn; nothing to download",
        "mnist": "70,000 handwritten digits of 28 x 28 pixels; downloaded once, or read from MORTALSIM_DATA",
        "fashion-mnist": "70,000 pictures of clothes of 28 x 28 pixels; downloaded once, or read from MORTALSIM_DATA",
    }
)


def load(name: str, streams: Streams) -> Dataset:
    """Return the data set called ``name``, split at random by ``streams``.

    Parameters
    ----------
    name
        ``"digits"``, ``"mnist"`` or ``"fashion-mnist"``.
    streams
        Where the split draws its chance from; the same streams give the same split.

    Raises
    ------
    UnknownName
        No data set bears this name.
    DataError
        The files cannot be found, fetched or read.
    """
    check_name("dataset", name, SUMMARIES)
    module = importlib.import_module("mortalsim.data.digits" if name == "digits" else "mortalsim.data.mnist")
    dataset: Dataset = module.load(name, streams)
    return dataset


__all__ = ["SUMMARIES", "Dataset", "load"]
