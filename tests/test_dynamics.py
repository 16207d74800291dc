"""Dynamics: timetables by hand, damping, clamped inputs, waves; what cannot be is refused."""

import numpy as np
import pytest

from mortalsim.checks import DesignError, ShapeError
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.chips.design import build_design
from mortalsim.chips.dynamics import DYNAMICS, check_timetable
from mortalsim.chips.dynamics.feedforward import feedforward
from mortalsim.chips.dynamics.recurrent import recurrent
from mortalsim.hardware import Answer, CurrentNudge

#: in -> h1 <-> h2, a label into h2, h2 -> out; array places as in the design `recurrent`.
FEEDS = {"h1": [(0, "in"), (1, "h2")], "h2": [(2, "h1"), (3, "label")], "out": [(4, "h2")]}
INPUTS = ("in", "label")


def test_feedforward_answers_once_in_waves_of_depth():
    """Two populations side by side share a wave; a third waits for both."""
    feeds = {"a": [(0, "in")], "b": [(1, "in")], "c": [(2, "a"), (3, "b"), (4, "in")]}
    table = feedforward(["a", "b", "c"], feeds, ["in"])
    assert [(line.population, line.wave, line.via) for line in table] == [
        ("a", 0, ((0, 0),)), ("b", 0, ((1, 0),)), ("c", 1, ((2, 0), (3, 0), (4, 0))),
    ]  # fmt: skip
    assert all(line.tick == 0 and line.keep == 0 for line in table)


def test_recurrent_passes_from_below_and_then_answers_all_at_once():
    table = check_timetable("recurrent", recurrent(list(FEEDS), FEEDS, INPUTS, ticks=2, keep=0.3), FEEDS, INPUTS)
    assert [(line.population, line.tick, line.wave, line.via, line.keep, line.old) for line in table] == [
        ("h1", 0, 0, ((0, 0),), 0.0, -1),
        ("h2", 0, 1, ((2, 0), (3, 0)), 0.0, -1),
        ("out", 0, 2, ((4, 0),), 0.0, -1),
        ("h1", 1, 3, ((0, 0), (1, 0)), 0.3, 0),
        ("h2", 1, 3, ((2, 0), (3, 0)), 0.3, 0),
        ("out", 1, 3, ((4, 0),), 0.3, 0),
        ("h1", 2, 4, ((0, 0), (1, 1)), 0.3, 1),
        ("h2", 2, 4, ((2, 1), (3, 0)), 0.3, 1),
        ("out", 2, 4, ((4, 1),), 0.3, 1),
    ]


def test_alternating_populations_answer_in_turn_to_the_others_last_states():
    table = recurrent(list(FEEDS), FEEDS, INPUTS, ticks=3, keep=0.5, groups=2)
    later = [(line.population, line.tick, line.via, line.old) for line in table if line.tick]
    assert later == [
        ("h2", 1, ((2, 0), (3, 0)), 0),
        ("h1", 2, ((0, 0), (1, 1)), 0), ("out", 2, ((4, 1),), 0),
        ("h2", 3, ((2, 2), (3, 0)), 1),
    ]  # fmt: skip
    check_timetable("recurrent", table, FEEDS, INPUTS)


def test_new_states_are_old_and_computed_ones_in_the_stated_shares():
    """On a noiseless chip: the state that is read is keep * old + (1 - keep) * what the neurons give for the new inputs."""
    design = load_design("recurrent").revised(
        device={"technology": "linear", "pulses": 0},
        neurons={"noise": 0.0},
        dynamics={"kind": "recurrent", "ticks": 3, "keep": 0.25},
    )
    chip = SimulatedChip(design, 2)
    x = np.random.default_rng(0).random((4, 74), dtype=np.float32)
    states = chip.read(x).states["h1"]
    free = SimulatedChip(design.revised(dynamics={"kind": "recurrent", "ticks": 1, "keep": 0.0}), 2).read(x).states["h1"]
    np.testing.assert_array_equal(states[0], free[0])
    np.testing.assert_allclose(states[1], 0.25 * free[0] + 0.75 * free[1], atol=1e-5)


def test_a_stage_is_damped_like_any_population():
    """Its states are sampled, and what is sampled mixes digitally."""
    fields = load_design("boxed").fields() | {"dynamics": {"kind": "recurrent", "ticks": 1, "keep": 0.5}}
    chip = SimulatedChip(build_design(fields, "test"), 0)
    states = chip.read(np.random.default_rng(0).random((3, 64), dtype=np.float32)).states
    fresh = chip.boxes["medium"].answer(states["h1"][0])
    np.testing.assert_allclose(states["medium"][1], 0.5 * states["medium"][0] + 0.5 * fresh, rtol=1e-5)


def test_inputs_stay_clamped_and_a_current_is_held_through_all_ticks():
    design = load_design("recurrent").revised(device={"technology": "linear", "pulses": 0}, neurons={"noise": 0.0})
    chip = SimulatedChip(design, 2)
    x = np.random.default_rng(0).random((3, 74), dtype=np.float32)
    plain, pushed = chip.read(x), chip.read(x, CurrentNudge({"out": np.full((3, 10), 0.5, np.float32)}))
    clamped = [tap.pre for tap in plain.of(0)]
    assert len(clamped) == 7 and all(pre is clamped[0] for pre in clamped)
    for tick in plain.states["out"]:
        moved = pushed.states["out"][tick] - plain.states["out"][tick]
        assert (moved > 0.2).mean() > 0.9, tick
        np.testing.assert_array_equal(plain.states["h2"][tick], pushed.states["h2"][tick])


def test_an_output_below_feedback_is_the_last_of_its_states():
    chip = SimulatedChip(load_design("recurrent"), 2)
    trace = chip.read(np.random.default_rng(0).random((2, 74), dtype=np.float32))
    assert sorted(trace.states["out"]) == list(range(7))
    np.testing.assert_array_equal(trace.output, trace.states["out"][6])
    assert list(trace.late("h1", 3)) == [4, 5, 6] and list(trace.late("h1")) == list(range(7))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([Answer("a", 0, 0, ())], "arrays that feed it, each once, found via"),
        (
            [Answer("a", 0, 0, ((0, 0),)), Answer("b", 0, 0, ((1, 0),))],
            r"b at tick 0: 'a' at tick 0 is not there before wave 0",
        ),
        ([Answer("a", 0, 1, ((0, 0),)), Answer("b", 0, 0, ((1, 0),))], "rising waves"),
        ([Answer("a", 0, 0, ((0, 0),)), Answer("a", 0, 1, ((0, 0),))], "each tick once"),
        ([Answer("a", 0, 0, ((0, 0),))], "'b' never answers at tick 0"),
        ([Answer("a", 0, 0, ((7, 0),))], "an array among"),
        ([Answer("a", 0, 0, ((0, 0), (0, 0)))], "each once"),
        ([Answer("a", 0, 0, ((0, 0),), keep=1.0)], "keep from 0 to below 1"),
        ([Answer("a", 0, 0, ((0, 0),), keep=0.5, old=3)], "'a' at tick 3 is not there"),
        ([Answer("c", 0, 0, ((0, 0),))], "expected a population that answers"),
    ],
)
def test_timetables_that_cannot_be_are_refused(answers, message):
    with pytest.raises(ShapeError, match=message):
        check_timetable("mine", answers, {"a": [(0, "in")], "b": [(1, "a")]}, ["in"])


def test_a_chip_that_is_fed_from_above_alone_is_refused_by_feedforward():
    fields = load_design("recurrent").fields() | {"dynamics": {"kind": "feedforward"}}
    with pytest.raises(DesignError, match="feedforward: h1 at tick 0: 'h2' at tick 0 is not there"):
        build_design(fields, "test")


def test_every_dynamics_is_one_function_of_its_file_s_name_and_names_its_settings():
    assert {"feedforward", "recurrent"} <= set(DYNAMICS.names())
    for name in DYNAMICS.names():
        assert DYNAMICS.get(name).__name__ == name
    with pytest.raises(DesignError, match="there is no setting 'tics'; it has ticks, keep, groups"):
        load_design("recurrent").revised(dynamics={"kind": "recurrent", "tics": 3})
    with pytest.raises(DesignError, match=r"recurrent: ticks: .*greater than or equal to 0, found -1"):
        load_design("recurrent").revised(dynamics={"kind": "recurrent", "ticks": -1})
