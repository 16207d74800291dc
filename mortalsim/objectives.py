"""What learners try to improve: values, and derivatives with respect to the chip's output only."""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray, check_labels, check_whole


def cross_entropy(logits: FloatArray, targets: FloatArray, temperature: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Cross-entropy of softened outputs against target distributions, times ``temperature**2``.

    The factor keeps the derivative's size as the temperature changes (Hinton, Vinyals and Dean 2015, section 2).

    Parameters
    ----------
    logits
        (B, classes).
    targets
        (B, classes), rows that sum to 1: one-hot labels or a teacher's soft targets.
    temperature
        Above 1 softens the outputs, below 1 sharpens them; the targets are taken as they are.

    Returns
    -------
    loss
        (B,), in nats.
    slope
        (B, classes), derivative of each sample's loss with respect to its logits.
    """
    shifted = logits / temperature
    shifted -= shifted.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=-1, keepdims=True)
    loss = temperature**2 * (np.log(total[..., 0]) - np.einsum("...c,...c->...", targets, shifted))
    return loss, temperature * (powers / total - targets)


def goodness(post: FloatArray) -> FloatArray:
    """Sum of squared activities, (B, n) to (B,) (Hinton 2022, section 2)."""
    return np.asarray(np.einsum("...n,...n->...", post, post))


def one_hot(labels: np.ndarray, classes: int) -> FloatArray:
    """Turn labels (B,), whole numbers from 0 to ``classes - 1``, into rows of 0 and 1, (B, classes).

    Raises
    ------
    ShapeError, RangeError
        As `checks.check_labels`.
    """
    classes = check_whole("classes", classes, 1, 10**6)
    labels = check_labels("labels", labels, classes)
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows
