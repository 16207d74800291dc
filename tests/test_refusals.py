"""What a chip, a design or a task refuses, in one sentence that names what was found; and what odd wirings do right."""

from dataclasses import replace

import numpy as np
import pytest
from test_netlist import ARRAYS, CHAIN, long_form, with_entry

from mortalsim.checks import MortalsimError, ShapeError
from mortalsim.chips import Clock, SimulatedChip, chip_streams, load_design, oracle
from mortalsim.chips.dynamics import DYNAMICS
from mortalsim.circuits.stages.mixing import Mixing
from mortalsim.data import Dataset, suited
from mortalsim.hardware import CurrentNudge, Delta, Overlaid, Replay, Task, WeightNudge
from mortalsim.streams import Streams

NUDGE = WeightNudge(1, 0.1)
CHIP = SimulatedChip(load_design("recurrent"), 0)
X = np.random.default_rng(0).random((3, 74), dtype=np.float32)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: CHIP.write(Replay(NUDGE, {3: np.ones(64)})), "scale: population: expected one of h1, h2, out; found '3'"),
        (lambda: CHIP.write(Replay(NUDGE, {"pixels": np.ones(64)})), "one of h1, h2, out; found 'pixels'"),
        (lambda: CHIP.write(Replay(NUDGE, {})), "scale: expected at least one population"),
        (
            lambda: CHIP.write(Replay(NUDGE, {"h1": np.ones(5)})),
            r"scale\[h1\]: expected shape \(size\) = \(64\), found \(5,\)",
        ),
        (lambda: CHIP.write(Replay((NUDGE, WeightNudge(1, 0.1, arrays=(99,))), (1.0, 1.0))), "array: expected 0 to 4"),
        (lambda: CHIP.write(Delta(True, np.zeros((65, 64)))), "array: expected 0 to 4"),
        (lambda: CurrentNudge(None), "currents: expected a mapping from population"),
        (lambda: CHIP.read(X, CurrentNudge({"pixels": np.ones((3, 64))})), "currents: population: expected one of h1"),
        (lambda: CHIP.read(X, want="all"), "want: expected one of output, states, taps; found 'all'"),
        (lambda: WeightNudge(1.5, 0.1), "key: expected a whole number"),
        (lambda: WeightNudge(1, 0.1, index=1.5), "index: expected a whole number"),
        (lambda: WeightNudge(1, 0.1, arrays=(0.7,)), "arrays: expected a whole number"),
        (lambda: WeightNudge(1, 0.1, arrays=5), "arrays: expected places of arrays"),
        (lambda: Task(2.5), "classes: expected a whole number"),
        (lambda: Task(2, 5), "label_lines: expected whole numbers, found 5"),
        (lambda: Task(2, (0.5, 1.5)), "label_lines: expected a whole number"),
        (lambda: Task(2, (0, 0)), "label_lines: expected 2 different positions"),
        (lambda: Task(2, image_shape="8x8"), "image_shape: expected whole numbers, found '8x8'"),
        (lambda: CHIP.read(X).late("pixels", 1), "population: expected one of h1, h2, out; found 'pixels'"),
        (lambda: CHIP.read(X).late("h1", -1), "count: expected a number at least 0"),
        (lambda: Overlaid.repeated(X, 1.5), "times: expected a whole number"),
        (lambda: chip_streams(Streams(0), 1.5), "number: expected a whole number"),
        (lambda: chip_streams(Streams(0), True), "number: expected a whole number"),
        (lambda: Clock(-5.0), "now: expected a number between 0 and"),
        (lambda: Clock().advance(np.inf), "seconds: expected a number between 0"),
    ],
)
def test_one_sentence_says_what_is_wrong_and_the_chip_stays_as_it_was(act, message):
    before = CHIP.snapshot()
    with pytest.raises(MortalsimError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)
    after = CHIP.snapshot()
    for name in before:
        if not name.startswith(("meter", "clock", "turn", "checksum")):  # a read for its trace takes a turn
            np.testing.assert_array_equal(before[name], after[name])


def test_numbers_of_numpy_make_a_task_like_python_s():
    task = Task(np.int64(2), np.arange(2), [8, 8], np.arange(2, 5))
    assert task == Task(2, (0, 1), (8, 8), (2, 3, 4)) and {task: "told"}[Task(2, (0, 1), (8, 8), (2, 3, 4))] == "told"


@pytest.mark.parametrize(
    ("population", "array", "message"),
    [
        ({"converters": {"dac_bits": 3}}, {}, "population 'h1': converters: dac_bits has no meaning here"),
        ({"neurons": {"output_curve": "relu"}}, {}, "neurons: output_curve has no meaning here"),
        ({}, {"converters": {"adc_bits": 3}}, "array in to h1: converters: adc_bits has no meaning here"),
        ({}, {"nudges": {"current_gain_dtod": 0.1}}, "nudges: current_gain_dtod has no meaning here"),
    ],
)
def test_fields_that_would_do_nothing_are_refused(population, array, message):
    with pytest.raises(MortalsimError, match=message):
        long_form("mild", with_entry(CHAIN, 1, **population), with_entry(ARRAYS, 0, **array))
    with pytest.raises(MortalsimError, match="population 'in': neurons: an input or a stage has none"):
        long_form("mild", with_entry(CHAIN, 0, neurons={"noise": 0.1}), ARRAYS)


def test_an_array_s_own_normaliser_stands_where_the_design_has_none():
    design = long_form("ideal", CHAIN, with_entry(ARRAYS, 0, normaliser="source"), normaliser={"present": False})
    assert [spec.normaliser for spec in design.datasheet().arrays] == ["source", "none", "none"]


def test_the_bias_line_belongs_to_an_array_from_below():
    """The first array in the file comes from above and carries nothing in the first pass."""
    arrays = [{"source": "h2", "target": "h1"}, *ARRAYS]
    sheet = long_form("mild", CHAIN, arrays, dynamics={"kind": "recurrent", "ticks": 2}).datasheet()
    assert [spec.shape for spec in sheet.arrays] == [(6, 8), (13, 8), (9, 6), (7, 4)]


def test_a_stage_of_another_size_than_it_was_asked_for_stops_the_read(monkeypatch):
    box = SimulatedChip(load_design("boxed"), 0).boxes["medium"]
    monkeypatch.setattr(Mixing, "fabricate", lambda self, n_in, n_out, rng: replace(box, matrix=box.matrix[:, :-1]))
    with pytest.raises(
        ShapeError, match=r"stage 'medium': expected an answer of shape \(B, size\) = \(2, 64\), found \(2, 63\)"
    ):
        SimulatedChip(load_design("boxed"), 0).read(np.ones((2, 64)))


@pytest.mark.parametrize("wiring", [{"kind": "tiles", "rows": 5, "columns": 3}, {"kind": "dense"}], ids=["tiles", "dense"])
def test_the_oracle_knows_the_converters_of_digital_partial_sums(wiring):
    """Gains and offsets of their own, no rounding: model and silent chip agree to 1e-5, and a dense array has them too."""
    off = {"dac_bits": 0, "adc_bits": 0, "input_range": 0.0, "output_range": 0.0, "gain_dtod": 0.1, "offset_dtod": 0.1}
    silent = {"device": {"technology": "linear", "pulses": 0}, "neurons": {"noise": 0.0}, "converters": off}
    arrays = with_entry(ARRAYS, 1, wiring=wiring, partial_sums="digital")
    chips = [SimulatedChip(long_form("mild", CHAIN, each, **silent), 1) for each in (arrays, ARRAYS)]
    x = np.random.default_rng(0).random((5, 12))
    outputs = [chip.read(x).output for chip in chips]
    np.testing.assert_allclose(outputs[0], oracle.model(chips[0]).forward(x).output, atol=1e-5)
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01
    model = oracle.model(chips[0])
    _, gradient = model.loss_and_gradient(x, np.eye(4)[np.arange(5) % 4])
    for place, slope in enumerate(gradient):
        losses = []
        for sign in (1e-5, -1e-5):
            model.arrays[place].weights[...] += sign * slope
            losses.append(model.loss_and_gradient(x, np.eye(4)[np.arange(5) % 4])[0])
            model.arrays[place].weights[...] -= sign * slope
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float((slope**2).sum()), rel=1e-3)


def test_a_clock_that_a_snapshot_sets_back_is_followed_by_all_that_share_it():
    clock = Clock()
    design = load_design("mild").revised(device={"drift": 0.1})
    one, two = (SimulatedChip(design, chip_streams(Streams(0), number), clock=clock) for number in (0, 1))
    fresh, kept = oracle.weights(two)[0], one.snapshot()
    clock.advance(1e5)
    aged = oracle.weights(two)[0]
    one.restore(kept)
    np.testing.assert_allclose(oracle.weights(two)[0], fresh, atol=1e-6)
    assert np.abs(aged - fresh).max() > 0.01


def test_unlabelled_data_leave_a_label_population_neutral():
    x = np.random.default_rng(0).random((6, 64), dtype=np.float32)
    data = suited(Dataset("bare", x, None, x, None, x, None, 0), load_design("headless").datasheet())
    assert data.train_x.shape == (6, 74) and data.label_lines is None
    np.testing.assert_allclose(data.train_x[:, 64:], 0.1)


def test_dynamics_that_return_something_else_are_refused_and_idle_groups_take_no_wave(monkeypatch):
    for made, message in ((3, "found 3 in it"), ([1, 2], "found 1 in it")):
        with monkeypatch.context() as patch:
            patch.setattr(DYNAMICS, "get", lambda name, made=made: lambda order, feeds, inputs: made)
            with pytest.raises(MortalsimError, match=message):
                long_form("mild", CHAIN, ARRAYS)
    sheet = long_form("mild", CHAIN, ARRAYS, dynamics={"kind": "recurrent", "ticks": 9, "groups": 9}).datasheet()
    assert max(answer.wave for answer in sheet.timetable) == 5  # three of the first pass, and one each of three populations
