"""A chip behind a port of this machine: it outlives garbage and strangers, and answers who knows the token."""

import contextlib
import re
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from batches import SIZES
from boards import ideal
from fakes import IdealChip, make_datasheet
from far import X
from running import BESIDE

from mortalsim.boards import Connection, Listener, WireFault, connect, messages
from mortalsim.boards.wire import HEADER, MAGIC
from mortalsim.checks import ChipFault, OutputError, RangeError, ShapeError
from mortalsim.hardware import Program, Shrink


@contextlib.contextmanager
def listening(chip, connections, **settings):
    """A listener that serves a chip, in a thread, to so many connections."""
    with Listener(**settings) as listener:
        thread = threading.Thread(target=listener.serve, args=(chip, connections), daemon=True)
        thread.start()
        yield listener
        thread.join(10)
        assert not thread.is_alive()


def raw(listener):
    return socket.create_connection(("127.0.0.1", listener.port), timeout=5)


def test_a_chip_behind_a_port_outlives_its_connections():
    here = ideal()
    with listening(ideal(), 3) as listener:
        for _ in range(3):
            with connect(listener.port, listener.token) as there:
                there.write(Shrink(0, 0.5))
                here.write(Shrink(0, 0.5))
                np.testing.assert_array_equal(here.read(X).output, there.read(X).output)


def test_only_this_machine_is_listened_to():
    with Listener() as listener:
        assert listener._socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OutputError, match=f"port: cannot listen at {listener.port}"):
            Listener(listener.port)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
        b"MO",
        HEADER.pack(MAGIC, 1, 1, 0, 0, 10, 0) + b"x",
        HEADER.pack(MAGIC, 1, 1, 0, 0, 0, 2**40) + bytes(100_000),
        HEADER.pack(MAGIC, 1, 1, 0, 0, 2, 0) + b"{}",
        HEADER.pack(MAGIC, 1, 2, 0, 1, 2, 0) + b"{}",
        HEADER.pack(MAGIC, 1, 1, 0, 0, 2, 2**16) + b"{}" + bytes(2**16),
        bytes(20_000_000),
    ],
    ids=[
        "http",
        "nothing",
        "cut header",
        "cut text",
        "oversized",
        "no hello",
        "question first",
        "hello with arrays",
        "zeros",
    ],
)
def test_a_client_that_talks_garbage_does_no_harm(garbage):
    with listening(ideal(), 2, largest=2**20) as listener:
        with raw(listener) as stranger:
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            answer = Connection(stranger).receive(5)
            if garbage:
                with pytest.raises(WireFault):
                    raise messages.read_error(answer)
            else:
                assert answer is None
        with connect(listener.port, listener.token) as there:
            assert there.read(X).output.shape == (3, 4)


@pytest.mark.parametrize("text", ["x", "\N{GRINNING FACE}"])
def test_an_error_that_is_too_long_for_the_client_is_cut_and_the_board_goes_on(text):
    class Loud(IdealChip):
        def read(self, x, nudge=None, want="taps"):
            raise RangeError(f"loud {text * 5000}")

    with listening(Loud(make_datasheet(SIZES)), 2) as listener:
        for _ in range(2):
            with connect(listener.port, listener.token, largest=4000, timeout=5) as there:
                for _ in range(2):
                    with pytest.raises(RangeError, match=f"^loud {text}{{100,}}$"):
                        there.read(X)


def test_whatever_goes_wrong_on_the_way_ends_that_connection_alone(monkeypatch, caplog):
    def jammed(self, frame, within=None):
        raise ZeroDivisionError("jammed")

    send = Connection.send
    with listening(ideal(), 2) as listener:
        with connect(listener.port, listener.token, timeout=5) as there:
            monkeypatch.setattr(
                Connection, "send", lambda self, *a: (send if self is there._connection else jammed)(self, *a)
            )
            with pytest.raises(ChipFault, match="The chip's side raised ZeroDivisionError: jammed"):
                there.read(X)
        monkeypatch.undo()
        with connect(listener.port, listener.token, timeout=5) as there:
            assert there.read(X).output.shape == (3, 4)
    assert "came to an error" in caplog.text


def test_garbage_after_a_good_start_is_answered_by_an_error_and_ends_that_connection():
    chip = ideal()
    with listening(chip, 2) as listener:
        with connect(listener.port, listener.token) as there:
            there._connection._stream.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            with pytest.raises(WireFault, match="expected the first bytes b'MORT', found b'GET '"):
                there._received(0)
        with connect(listener.port, listener.token) as there:
            there.write(Program(0, np.zeros((13, 8), np.float32)))
    assert not chip.weights[0].any()


def test_a_client_that_stops_in_the_middle_or_says_nothing_is_sent_away():
    with listening(ideal(), 3, patience=0.1) as listener:
        with raw(listener) as silent, connect(listener.port, listener.token, timeout=5) as there:
            assert there.read(X).output.shape == (3, 4)
            assert b"gave no answer within 0.1 s" in silent.recv(1000)
            there._connection._stream.sendall(b"MORT")
            with pytest.raises(WireFault, match="it stopped in the middle, 24 bytes short"):
                there._received(0)
        with connect(listener.port, listener.token, timeout=5) as there:
            assert there.read(X).output.shape == (3, 4)


def test_whoever_does_not_know_the_token_is_not_answered():
    with listening(ideal(), 3) as listener:
        for token in ("", "guess", "\ud800"):
            with pytest.raises(WireFault, match="token: expected the one that the far side told"):
                connect(listener.port, token)
        assert len(listener.token) > 20
    with listening(ideal(), 1, token="well known") as listener, connect(listener.port, "well known") as there:
        assert there.datasheet.design == "fake"


def test_little_is_taken_before_the_token():
    with listening(ideal(), 2) as listener:
        with raw(listener) as stranger:
            stranger.sendall(HEADER.pack(MAGIC, 1, 1, 0, 0, 2, 2**16))  # and not one byte of it
            with pytest.raises(WireFault, match="4096 bytes in all, found 2 and 65566"):
                raise messages.read_error(Connection(stranger).receive(5))
        with connect(listener.port, listener.token) as there:
            assert there.read(np.resize(X, (500, 12))).output.shape == (500, 4)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"token": 5}, ShapeError, "token: expected a text, found int"),
        ({"token": b"secret"}, ShapeError, "token: expected a text, found bytes"),
        ({"token": "\ud800"}, ShapeError, "token: expected a text of whole characters"),
        ({"token": "x" * 5000}, RangeError, "token: expected a text of at most some 4096 bytes, found 50"),
        ({"largest": 1.5}, RangeError, "largest: expected a whole number of at least 1024"),
        ({"largest": 10}, RangeError, "largest: expected a number at least 1024"),
        ({"patience": 0}, RangeError, "patience: expected a number between 0.001"),
        ({"patience": None}, RangeError, "patience: expected a number, found NoneType"),
        ({"port": "x"}, RangeError, "port: expected a whole number"),
    ],
    ids=str,
)
def test_a_listener_says_what_it_cannot_take(settings, error, message):
    with pytest.raises(error, match=message):
        Listener(**settings)


def test_a_client_says_what_it_cannot_send():
    with Listener() as listener:
        for token, error in ((5, ShapeError), ("x" * 5000, RangeError)):
            with pytest.raises(error, match="token: expected a text"):
                connect(listener.port, token)
        with pytest.raises(RangeError, match="largest: expected"):
            connect(listener.port, "token", largest=10)


def test_a_chip_that_serves_another_is_waited_for_in_vain():
    with (
        listening(ideal(), 2) as listener,
        connect(listener.port, listener.token),
        pytest.raises(ChipFault, match=r"gave no answer within 0.1 s"),
    ):
        connect(listener.port, listener.token, timeout=0.1)


def test_a_port_where_nobody_listens_says_so():
    with Listener() as listener:
        port = listener.port
    with pytest.raises(ChipFault, match=f"nobody listens at 127.0.0.1:{port} .* Start the board's side first"):
        connect(port, "token")
    with pytest.raises(RangeError, match="port: expected a number between 1 and 65535"):
        connect(0, "token")


def test_the_command_serves_a_chip():
    command = [sys.executable, "-m", "mortalsim.boards", "boards:ideal", "[[5], {}]", "--token", "secret"]
    server = subprocess.Popen(command, env=BESIDE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.fullmatch(r"port (\d+) token secret\n", server.stdout.readline())[1])
        for _ in range(2):
            with connect(port, "secret") as there:
                np.testing.assert_array_equal(there.read(X).output, ideal(5).read(X).output)
    finally:
        server.terminate()
        server.communicate()


def test_a_token_that_anybody_would_guess_is_refused():
    with pytest.raises(ShapeError, match="token: expected a text of at least one character, found an empty one"):
        Listener(0, token="")
