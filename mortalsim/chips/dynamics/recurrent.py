"""Recurrent: a pass from below, then ticks in which populations answer again to what is below and above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mortalsim.checks import check_name
from mortalsim.chips.dynamics.base import Feeds
from mortalsim.hardware import Answer

#: Ticks of one read after the first pass: what every population answers at each of them is kept until the read ends.
MOST_TICKS = 1000


def recurrent(
    order: Sequence[str],
    feeds: Feeds,
    inputs: Sequence[str],
    ticks: Annotated[int, Field(ge=0, le=MOST_TICKS)] = 6,
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    groups: Annotated[int, Field(ge=1, le=1024)] = 1,
    late: tuple[str, ...] = (),
) -> list[Answer]:
    """Return a first pass from below, and then ``ticks`` in which populations answer again, damped; inputs stay clamped.

    In the first pass a population answers to those that have answered already.

    Source: Hinton 2022 (Forward-Forward), section 3.4: new state = 0.3 old + 0.7 computed, all at once; the hierarchical
    variant lets even and odd layers take turns.

    Parameters
    ----------
    ticks
        Ticks after the first pass, in each of which a group answers.
    keep
        Share of the old state in the new one.
    groups
        1: all populations answer at once, each to the others' states of the tick before. g: every g-th in turn.
    late
        Inputs that join after the first pass: a label, say, that populations shall not know of before they have settled.
    """
    for name in late:
        check_name("late: input", name, inputs)
    answers, last, wave = [], dict.fromkeys((name for name in inputs if name not in late), 0), 0
    for wave, name in enumerate(order):
        via = tuple((array, 0) for array, source in feeds[name] if source in last)
        answers.append(Answer(name, 0, wave, via))
        last[name] = 0
    last |= dict.fromkeys(inputs, 0)
    for tick in range(1, ticks + 1):
        now = order[tick % groups :: groups]
        wave += bool(now)
        for name in now:
            via = tuple((array, last[source]) for array, source in feeds[name])
            answers.append(Answer(name, tick, wave, via, keep, last[name]))
        last.update(dict.fromkeys(now, tick))
    return answers
