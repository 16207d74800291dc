"""Frames on a stream: a fixed header, a text and the bytes of arrays; numbered, limited in size, never half believed.

A frame is 28 bytes of header, then a JSON text in ASCII, then the bytes of arrays, one after the other, little-endian:

=======  =====  ==============================================================
bytes    type   what
=======  =====  ==============================================================
0 to 3   text   ``MORT``
4        u8     version of the format, 1
5        u8     kind: 1 hello, 2 question, 3 answer, 4 error
6, 7     u16    0
8 to 15  u64    number: an answer or error bears that of its question
16 - 19  u32    bytes of the text
20 - 27  u64    bytes of the arrays
=======  =====  ==============================================================
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from mortalsim.checks import ChipFault, RangeError, ShapeError, check_between, check_whole

MAGIC: Final = b"MORT"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBHQIQ")

#: Bytes of the largest frame, if nothing else is said.
LARGEST: Final = 2**30

#: Bytes that every side takes at least.
SMALLEST: Final = 2**10

#: Bytes of the largest hello, which is taken from whoever comes, before the token is known.
HELLO: Final = 2**12

#: Bytes of the largest text: objects made from JSON take far more memory than their text.
LARGEST_TEXT: Final = 2**22

#: Bytes that are received at once, so that a length that is a lie costs no memory.
PIECE: Final = 2**20


class WireFault(ChipFault):
    """What came over a connection is no message of the seam, or the connection cannot be used any more."""


class NoAnswer(ChipFault):
    """An answer did not come in time; the connection can still be used."""


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    QUESTION = 2
    ANSWER = 3
    ERROR = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Parameters
    ----------
    kind, number
        What it is; and which question it is or belongs to, 0 where it belongs to none.
    text
        JSON in ASCII.
    body
        The bytes of all arrays.
    """

    kind: Kind
    number: int
    text: bytes
    body: bytes | bytearray = b""

    @property
    def size(self) -> int:
        """Bytes that it takes on the wire."""
        return HEADER.size + len(self.text) + len(self.body)

    @property
    def header(self) -> bytes:
        """Its first bytes."""
        return HEADER.pack(MAGIC, VERSION, self.kind, 0, self.number, len(self.text), len(self.body))


def check_seconds(name: str, seconds: float) -> float:
    """Return a time to wait if it is from a thousandth of a second to 1e9 seconds; raise `RangeError` otherwise."""
    return check_between(name, seconds, 1e-3, 1e9, unit="s")


def read_header(header: bytes | bytearray, largest: int = LARGEST) -> tuple[Kind, int, int, int]:
    """Return kind, number, and the bytes of the text and of the arrays.

    Raises
    ------
    WireFault
        It is no header, of another version, or that of a frame that is too large.
    """
    magic, version, kind, nought, number, text, body = HEADER.unpack(header)
    if magic != MAGIC:
        raise WireFault(
            f"message: expected the first bytes {MAGIC!r}, found {magic!r}. Whoever is there speaks something else."
        )
    if version != VERSION:
        raise WireFault(
            f"message: expected version {VERSION} of the format, found {version}. Install the same mortalsim on both sides."
        )
    if kind not in Kind._value2member_map_ or nought:
        raise WireFault(f"message: expected a kind from 1 to {len(Kind)} and then 0, found {kind} and {nought}.")
    size = HEADER.size + text + body
    if text > LARGEST_TEXT or size > largest:
        raise WireFault(
            f"message: expected a text of at most {LARGEST_TEXT} bytes and {largest} bytes in all, found {text} and {size}. "
            "Send fewer samples at once, or give both sides a larger `largest`."
        )
    return Kind(kind), number, text, body


class Connection:
    """One end of a stream of frames; remembers where it was interrupted.

    An interruption while it waits for the first byte of a frame leaves everything in order. After one in the middle of a
    frame, or after a fault, nobody knows where the next frame begins: the connection is closed, and says so from then on.

    Parameters
    ----------
    stream
        A connected socket; it belongs to the connection from now on.
    name
        Who is at the other end, for messages.
    largest
        Bytes of the largest frame that is taken.
    patience
        Seconds of silence that are allowed in the middle of a frame.

    Attributes
    ----------
    theirs
        Bytes of the largest frame that the other end takes, as far as it has said so.
    sent, received
        Numbers of the last frame sent and of the last one received.
    """

    def __init__(
        self, stream: socket.socket, name: str = "the other side", *, largest: int = LARGEST, patience: float = 60.0
    ) -> None:
        if not isinstance(stream, socket.socket):
            raise ShapeError(f"stream: expected a connected socket, found {type(stream).__name__}.")
        self.largest = self.theirs = check_whole("largest", largest, SMALLEST)
        self.patience = check_seconds("patience", patience)
        self.name, self.sent, self.received = name, 0, 0
        self._stream, self._fault, self._midway = stream, "", ""
        if stream.family in (socket.AF_INET, socket.AF_INET6):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a question is small, and waited for

    def __repr__(self) -> str:
        return f"Connection to {self.name}" + (f" ({self._fault or self._midway})" if self._fault or self._midway else "")

    def check_fits(self, frame: Frame) -> None:
        """Raise `RangeError` if the other end does not take so large a frame."""
        if frame.size > self.theirs or len(frame.text) > LARGEST_TEXT:
            raise RangeError(
                f"message: expected at most {self.theirs} bytes, and {LARGEST_TEXT} without arrays, found {frame.size} and "
                f"{len(frame.text)}. Send fewer samples at once, or give both sides a larger `largest`."
            )

    def check_usable(self) -> None:
        """Raise `WireFault` if the connection was closed or is broken."""
        if self._midway:
            self.give_up(f"it was interrupted {self._midway}")
        if self._fault:
            raise WireFault(f"The connection to {self.name} cannot be used any more: {self._fault}. Connect anew.")

    def give_up(self, fault: str) -> WireFault:
        """Close the connection for good, because of ``fault``; return the error that says so."""
        self._fault, self._midway = self._fault or fault, ""
        with suppress(OSError):  # it may have been closed already, here or by the other end
            self._stream.shutdown(socket.SHUT_RDWR)  # close() alone ends nothing where a forked process holds the socket too
        self._stream.close()
        return WireFault(f"The connection to {self.name} cannot be used any more: {self._fault}. Connect anew.")

    def send(self, frame: Frame, within: float | None = None) -> None:
        """Send one frame.

        Raises
        ------
        RangeError
            The other end does not take so large a frame. Nothing was sent.
        WireFault
            The connection cannot be used, now or any more; perhaps ``within`` seconds were not enough.
        """
        self.check_usable()
        self.check_fits(frame)
        self._midway = f"in the middle of sending message {frame.number}"
        try:
            self._stream.settimeout(within)
            self._stream.sendall(b"".join((frame.header, frame.text, frame.body)))
        except TimeoutError as error:
            raise self.give_up(f"{self.name} did not take message {frame.number} within {within:g} s") from error
        except OSError as error:
            raise self.give_up(f"it was cut ({error.strerror or error})") from error
        self.sent, self._midway = frame.number, ""

    def receive(self, within: float | None = None, largest: int | None = None) -> Frame | None:
        """Return the next frame; None if the other end has closed the connection after a whole one.

        Parameters
        ----------
        within
            Seconds that it may take; None: for ever.
        largest
            Bytes of the largest frame that is taken now; None: what the connection takes.

        Raises
        ------
        NoAnswer
            Nothing came within so many seconds. The connection can still be used.
        WireFault
            What came is no frame, or not a whole one, or the connection is closed.
        """
        self.check_usable()
        deadline = None if within is None else time.monotonic() + check_between("within", within, 0)
        if not self._begun(within):
            return None
        self._midway = "in the middle of receiving a message"
        try:
            kind, number, text, body = read_header(self._take(HEADER.size, deadline), largest or self.largest)
            frame = Frame(kind, number, bytes(self._take(text, deadline)), self._take(body, deadline))
        except WireFault as fault:
            # No frame is believed any more; the stream stays open for a complaint, or until it is given up.
            self._fault, self._midway = f"a message was not understood. {fault}".rstrip("."), ""
            raise
        self.received, self._midway = number, ""
        return frame

    def complain(self, frame: Frame, seconds: float = 1.0) -> None:
        """Send a last frame, whatever state the stream is in, and close the connection when it is likely to be read."""
        with suppress(OSError):  # whoever sent garbage need not be there to hear so
            self._stream.settimeout(seconds)
            self._stream.sendall(frame.header + frame.text + frame.body)
            self._stream.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + seconds
            # Who is still sending when the socket is closed would see that alone, and not the complaint.
            while time.monotonic() < deadline and self._stream.recv(PIECE):
                pass
        self._stream.close()
        self._fault = self._fault or "its last message was a complaint"

    def let_go(self) -> None:
        """Close this process's copy of the stream alone; a process that shares it goes on with it."""
        self._fault, self._midway = self._fault or "it was closed here", ""
        self._stream.close()

    def close(self) -> None:
        """Close it; whoever is at the other end finds out."""
        self.give_up("it was closed here")

    def _begun(self, within: float | None) -> bool:
        """Wait for the first byte of a frame and leave it where it is; return False at the end of the stream."""
        try:
            # 0 would mean not to wait at all, and to say so by another error.
            self._stream.settimeout(None if within is None else max(within, 1e-3))
            return bool(self._stream.recv(1, socket.MSG_PEEK))
        except TimeoutError as error:
            raise NoAnswer(f"{self.name} gave no answer within {within:g} s.") from error
        except OSError as error:
            raise self.give_up(f"it was cut ({error.strerror or error})") from error

    def _take(self, size: int, deadline: float | None) -> bytearray:
        """Return the next ``size`` bytes of a frame that has begun."""
        taken = bytearray()
        while len(taken) < size:
            left = self.patience if deadline is None else min(self.patience, deadline - time.monotonic())
            try:
                self._stream.settimeout(max(left, 1e-3))
                piece = self._stream.recv(min(size - len(taken), PIECE))
            except TimeoutError as error:
                raise WireFault(f"message: it stopped in the middle, {size - len(taken)} bytes short.") from error
            except OSError as error:
                raise WireFault(f"message: it was cut in the middle ({error.strerror or error}).") from error
            if not piece:
                raise WireFault(f"message: expected {size} more bytes, found {len(taken)} and the end of the connection.")
            taken += piece
        return taken
