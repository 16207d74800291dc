"""Training images may be moved by a few pixels, anew in every epoch: images alone, whatever is written over them later."""

from types import SimpleNamespace

import numpy as np
import pytest
from batches import RNG, make

from mortalsim.checks import RangeError, ShapeError
from mortalsim.hardware import Task
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.training import Session, train
from mortalsim.training.shifting import draw_shifts, shifted

TASK = Task(4, (8, 9, 10, 11), (2, 4), tuple(range(8)))


def data(n=60):
    x = RNG(0).random((n, 12), dtype=np.float32) + 0.5
    y = np.arange(n) % 4
    return SimpleNamespace(train_x=x, train_y=y, valid_x=x[:8], valid_y=y[:8], classes=4, task=TASK)


def test_an_image_is_moved_down_and_to_the_right_and_zeros_come_in():
    x = np.concatenate([np.arange(1, 9), [7, 7, 7, 7]]).astype(np.float32)[None]
    found = shifted(np.repeat(x, 4, axis=0), np.array([[0, 0], [1, 0], [0, 1], [-1, -2]]), TASK)
    pictures = found[:, :8].reshape(4, 2, 4).tolist()
    assert pictures[0] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert pictures[1] == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert pictures[2] == [[0, 1, 2, 3], [0, 5, 6, 7]]
    assert pictures[3] == [[7, 8, 0, 0], [0, 0, 0, 0]]
    assert (found[:, 8:] == 7).all()  # what is no image stays


def test_channels_move_together():
    task = Task(0, None, (3, 3, 2))
    x = RNG(1).random((5, 18), dtype=np.float32)
    found = shifted(x, np.full((5, 2), 1), task).reshape(5, 3, 3, 2)
    np.testing.assert_array_equal(found[:, 1:, 1:], x.reshape(5, 3, 3, 2)[:, :-1, :-1])


def test_all_shifts_are_equally_likely():
    """9 shifts in 90,000 draws, within 5 standard errors."""
    shifts = draw_shifts(RNG(0), 90_000, 1)
    counts = np.bincount((shifts + 1) @ [3, 1], minlength=9)
    assert counts.shape == (9,) and np.all(np.abs(counts - 10_000) < 5 * np.sqrt(10_000 * 8 / 9))


def presented(shift, steps=6):
    """Return what a learner is handed in two epochs, sorted by what tells samples apart, and the session."""
    seen = []

    class Watching(type(LEARNERS.get("mono")())):
        def step(self, chip, task, batch, state, rng):
            seen.append(batch.x)
            return super().step(chip, task, batch, state, rng)

    session = Session(make(), Watching(epochs=2, batch_size=20), data(), Streams(3), shift=shift)
    session.steps(steps)
    return [np.concatenate(seen[k : k + 3]) for k in (0, 3)], session


def test_every_epoch_moves_every_image_anew_and_the_shuffle_stays():
    (first, second), _ = presented(1)
    (plain, again), _ = presented(0)
    assert not np.array_equal(first, plain) and not np.array_equal(second, again)
    np.testing.assert_array_equal(first[:, 8:], plain[:, 8:])
    still = (first == plain).all(axis=1).mean()
    assert still < 0.4  # one in nine is not moved


def test_a_session_goes_on_inside_an_epoch_with_the_same_shifts():
    _, whole = presented(1)
    _, half = presented(1, steps=4)
    other = Session(half.chip, half.learner, data(), Streams(3), shift=1)
    other.restore(half.state())
    other.steps(2)
    for name, value in whole.learned.items():
        np.testing.assert_array_equal(value, other.learned[name])
    assert whole.identity() != Session(make(), half.learner, data(), Streams(3)).identity()


@pytest.mark.parametrize(
    ("task", "shift", "message"),
    [
        (
            Task(4, (8, 9, 10, 11)),
            1,
            r"shift: expected samples that are images of \(height, width\), found image_shape = None",
        ),
        (TASK, 2, "shift: expected less than the 2 pixels of an image's shorter side, found 2"),
    ],
    ids=["no image", "too far"],
)
def test_what_cannot_be_moved_is_refused(task, shift, message):
    own = data()
    own.task = task
    with pytest.raises(ShapeError, match=message):
        train(make(), LEARNERS.get("mono")(), own, Streams(0), shift=shift)


def test_a_shift_is_a_whole_number():
    with pytest.raises(RangeError, match="shift"):
        train(make(), LEARNERS.get("mono")(), data(), Streams(0), shift=-1)
