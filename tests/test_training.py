"""The loop: what it reports, what stops it, and that a resumed run is the same run."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from fakes import IdealChip, make_datasheet

from mortalsim.checks import ChipFault, DesignError, OutputError, RangeError, ShapeError
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, error_rate, train

SIZES = (12, 8, 6, 4)


def data(**kw):
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 12), dtype=np.float32), np.arange(50) % 4
    return SimpleNamespace(**{"train_x": x[:40], "train_y": y[:40], "valid_x": x[40:], "valid_y": y[40:], "classes": 4} | kw)


def make(noise=0.1):
    return IdealChip(make_datasheet(SIZES), 1, noise)


def learner(name="ff", **kw):
    return LEARNERS.get(name)(**{"epochs": 4, "batch_size": 8} | kw)


def checkpoint(path, chip):
    return Checkpoint(path, chip.save, chip.load)


class Stop(Exception):
    pass


def stop_after(epoch):
    def on_epoch(record):
        if record.epoch == epoch:
            raise Stop

    return on_epoch


@pytest.mark.parametrize("name", LEARNERS.names())
def test_resumed_run_is_bit_identical(name, tmp_path):
    rule = learner(name)
    whole = make()
    straight = train(whole, rule, data(), Streams(7), validate_every=2)
    broken = make()
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        kept = checkpoint(path, broken)
        train(broken, rule, data(), Streams(7), validate_every=2, checkpoint=kept, on_epoch=stop_after(2))
    resumed = make()  # a fresh process would start from a fresh chip
    result = train(resumed, rule, data(), Streams(7), validate_every=2, checkpoint=checkpoint(path, resumed))
    assert result.history == straight.history
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert result.state.keys() == straight.state.keys()
    assert all(np.array_equal(result.state[key], straight.state[key]) for key in result.state)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


def test_finished_run_is_not_run_again(tmp_path):
    chip = make()
    kept = checkpoint(tmp_path / "a.safetensors", chip)
    first = train(chip, learner(), data(), Streams(7), checkpoint=kept)
    reads = chip.reads
    assert train(chip, learner(), data(), Streams(7), checkpoint=kept).history == first.history
    assert chip.reads == reads


def test_checkpoint_of_another_run_is_refused(tmp_path):
    chip = make()
    path = tmp_path / "a.safetensors"
    train(chip, learner(), data(), Streams(7), checkpoint=checkpoint(path, chip))
    for rule, seed, what in [(learner(rate=0.5), 7, "rate"), (learner(), 8, "seed"), (learner("ap"), 7, "learner")]:
        with pytest.raises(DesignError, match=f"of another run: {what}"):
            train(chip, rule, data(), Streams(seed), checkpoint=checkpoint(path, chip))
    path.write_bytes(b"no tensors")
    with pytest.raises(DesignError, match="cannot be read"):
        train(chip, learner(), data(), Streams(7), checkpoint=checkpoint(path, chip))


def test_unwritable_checkpoint_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        train(make(), learner(), data(), Streams(7), checkpoint=checkpoint(tmp_path / "no" / "a.safetensors", make()))


def test_failed_save_leaves_the_old_checkpoint(tmp_path):
    chip, path = make(), tmp_path / "a.safetensors"
    with pytest.raises(Stop):
        train(chip, learner(), data(), Streams(7), checkpoint=checkpoint(path, chip), on_epoch=stop_after(2))
    old = path.read_bytes()

    def fail():
        raise Stop

    with pytest.raises(Stop):
        train(chip, learner(), data(), Streams(7), checkpoint=Checkpoint(path, fail, chip.load))
    assert path.read_bytes() == old


def test_validation_is_rare_cheap_and_counted():
    chip, rule = make(), learner("ap", epochs=6, probes=1)
    result = train(chip, rule, data(), Streams(1), validate_every=4, validate_samples=5)
    assert [record.valid_error is not None for record in result.history] == [False, False, False, True, False, True]
    assert chip.reads == 6 * 40 * 2 + 2 * 5
    assert [record.epoch for record in result.history] == [1, 2, 3, 4, 5, 6]
    chip = make()
    assert all(record.valid_error is None for record in train(chip, rule, data(), Streams(1), validate_every=0).history)
    assert chip.reads == 6 * 40 * 2


def test_soft_targets_pass_and_bad_data_is_named():
    soft = np.full((40, 4), 0.25, np.float32)
    assert len(train(make(), learner("ap"), data(train_y=soft), Streams(1)).history) == 4
    hard = one_hot(np.arange(40) % 4, 4)
    same = [train(make(), learner("ap"), data(train_y=y), Streams(1)).history for y in (hard, np.arange(40) % 4)]
    assert same[0] == same[1]
    bad = [(2 * soft, "sum to 1"), (np.arange(40), "labels from 0 to 3"), (np.arange(30) % 4, "expected 40 labels")]
    for y, error in bad:
        with pytest.raises(RangeError, match=error):
            train(make(), learner(), data(train_y=y), Streams(1))
    with pytest.raises(ShapeError, match="train_x"):
        train(make(), learner(), data(train_x=np.ones((40, 11))), Streams(1))


@pytest.mark.parametrize("name", ["ff", "ap", "wp", "readout", "physics_aware"])
def test_chip_that_breaks_stops_training_in_words(name):
    chip = make()
    whole = chip.read

    def read(x, nudge=None):
        trace = whole(x, nudge)
        if chip.reads > 100:
            for array in (trace.output, *(tap.post for tap in trace.taps)):
                array[:] = np.nan
        return trace

    chip.read = read
    with pytest.raises(ChipFault, match=rf"{name}, epoch \d of 4, step \d of 5: loss became nan.*`rate` ten times smaller"):
        train(chip, learner(name), data(), Streams(1), validate_every=0)


def test_divergence_stops_training_in_words():
    chip = IdealChip(make_datasheet(SIZES, weight_range=np.inf), 1)
    with pytest.raises(ChipFault, match=r"insilico, epoch 1 of 4, step \d of 5: loss became"):
        train(chip, learner("insilico", rate=1e38), data(), Streams(1))


def test_prediction_that_is_not_a_number_is_not_counted_as_an_answer():
    chip, rule = make(), learner("ap")
    chip.weights[2][:] = np.nan
    with pytest.raises(ChipFault, match="ap: predicted nan"):
        error_rate(chip, rule, data().valid_x, data().valid_y, {})


def test_error_raised_by_the_chip_is_told_where_it_happened():
    chip = make()

    def broken(x, nudge=None):
        raise ChipFault("gave NaN")

    chip.read = broken
    with pytest.raises(ChipFault, match="ap, epoch 1 of 4, step 1 of 5: gave NaN"):
        train(chip, learner("ap"), data(), Streams(1))


def test_batches_are_near_equal_and_cover_every_sample():
    @dataclass(frozen=True, kw_only=True)
    class Count(Learner):
        name: ClassVar[str] = "count"
        ports: ClassVar[tuple] = ()
        epochs: int = 2
        batch_size: int = 12

        def init(self, datasheet, rng):
            return {"seen": np.zeros(40), "sizes": np.zeros(0), "progress": np.zeros(0)}

        def step(self, chip, batch, state, rng):
            seen = state["seen"] + (batch.x[:, :1] == np.arange(40)).sum(axis=0)
            sizes, progress = np.append(state["sizes"], len(batch.x)), np.append(state["progress"], batch.progress)
            return {"seen": seen, "sizes": sizes, "progress": progress}, {"loss": 0.0}

        def predict(self, chip, x, state):
            return np.zeros((len(x), 4))

    x = np.tile(np.arange(40, dtype=np.float32)[:, None], (1, 12))
    state = train(make(), Count(), data(train_x=x), Streams(1)).state
    assert np.all(state["seen"] == 2)
    assert set(state["sizes"]) == {13, 14}
    np.testing.assert_allclose(state["progress"], np.arange(6) / 6)
    assert replace(Count(), batch_size=100).batch_size == 100


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("valid_x", np.zeros((0, 12)), "valid_x: expected shape"),
        ("valid_y", np.zeros(3, int), r"valid_y: expected shape \(M,\)"),
        ("train_y", np.zeros(4), "train_y: expected whole numbers"),
        ("classes", 7, "classes: expected the chip's n_outputs = 4, found 7"),
    ],
)
def test_data_that_does_not_fit_is_named(field, value, message):
    fields = {
        "train_x": np.zeros((4, 12)),
        "train_y": np.zeros(4, int),
        "valid_x": np.zeros((2, 12)),
        "valid_y": np.zeros(2, int),
    }
    data = SimpleNamespace(**({"classes": 4} | fields | {field: value}))
    with pytest.raises(ValueError, match=message):
        train(IdealChip(make_datasheet((12, 8, 4)), 0), LEARNERS.get("wp")(), data, Streams(0))
