"""A chip at the other end of a connection: what goes wrong ends in a clear error or a clean repeat, never in a mix-up."""

import contextlib
import functools
import signal
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from far import Slow, X, ctrl_c_while, fake, far_side, remote

from mortalsim.boards import Connection, NoAnswer, WireFault, messages, serve
from mortalsim.boards.wire import Frame, Kind
from mortalsim.checks import ChipFault, MissingPort, RangeError, ShapeError, UnknownName
from mortalsim.hardware import Chip, CurrentNudge, Delta, Outer, Overlaid, Replay, Shrink, Trace, WeightNudge
from mortalsim.testing import SeamOnly

# --- when nothing goes wrong ----------------------------------------------------------------------------------------------


def test_what_is_read_and_written_is_what_would_have_been_here():
    here = fake()
    overlaid = Overlaid(X, np.array([8, 9]), np.random.default_rng(1).random((2, 3, 2), dtype=np.float32))
    current, pre = CurrentNudge({"h2": np.full((3, 6), 0.5, np.float32)}), np.ones((3, 7), np.float32)
    reads = [(X,), (overlaid,), (X, current), (X, WeightNudge(2**64 - 1, 0.1)), (X, None, "states"), (X, None, "output")]
    with remote(fake()) as there:
        assert isinstance(there, Chip)
        for asked in reads:
            one, two = here.read(*asked), there.read(*asked)
            np.testing.assert_array_equal(one.output, two.output)
            assert {name: list(states) for name, states in one.states.items()} == {n: list(s) for n, s in two.states.items()}
            for tap, other in zip(one.taps, two.taps, strict=True):
                assert tap[:3] == other[:3]
                np.testing.assert_array_equal(tap.pre, other.pre)
                np.testing.assert_array_equal(tap.post, other.post)
            for request in (Shrink(0, 0.9), Outer(2, pre, one.output[:3], 0.1), Replay(WeightNudge(3, 0.1), 0.5)):
                here.write(request)
                there.write(request)


def test_what_is_wanted_is_one_of_three_words():
    with remote(fake()) as there:
        for want in ("tap", "", None, 3):
            with pytest.raises(UnknownName, match="want: expected one of output, states, taps; found"):
                there.read(X, want=want)
        assert there.read(X, want="output").output.shape == (3, 4)


def test_the_data_sheet_is_asked_for_once():
    class Counting(SeamOnly):
        asked = 0

        @property
        def datasheet(self):
            type(self).asked += 1
            return super().datasheet

    with remote(Counting(fake())) as there:
        assert there.datasheet is there.datasheet
        there.read(X)
    assert Counting.asked == 1


def test_errors_of_the_chip_are_raised_here_and_the_chip_goes_on():
    class Sore(SeamOnly):
        def read(self, x, nudge=None, want="taps"):
            if len(x) == 1:
                raise ZeroDivisionError("division by zero")
            return Trace("wrong") if len(x) == 2 else super().read(x, nudge, want)

        def write(self, request):
            raise {Shrink: RangeError, Delta: ShapeError, Outer: MissingPort}[type(request)]("as the chip says")

    with remote(Sore(fake())) as there:
        for request, error in ((Shrink(0, 2), RangeError), (Delta(0, X), ShapeError), (Outer(0, X, X, 1), MissingPort)):
            with pytest.raises(error, match=r"^as the chip says$"):
                there.write(request)
        with pytest.raises(ChipFault, match=r"^The chip's side raised ZeroDivisionError: division by zero$"):
            there.read(X[:1])
        with pytest.raises(ChipFault, match="read: the chip gave what the seam does not know"):
            there.read(X[:2])
        assert there.read(X).output.shape == (3, 4)


def test_the_far_side_answers_three_members_and_nothing_else():
    with remote(fake()) as there, pytest.raises(AttributeError):
        there.weights  # noqa: B018 - reaching is the point
    with far_side(lambda far: serve(fake(), Connection(far))) as connection:
        connection.send(messages.hello("", 2**20))
        connection.receive(5)
        for number, member in enumerate(("weights", "save", "__class__", "read.__globals__"), 1):
            text = b'{"arrays":[],"value":{"member":"%s"}}' % member.encode()
            connection.send(Frame(Kind.QUESTION, number, text))
            with pytest.raises(UnknownName, match=f"expected datasheet, read or write, found {member!r}"):
                messages.read_answer(connection.receive(5), "read")


def test_threads_that_share_a_remote_chip_each_get_their_own_answers():
    here, found = fake(), {}

    def ask(count):
        for _ in range(20):
            found.setdefault(count, []).append(there.read(np.resize(X, (count, 12)), want="output").output.shape[0])

    with remote(here) as there:
        threads = [threading.Thread(target=ask, args=(count,)) for count in (1, 2, 3, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {count: [count] * 20 for count in (1, 2, 3, 4)}


# --- interruptions and delays ---------------------------------------------------------------------------------------------


def test_after_ctrl_c_in_the_middle_of_a_read_the_next_answer_is_its_own():
    slow = Slow(fake())
    with remote(slow) as there:
        for _ in range(3):
            with ctrl_c_while(slow):
                there.read(X[:1])
            assert there.read(X).output.shape == (3, 4)
    assert slow.reads == 6  # nothing was asked twice


def test_after_ctrl_c_in_the_middle_of_a_write_the_error_says_so_and_nothing_is_written_twice():
    slow = Slow(fake())
    with remote(slow) as there:
        with ctrl_c_while(slow) as caught:
            there.write(Shrink(0, 0.5))
        assert caught().__notes__ == ["The write may or may not have been carried out; it is not repeated."]
        there.read(X)
    assert slow.writes == 1


def test_a_late_answer_is_dropped_and_its_question_is_not_repeated():
    slow = Slow(fake())
    with remote(slow, timeout=0.15) as there:
        with pytest.raises(NoAnswer, match=r"gave no answer within 0.15 s\.$"):
            there.read(X[:1])
        with pytest.raises(NoAnswer, match="busy with question 2, which was given up; this one was not sent"):
            there.write(Shrink(0, 0.5))
        there.timeout = 5
        assert there.read(X).output.shape == (3, 4)
        there.timeout = 0.15
        with pytest.raises(NoAnswer, match="The write may or may not have been carried out; it is not repeated"):
            there.write(Shrink(0, 0.5))
    assert (slow.reads, slow.writes) == (2, 1)


def test_large_late_answers_and_large_questions_do_not_wait_for_one_another():
    """Both are larger than what sockets hold: two sides that only send would never hear each other."""
    slow, large = Slow(fake(), seconds=0.1), np.zeros(2_000_000, np.float32)
    slow.gives = Trace(large)
    with remote(slow, timeout=10) as there:
        with ctrl_c_while(slow):
            there.read(X[:1])
        assert there.read(np.resize(X, (100_000, 12)), want="output").output.shape == (100_000, 4)


def interrupted(act, seconds):
    """Return what an act gives, or the interruption by a clock that rings after so many seconds."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            return act()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt as interruption:
        return interruption


# Python swallows an interruption that falls into the callback of a weak reference, and says so: then the read goes on.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_wherever_an_interruption_falls_no_answer_belongs_to_another_question():
    """A clock rings at every place of a question in turn; what was broken by it is connected anew."""
    if sys.gettrace() is not None:
        pytest.skip("an interruption may fall into what traces the lines, which then never gives back its own lock")
    rng, chip, kinds = np.random.default_rng(0), fake(), Counter()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGALRM, before)
        served = stack.enter_context(contextlib.ExitStack())
        there = served.enter_context(remote(chip, timeout=10))
        for count in rng.integers(1, 400, 300):
            x = np.resize(X, (count, 12))
            try:
                found = interrupted(functools.partial(there.read, x), rng.uniform(1e-5, 1.5e-3))
            except WireFault as fault:
                assert "Connect anew" in str(fault)
                served.close()
                there = served.enter_context(remote(chip, timeout=10))
                continue
            kinds[type(found)] += 1
            assert isinstance(found, KeyboardInterrupt) or found.output.shape == (count, 4)
    assert kinds[Trace] and kinds[KeyboardInterrupt], kinds
