"""What a field may hold is said once, in its annotation, and holds from Python, TOML and command line in the same words."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from mortalsim import build
from mortalsim.checks import RangeError, ShapeError, check_array, check_labels
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.data.makers import hybrid, jitter
from mortalsim.experiments import EXPERIMENTS
from mortalsim.fields import Allowed, check_fields, check_value, words_at
from mortalsim.hardware import Delta, Task
from mortalsim.learners import LEARNERS
from mortalsim.objectives import one_hot
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train

Part = Annotated[float, Field(gt=0, le=2)]
Some = Annotated[int, Field(ge=3, lt=9)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    name: ClassVar[str] = "rule"
    part: Part = 0.5
    some: Some = 4
    on: bool = True
    kind: Literal["a", "b"] = "a"
    text: str = "x"
    maybe: Part | None = None

    def __post_init__(self) -> None:
        check_fields(self)


class Model(BaseModel):
    part: Part = 0.5
    several: tuple[Some, ...] = ()


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("part", 1, 1.0), ("part", np.float32(0.25), 0.25), ("part", np.array(2), 2.0), ("some", np.int16(8), 8),
        ("some", 3.0, 3), ("on", np.bool_(False), False), ("kind", "b", "b"), ("maybe", None, None), ("maybe", 2, 2.0),
    ],
)  # fmt: skip
def test_what_fits_is_stored_in_the_field_s_own_type(field, value, stored):
    found = getattr(Rule(**{field: value}), field)
    assert found == stored and type(found) is type(stored)


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        (
            "part",
            (0, 2.1, -1, np.nan, np.inf, "0.5", None, 1j, True, [0.5], np.ones(1), np.ma.masked),
            "a number above 0 and at most 2",
        ),
        (
            "some",
            (2, 9, 3.5, "4", False, None, np.timedelta64(4), 10**40),
            "a whole number of at least 3 and below 9",
        ),
        ("on", (1, "true", None), "true or false"),
        ("kind", ("c", 1, None, ["a"]), "one of 'a', 'b'"),
        ("text", ("", 3, None), "a text"),
        ("maybe", (0, "none"), "a number above 0 and at most 2 or nothing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_naming_field_range_and_finding(field, values, expected):
    for value in values:
        with pytest.raises(RangeError) as refused:
            Rule(**{field: value})
        said = str(refused.value)
        assert said.startswith(f"{field}: expected {expected}, found ") and said.endswith("say."), said


def test_text_stands_for_a_number_on_a_command_line_alone():
    assert check_value("part", " 1e-1", Part, 0.5, text=True) == 0.1 and check_value("some", "8", Some, 4, text=True) == 8
    assert check_value("on", "no", bool, True, text=True) is False
    for text in ("1_0", "٣", "0x2", "half", ""):
        with pytest.raises(RangeError, match="part: expected a number above 0"):
            check_value("part", text, Part, 0.5, text=True)


def test_a_model_says_the_same_words_as_a_dataclass():
    assert words_at(Model, ("part",)) == Allowed.of(Part).words == "a number above 0 and at most 2"
    assert words_at(Model, ("several", 1)) == "a whole number of at least 3 and below 9"
    assert words_at(Model, ("nowhere",)) == ""


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_number_of_a_rule_has_both_ends(name):
    """Nothing that is allowed may hang or eat memory without end; and a rule takes its own ends."""
    kind, seen = LEARNERS.get(name), 0
    for field in dataclasses.fields(kind):
        allowed = Allowed.of(build.kind_of(kind, field.name))
        if allowed.kind in (int, float):
            low, high = allowed.ends["ge"], allowed.ends["le"]
            assert low >= 0 and high <= 1e9
            for end in (low, high):
                assert getattr(kind(**{field.name: end}), field.name) == end
            for beyond in (low - 1, high * 1.01 + 1):
                with pytest.raises(RangeError, match=f"^{field.name}: "):
                    kind(**{field.name: beyond})
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_every_number_of_an_experiment_has_both_ends(name):
    for field, info in EXPERIMENTS.get(name).model_fields.items():
        allowed = Allowed.of(info.annotation, info.metadata)
        if allowed.kind in (int, float):
            assert {"ge", "gt"} & allowed.ends.keys() and {"le", "lt"} & allowed.ends.keys(), field


# --- arrays and labels ------------------------------------------------------------------------------------------------

X = np.linspace(-1, 1, 6).reshape(2, 3)
SHAPE = {"B": None, "n": 3}


@pytest.mark.parametrize(
    "same", [X.tolist(), X.astype(np.float16), np.asfortranarray(X), X.astype(">f8"), X.astype(object), np.repeat(X, 2,
    1)[:, ::2]]
)  # fmt: skip
def test_real_numbers_are_taken_however_they_lie(same):
    found = check_array("x", same, SHAPE)
    np.testing.assert_allclose(found, X, atol=1e-3)
    assert found.dtype == np.float32 and found.flags.c_contiguous


@pytest.mark.parametrize(
    "odd",
    [
        X * 1j, np.ma.masked_array(X, X > 0), X.astype(str), np.full((2, 3), 5).astype("M8[D]"), np.full((2, 3),
        5).astype("m8[s]"), np.zeros((2, 3), [("a", "f4")]), None, "x", [[1, 2, 3], [1, 2]], np.array([[1, "a", None]] * 2,
        object), {1: 2}, b"abc",
    ],
)  # fmt: skip
def test_what_is_no_array_of_real_numbers_is_refused(odd):
    chip = SimulatedChip(load_design("ideal").with_sizes((3, 2)), 0)
    with pytest.raises(ShapeError, match=r"x: expected (an array of real numbers|shape)"):
        chip.read(odd)
    with pytest.raises(ShapeError, match=r"matrix: expected (an array of real numbers|shape)"):
        chip.write(Delta(0, odd))


@given(st.floats(1.01e12, 3e38), st.integers(0, 2))
def test_an_input_whose_square_would_overflow_is_refused(size, place):
    chip, x = SimulatedChip(load_design("ideal").with_sizes((3, 2)), 0), np.ones((1, 3), np.float32)
    x[0, place] = size
    with pytest.raises(RangeError, match=r"x: expected numbers from -1e\+12 to 1e\+12, .* Scale the data"):
        chip.read(x)
    x[0, place] = 1e12
    largest = SimulatedChip(load_design("ideal").with_sizes((3, 2)), 0).read(x).output
    np.testing.assert_allclose(largest, chip.read(x * np.float32(1e-12)).output, atol=1e-3)  # what is allowed is read right


def test_labels_are_whole_numbers_one_a_sample_of_any_type():
    for labels in ([0, 2, 1], np.array([[0], [2], [1]]), np.array([0.0, 2.0, 1.0]), np.uint8([0, 2, 1])):
        assert check_labels("y", labels, 3, 3).tolist() == [0, 2, 1]
    assert one_hot(np.array([True, False]), 2).tolist() == [[0, 1], [1, 0]]
    odd = (-1, 3, 0.5, np.nan)
    for label in odd:
        with pytest.raises((RangeError, ShapeError), match="y: expected"):
            check_labels("y", [0, label, 1], 3)
    for labels in (["a", "b", "c"], np.eye(3), [], 3, [0, 1], None, np.ma.masked_array([0, 1, 2], [0, 1, 0]), [[0, 1], [2]]):
        with pytest.raises(ShapeError, match="y: expected"):
            check_labels("y", labels, 3, 3)


WRONG = [lambda y: y + 1, lambda y: np.eye(2)[y], lambda y: y[1:], lambda y: y.astype(str), lambda y: 3]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_rate_is_right_or_refused(wrong):
    x, y = np.random.default_rng(0).random((20, 4), dtype=np.float32), np.arange(20) % 2
    data = type("Data", (), {"train_x": x, "train_y": y, "valid_x": x, "valid_y": y, "classes": 2})
    chip, learner = SimulatedChip(load_design("mild").with_sizes((4, 3, 2)), 0), LEARNERS.get("readout")()
    result = train(chip, learner, data, Streams(0), validate_every=0)
    right = error_rate(chip, learner, result.task, x, y, result.state)
    column = error_rate(chip, learner, result.task, x, y[:, None], result.state)
    assert abs(column - right) < 0.2  # and not all answers compared with all labels
    with pytest.raises((RangeError, ShapeError), match="labels: expected"):
        error_rate(chip, learner, result.task, x, wrong(y), result.state)


NUMBERS = np.linspace(0, 1, 6)


@pytest.mark.parametrize(("y", "classes"), [(NUMBERS, 2), (NUMBERS[:, None], 1), (np.ones((6, 1)), 1)])
def test_regression_is_refused_in_words_that_send_nobody_astray(y, classes):
    x = np.ones((6, 4), np.float32)
    data = type("Data", (), {"train_x": x, "train_y": y, "valid_x": x, "valid_y": None, "classes": classes})
    chip = SimulatedChip(load_design("mild").with_sizes((4, 3, max(classes, 2))), 0)
    with pytest.raises((RangeError, ShapeError), match=r"regression\) is no aim of mortalsim"):
        train(chip, LEARNERS.get("ap")(), data, Streams(0))


def test_validation_is_drawn_from_all_samples_also_where_they_lie_by_class():
    x, y = np.random.default_rng(0).random((400, 4), dtype=np.float32), np.repeat([0, 1], 200)
    data = type("Data", (), {"train_x": x, "train_y": y, "valid_x": x, "valid_y": y, "classes": 2})
    chip, seen = SimulatedChip(load_design("mild").with_sizes((4, 3, 2)), 0), []
    learner = LEARNERS.get("readout")()
    real = type(learner).predict
    object.__setattr__(learner, "epochs", 1)
    type(learner).predict = lambda self, chip, task, x, state: (seen.append(x), real(self, chip, task, x, state))[1]
    try:
        train(chip, learner, data, Streams(0), validate_samples=50)
    finally:
        type(learner).predict = real
    rows = {row.tobytes() for row in np.concatenate(seen)}
    second = sum(row.tobytes() in rows for row in x[200:])
    assert len(rows) == 50 and 10 <= second <= 40


def test_makers_take_colour_and_keep_a_pixel_s_channels_together():
    draw, a, b = np.random.default_rng(0), np.zeros((3, 4 * 5 * 2), np.float32), np.ones((3, 4 * 5 * 2), np.float32)
    mixed = hybrid(a, b, (4, 5, 2), draw).reshape(3, 20, 2)
    np.testing.assert_array_equal(mixed[..., 0], mixed[..., 1])
    assert 0 < mixed.mean() < 1
    image = np.arange(40, dtype=np.float32)[None]
    np.testing.assert_array_equal(jitter(image, (4, 5, 2), 0, draw), image)
    with pytest.raises(ShapeError, match="image_shape: expected"):
        jitter(image, (4, 5, 2, 1), 1, draw)


def test_a_task_takes_lines_of_any_kind_of_whole_numbers():
    assert Task(3, np.arange(3)).label_lines == Task(3, range(3)).label_lines == (0, 1, 2)
    for lines in ((0.0, 1.5), "01", np.array(3), [[0], [1, 2]]):
        with pytest.raises((RangeError, ShapeError), match="label_lines: expected"):
            Task(2, lines)
