"""Paired differences and recall: worked out again by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mortalsim.experiments._differences import interval, paired_differences
from mortalsim.experiments._trial import Outcome
from mortalsim.training import confusion, error_of, recall_of


def outcome(error: float | None) -> Outcome:
    return Outcome(error, None, 1, 2, 3.0, 4.0, (), ())


def test_differences_are_taken_chip_by_chip_with_student_s_interval():
    a, b = {0: 0.10, 1: 0.20, 2: 0.40, 4: 0.9}, {2: 0.30, 0: 0.05, 1: 0.20, 3: 0.7}
    groups = {("mild", "ff"): {k: outcome(v) for k, v in a.items()}, ("mild", "ap"): {k: outcome(v) for k, v in b.items()}}
    groups[("wild", "ff")] = {0: outcome(0.5)}
    (row,) = paired_differences(groups).rows
    assert (row["design"], row["learner"], row["other"], row["chips"]) == ("mild", "ff", "ap", 3)
    right = ttest_rel([0.10, 0.20, 0.40], [0.05, 0.20, 0.30]).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(0.05)
    assert (row["low"], row["high"]) == (pytest.approx(right.low), pytest.approx(right.high))


def test_one_chip_has_a_difference_without_an_interval_and_unlabelled_ones_have_none():
    groups = {("mild", name): {0: outcome(error)} for name, error in (("ff", 0.2), ("ap", 0.5), ("wp", None))}
    (row,) = paired_differences(groups).rows
    assert (row["difference"], row["low"], row["high"]) == (pytest.approx(-0.3), None, None)
    assert interval([1.0]) is None


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.3, 2.0, (4000, 5))
    covered = [abs(np.mean(row) - 0.3) <= interval(list(row)) for row in draws]
    assert abs(np.mean(covered) - 0.95) < 0.012


def test_recall_is_by_label_and_error_over_all():
    class Fixed:
        name = "fixed"

        def predict(self, chip, task, x, state):
            return np.eye(3)[x[:, 0].astype(int)]

    task = type("Task", (), {"classes": 3})
    chip = type("Chip", (), {"datasheet": type("Sheet", (), {"n_inputs": 2})})
    x = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    counts = confusion(chip, Fixed(), task, x, np.array([0, 1, 1, 1, 0]), {})
    assert counts.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]  # row the label, column the answer
    assert recall_of(counts) == (0.5, pytest.approx(2 / 3), None) and error_of(counts) == pytest.approx(0.4)
