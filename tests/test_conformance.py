"""Every learner found keeps its contract on a simulated chip, also when the chip lives in another process."""

import multiprocessing
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from mortalsim.checks import ChipFault, RangeError, ShapeError
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Chip, Port, Shrink, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.streams import Streams
from mortalsim.testing import NotConforming, RemoteChip, SeamOnly, check_chip, check_device, check_learner
from mortalsim.training import train

SIZES = (12, 8, 6, 4)


def make(name="mild", seed=3):
    return SimulatedChip(load_design(name).with_sizes(SIZES), seed)


@dataclass(frozen=True)
class Data:
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    classes: int = 4


def little_data():
    rng = np.random.default_rng(0)
    x, y = rng.random((24, SIZES[0]), dtype=np.float32), np.arange(24) % 4
    return Data(x[:16], y[:16], x[16:], y[16:])


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_found_conforms(name):
    check_learner(LEARNERS.get(name)(), make)


def test_check_learner_trains_a_chip_in_another_process():
    check_learner(LEARNERS.get("ff")(), make, elsewhere=True)


def changed_elsewhere():
    """A chip that is not the same individual in every process."""
    return make(seed=3 if multiprocessing.parent_process() is None else 4)


def test_check_learner_notices_that_another_process_has_another_chip():
    with pytest.raises(NotConforming, match="another process"):
        check_learner(LEARNERS.get("ff")(), changed_elsewhere, elsewhere=True)


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_says_what_it_is(name):
    kind = LEARNERS.get(name)
    assert kind.name == name
    assert LEARNERS.summary(name)
    assert "Parameters\n" in kind.__doc__


@pytest.mark.parametrize("name", ["ff", "ap", "wp"])
def test_a_chip_in_another_process_trains_to_the_same_bit(name):
    """Only the three members cross over; what is learned is what would have been learned here."""
    learner = replace(LEARNERS.get(name)(), epochs=2, batch_size=8)
    here = SeamOnly(make())
    with RemoteChip(make) as there:
        assert isinstance(there, Chip)
        assert [name for name in vars(RemoteChip) if not name.startswith("_")] == ["datasheet", "read", "write", "close"]
        one, two = (train(chip, learner, little_data(), Streams(5)) for chip in (here, there))
        x = little_data().valid_x
        np.testing.assert_array_equal(learner.predict(here, x, one.state), learner.predict(there, x, two.state))
    assert [record.info for record in one.history] == [record.info for record in two.history]
    assert [record.valid_error for record in one.history] == [record.valid_error for record in two.history]


def test_errors_of_a_remote_chip_are_raised_here():
    with RemoteChip(make) as there:
        with pytest.raises(ShapeError, match="x: expected shape"):
            there.read(np.zeros((1, 3)))
        with pytest.raises(RangeError, match="factor"):
            there.write(Shrink(0, 2.0))
        there._process.kill()
        there._process.join()
        with pytest.raises(ChipFault, match="has ended"):
            there.read(np.zeros((1, 12)))


# --- the checks themselves can fail -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Peeking(Learner):
    """Breaks one rule at a time."""

    name: ClassVar[str] = "peeking"
    ports: ClassVar[tuple[Port, ...]] = ()
    sin: str

    def init(self, datasheet, rng):
        return {"a": np.zeros(1)} if self.sin != "object" else {"a": np.array([{}], dtype=object)}

    def step(self, chip, batch, state, rng):
        if self.sin == "reach":
            chip.layers  # noqa: B018 - reaching is the point
        if self.sin == "port":
            chip.read(batch.x, WeightNudge(1, 0.1))
        return state, {"loss": np.nan if self.sin == "nan" else 0.0}

    def predict(self, chip, x, state):
        return chip.read(x).output[:, : 3 if self.sin == "shape" else 4]


@pytest.mark.parametrize(
    ("sin", "error"),
    [
        ("object", NotConforming),
        ("reach", AttributeError),
        ("port", RuntimeError),
        ("nan", NotConforming),
        ("shape", NotConforming),
    ],
)
def test_check_learner_finds_what_is_wrong(sin, error):
    with pytest.raises(error):
        check_learner(Peeking(sin=sin), make)


def test_check_learner_accepts_a_blameless_rule_and_sees_ports_not_refused():
    check_learner(Peeking(sin="none"), make)

    class Careless(Peeking):
        ports = (Port.TAPS,)

    with pytest.raises(NotConforming, match="accepts a chip without it"):
        check_learner(Careless(sin="none"), make)


class Backwards(SeamOnly):
    """Writes the opposite of what is asked."""

    def write(self, request):
        from mortalsim.hardware import Delta

        super().write(replace(request, matrix=-request.matrix) if isinstance(request, Delta) else request)


class Trusting(SeamOnly):
    """Reads whatever it is given."""

    def read(self, x, nudge=None):
        width = self.datasheet.n_inputs
        return super().read(np.nan_to_num(np.resize(np.atleast_2d(x), (max(len(x), 1), width))), nudge)


@pytest.mark.parametrize(("kind", "message"), [(Backwards, "raise all biases"), (Trusting, "accepted")])
def test_check_chip_finds_what_is_wrong(kind, message):
    with pytest.raises(NotConforming, match=message):
        check_chip(lambda: kind(make("ideal")))


def test_check_device_finds_what_is_wrong():
    from mortalsim.devices.soft_bounds import SoftBounds

    class Negative(SoftBounds):
        def down(self, u):
            return -u

    with pytest.raises(NotConforming, match="negative steps"):
        check_device(Negative())
