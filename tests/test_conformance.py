"""Every learner found keeps its contract on a simulated chip, also when the chip lives in another process."""

import functools
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numba
import numpy as np
import pytest
from batches import SIZES
from nets import NETS, net

from mortalsim.checks import MissingPort
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Answer, Delta, Port, Shrink, WeightNudge
from mortalsim.learners import LEARNERS
from mortalsim.learners.base import Learner
from mortalsim.testing import NotConforming, SeamOnly, check_chip, check_device, check_learner


def make(name="mild", seed=3):
    return SimulatedChip(load_design(name).with_sizes(SIZES), seed)


def make_net(kind, seed=3):
    # Programming devices pulse by pulse takes minutes in plain Python; ideal ones take every change at once.
    return SimulatedChip(net(kind, "ideal" if numba.config.DISABLE_JIT else "mild"), seed)


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
    check_chip(functools.partial(make_net, kind), erase=True)


def test_check_learner_trains_a_chip_in_another_process():
    check_learner(LEARNERS.get("ff")(), make, elsewhere=True)


def changed_elsewhere():
    """A chip that is not the same individual in every process."""
    return make(seed=4 if sys.modules["__main__"].__package__ == "mortalsim.boards" else 3)


def test_check_learner_notices_that_another_process_has_another_chip():
    with pytest.raises(NotConforming, match="another process"):
        check_learner(LEARNERS.get("ff")(), changed_elsewhere, elsewhere=True)


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_says_what_it_is(name):
    kind = LEARNERS.get(name)
    assert kind.name == name
    assert len(LEARNERS.summary(name)) > 20


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
