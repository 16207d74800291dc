"""Frames on a stream: whole ones arrive, and anything else ends in one clear error."""

import socket
import tracemalloc

import pytest

from mortalsim.boards.wire import HEADER, LARGEST_TEXT, MAGIC, Connection, Frame, Kind, WireFault


def received(*pieces, largest=2**20, within=2.0):
    """Return what a connection receives of bytes after which the other end closes."""
    near, far = socket.socketpair()
    with near, far:
        for piece in pieces:
            far.sendall(piece)
        far.shutdown(socket.SHUT_WR)
        return Connection(near, largest=largest).receive(within)


def header(magic=MAGIC, version=1, kind=2, nought=0, number=7, text=0, body=0):
    return HEADER.pack(magic, version, kind, nought, number, text, body)


def test_a_frame_arrives_as_it_was_sent():
    frame = Frame(Kind.ANSWER, 2**64 - 1, b"text", b"body")
    assert received(frame.header, frame.text, frame.body) == frame
    assert received() is None


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([header(magic=b"GET ")], "expected the first bytes b'MORT', found b'GET '"),
        ([header(version=2)], "expected version 1 of the format, found 2"),
        ([header(kind=9)], "expected a kind from 1 to 4"),
        ([header(nought=1)], "expected a kind from 1 to 4 and then 0"),
        ([header()[:5]], "expected 28 more bytes, found 5 and the end of the connection"),
        ([header(text=10), b"abc"], "expected 10 more bytes, found 3 and the end of the connection"),
        ([header(body=10), b"abc"], "expected 10 more bytes, found 3 and the end of the connection"),
        ([header(body=2**63)], "1048576 bytes in all, found 0 and 92233720368547"),
        ([header(body=2**20)], "1048576 bytes in all, found 0 and 1048604"),
    ],
)
def test_what_is_no_frame_ends_in_one_clear_error(pieces, message):
    with pytest.raises(WireFault, match=message):
        received(*pieces)


def test_a_text_has_a_limit_of_its_own():
    with pytest.raises(
        WireFault, match="expected a text of at most 4194304 bytes and 1073741824 bytes in all, found 4194305"
    ):
        received(header(text=LARGEST_TEXT + 1), bytes(10), largest=2**30)


def test_a_length_that_is_a_lie_costs_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(WireFault, match="end of the connection"):
            received(header(body=2**40), b"abc", largest=2**41)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
