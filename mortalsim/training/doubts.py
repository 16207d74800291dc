"""Doubts about what was learned: each is a sentence that says what was seen, the likely cause, and what to do.

A doubt stops nothing. It sees what anybody can see: the data, the data sheet, losses and answers, never the inside of a
chip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.stats import binom

from mortalsim.checks import FloatArray
from mortalsim.hardware import Datasheet

#: Probability that somebody who always gives the most frequent answer is taken for one that has learned.
LEVEL: Final = 0.01

#: Share of a guesser's loss above which nothing was learned. Healthy runs end below a tenth of it.
FLAT: Final = 0.98

#: Epochs of loss that are looked at, and how many there must be before anything is said.
RECENT: Final = 3

#: Share of images with ink under the label, of entries clipped, above which it is said; shipped designs and data stay below.
INKED, CLIPPED = 0.05, 0.05

#: How much larger, or smaller, inputs may be than those trained on.
RATIO: Final = 10.0

#: Samples that are looked at.
SOME: Final = 1000

_RATE = "The likely cause is a step size that does not suit chip and data: try a `rate` ten times smaller, then larger."


def flat_loss(losses: Sequence[float], guessing: float | None) -> str | None:
    """Doubt a loss that stays where guessing has it.

    Parameters
    ----------
    losses
        One an epoch.
    guessing
        Loss of who gives every class the same chance, in the learner's own units; None: nobody knows.
    """
    if guessing is None or len(losses) < RECENT or min(losses[-RECENT:]) < FLAT * guessing:
        return None
    return f"the loss of the last {RECENT} epochs is {losses[-1]:.3g}, that of guessing is {guessing:.3g}. {_RATE}"


def one_answer(counts: np.ndarray, where: str) -> str | None:
    """Doubt answers that are all of one class, though the labels are not; ``counts`` as `confusion` gives them."""
    given, wanted = counts.sum(axis=0), counts.sum(axis=1)
    if np.count_nonzero(given) != 1 or np.count_nonzero(wanted) < 2:
        return None
    return f"every one of {counts.sum()} answers on {where} is class {int(given.argmax())}. {_RATE}"


def like_guessing(counts: np.ndarray, where: str) -> str | None:
    """Doubt an error that is no better than that of always giving the most frequent class.

    One-sided binomial test at `LEVEL`: of runs that guess, at least 99 in 100 are doubted. Nobody is whose error is less
    than half that of guessing, however few the samples.
    """
    samples, most = int(counts.sum()), int(counts.sum(axis=1).max(initial=0))
    right = int(np.trace(counts))
    if (
        not samples
        or most == samples
        or 2 * (samples - right) < samples - most
        or binom.sf(right - 1, samples, most / samples) < LEVEL
    ):
        return None
    cause = (
        _RATE if most <= 0.7 * samples else "The likely cause is that one class is rare: look at the recall of each class."
    )
    return (
        f"the error on {where} is {1 - right / samples:.1%} of {samples} samples, and always giving the most frequent class "
        f"makes {1 - most / samples:.1%}. {cause}"
    )


def ink_under_the_label(x: FloatArray, lines: Sequence[int] | None) -> str | None:
    """Doubt label lines that carry something of the images ``x`` (N, n_inputs)."""
    if not lines:
        return None
    some = x[: 60 * SOME, list(lines)]
    usual, span = np.median(some, axis=0), float(np.ptp(x[:SOME]))
    share = float((np.abs(some - usual) > 0.05 * span).any(axis=1).mean()) if span else 0.0
    if share <= INKED:
        return None
    return (
        f"the label is written over inputs that vary: {share:.0%} of the images have ink on the label lines "
        f"{list(lines)[:4]}..., which the label destroys. Choose lines that hardly vary as label_lines, or a "
        "design with an input for the label."
    )


def clipped(x: FloatArray, sheet: Datasheet) -> str | None:
    """Doubt inputs ``x`` (N, n_inputs) of which the input converters, by the data sheet, clip a large share."""
    worst, at = 0.0, None
    for spec in sheet.arrays:
        if spec.source not in sheet.inputs or not spec.input_range:
            continue
        first, last = sheet.span(spec.source)
        v = np.asarray(x[:SOME, first:last], np.float64)
        if (
            spec.normaliser != "none"
        ):  # one that stands at each block is taken for one at the source: a little less is clipped
            v = v / (np.sqrt(np.mean(v * v, axis=-1, keepdims=True)) + 1e-6)
        beyond = (np.abs(v) > spec.input_range) | (v < 0 if spec.unipolar else False)
        share = float(beyond.sum() / max(np.count_nonzero(v), 1))
        if share > worst:
            worst, at = share, spec
    if at is None or worst <= CLIPPED:
        return None
    low = 0 if at.unipolar else -at.input_range
    return (
        f"{worst:.0%} of the inputs that are not zero are clipped by the converters of {at.source!r}, which "
        f"carry {low:g} to "
        f"{at.input_range:g}. Scale the data, or widen input_range in the design."
    )


def other_scale(trained: FloatArray, met: FloatArray, where: str) -> str | None:
    """Doubt samples whose size is another than that of those trained on: 0 to 255 instead of 0 to 1, say."""
    old, new = size_of(trained), size_of(met)
    if not old or not new or 1 / RATIO < new / old < RATIO:
        return None
    return (
        f"samples of {where} are of another scale than those trained on: root mean square {new:.3g}, {old:.3g} in training. "
        "Scale both alike; divide pixels from 0 to 255 by 255."
    )


def label_lost(x: FloatArray, strength: float) -> str | None:
    """Doubt inputs ``x`` beside which a label's line, which carries ``strength``, is next to nothing."""
    size = size_of(x)
    if not strength or size < RATIO * strength:
        return None
    return (
        f"inputs are large, root mean square {size:.3g}, beside the label's line, which carries {strength:g}. Raise "
        "label_strength."
    )


def size_of(x: FloatArray) -> float:
    """Return the root mean square of up to `SOME` samples, spread over all."""
    some = np.asarray(x[:: max(1, len(x) // SOME)], np.float64)
    return math.sqrt(float(np.mean(some * some))) if some.size else 0.0
