"""Step-size schedules: factors of a learner's rate by the progress of training. One function each."""

from __future__ import annotations


def half_linear(progress: float) -> float:
    """Return min(1, 2 (1 - p)): 1 for the first half of training, then linearly to 0.

    Source: Hinton's MATLAB for the Forward-Forward algorithm, ``ffnew.m`` lines 130-134, made continuous.

    Parameters
    ----------
    progress
        p, fraction of all training steps done before this one, from 0 to 1; `Batch.progress`.
    """
    return min(1.0, 2.0 * (1.0 - progress))
