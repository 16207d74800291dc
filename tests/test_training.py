"""The loop: what it reports, what stops it, and that a resumed run is the same run."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from batches import LINES, SIZES
from fakes import IdealChip, make_datasheet
from nets import net

from mortalsim.checks import ChipFault, OutputError, RangeError, RunError, ShapeError
from mortalsim.hardware import Task
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.training import Checkpoint, Hooks, error_rate, train


def data(**kw):
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 12), dtype=np.float32), np.arange(50) % 4
    fields = {"train_x": x[:40], "train_y": y[:40], "valid_x": x[40:], "valid_y": y[40:], "classes": 4}
    return SimpleNamespace(**fields | {"label_lines": LINES} | kw)


def make(noise=0.1):
    return IdealChip(make_datasheet(SIZES), 1, noise)


def learner(name="ff", **kw):
    return LEARNERS.get(name)(**{"epochs": 4, "batch_size": 8} | kw)


def checkpoint(path, chip):
    return Checkpoint(path, chip.save, chip.load, patience=0)


@pytest.fixture(autouse=True)
def every_step_is_kept(monkeypatch):
    monkeypatch.setattr("mortalsim.training.checkpoint.SHARE", 0)


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
    others = [
        (learner(rate=0.5), Streams(7), data(), "rate"),
        (learner(), Streams(8), data(), "seed"),
        (learner(), Streams(7).child("b"), data(), "streams is"),
        (learner("ap"), Streams(7), data(), "learner"),
        (learner(), Streams(7), data(label_lines=(0, 1, 2, 3)), "label_lines"),
        (learner(), Streams(7), data(train_x=data().train_x[:36], train_y=data().train_y[:36]), "training data"),
    ]
    for rule, streams, samples, what in others:
        with pytest.raises(RunError, match=f"of another training: .*{what}"):
            train(chip, rule, samples, streams, checkpoint=checkpoint(path, chip))
    path.write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"a.safetensors: .* Delete a.safetensors and a.before.safetensors to begin"):
        train(chip, learner(), data(), Streams(7), checkpoint=checkpoint(path, chip))


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone"])
def test_the_state_before_the_newest_is_used_where_that_is_damaged(damage, tmp_path):
    """And training goes on from there to the same bits; without one before it, a damaged file is refused."""
    whole, broken, path = make(), make(), tmp_path / "a.safetensors"
    straight = train(whole, learner("ap"), data(), Streams(7))
    with pytest.raises(Stop):
        train(broken, learner("ap"), data(), Streams(7), checkpoint=checkpoint(path, broken), on_epoch=stop_after(2))
    content = path.read_bytes()
    place = len(content) - 5  # within the last array
    damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flipped": damaged, "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    resumed, steps = make(), []
    hooks = Hooks(on_step=lambda session: steps.append(session.done))
    kept = checkpoint(path, resumed)
    result = train(resumed, learner("ap"), data(), Streams(7), checkpoint=kept, hooks=hooks)
    assert result.history == straight.history and steps == list(range(10, 21))  # step 10 was in the newest state alone
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    path.write_bytes(damaged)
    with pytest.raises(RunError, match=r"a.safetensors: it is cut off or damaged"):
        train(make(), learner("ap"), data(), Streams(7), checkpoint=checkpoint(path, make()))


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
        train(chip, learner(), data(), Streams(7), checkpoint=Checkpoint(path, fail, chip.load, 0))
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
    bad = [(2 * soft, "sum to 1"), (np.arange(40), "labels from 0 to 3"), (np.arange(30) % 4, r"\(N,\) = \(40,\)")]
    for y, error in bad:
        with pytest.raises((RangeError, ShapeError), match=error):
            train(make(), learner(), data(train_y=y), Streams(1))
    with pytest.raises(ShapeError, match="train_x"):
        train(make(), learner(), data(train_x=np.ones((40, 11))), Streams(1))


@pytest.mark.parametrize("name", ["ff", "ap", "wp", "readout", "physics_aware"])
def test_chip_that_breaks_stops_training_in_words(name):
    chip = make()
    whole = chip.read

    def read(x, nudge=None, want="taps"):
        trace = whole(x, nudge, want)
        if chip.reads > 100:
            for array in (trace.output, *(state for states in trace.states.values() for state in states.values())):
                array[:] = np.nan
        return trace

    chip.read = read
    with pytest.raises(ChipFault, match=rf"{name}, epoch \d of 4, step \d of 5: loss became nan.*`rate` ten times smaller"):
        train(chip, learner(name), data(), Streams(1), validate_every=0)


def test_divergence_stops_training_in_words():
    class Diverging(Count):
        def step(self, chip, task, batch, state, rng):
            state, _ = super().step(chip, task, batch, state, rng)
            return state, {"loss": np.inf if batch.progress > 0.5 else 1.0}

    with pytest.raises(ChipFault, match=r"count, epoch 2 of 2, step 2 of 3: loss became inf. .* a `rate` ten times smaller"):
        train(make(), Diverging(), data(), Streams(1))


def test_prediction_that_is_not_a_number_is_not_counted_as_an_answer():
    chip, rule = make(), learner("ap")
    chip.weights[2][:] = np.nan
    with pytest.raises(ChipFault, match="ap: predicted nan"):
        error_rate(chip, rule, Task(4), data().valid_x, data().valid_y, {})


def test_error_raised_by_the_chip_is_told_where_it_happened():
    chip = make()

    def broken(x, nudge=None, want="taps"):
        raise ChipFault("gave NaN")

    chip.read = broken
    with pytest.raises(ChipFault, match="ap, epoch 1 of 4, step 1 of 5: gave NaN"):
        train(chip, learner("ap"), data(), Streams(1))


@dataclass(frozen=True, kw_only=True)
class Count(Learner):
    """Learns nothing, and keeps what it is given."""

    name: ClassVar[str] = "count"
    ports = ()
    epochs: int = 2
    batch_size: int = 12

    def init(self, sheet, task, rng):
        return {name: np.zeros(0) for name in ("seen", "sizes", "progress", "final", "targets")}

    def step(self, chip, task, batch, state, rng):
        targets = [] if batch.targets is None else batch.targets.argmax(axis=1)
        now = {"seen": batch.x[:, 0], "sizes": len(batch.x), "progress": batch.progress, "final": batch.final}
        return {name: np.append(state[name], value) for name, value in (now | {"targets": targets}).items()}, {"loss": 0.0}

    def predict(self, chip, task, x, state):
        return np.tile(np.eye(task.classes)[-1], (len(x), 1))


def numbered():
    """Samples that carry their own number."""
    return np.tile(np.arange(40, dtype=np.float32)[:, None], (1, 12))


class Changing(type(LEARNERS.get("mono")())):
    """Reports its progress at every step, and something else in the first half alone."""

    def step(self, chip, task, batch, state, rng):
        state, info = super().step(chip, task, batch, state, rng)
        early = {"early": 10 * batch.progress + 1} if batch.progress < 0.5 else {}
        return state, info | {"progress": batch.progress} | early


def test_what_is_reported_now_and_then_has_the_mean_of_the_steps_that_report_it(tmp_path):
    """Five steps an epoch, three epochs: of the second, three steps report. A run that was cut off there says the same."""

    def cut(session):
        if session.done == 8:
            raise Stop

    rule = Changing(epochs=3, batch_size=8)
    whole = train(make(), rule, data(), Streams(1)).history
    assert [record.info.get("early") for record in whole] == pytest.approx([1 + 10 * 2 / 15, 1 + 10 * 6 / 15, None])
    assert whole[1].info["progress"] == pytest.approx(7 / 15)
    chip = make()
    with pytest.raises(Stop):
        train(chip, rule, data(), Streams(1), checkpoint=checkpoint(tmp_path / "run", chip), hooks=Hooks(cut))
    chip = make()
    again = train(chip, rule, data(), Streams(1), checkpoint=checkpoint(tmp_path / "run", chip)).history
    assert list(again) == list(whole) and list(whole[0].info) == ["loss", "progress", "early"]


def test_batches_are_near_equal_and_cover_every_sample():
    state = train(make(), Count(), data(train_x=numbered()), Streams(1)).state
    first, second = np.split(state["seen"], 2)
    assert sorted(first) == sorted(second) == list(range(40))
    assert not np.array_equal(first, second)  # every epoch has an order of its own
    np.testing.assert_array_equal(state["targets"], state["seen"] % 4)  # labels stay with their samples
    assert set(state["sizes"]) == {13, 14}
    np.testing.assert_allclose(state["progress"], np.arange(6) / 6)
    np.testing.assert_array_equal(state["final"], np.arange(6) == 5)
    (whole,) = train(make(), Count(epochs=1, batch_size=100), data(), Streams(1)).state["sizes"]
    assert whole == 40  # a batch size beyond the samples takes them all


def test_samples_that_nobody_has_labelled_reach_the_rule_without_targets():
    unlabelled = data(train_x=numbered(), train_y=None, valid_y=None, classes=0, label_lines=None)
    result = train(make(), Count(), unlabelled, Streams(1), validate_every=1)
    assert sorted(result.state["seen"]) == sorted([*range(40)] * 2) and not result.state["targets"].size
    assert result.task == Task(0) and [record.valid_error for record in result.history] == [None, None]
    with pytest.raises(ShapeError, match="readout: expected a task of at least 2 classes, found 0"):
        train(make(), learner("readout"), unlabelled, Streams(1))


def test_without_validation_labels_nothing_is_read_for_validation():
    chip, rule = make(), learner("ap", epochs=2, probes=1)
    history = train(chip, rule, data(valid_y=None), Streams(1), validate_every=1).history
    assert [record.valid_error for record in history] == [None, None]
    assert chip.reads == 2 * 40 * 2
    counted = train(make(), Count(), data(train_y=None), Streams(1), validate_every=1)  # labels for validation alone
    assert [record.valid_error for record in counted.history] == [0.8, 0.8]  # 2 of 10 are of the last class


def test_a_chip_without_an_output_trains_and_is_validated():
    chip = IdealChip(net("headless").datasheet(), 1, 0.1)
    result = train(chip, learner("readout", epochs=2), data(), Streams(1), validate_every=1)
    assert all(0 <= record.valid_error < 0.75 for record in result.history)  # guessing is wrong on 3 of 4
    assert result.task == Task(4, LINES)
    with pytest.raises(ShapeError, match="ap needs an output, which the design 'headless' lacks"):
        train(chip, learner("ap"), data(), Streams(1))


def test_the_task_is_that_of_the_data():
    whole = Task(4, LINES, (2, 4), tuple(range(8)))
    named = data(image_shape=(2, 4), image_lines=tuple(range(8)))
    assert train(make(), Count(epochs=1), named, Streams(1)).task == whole
    assert train(make(), Count(epochs=1), data(task=whole), Streams(1)).task is whole


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("valid_x", np.zeros((0, 12)), "valid_x: expected shape"),
        ("valid_y", np.zeros(3, int), r"valid_y: expected shape \(N,\) = \(2,\)"),
        ("train_y", np.full(4, 0.5), "train_y: expected whole numbers"),
        ("classes", 7, "classes: expected as many as the output 'out' has neurons = 4, found 7"),
        ("train_y", np.full((4, 3), 1 / 3), r"train_y: expected shape \(N, classes\)"),
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
