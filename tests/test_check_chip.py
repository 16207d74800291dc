"""The check of one noisy board that exists once: it passes, is left as it was, and is never erased unless told so."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from fakes import IdealChip, make_datasheet
from far import fake, remote

from mortalsim.checks import RangeError, ShapeError
from mortalsim.hardware import Delta, Outer, Port, Program, Replay, Shrink, Trace, WeightNudge
from mortalsim.testing import NotConforming, WithoutPort, check_chip
from mortalsim.testing.chips import FALSE_ALARM, LOOKS, told_apart

SIZES = (12, 8, 6, 4)


class Board(IdealChip):
    """Exists once: its noise goes on from read to read, and it keeps what it is asked."""

    def __init__(self, noise=0.5, seed=0, **fields):
        super().__init__(make_datasheet(SIZES, **fields), seed=1, noise=noise)
        self.asked, self.rng = [], np.random.default_rng(seed)

    def read(self, x, nudge=None, want="taps"):
        if np.ndim(x) != 2 or np.shape(x)[1] != SIZES[0] or not len(x) or not np.isfinite(x).all():
            raise ValueError("x")
        self.seed = int(self.rng.integers(2**31))  # no two of its reads are alike
        return super().read(x, nudge, want)

    def write(self, request):
        self.datasheet.require("a request", {Outer: Port.OUTER, Delta: Port.DELTA, Replay: Port.REPLAY, Shrink: Port.SHRINK,
                                             Program: Port.PROGRAM}[type(request)])  # fmt: skip
        self.asked.append(request)
        super().write(self.understood(request))

    def understood(self, request):
        return request


class Backwards(Board):
    def understood(self, request):
        if isinstance(request, Delta):
            return Delta(request.array, -request.matrix)
        return replace(request, rate=-request.rate) if isinstance(request, Outer) else request


class Deaf(Board):
    def understood(self, request):
        return Shrink(0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_one_noisy_board_passes_and_is_left_as_it_was(seed):
    board = Board(seed=seed)
    before = [weights.copy() for weights in board.weights]
    check_chip(board)
    for one, two in zip(before, board.weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("handed", [lambda board: board, lambda board: lambda: board], ids=["itself", "by a function"])
def test_nothing_is_erased_unless_told_so(handed):
    board = Board()
    check_chip(handed(board))
    asked = board.asked
    assert {type(request) for request in asked} == {Outer, Delta, Replay, Shrink}
    assert all(request.factor == 1 for request in asked if isinstance(request, Shrink))
    assert all(request.scale == 0 for request in asked if isinstance(request, Replay))
    assert not any(np.any(request.post) for request in asked if isinstance(request, Outer))
    largest = max(np.abs(request.matrix).max() for request in asked if isinstance(request, Delta))
    assert largest == pytest.approx(4 / 32)  # of a weight range of 4
    assert board.weights[0].any()
    check_chip(handed(board), erase=True)
    assert not board.weights[0].any()


def test_a_board_is_not_even_asked_to_refuse_what_would_erase_it():
    class Reckless(Board):
        def write(self, request):
            self.asked.append(request)
            IdealChip.write(self, request)

    board = Reckless(ports=frozenset(Port) - {Port.PROGRAM})
    check_chip(board)
    assert not any(isinstance(request, Program) for request in board.asked)
    with pytest.raises(NotConforming, match="program: not on the data sheet, yet accepted"):
        check_chip(board, erase=True)


def test_a_maker_of_noisy_boards_that_are_not_alike_is_told_to_hand_in_the_board():
    made = []

    def make():
        made.append(Board(seed=len(made)))
        return made[-1]

    with pytest.raises(NotConforming, match="Hand in the chip, not its maker, if it exists once"):
        check_chip(make)
    assert not any(board.asked for board in made)  # nothing was written before that came out


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_board_that_writes_backwards_is_found_through_its_noise_and_left_as_it_was(noise):
    board = Backwards(noise)
    before = [weights.copy() for weights in board.weights]
    with pytest.raises(NotConforming, match="a request to raise all biases took the mean output from"):
        check_chip(board)
    for one, two in zip(before, board.weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_board_that_does_not_write_is_told_from_one_that_does(noise):
    with pytest.raises(NotConforming, match=r"cannot be told from noise. If requests do change it, give more reads than 8"):
        check_chip(Deaf(noise))


@pytest.mark.parametrize("limit", [4.0, 3.98, -4.0, -3.98])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_biases_that_stand_at_their_limit_are_judged_and_stay_there(limit, noise):
    for kind in (Board, Backwards):
        for seed in range(3):
            board = kind(noise, seed)
            board.weights[-1][-1] = limit
            before = [weights.copy() for weights in board.weights]
            if kind is Board:
                check_chip(board)
            else:
                with pytest.raises(NotConforming, match="a request to raise all biases took the mean output from"):
                    check_chip(board)
            for one, two in zip(before, board.weights, strict=True):
                np.testing.assert_allclose(one, two, atol=(1 / 32 + 1e-3) * 4)  # one request; the weight range is 4


def test_a_board_that_sinks_more_than_it_rises_is_asked_back():
    class Uneven(Board):
        def understood(self, request):
            down = isinstance(request, Delta) and request.matrix.min() < 0
            return replace(request, scale=3.0) if down else request

    board = Uneven(0.0)
    before = board.weights[-1].copy()
    check_chip(board)
    np.testing.assert_allclose(board.weights[-1], before, atol=4 / 32 + 1e-5)  # one request; 2 without asking back


def test_the_direction_is_judged_against_the_end_of_the_requests_the_other_way():
    """Noise hides most requests here. What shows on the way back must not be taken for the way there."""
    found = {Board: [], Backwards: []}
    for kind, messages in found.items():
        for seed in range(60):
            try:
                check_chip(kind(noise=2.2, seed=seed))
            except NotConforming as error:
                messages.append(str(error))
    assert len(found[Backwards]) == 60
    assert not any(message.startswith("a request to raise") for message in found[Board])


def test_a_board_that_fails_meanwhile_is_asked_back():
    class Failing(Board):
        def read(self, x, nudge=None, want="taps"):
            if any(isinstance(request, Delta) and request.matrix.any() for request in self.asked[-1:]):
                raise ZeroDivisionError("dead")
            return super().read(x, nudge, want)

    board = Failing()
    before = board.weights[-1].copy()
    with pytest.raises(ZeroDivisionError):
        check_chip(board)
    np.testing.assert_allclose(board.weights[-1], before, atol=1e-5)
    assert len([request for request in board.asked if isinstance(request, Delta) and request.matrix.any()]) == 2


class Changed(Board):
    """Answers every read by what ``change`` makes of its trace."""

    def __init__(self, change, **fields):
        super().__init__(noise=0.0, **fields)
        self.change = change

    def read(self, x, nudge=None, want="taps"):
        return self.change(super().read(x, nudge, want), nudge, want)


def spoiled(trace):
    trace.states["h1"][0][0, 0] = np.nan
    return trace


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n, w: t if w != "output" else replace(t, output=t.output.T), r"output of shape \(4, 3\), want='output'"),
        (
            lambda t, n, w: t if w != "states" else replace(t, output=t.output[:1]),
            r"output of shape \(1, 4\), want='states'",
        ),
        (lambda t, n, w: t if w != "states" else replace(t, states={}), "expected a state for every line of the timetable"),
        (lambda t, n, w: t if w == "output" else spoiled(t), "state of h1 at tick 0: not finite"),
        (lambda t, n, w: t if n is None else Trace(None), "an output that the data sheet does not name, or none"),
        (lambda t, n, w: t if n is None else replace(t, taps=()), "expected a tap for every array"),
        (
            lambda t, n, w: replace(t, output=t.output[:, :2]) if isinstance(n, WeightNudge) and w == "output" else t,
            r"output of shape \(3, 2\)",
        ),
    ],
)
def test_every_read_must_give_what_is_wanted(change, message):
    with pytest.raises(NotConforming, match=message):
        check_chip(Changed(change))
    check_chip(Changed(lambda trace, nudge, want: trace))


@pytest.mark.parametrize("kind", [Outer, Delta, Replay, Shrink])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_request_that_changes_nothing_must_change_nothing(kind, noise):
    class Restless(Board):
        def understood(self, request):
            if isinstance(request, kind):
                self.weights[-1] -= 0.5
            return request

    with pytest.raises(NotConforming, match="requests that change nothing changed the output"):
        check_chip(Restless(noise))


def test_a_change_that_leaves_the_mean_where_it_was_is_seen_too():
    class Skewed(Board):
        def understood(self, request):
            if isinstance(request, Shrink):
                self.weights[-1][-1] += np.array([0.5, -0.5, 0.5, -0.5], np.float32)
            return request

    with pytest.raises(NotConforming, match="requests that change nothing changed the output"):
        check_chip(Skewed(0.1))


def test_what_is_no_chip_or_no_number_of_samples_is_refused():
    for wrong in (3, None, "board", Board().datasheet, lambda: "board", Trace(None)):
        with pytest.raises(ShapeError, match="chip: expected a chip with datasheet, read and write, or a function"):
            check_chip(wrong)
    with pytest.raises(RangeError, match="samples: expected a number at least 1"):
        check_chip(Board(), samples=0)


def test_more_reads_hear_through_more_noise():
    with pytest.raises(NotConforming, match="cannot be told from noise"):
        check_chip(Board(noise=5.0))
    check_chip(Board(noise=5.0), reads=200)


@pytest.mark.parametrize("missing", [Port.DELTA, Port.OUTER, Port.TAPS, Port.WEIGHT_NUDGE])
def test_a_board_that_lacks_a_port_is_checked_as_far_as_it_goes(missing):
    check_chip(WithoutPort(Board(), missing))
    with pytest.raises(NotConforming, match="raise all biases"):
        check_chip(WithoutPort(Backwards(), missing))


def test_false_alarms_are_as_rare_as_is_said():
    """A chip on which nothing changes, looked at as often as can be: told apart in at most 1 of 1000 checks."""
    rng, alarms, checks = np.random.default_rng(0), 0, 6000
    for _ in range(checks):
        reads = rng.standard_normal((1 + LOOKS, 8))
        alarms += any(told_apart(reads[0], after) for after in reads[1:])
    assert alarms <= checks * FALSE_ALARM + 3 * np.sqrt(checks * FALSE_ALARM)


def test_several_numbers_a_read_must_differ_by_more():
    reads = np.random.default_rng(0).standard_normal((8, 3))
    shifts = np.linspace(0, 10, 1001)
    one, several = (
        next(s for s in shifts if told_apart(x, x + s * np.eye(3)[0, : x.shape[1]])) for x in (reads[:, :1], reads)
    )
    assert 1 < one < several < 10


def test_boards_elsewhere_and_classes_that_make_boards_are_checked():
    with remote(Board()) as there:
        check_chip(there)
    check_chip(functools.partial(fake_that_refuses, 1))


def fake_that_refuses(seed):
    chip = Board(seed=seed)
    chip.rng = np.random.default_rng(seed)
    return chip


def test_two_reads_are_the_fewest():
    with pytest.raises(ValueError, match="reads: expected a number at least 2"):
        check_chip(fake(), reads=1)
