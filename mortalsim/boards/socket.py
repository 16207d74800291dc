"""A chip behind a loopback socket: the board's process listens, and any other process of this machine connects.

Only this machine is listened to. Whoever wants a board on another machine lets `ssh` carry the port, which says who may and
hides what is said: ``ssh -L 5000:127.0.0.1:5000 machine``.
"""

from __future__ import annotations

import secrets
import socket
from types import TracebackType
from typing import Final

from mortalsim.boards import messages
from mortalsim.boards.remote import RemoteChip
from mortalsim.boards.serving import serve
from mortalsim.boards.wire import LARGEST, SMALLEST, Connection, check_seconds
from mortalsim.checks import ChipFault, OutputError, ShapeError, check_whole
from mortalsim.hardware import Chip

LOOPBACK: Final = "127.0.0.1"


class Listener:
    """A port of this machine at which a chip can be asked by who knows the token; one after the other.

    Parameters
    ----------
    port
        0: one that is free.
    token
        A secret that whoever connects must say, as every user of the machine can reach the port. None: a new one.
    largest
        Bytes of the largest message that is taken, at least 1024.
    patience
        Seconds of silence that are allowed before the token and in the middle of a message, above 0.

    Attributes
    ----------
    port, token
        What `connect` must be told.

    Raises
    ------
    OutputError
        The port is taken.
    ShapeError
        The token is no text of characters, or an empty one.
    RangeError
        The token is longer than what fits into a first message, or a number is out of range.

    Examples
    --------
    >>> with Listener(5000) as listener:  # doctest: +SKIP
    ...     listener.serve(board)
    """

    def __init__(self, port: int = 0, token: str | None = None, *, largest: int = LARGEST, patience: float = 60.0) -> None:
        check_whole("port", port, 0, 65535)
        self._largest, self._patience = check_whole("largest", largest, SMALLEST), check_seconds("patience", patience)
        self.token = secrets.token_urlsafe(16) if token is None else _check_token(token)
        self._socket = socket.socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((LOOPBACK, port))
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            raise OutputError(
                f"port: cannot listen at {port} ({error.strerror}). Take another, or 0 for a free one."
            ) from error
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def serve(self, chip: Chip, connections: int | None = None) -> None:
        """Serve a chip to whoever connects, one connection after the other.

        Parameters
        ----------
        chip
            Who answers. It outlives every connection, also one that ends in garbage.
        connections
            After how many to stop; None: never.
        """
        served = 0
        while connections is None or served < connections:
            stream, _ = self._socket.accept()
            served += 1
            with stream:
                serve(chip, Connection(stream, "a client", largest=self._largest, patience=self._patience), token=self.token)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def connect(port: int, token: str, *, timeout: float | None = None, largest: int = LARGEST) -> RemoteChip:
    """Return the chip behind a port of this machine.

    Parameters
    ----------
    port, token
        As the listener tells them.
    timeout
        Seconds that an answer may take; None: for ever. A chip that is served to someone else answers when they have closed
        their connection.
    largest
        Bytes of the largest message that is taken.

    Raises
    ------
    ChipFault
        Nobody listens there, or does not answer in time, or wants another token.
    """
    check_whole("port", port, 1, 65535)
    check_whole("largest", largest, SMALLEST)
    messages.hello(token, largest)  # refuses a token that cannot be sent
    try:
        stream = socket.create_connection((LOOPBACK, port))
    except OSError as error:
        raise ChipFault(
            f"port: nobody listens at {LOOPBACK}:{port} ({error.strerror or error}). Start the board's side first."
        ) from error
    return RemoteChip(Connection(stream, f"the chip at {LOOPBACK}:{port}", largest=largest), token=token, timeout=timeout)


def _check_token(token: str) -> str:
    messages.hello(token, LARGEST)
    if not token:  # who has heard of no token would say just this
        raise ShapeError("token: expected a text of at least one character, found an empty one. Write None for a new token.")
    try:
        token.encode()
    except UnicodeEncodeError as error:
        raise ShapeError(
            f"token: expected a text of whole characters, found {token!r}. Write None for a new token."
        ) from error
    return token
