"""Makers of chips for other processes; cheap to import there."""

from __future__ import annotations

import os
import time

from fakes import IdealChip, make_datasheet

from mortalsim.boards import process
from mortalsim.checks import RangeError


def ideal(seed=1, noise=0.0):
    return IdealChip(make_datasheet((12, 8, 6, 4)), seed, noise)


def refused():
    raise RangeError("as the maker says")


def sore():
    raise ZeroDivisionError("division by zero")


def nothing():
    return "nothing"


class Rude(IdealChip):
    """Ends its process when it is asked for two samples, and hangs when it is asked for one."""

    def read(self, x, nudge=None, want="taps"):
        if len(x) == 2:
            os._exit(3)
        if len(x) == 1:
            time.sleep(60)
        return super().read(x, nudge, want)


def rude():
    process.GRACE = 0.2  # of the process in which this chip is made
    return Rude(make_datasheet((12, 8, 6, 4)))
