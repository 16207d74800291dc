"""Patterns of weight nudges, one a file; a file put here is found by its name.

`pattern_of` lays the pattern that a nudge names on an array. No other code asks which pattern it is.
"""

from functools import cache

from mortalsim.circuits.patterns.base import Pattern, Site
from mortalsim.hardware import WeightNudge
from mortalsim.registry import Registry

__all__ = ["PATTERNS", "Pattern", "Site", "families", "pattern_of"]

PATTERNS = Registry("mortalsim.circuits.patterns", Pattern)


def pattern_of(nudge: WeightNudge, site: Site) -> Pattern:
    """Return the pattern of a nudge on the array at ``site``; raise `UnknownName` if there is no file for it."""
    return _kind(nudge.pattern)(nudge, site)


def families() -> frozenset[str]:
    """Return the names of those patterns whose indices belong together under one key."""
    return frozenset(name for name in PATTERNS.readable() if _kind(name).family)


@cache  # a read of a small chip takes less time than the search for a file
def _kind(name: str) -> type[Pattern]:
    return PATTERNS.get(name)
