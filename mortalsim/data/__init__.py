"""Data sets, one a file: ``load(name, streams)`` gives samples and labels, split for training, validation and test.

A file put here that defines one subclass of `Source` is found by its name; an underscore in it is a hyphen in the name.
"""

from __future__ import annotations

from mortalsim.data.base import Dataset, Source
from mortalsim.data.suited import suited
from mortalsim.registry import Registry
from mortalsim.streams import Streams


class _Sources(Registry[Source]):
    def _name(self, stem: str) -> str:
        return stem.replace("_", "-")


DATASETS = _Sources("mortalsim.data", Source, helpers=("makers", "suited"))


def load(name: str, streams: Streams) -> Dataset:
    """Return the data set called ``name``, split at random by ``streams``.

    Parameters
    ----------
    name
        One of ``DATASETS.names()``, such as ``"digits"``.
    streams
        Where the split draws its chance from; the same streams give the same split.

    Raises
    ------
    UnknownName
        No data set bears this name.
    DataError
        The files cannot be found, fetched or read.
    """
    return DATASETS.get(name)().load(streams)


__all__ = ["DATASETS", "Dataset", "Source", "load", "suited"]
