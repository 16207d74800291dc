"""Feed-forward: each population answers once, as soon as all that feed it have."""

from __future__ import annotations

from collections.abc import Sequence

from mortalsim.chips.dynamics.base import Feeds
from mortalsim.hardware import Answer


def feedforward(order: Sequence[str], feeds: Feeds, inputs: Sequence[str]) -> list[Answer]:
    """Return one answer a population; its wave is its depth."""
    depth, answers = dict.fromkeys(inputs, -1), []
    for name in order:
        depth[name] = 1 + max((depth.get(source, -1) for _, source in feeds[name]), default=-1)
        answers.append(Answer(name, 0, depth[name], tuple((array, 0) for array, _ in feeds[name])))
    return sorted(answers, key=lambda answer: answer.wave)
