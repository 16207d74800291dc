"""Everything of the seam passes over the wire bit for bit, and nothing else passes."""

import contextlib
import dataclasses
import json
import struct

import numpy as np
import pytest
from fakes import make_datasheet
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nets import NETS, net

from mortalsim import checks
from mortalsim.boards import messages, values
from mortalsim.boards.messages import ERRORS, MEMBERS
from mortalsim.boards.packing import AXES, DTYPES, Packer, Unpacker
from mortalsim.boards.wire import Frame, Kind, WireFault
from mortalsim.checks import ChipFault, MortalsimError, RangeError, ShapeError, UnknownName
from mortalsim.hardware import (
    WANTS,
    CurrentNudge,
    Delta,
    Outer,
    Overlaid,
    Port,
    Program,
    Replay,
    Shrink,
    Tap,
    Trace,
    WeightNudge,
)


def same(one, two):
    """Equal to the last bit, in the same types; the order of bytes, and of an array in memory, may be another."""
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray | np.generic):
        kind = one.dtype.newbyteorder("=")
        alike = (kind, np.shape(one)) == (two.dtype.newbyteorder("="), np.shape(two))
        return alike and one.astype(kind).tobytes() == two.astype(kind).tobytes()
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(two, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two or (one != one and two != two)


def through(member, **arguments):
    """Return what arrives of a question."""
    found, arrived = messages.read_question(messages.question(1, member, **arguments))
    assert found == member
    return arrived


def answered(member, given):
    """Return what arrives of an answer."""
    return messages.read_answer(messages.answer(1, member, given), member)


# --- laws: what goes in comes out -----------------------------------------------------------------------------------------

PLACES = st.integers(0, 100) | st.integers(0, 100).map(np.int64)
FLOATS = st.floats() | st.floats(width=32).map(np.float32) | st.floats().map(np.float64)
NAMES = st.text(max_size=5)
ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(code).newbyteorder(order) for code in DTYPES for order in "<>"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
WEIGHT_NUDGES = st.builds(
    WeightNudge,
    st.integers(0, 2**64 - 1),
    st.floats(-1e6, 1e6) | st.floats(-1e6, 1e6, width=32).map(np.float32),
    NAMES,
    st.integers(0, 2**32 - 1),
    st.none() | st.lists(st.integers(0, 9), max_size=3),
)
SCALES = FLOATS | st.dictionaries(NAMES, ARRAYS, max_size=2)
REPLAYS = st.builds(Replay, WEIGHT_NUDGES, SCALES) | st.builds(
    Replay, st.lists(WEIGHT_NUDGES, max_size=3).map(tuple), st.lists(SCALES, max_size=3).map(tuple)
)
REQUESTS = st.one_of(
    st.builds(Outer, PLACES, ARRAYS, ARRAYS, FLOATS),
    st.builds(Delta, PLACES, ARRAYS, FLOATS),
    st.builds(Shrink, PLACES, FLOATS),
    st.builds(Program, PLACES, ARRAYS),
    REPLAYS,
)
NUDGES = st.none() | WEIGHT_NUDGES | st.builds(CurrentNudge, st.dictionaries(NAMES, ARRAYS, max_size=3))


@st.composite
def overlaid(draw):
    images, lines, times = draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    kinds = st.sampled_from(["f4", "f8"])
    return Overlaid(
        draw(hnp.arrays(draw(kinds), (images, 5))),
        np.array(draw(st.permutations(range(5))))[:lines],
        draw(hnp.arrays(draw(kinds), (times, images, lines))),
    )


@st.composite
def traces(draw):
    states = draw(st.dictionaries(NAMES, st.dictionaries(st.integers(0, 9), ARRAYS, max_size=3), max_size=3))
    taps = draw(st.lists(st.builds(Tap, PLACES, PLACES, PLACES, ARRAYS, ARRAYS), max_size=3))
    return Trace(draw(st.none() | ARRAYS), states, tuple(taps))


@settings(max_examples=60)
@given(REQUESTS)
def test_every_write_request_arrives_as_it_was_sent(request):
    assert same(through("write", request=request)["request"], request)


@settings(max_examples=60)
@given(ARRAYS | overlaid(), NUDGES, st.sampled_from(WANTS))
def test_every_read_arrives_as_it_was_sent(x, nudge, want):
    assert same(through("read", x=x, nudge=nudge, want=want), {"x": x, "nudge": nudge, "want": want})


@settings(max_examples=60)
@given(traces())
def test_every_trace_arrives_as_it_was_sent(trace):
    assert same(answered("read", trace), trace)


@settings(max_examples=60)
@given(st.sampled_from(sorted(ERRORS)), st.text())
def test_every_error_of_the_seam_arrives_in_its_class_with_its_message(name, message):
    error = messages.read_error(messages.error(3, ERRORS[name](message)))
    assert type(error) is ERRORS[name]
    assert str(error) == message


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("technology", ["ideal", "harsh"])
def test_every_data_sheet_arrives_as_it_was_sent(name, technology):
    sheet = net(name, technology).datasheet()
    assert same(answered("datasheet", sheet), sheet)


def test_data_sheets_of_other_hands_arrive_as_they_were_sent():
    sheet = make_datasheet((5, 4, 3), ports={Port.TAPS})
    sheet = dataclasses.replace(sheet, patterns=frozenset({"hadamard", "sines"}), joules_per_read=np.float64(1 / 3))
    assert same(answered("datasheet", sheet), sheet)
    assert len(answered("datasheet", sheet).hidden) == 1  # what is worked out from it, too


def test_the_table_of_types_has_every_field_of_every_type():
    for kind, forms in values.RECORDS.items():
        fields = kind._fields if issubclass(kind, tuple) else [field.name for field in dataclasses.fields(kind)]
        assert list(forms) == list(fields), kind


def test_every_error_of_the_family_can_be_sent():
    family = [kind for kind in vars(checks).values() if isinstance(kind, type) and issubclass(kind, MortalsimError)]
    assert {kind.__name__ for kind in family} <= ERRORS.keys()


def test_an_array_that_occurs_twice_is_sent_once_and_stays_one():
    state, pre = np.ones((50, 40), np.float32), np.zeros((50, 30), np.float32)
    frame = messages.answer(1, "read", Trace(state, {"h": {0: state}}, (Tap(0, 0, 0, pre, state), Tap(1, 0, 0, pre, state))))
    assert len(frame.body) == state.nbytes + pre.nbytes
    trace = messages.read_answer(frame, "read")
    assert trace.output is trace.states["h"][0] is trace.taps[1].post
    assert trace.taps[0].pre is trace.taps[1].pre


def test_values_that_live_for_a_moment_are_not_taken_for_one_another():
    packer = Packer()
    assert [packer.add("x", [float(i)]) for i in range(100)] == list(range(100))


def test_arrays_that_arrive_are_plain_and_one_s_own():
    x = np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4))[::-1]
    found = through("read", x=x, nudge=None, want="taps")["x"]
    np.testing.assert_array_equal(found, x)
    assert found.flags.c_contiguous and found.flags.writeable and found.flags.owndata and found.dtype == np.float32


def test_what_numpy_makes_an_array_of_is_sent_as_one():
    np.testing.assert_array_equal(through("read", x=[[1, 2], [3, 4]], nudge=None, want="taps")["x"], [[1, 2], [3, 4]])


def test_the_precision_of_a_number_is_kept():
    for rate in (0.1, np.float32(0.1), np.float64(0.1), 1, True, float("nan"), float("-inf")):
        assert same(through("write", request=Shrink(0, rate))["request"].factor, rate)


class Larger(Shrink):
    """Of no type that is known at the other end."""


# --- what cannot be sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Delta(0, np.array(["a"])), ShapeError, "matrix: expected an array of real numbers"),
        (Delta(0, np.array([1j])), ShapeError, "matrix: expected an array of real numbers"),
        (Delta(0, np.array([{}], object)), ShapeError, "matrix: expected an array of real numbers"),
        (Delta(0, [[1], [1, 2]]), ShapeError, "matrix: expected an array of numbers, found list"),
        (Delta(0, np.zeros((1,) * (AXES + 1))), ShapeError, "at most 8 axes"),
        (Shrink(0, "half"), RangeError, "factor: expected a number, found str 'half'"),
        (Shrink(0, 10**30), RangeError, "factor: expected a number of at most 64 bits"),
        (Shrink("h1", 1), RangeError, "array: expected a number"),
        (Replay("signs", 1.0), ShapeError, "nudge: expected one of WeightNudge; found str"),
        (Larger(0, 1.0), ShapeError, "request: expected one of .*; found Larger"),
        ("erase", ShapeError, "request: expected one of Outer, Delta, Replay, Shrink, Program; found str"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(request_, error, message):
    with pytest.raises(error, match=message):
        messages.question(1, "write", request=request_)


def test_a_nudge_must_be_one():
    with pytest.raises(ShapeError, match="nudge: expected one of CurrentNudge, WeightNudge; found dict"):
        messages.question(1, "read", x=np.zeros((1, 2)), nudge={"h1": 0}, want="taps")
    with pytest.raises(ShapeError, match=r"currents\[0\]: expected a text, found int"):
        messages.question(1, "read", x=np.zeros((1, 2)), nudge=CurrentNudge({0: np.zeros((1, 2))}), want="taps")


def test_an_error_of_another_class_becomes_a_chip_fault_that_names_it():
    error = messages.read_error(messages.error(3, ZeroDivisionError("division by zero")))
    assert type(error) is ChipFault
    assert str(error) == "The chip's side raised ZeroDivisionError: division by zero"

    class TooHot(RangeError):
        pass

    error = messages.read_error(messages.error(3, TooHot("80 degrees")))
    assert type(error) is RangeError and "TooHot: 80 degrees" in str(error)
    assert type(messages.read_error(messages.error(3, type("ShapeError", (Exception,), {})("not ours")))) is ChipFault
    sent = framed({"class": "SystemExit", "message": "stop"}, kind=Kind.ERROR)
    assert str(messages.read_error(sent)) == "The chip's side raised SystemExit: stop"


# --- what is no message ---------------------------------------------------------------------------------------------------


def framed(value, arrays=(), body=b"", kind=Kind.QUESTION):
    return Frame(kind, 1, json.dumps({"arrays": list(arrays), "value": value}).encode(), body)


def asked(request, arrays=(), body=b""):
    return framed({"member": "write", "request": request}, arrays, body)


SHRINK = {"is": "Shrink", "array": 0, "factor": 1.0}
DELTA = {"is": "Delta", "array": 0, "matrix": 0, "scale": 1.0}


def test_a_message_made_by_hand_is_read():
    member, found = messages.read_question(asked(DELTA, [["f4", [2]]], struct.pack("<2f", 1, 2)))
    assert member == "write" and same(found["request"], Delta(0, np.array([1, 2], np.float32)))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(Kind.QUESTION, 1, b"{"), "expected JSON in ASCII"),
        (Frame(Kind.QUESTION, 1, b"\xff"), "expected JSON in ASCII"),
        (Frame(Kind.QUESTION, 1, b"[" * 100_000), "expected JSON in ASCII"),
        (Frame(Kind.QUESTION, 1, b'{"arrays":[],"value":' + b"1" * 5000 + b"}"), "expected JSON in ASCII"),
        (Frame(Kind.QUESTION, 1, b"[]"), 'an object with "arrays" and "value"'),
        (asked({**SHRINK, "factor": float("nan")}), "NaN is no number of JSON"),
        (asked({**SHRINK, "factor": float("inf")}), "Infinity is no number of JSON"),
        (asked({**SHRINK, "factor": "1"}), "factor: expected a number"),
        (asked({**SHRINK, "factor": {"float": "1e5"}}), "factor: expected a number"),
        (asked({**SHRINK, "more": 1}), "expected the fields array, factor of a Shrink"),
        (asked({"is": "Shrink", "array": 0}), "expected the fields array, factor of a Shrink"),
        (asked({"is": "Datasheet"}), "request: expected one of Outer, Delta"),
        (asked({"is": "os.system"}), "request: expected one of Outer, Delta"),
        (asked({"is": []}), "request: expected one of Outer, Delta"),
        (asked([SHRINK]), "request: expected one of Outer, Delta"),
        (asked(DELTA), "matrix: expected the place of one of 0 arrays"),
        (asked({**DELTA, "matrix": True}, [["f4", [0]]]), "matrix: expected the place"),
        (asked({**DELTA, "scale": {"scalar": 0}}, [["f4", [1]]], bytes(4)), "scale: expected a number, found 'an array"),
        (asked(DELTA, [["f4", [3]]], bytes(8)), "expected 12 bytes for f4 of shape"),
        (asked(DELTA, [["f4", [1]]], bytes(8)), "expected 4 bytes of arrays, found 8"),
        (asked(DELTA, [["f4", [-1]]]), "sizes from 0 on"),
        (asked(DELTA, [["f4", [2**60]]]), "sizes from 0 on"),
        (asked(DELTA, [["f4", [True]]]), "sizes from 0 on"),
        (asked(DELTA, [["f4", [2**39] * 8]]), "bytes for f4 of shape"),
        (asked(DELTA, [["f4", [0, *[2**39] * 7]]]), "a shape that an array can have"),
        (asked(DELTA, [["O", [1]]], bytes(8)), "array: expected one of b1"),
        (asked(DELTA, [["f4"]]), "array: expected one of b1"),
        (asked(DELTA, [["b1", [1]]], b"\x02"), "truth values"),
        (
            asked({"is": "Replay", "nudge": [], "scale": {"items": [["h", 0], ["h", 0]]}}, [["f4", [0]]]),
            "scale: expected diff",
        ),
        (framed({"member": "write"}), "expected an object of member, request"),
        (
            framed({"member": "read", "x": 0, "nudge": None, "want": 1}, [["f4", [0]]]),
            "want: expected one of taps, states, output",
        ),
        (framed({"member": "read", "x": 0, "nudge": None, "want": "tap"}, [["f4", [0]]]), "want: .* found 'tap'"),
        (framed({"member": "read", "x": 0, "nudge": None, "want": ["taps"]}, [["f4", [0]]]), "want: expected one of"),
    ],
)
def test_what_is_no_message_ends_in_one_clear_error(frame, message):
    with pytest.raises(WireFault, match=message):
        messages.read_question(frame)


@pytest.mark.parametrize("member", ["snapshot", "meter", "__class__", "_turn", "", None, 3, ["read"]])
def test_only_the_three_members_can_be_asked(member):
    with pytest.raises(UnknownName, match="member: expected datasheet, read or write, found"):
        messages.read_question(framed({"member": member}))
    assert MEMBERS.keys() == {"datasheet", "read", "write"}


def test_what_the_seam_itself_refuses_is_refused_in_its_own_words():
    nudge = {"is": "WeightNudge", "key": -1, "amplitude": 0.1, "pattern": "signs", "index": 0, "arrays": None}
    with pytest.raises(RangeError, match="key"):
        messages.read_question(asked({"is": "Replay", "nudge": nudge, "scale": 1}))


def test_a_port_that_is_not_known_is_a_fault():
    frame = messages.answer(1, "datasheet", make_datasheet((3, 2, 2)))
    with pytest.raises(WireFault, match="ports: expected some of taps"):
        messages.read_answer(dataclasses.replace(frame, text=frame.text.replace(b'"taps"', b'"erase"')), "datasheet")


@settings(max_examples=300)
@given(st.data())
def test_whatever_is_changed_in_a_message_ends_in_a_value_or_an_error_of_ours(data):
    request = Replay((WeightNudge(2**63, 0.1), WeightNudge(1, 0.2)), (np.float32(0.5), {"h": np.ones(3, np.float32)}))
    frame = messages.question(1, "write", request=request)
    text, body = bytearray(frame.text), bytearray(frame.body)
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(0, len(body))) :]
    with contextlib.suppress(MortalsimError):
        messages.read_question(Frame(Kind.QUESTION, 1, bytes(text), body))


def test_a_packer_and_an_unpacker_agree_on_nothing_at_all():
    assert Unpacker(*Packer().finish(None)).value is None
