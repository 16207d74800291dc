"""What breaks a connection to a chip is said in one clear error, then and ever after."""

import os
import socket
import threading
import time

import numpy as np
import pytest
from batches import SIZES
from fakes import make_datasheet
from far import Slow, X, ctrl_c_while, fake, far_side, pair, remote

from mortalsim.boards import Connection, RemoteChip, WireFault, messages, serve
from mortalsim.boards.wire import HEADER, MAGIC, Frame, Kind
from mortalsim.checks import ChipFault, RangeError, ShapeError
from mortalsim.hardware import Delta, Shrink, Trace


def greeted(far):
    """Answer a hello and the first question, as a far side does, and return its connection."""
    connection = Connection(far)
    messages.read_hello(connection.receive(5))
    connection.send(messages.hello("", 2**30))
    connection.send(messages.answer(connection.receive(5).number, "datasheet", make_datasheet(SIZES)))
    return connection


def answer_once(bytes_of):
    """Return a far side that answers a question by what ``bytes_of`` makes of it, and closes."""

    def act(far):
        frame = greeted(far).receive(5)
        far.sendall(bytes_of(frame.number))
        far.shutdown(socket.SHUT_WR)

    return act


def whole(frame):
    return frame.header + frame.text + frame.body


TRACE = Trace(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize(
    ("bytes_of", "message"),
    [
        (lambda n: b"", "the other end was closed. Look at its own output for the reason"),
        (lambda n: whole(messages.answer(n, "read", TRACE))[:10], "expected 28 more bytes, found 10 and the end"),
        (lambda n: whole(messages.answer(n, "read", TRACE))[:-3], "expected 48 more bytes, found 45 and the end"),
        (lambda n: b"HTTP/1.1 400 Bad Request\r\n\r\n", "expected the first bytes b'MORT', found b'HTTP'"),
        (lambda n: HEADER.pack(MAGIC, 1, 3, 0, n, 0, 2**62), "1073741824 bytes in all, found 0 and"),
        (lambda n: whole(messages.answer(n + 1, "read", TRACE)), "an answer to question 2 bears the number 3"),
        (lambda n: whole(messages.answer(n - 1, "read", TRACE)), "an answer to question 2 bears the number 1"),
        (lambda n: whole(messages.error(0, WireFault("I did not understand."))), "I did not understand."),
    ],
)
def test_whatever_breaks_a_connection_is_said_and_no_question_is_asked_after_it(bytes_of, message):
    with far_side(answer_once(bytes_of)) as connection, RemoteChip(connection) as there:
        with pytest.raises(WireFault, match=message):
            there.read(X)
        for ask in (lambda: there.read(X), lambda: there.write(Shrink(0, 1))):
            with pytest.raises(WireFault, match=r"cannot be used any more: .*Connect anew"):
                ask()


def test_after_a_fault_the_board_is_free_for_others():
    """The asker closes its end at once, not when it is collected."""

    def act(far):
        greeted(far).receive(5)
        far.sendall(b"GET / HTTP/1.1".ljust(HEADER.size))
        far.settimeout(5)
        ended.append(far.recv(1))

    ended = []
    with far_side(act) as connection, RemoteChip(connection) as there:
        with pytest.raises(WireFault, match="expected the first bytes b'MORT'"):
            there.read(X)
        end = time.monotonic() + 5
        while not ended and time.monotonic() < end:
            time.sleep(0.01)
        assert ended == [b""]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: messages.answer(n, "write", True), "answer: expected one of Trace|found True"),
        (lambda n: messages.question(n, "datasheet"), "expected an answer, found the kind question"),
        (lambda n: Frame(Kind.ANSWER, n, b"{}"), 'an object with "arrays" and "value"'),
    ],
)
def test_an_answer_of_another_kind_is_no_answer(answer, message):
    with (
        far_side(answer_once(lambda n: whole(answer(n)))) as connection,
        RemoteChip(connection) as there,
        pytest.raises(WireFault, match=message),
    ):
        there.read(X)


def test_a_write_that_is_cut_says_what_nobody_knows():
    with (
        far_side(answer_once(lambda n: b"MO")) as connection,
        RemoteChip(connection) as there,
        pytest.raises(WireFault, match="may or may not have been carried out; it is not repeated"),
    ):
        there.write(Shrink(0, 0.5))


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: messages.answer(n, "read", TRACE),
        lambda n: messages.question(n, "datasheet"),
        lambda n: Frame(Kind.ANSWER, n, b"{}"),
        lambda n: Frame(Kind.ERROR, n, b"{}"),
    ],
    ids=["of a read", "a question", "no answer", "no error"],
)
def test_a_write_whose_answer_is_not_understood_says_what_nobody_knows(answer):
    with (
        far_side(answer_once(lambda n: whole(answer(n)))) as connection,
        RemoteChip(connection) as there,
        pytest.raises(WireFault, match=r": expected .* The write may or may not have been carried out; it is not repeated"),
    ):
        there.write(Shrink(0, 0.5))


def test_a_write_that_is_refused_leaves_no_doubt():
    refusal = WireFault("request: expected a Shrink.")
    with (
        far_side(answer_once(lambda n: whole(messages.error(n, refusal)))) as connection,
        RemoteChip(connection) as there,
        pytest.raises(WireFault, match=r"^request: expected a Shrink\.$"),
    ):
        there.write(Shrink(0, 0.5))


def stall(far):
    """Begin an answer and stop in its middle."""
    connection = greeted(far)
    far.sendall(whole(messages.answer(connection.receive(5).number, "read", TRACE))[:40])
    connection.receive(5)


def test_an_answer_that_stops_in_its_middle_breaks_the_connection():
    with far_side(stall) as connection, RemoteChip(connection, timeout=0.2) as there:
        with pytest.raises(WireFault, match="it stopped in the middle, "):
            there.read(X)
        with pytest.raises(WireFault, match="Connect anew"):
            there.read(X)


def test_ctrl_c_in_the_middle_of_an_answer_breaks_the_connection():
    busy = Slow(fake())

    def act(far):
        busy.busy.clear()
        connection = greeted(far)
        number = connection.receive(5).number
        far.sendall(whole(messages.answer(number, "read", TRACE))[:40])
        busy.busy.set()
        connection.receive(5)

    with far_side(act) as connection, RemoteChip(connection) as there:
        with ctrl_c_while(busy):
            there.read(X)
        with pytest.raises(WireFault, match=r"it was interrupted in the middle of receiving a message. Connect anew"):
            there.read(X)


def test_ctrl_c_in_the_middle_of_a_question_breaks_the_connection():
    busy, done = Slow(fake()), threading.Event()

    def act(far):
        greeted(far)
        far.recv(1, socket.MSG_PEEK)
        busy.busy.set()  # and take nothing of it
        done.wait(10)

    with far_side(act) as connection, RemoteChip(connection) as there:
        with ctrl_c_while(busy):
            there.read(np.zeros((1_000_000, 12), np.float32))
        with pytest.raises(WireFault, match=r"interrupted in the middle of sending message 2. Connect anew"):
            there.read(X)
        done.set()


def test_a_question_that_nobody_takes_breaks_the_connection():
    def act(far):
        greeted(far)
        done.wait(10)

    done = threading.Event()
    with far_side(act) as connection, RemoteChip(connection, timeout=0.2) as there:
        with pytest.raises(WireFault, match=r"did not take message 2 within 0.2 s"):
            there.read(np.zeros((1_000_000, 12), np.float32))
        done.set()


def test_messages_that_are_too_large_are_refused_and_the_chip_goes_on():
    with remote(fake(), largest=100_000) as there:
        with pytest.raises(RangeError, match="expected at most 100000 bytes, and 4194304 without arrays, found 480"):
            there.write(Delta(0, np.zeros((10, 12_000), np.float32)))
        assert there.read(X).output.shape == (3, 4)
    with far_side(lambda far: serve(fake(), Connection(far)), largest=20_000) as connection, RemoteChip(connection) as there:
        with pytest.raises(RangeError, match=r"expected at most 20000 bytes, .* Send fewer samples at once"):
            there.read(np.resize(X, (300, 12)))
        assert there.read(X).output.shape == (3, 4)


def test_a_closed_chip_says_so_and_can_be_closed_again():
    with remote(fake()) as there:
        there.close()
        there.close()
        with pytest.raises(WireFault, match=r"it was closed here. Connect anew"):
            there.read(X)


def test_a_forked_process_is_refused():
    with remote(fake()) as there:
        there._owner += 1
        with pytest.raises(ChipFault, match="belongs to the process that connected it"):
            there.read(X)
        there._owner -= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_that_closes_a_chip_does_not_end_it():
    ended = []
    with far_side(lambda far: serve(fake(), Connection(far))) as connection:
        with RemoteChip(connection, on_close=lambda: ended.append(os.getpid())) as there:
            child = os.fork()
            if not child:
                there.close()
                os._exit(len(ended) + (connection._stream.fileno() != -1))
            assert os.waitpid(child, 0)[1] == 0
            assert there.read(X).output.shape == (3, 4)
        assert ended == [os.getpid()]


def test_a_chip_is_made_of_a_connection():
    with pytest.raises(ShapeError, match=r"connection: expected a Connection, found function. Write in_process\(make\)"):
        RemoteChip(fake)
    with pytest.raises(ShapeError, match="stream: expected a connected socket, found str"):
        Connection("localhost:5000")
    with pytest.raises(RangeError, match="timeout: expected a number"), pair() as (near, _):
        RemoteChip(Connection(near), timeout=0)
