"""What a dying chip knows can be taught: a student of a trained teacher learns, and no label is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from batches import FAST, LINES, TASK, blobs, make
from scipy.special import softmax
from tiny import load_tiny

from mortalsim import data
from mortalsim.checks import RangeError
from mortalsim.distill.transfer import Trained, distill, soft_targets
from mortalsim.experiments import transfer
from mortalsim.experiments.transfer import Transfer
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

WIDE = (12, 16, 16, 4)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", load_tiny)


@dataclass(frozen=True, kw_only=True)
class Fixed(Learner):
    """Answers with the same scores whatever it sees."""

    name: ClassVar[str] = "fixed"
    ports = ()
    scores: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def init(self, sheet, task, rng):
        return {}

    def step(self, chip, task, batch, state, rng):
        return state, {"loss": 0.0}

    def predict(self, chip, task, x, state):
        return np.tile(np.float32(self.scores), (len(x), 1))


@cache
def trained_teacher() -> Trained:
    chip, learner = make(WIDE, seed=8), LEARNERS.get("ap")(**FAST["ap"])
    result = train(chip, learner, blobs(), Streams(1), validate_every=0)
    return Trained(chip, learner, result.task, result.state)


@pytest.mark.parametrize("name", ["ff", "ap", "wp", "readout", "physics_aware"])
def test_students_of_a_trained_teacher_beat_students_of_one_that_knows_nothing(name):
    """Neither sees a label; the teacher and its students are different chips."""
    images, errors = blobs(), {}
    for kind, teacher in (("taught", trained_teacher()), ("told nothing", Trained(make(WIDE), Fixed(), TASK, {}))):
        student, learner = make(WIDE, seed=3), LEARNERS.get(name)(**FAST.get(name, {}))
        result = distill(teacher, student, learner, images.train_x, images.valid_x, Streams(3))
        assert result.task == TASK
        errors[kind] = error_rate(student, learner, TASK, images.valid_x, images.valid_y, result.state)
    assert errors["taught"] <= 0.1
    assert errors["told nothing"] >= 0.3


def test_a_student_agrees_with_its_teacher_also_where_that_is_wrong():
    """A teacher whose classes are shuffled teaches the shuffled ones: what it says is all that the student has."""

    class Shuffled(Trained):
        def scores(self, x, batch_size=100):
            return np.roll(super().scores(x, batch_size), 1, axis=1)

    teacher, found = trained_teacher(), blobs()
    shuffled = Shuffled(teacher.chip, teacher.learner, teacher.task, teacher.state)
    student, learner = make(WIDE, seed=2), LEARNERS.get("ap")(**FAST["ap"])
    result = distill(shuffled, student, learner, found.train_x, found.valid_x, Streams(3))
    assert error_rate(student, learner, TASK, found.valid_x, (found.valid_y + 1) % 4, result.state) <= 0.1
    last = result.history[-1].valid_error  # measured against the teacher's answers
    assert last is not None and last <= 0.1


def test_soft_targets_are_the_teacher_s_scores_softened():
    scores = (0.0, 1.0, 2.0, -1.0)
    teacher, x = Trained(make(), Fixed(scores=scores), TASK, {}), np.ones((3, 12), np.float32)
    for temperature in (1.0, 4.0, 0.5):
        found = soft_targets(teacher, x, temperature)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.tile(softmax(np.array(scores) / temperature), (3, 1)), rtol=1e-5)
    with pytest.raises(RangeError, match="temperature"):
        soft_targets(teacher, x, 0.0)


def test_a_teacher_is_read_once_an_image_and_never_written():
    teacher, found = trained_teacher(), blobs()
    reads, writes = teacher.chip.reads, teacher.chip.writes
    learner = LEARNERS.get("ap")(**FAST["ap"] | {"epochs": 1})
    distill(teacher, make(WIDE, seed=2), learner, found.train_x, found.valid_x, Streams(3))
    assert teacher.chip.reads == reads + 200 + 40 and teacher.chip.writes == writes


# --- the experiment -------------------------------------------------------------------------------------------------------

QUICK = {"hidden": (6,), "epochs_scale": 0.02, "jobs": 1}


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Teacher, student, learner, images and temperature of every distillation."""
    seen, real = [], transfer.distill

    def spy(teacher, student, learner, images, valid, streams, temperature, **more):
        seen.append((teacher, student, learner, images, temperature))
        return real(teacher, student, learner, images, valid, streams, temperature, **more)

    monkeypatch.setattr(transfer, "distill", spy)
    return seen


def test_transfer_s_pair_i_is_chips_2i_and_2i_plus_1(tiny, lessons):
    Transfer(designs=("mild",), students=("ap", "ff"), chips=2, **QUICK | {"seed": 4}).run()
    numbers = [(teacher.chip.streams, student.streams) for teacher, student, *_ in lessons]
    pairs = [tuple(Streams(4).child("chip", number) for number in pair) for pair in ((0, 1), (2, 3))]
    assert numbers == [pairs[0], pairs[0], pairs[1], pairs[1]]
    assert len({id(student) for _, student, *_ in lessons}) == 4  # each student is a fresh chip


def test_teacher_and_students_learn_different_images(tiny, lessons, monkeypatch: pytest.MonkeyPatch):
    taught, real = [], transfer.train
    monkeypatch.setattr(transfer, "train", lambda chip, learner, part, *rest, **more: (
        taught.append(part.train_x), real(chip, learner, part, *rest, **more))[1])  # fmt: skip
    Transfer(designs=("mild",), students=("ap",), chips=1, **QUICK).run()
    own, by_labels = ({row.tobytes() for row in x} for x in taught)
    ((_, _, _, images, _),) = lessons
    others = {row.tobytes() for row in images}
    assert others == by_labels and not own & others and len(own | others) == 40


def test_students_are_softened_as_their_teacher_is_or_both_are_not(tiny, lessons):
    Transfer(designs=("mild",), students=("ap", "ff"), chips=1, temperature=3, **QUICK).run()
    (_, _, first, _, soft), (_, _, second, _, plain) = lessons
    assert (first.temperature, soft) == (3, 3)
    assert plain == 1 and second == replace(LEARNERS.get("ff")(), epochs=second.epochs)  # draws labels one by one


def test_transfer_tells_of_teacher_copy_and_students(tiny):
    found = Transfer(designs=("ideal",), students=("readout",), teacher="readout", chips=1, hidden=(6,), jobs=1).run()
    rows = {row["role"]: row for row in found.rows}
    assert list(rows) == ["teacher", "weight copy", "readout, taught", "readout, labels"]
    teacher, copy = rows["teacher"], rows["weight copy"]
    assert teacher["agreement"] == 1
    # On ideal hardware a copy is the teacher; it has cost its pulses and no read.
    assert (copy["agreement"], copy["test_error"], copy["reads"]) == (1, teacher["test_error"], 0)
    assert copy["pulses"] == 0 and rows["readout, taught"]["pulses"] == 0
    assert rows["readout, taught"]["reads"] == 20 + 12
    for row in found.rows:
        assert row["test_error"] == np.mean(row["test_errors"]) and row["chips"] == 1
    by_labels = rows["readout, labels"]
    assert 1 - by_labels["agreement"] <= by_labels["test_error"] + teacher["test_error"] + 1e-9


def test_label_lines_reach_the_student_through_the_teacher_s_task():
    teacher = Trained(make(WIDE), Fixed(), TASK, {})
    learner = LEARNERS.get("ff")(epochs=1)
    result = distill(teacher, make(WIDE, seed=2), learner, blobs().train_x, blobs().valid_x, Streams(3))
    assert result.task.label_lines == LINES
