"""Paired differences: two learners on the same chips, chip by chip, with an interval for the mean."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from typing import Any

from scipy.stats import t

from mortalsim.experiments._trial import Outcome
from mortalsim.report.results import Column, Table

#: Probability with which an interval covers the mean, if differences are normal.
LEVEL = 0.95

COLUMNS = (
    Column(key="design", heading="design"),
    Column(key="learner", heading="learner"),
    Column(key="other", heading="less that of"),
    Column(key="chips", heading="chips", unit="count"),
    Column(key="difference", heading="difference", unit="percent"),
    Column(key="low", heading="from", unit="percent"),
    Column(key="high", heading="to", unit="percent"),
)


def paired_differences(groups: Mapping[tuple[str, str], Mapping[int, Outcome]]) -> Table:
    """Return the mean difference in test error of every two learners over the chips that both have trained.

    The interval is Student's for the mean of paired differences, at `LEVEL`, pair by pair: of many pairs that do not
    differ, one in twenty will seem to. There is none for a single chip.

    Parameters
    ----------
    groups
        Outcomes by design and learner, then by chip.
    """
    rows = []
    for design in dict.fromkeys(design for design, _ in groups):
        own = {learner: group for (d, learner), group in groups.items() if d == design}
        rows += [_row(design, a, b, own) for a, b in itertools.combinations(own, 2)]
    caption = (
        f"Test error of a learner less that of another one on the same chips: mean, and {LEVEL:.0%} interval of Student's t "
        "for each pair by itself"
    )
    return Table(name="paired-differences", caption=caption, columns=COLUMNS, rows=tuple(row for row in rows if row))


def _row(design: str, learner: str, other: str, own: Mapping[str, Mapping[int, Outcome]]) -> dict[str, Any] | None:
    both = [
        (own[learner][chip].test_error, own[other][chip].test_error)
        for chip in sorted(own[learner].keys() & own[other].keys())
    ]
    values = [a - b for a, b in both if a is not None and b is not None]
    if not values:
        return None
    mean, half = statistics.fmean(values), interval(values)
    return {
        "design": design,
        "learner": learner,
        "other": other,
        "chips": len(values),
        "difference": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
    }


def interval(values: list[float]) -> float | None:
    """Return half the width of Student's interval for the mean, at `LEVEL`; None for a single value."""
    if len(values) < 2:
        return None
    quantile = float(t.ppf(0.5 + LEVEL / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))
