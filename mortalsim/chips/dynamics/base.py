"""What every dynamics is given, and what is checked of the timetable that it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias

from mortalsim.checks import ShapeError
from mortalsim.hardware import Answer

#: For each population that answers: (place of an array or name that a stage stands on, name of the source).
Feeds: TypeAlias = Mapping[str, Sequence[tuple[int | str, str]]]

#: Answers of one read, and arrays that they are given to.
MOST_ANSWERS: Final = 2**14


def check_timetable(kind: str, answers: Iterable[Answer], feeds: Feeds, inputs: Sequence[str]) -> tuple[Answer, ...]:
    """Return the timetable that a dynamics made.

    Raises
    ------
    ShapeError
        There are too many answers; or a population never answers, answers twice to one tick, without anything that feeds it
        or to one array twice, or uses a state that is not there before its wave.
    """
    timetable = tuple(islice(answers, MOST_ANSWERS + 1)) if isinstance(answers, Iterable) else (answers,)
    for answer in timetable:
        if not isinstance(answer, Answer) or answer.tick < 0:
            raise ShapeError(f"{kind}: expected a list of Answer with ticks from 0 on, found {answer!r} in it.")
    if sum(max(len(answer.via), 1) for answer in timetable) > MOST_ANSWERS:
        raise ShapeError(
            f"{kind}: expected at most {MOST_ANSWERS} answers in one read, to as many states of arrays, found "
            "more. Take fewer "
            "ticks, populations or arrays."
        )
    ready: dict[tuple[str, int], int] = {(name, 0): -1 for name in inputs}  # the wave in which each state appears
    wave = 0
    for answer in timetable:
        where = f"{kind}: {answer.population} at tick {answer.tick}"
        sources = dict(feeds.get(answer.population, ()))
        arrays = [use[0] if isinstance(use, tuple) and len(use) == 2 else None for use in answer.via]
        if answer.population not in feeds or not arrays or len(set(arrays)) < len(arrays):
            raise ShapeError(
                f"{where}: expected a population that answers and arrays that feed it, each once, found via = {answer.via}. "
                "Write pairs of an array's place and a tick; feed the population from below."
            )
        if answer.wave < wave or not 0 <= answer.keep < 1 or (answer.population, answer.tick) in ready:
            raise ShapeError(
                f"{where}: expected rising waves, keep from 0 to below 1 and each tick once, found wave {answer.wave} after "
                f"{wave} and keep {answer.keep}."
            )
        wave = answer.wave
        used = [(sources[array], at) for array, at in answer.via if array in sources]
        used += [(answer.population, answer.old)] if answer.keep else []
        missing = [state for state in used if ready.get(state, wave) >= wave]
        if missing or len(used) < len(answer.via):
            lacking = f"{missing[0][0]!r} at tick {missing[0][1]}" if missing else f"an array among {answer.via}"
            raise ShapeError(
                f"{where}: {lacking} is not there before wave {wave}. Put populations after those that feed them, "
                "or choose dynamics that read an array again later."
            )
        ready[answer.population, answer.tick] = wave
    silent = [name for name in feeds if (name, 0) not in ready]
    if silent:
        raise ShapeError(f"{kind}: {silent[0]!r} never answers at tick 0. Feed it from the inputs, directly or over others.")
    return timetable
