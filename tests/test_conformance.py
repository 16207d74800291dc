"""Every learner found keeps its contract on a simulated chip, also when the chip lives in another process."""

import functools
import multiprocessing
from dataclasses import dataclass, replace
from typing import ClassVar

import numba
import numpy as np
import pytest
from batches import LINES, SIZES
from nets import NETS, net

from mortalsim.checks import ChipFault, MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Answer, Chip, CurrentNudge, Delta, Overlaid, Port, Shrink, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.streams import Streams
from mortalsim.testing import NotConforming, RemoteChip, SeamOnly, check_chip, check_device, check_learner
from mortalsim.training import train


def make(name="mild", seed=3):
    return SimulatedChip(load_design(name).with_sizes(SIZES), seed)


def make_net(kind, seed=3):
    # Programming devices pulse by pulse takes minutes in plain Python; ideal ones take every change at once.
    return SimulatedChip(net(kind, "ideal" if numba.config.DISABLE_JIT else "mild"), seed)


@dataclass(frozen=True)
class Data:
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    classes: int = 4
    label_lines: tuple[int, ...] = LINES


def little_data():
    rng = np.random.default_rng(0)
    x, y = rng.random((24, SIZES[0]), dtype=np.float32), np.arange(24) % 4
    return Data(x[:16], y[:16], x[16:], y[16:])


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_found_conforms(name):
    check_learner(LEARNERS.get(name)(), make)


@pytest.mark.parametrize("name", LEARNERS.names())
@pytest.mark.parametrize("kind", [kind for kind in NETS if kind != "headless"])
def test_every_learner_conforms_on_chips_that_are_no_chains(kind, name):
    check_learner(LEARNERS.get(name)(), functools.partial(make_net, kind), steps=2)


@pytest.mark.parametrize("name", ["ff", "readout"])
def test_learners_that_need_no_output_conform_without_one(name):
    check_learner(LEARNERS.get(name)(), functools.partial(make_net, "headless"), steps=2)


@pytest.mark.parametrize("kind", NETS)
def test_every_kind_of_simulated_chip_conforms(kind):
    check_chip(functools.partial(make_net, kind))


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
    assert len(LEARNERS.summary(name)) > 20


@pytest.mark.parametrize("name", ["ff", "ap", "wp"])
def test_a_chip_in_another_process_trains_to_the_same_bit(name):
    """Only the three members cross over; what is learned is what would have been learned here."""
    learner = replace(LEARNERS.get(name)(), epochs=2, batch_size=8)
    here = SeamOnly(make())
    with RemoteChip(make) as there:
        assert isinstance(there, Chip)
        one, two = (train(chip, learner, little_data(), Streams(5)) for chip in (here, there))
        x = little_data().valid_x
        scores = [learner.predict(chip, run.task, x, run.state) for chip, run in ((here, one), (there, two))]
        np.testing.assert_array_equal(*scores)
    assert [record.info for record in one.history] == [record.info for record in two.history]
    assert [record.valid_error for record in one.history] == [record.valid_error for record in two.history]


def test_the_far_side_of_a_remote_chip_answers_the_seam_and_nothing_else():
    with RemoteChip(make) as there:
        for member in ("snapshot", "meter", "wait", "__class__", "_turn"):
            with pytest.raises(UnknownName, match=f"expected datasheet, read or write, found {member!r}"):
                there._ask(member)
        with pytest.raises(AttributeError):
            there.snapshot  # noqa: B018 - reaching is the point
        assert there.datasheet.design == "mild"  # and it goes on answering


def test_what_a_remote_chip_is_asked_arrives_whole():
    here, x = make(), little_data().train_x
    overlaid = Overlaid(x, np.array(LINES), np.random.default_rng(1).random((2, 16, 4), dtype=np.float32))
    nudge = CurrentNudge({"h2": np.full((16, 6), 0.5, np.float32)})
    with RemoteChip(make) as there:
        for asked in ((overlaid,), (x, nudge), (x, WeightNudge(3, 0.1)), (x, None, "states"), (x, None, "output")):
            one, two = here.read(*asked), there.read(*asked)
            np.testing.assert_array_equal(one.output, two.output)
            assert len(one.taps) == len(two.taps) and one.states.keys() == two.states.keys()


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
    ports = ()
    sin: str

    def init(self, sheet, task, rng):
        return {"a": np.zeros(1)} if self.sin != "object" else {"a": np.array([{}], dtype=object)}

    def step(self, chip, task, batch, state, rng):
        if self.sin == "reach":
            chip.arrays  # noqa: B018 - reaching is the point
        if self.sin == "port":
            chip.read(batch.x, WeightNudge(1, 0.1))
        if self.sin == "chance":
            state = {"a": np.random.default_rng().random(1)}
        return state, {"loss": np.nan if self.sin == "nan" else 0.0}

    def predict(self, chip, task, x, state):
        return chip.read(x).output[:, : 3 if self.sin == "shape" else 4] + state["a"]


@pytest.mark.parametrize(
    ("sin", "error", "message"),
    [
        ("object", NotConforming, "something else than plain arrays"),
        ("reach", AttributeError, "arrays"),
        ("port", MissingPort, "weight_nudge"),
        ("nan", NotConforming, "finite 'loss'"),
        ("shape", NotConforming, r"expected scores \(B, classes\) = \(4, 4\), found \(4, 3\)"),
        ("chance", NotConforming, "gave different predictions"),
    ],
)
def test_check_learner_finds_what_is_wrong(sin, error, message):
    with pytest.raises(error, match=message):
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
        super().write(replace(request, matrix=-request.matrix) if isinstance(request, Delta) else request)


class Trusting(SeamOnly):
    """Reads whatever it is given."""

    def read(self, x, nudge=None, want="taps"):
        width = self.datasheet.n_inputs
        return super().read(np.nan_to_num(np.resize(np.atleast_2d(x), (max(len(x), 1), width))), nudge, want)


class Lavish(SeamOnly):
    """Gives taps whatever is wanted."""

    def read(self, x, nudge=None, want="taps"):
        return super().read(x, nudge)


class Grounded(SeamOnly):
    """Has a bias line that carries nothing."""

    def read(self, x, nudge=None, want="taps"):
        trace = super().read(x, nudge, want)
        for tap in trace.taps:
            tap.pre[:, -1] = 0
        return trace


class Forgetful(SeamOnly):
    """Leaves out its last tap."""

    def read(self, x, nudge=None, want="taps"):
        trace = super().read(x, nudge, want)
        return replace(trace, taps=trace.taps[:-1])


class Boastful(SeamOnly):
    """Prints a port that it refuses."""

    def write(self, request):
        if isinstance(request, Shrink):
            raise MissingPort("not here")
        super().write(request)


class Idle(SeamOnly):
    """Prints a timetable in which a population answers before what it answers to."""

    @property
    def datasheet(self):
        sheet = super().datasheet
        return replace(sheet, timetable=(Answer("out", 0, 0, ((2, 0),)), *sheet.timetable[:-1]))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Backwards, "raise all biases"),
        (Trusting, "accepted"),
        (Lavish, "gives taps where states alone are wanted"),
        (Grounded, "a bias line carries 1"),
        (Forgetful, "expected a tap for every array"),
        (Boastful, "shrink: on the data sheet, yet refused"),
        (Idle, "out answers to h2 before that has a state"),
    ],
)
def test_check_chip_finds_what_is_wrong(kind, message):
    check_chip(lambda: SeamOnly(make("ideal")))
    with pytest.raises(NotConforming, match=message):
        check_chip(lambda: kind(make("ideal")))


def test_check_device_finds_what_is_wrong():
    from mortalsim.devices.soft_bounds import SoftBounds

    class Negative(SoftBounds):
        def down(self, u):
            return -u

    with pytest.raises(NotConforming, match="negative steps"):
        check_device(Negative())
