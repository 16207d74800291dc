"""The one door from names to objects: each argument is a name, a path, or the object itself; anything else is refused."""

import doctest
from pathlib import Path

import numba
import numpy as np
import pytest
from small import small

from mortalsim import build
from mortalsim.checks import DataError, DesignError, MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.chips import chip_streams, load_design
from mortalsim.data import Dataset
from mortalsim.learners import LEARNERS, Learner
from mortalsim.streams import Streams

X, Y = np.zeros((2, 12), np.float32), np.array([0, 3])
TINY = Dataset("tiny", X, Y, X, Y, X, Y, 4, (0, 1, 2, 3))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="it trains a chip on real data")
def test_the_notebook_s_example_runs():
    found = doctest.testmod(build)
    assert found.attempted > 5 and found.failed == 0


def test_data_come_by_name_or_as_they_are():
    assert build.load_data(TINY, 7) is TINY
    by_seed, by_streams = build.load_data("digits", 3), build.load_data("digits", Streams(3))
    np.testing.assert_array_equal(by_seed.test_x, by_streams.test_x)
    assert not np.array_equal(by_seed.test_x[:50], build.load_data("digits", 4).test_x[:50])
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        build.load_data("digit", 0)
    for wrong in (Path("digits"), X, None):
        with pytest.raises(DataError, match=rf"data: expected a name or a Dataset, found {type(wrong).__name__}"):
            build.load_data(wrong, 0)
    with pytest.raises(DataError, match=r"expected labels .* found none in 'bare'"):
        build.load_data(Dataset("bare", X, None, X, None, X, None, 0), 0, labelled=True)


def test_designs_come_by_name_by_path_or_as_they_are(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsizes = [5, 6, 3]\n[device]\ntechnology = "linear"\n')
    own = load_design(path)
    for design in (path, str(path), own):
        assert build.find_design(design) == own
        assert build.design_for(design, TINY).sizes == (12, 6, 4)
        assert build.design_for(design, TINY, (7, 8)).sizes == (12, 7, 8, 4)
        found, data = build.fitted(design, TINY)
        assert found.sizes == (12, 6, 4) and data is TINY
    for wrong in (3, None, type(own)):
        with pytest.raises(DesignError, match=r"design: expected a name, the path of a \.toml file or a Design, found"):
            build.design_for(wrong, TINY)
    with pytest.raises(DesignError, match="hidden: the design 'fields' lists its populations"):
        build.design_for("fields", TINY, (3,))


def test_designs_are_made_to_fit_data_by_name():
    for run in (0, 3):
        design, data = build.fitted("mild", "digits", [5], run)
        assert design.sizes == build.design_for("mild", "digits", (np.int64(5),), run).sizes == (64, 5, 10)
        np.testing.assert_array_equal(data.test_x, build.load_data("digits", run).test_x)
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        build.design_for("mild", "digit")
    for wrong in (None, X):
        for door in (build.design_for, build.fitted):
            with pytest.raises(DataError, match="data: expected a name or a Dataset, found"):
                door("mild", wrong)


@pytest.mark.parametrize("hidden", ["32", 5, None, (0,), (-3,), (3.5,), ("a",), (True,), np.array([8])], ids=str)
def test_hidden_populations_are_told_by_a_tuple_of_sizes(hidden):
    for design in ("mild", "fields"):
        with pytest.raises(DesignError, match=r"hidden: expected a tuple of whole numbers .* Write \(32,\), say"):
            build.design_for(design, TINY, hidden)


def test_chips_come_from_a_design_or_its_name_and_a_run_or_its_seed():
    design = load_design("ideal")
    wanted = str(chip_streams(Streams(7), 3))
    for own in ("ideal", design):
        for run in (7, Streams(7), np.int64(7)):
            assert str(build.make_chip(own, run, 3).streams) == wanted
    assert str(build.make_chip(design, 7).streams) == str(chip_streams(Streams(7), 0))
    for wrong in (-1, 1.5, "7", True):
        with pytest.raises(RangeError, match="run: expected"):
            build.make_chip(design, wrong)
    with pytest.raises(RangeError, match="number: expected"):
        build.make_chip(design, 7, -1)


def test_learners_come_by_name_by_class_or_as_they_are():
    kind = LEARNERS.get("ap")
    assert build.make_learner("ap") == build.make_learner(kind) == build.make_learner(kind()) == kind()
    own = kind(rate=0.5, epochs=8)
    assert build.make_learner(own) == own
    assert build.make_learner(own, 0.5, {"probes": "3"}) == kind(rate=0.5, epochs=4, probes=3)
    assert build.make_learner(own, 0.5, {"epochs": 2}) == kind(rate=0.5, epochs=2)
    with pytest.raises(UnknownName, match="Did you mean 'ap'"):
        build.make_learner("app")
    with pytest.raises(UnknownName, match="hyper-parameter of ap"):
        build.make_learner(own, settings={"probe": 3})
    with pytest.raises(RangeError, match=r"probes: expected a whole number from 1 .*, found 'many'\. Write 8, say"):
        build.make_learner("ap", settings={"probes": "many"})
    for wrong in (3, int, None, Learner):
        with pytest.raises(DesignError, match="learner: expected a name, a subclass of Learner or a Learner, found"):
            build.make_learner(wrong)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 1e308, "1", None], ids=str)
def test_the_factor_of_the_epochs_is_a_number_above_0(scale):
    with pytest.raises(DesignError, match=r"scale: expected a number above 0 and at most 1e\+06, found"):
        build.make_learner("ap", scale)
    assert build.make_learner("ap", 1e-9).epochs == 1


@pytest.mark.parametrize("settings", [[1], "rate=1", [("rate", 1)], {3: 1}, 0, ""], ids=str)
def test_settings_are_a_mapping_by_name(settings):
    with pytest.raises(DesignError, match=r"settings: expected a mapping of names to values, found .* Write {'rate': 0\.1}"):
        build.make_learner("ap", settings=settings)


def test_learners_of_every_kind_look_at_the_data_sheet_first():
    design = small("ideal", ports=["taps"])
    build.check_served(design, TINY, ["readout", LEARNERS.get("readout"), LEARNERS.get("readout")()])
    for learner in ("ap", LEARNERS.get("ap"), LEARNERS.get("ap")()):
        with pytest.raises(MissingPort, match="ap needs"):
            build.check_served(design, TINY, [learner])
    with pytest.raises(ShapeError, match="ap needs an output"):
        build.check_served("headless", "digits", ["ap"])
    build.check_served("mild", "digits", ["ap"])
    for wrong in ("ap", LEARNERS.get("ap")(), None):
        with pytest.raises(DesignError, match=r"learners: expected a list of learners, found .* Write \['ap'\], say"):
            build.check_served(design, TINY, wrong)
