"""A chip at the other end of a connection: questions are numbered, and an answer to another question is never given."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from mortalsim.boards import messages
from mortalsim.boards.wire import Connection, Frame, Kind, NoAnswer, WireFault, check_seconds
from mortalsim.checks import ChipFault, RangeError, ShapeError
from mortalsim.hardware import Datasheet, Nudge, Samples, Trace, Want, WriteRequest

#: What nobody can know of a write whose answer did not come.
DOUBT: Final = "The write may or may not have been carried out; it is not repeated."


class RemoteChip:
    """A chip that is elsewhere: its three members are asked over a connection, and nothing else crosses it.

    The data sheet is asked for once, at the start; it cannot change. A question that is interrupted (Ctrl-C) or not answered
    in time leaves the chip usable: the next question first waits for the late answer and drops it. An interruption in the
    middle of a message breaks the connection, and every later question says so. A write whose answer did not come may or may
    not have been carried out, as its error says; it is never repeated. Threads may share the chip, and ask one after the
    other; a forked process may not.

    Parameters
    ----------
    connection
        To a far side that runs `serve`. `in_process` and `connect` make one.
    token
        The secret that the far side wants to hear, if it wants one.
    timeout
        Seconds that an answer may take; None: for ever.
    on_close
        Called once, after the connection has been closed.

    Raises
    ------
    ChipFault
        The far side gives no answer, refuses the token, or speaks something else.

    Examples
    --------
    >>> with RemoteChip(connection) as chip:  # doctest: +SKIP
    ...     chip.read(x)
    """

    def __init__(
        self,
        connection: Connection,
        *,
        token: str = "",
        timeout: float | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        if not isinstance(connection, Connection):
            found = type(connection).__name__
            raise ShapeError(
                f"connection: expected a Connection, found {found}. Write in_process(make) for a chip that make() returns."
            )
        self._connection, self._on_close = connection, on_close
        self._lock, self._owner = threading.Lock(), os.getpid()
        try:
            self.timeout = timeout
            connection.send(messages.hello(token, connection.largest), timeout)
            frame = self._received(0)
            _, connection.theirs = messages.read_hello(frame)
            self._datasheet: Datasheet = self._ask("datasheet")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RemoteChip:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RemoteChip({self._connection!r})"

    @property
    def timeout(self) -> float | None:
        """Seconds that an answer may take; None: for ever."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._timeout = None if seconds is None else check_seconds("timeout", seconds)

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        return self._datasheet

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample once.

        Raises
        ------
        ShapeError, RangeError, UnknownName, MissingPort, ChipFault
            What the chip raises; `ChipFault` also where no answer comes.
        """
        trace: Trace = self._ask("read", x=x, nudge=nudge, want=str(want))
        return trace

    def write(self, request: WriteRequest) -> None:
        """Ask for a change.

        Raises
        ------
        ShapeError, RangeError, UnknownName, MissingPort, ChipFault
            What the chip raises; `ChipFault` also where no answer comes. The request may have been carried out then.
        """
        self._ask("write", request=request)

    def close(self) -> None:
        """Close the connection; the far side finds out. A chip that is closed cannot be asked any more.

        A forked process closes its own copy alone: the chip goes on for the process that connected it.
        """
        if os.getpid() != self._owner:
            self._connection.let_go()
            return
        self._connection.close()
        done, self._on_close = self._on_close, None
        if done is not None:
            done()

    def _ask(self, member: str, **arguments: Any) -> Any:
        if os.getpid() != self._owner:
            raise ChipFault("A remote chip belongs to the process that connected it. Connect anew in this one.")
        with self._lock:
            self._connection.check_usable()
            number = self._connection.sent + 1
            asked = messages.question(number, member, **arguments)
            self._drop_late_answer()
            frame = self._exchanged(asked, member)
        try:
            raised = messages.read_error(frame) if frame.kind is Kind.ERROR else None
            given = None if raised is not None else messages.read_answer(frame, member)
        except WireFault as fault:  # the answer is whole, and says nothing that is understood
            raise WireFault(f"{fault} {DOUBT}" if member == "write" else str(fault)) from fault
        if raised is not None:
            raise raised
        return given

    def _drop_late_answer(self) -> None:
        """Wait for the answer to a question that was given up; there is one at most, as each question waits for it."""
        given_up = self._connection.sent
        if self._connection.received < given_up:
            try:
                self._received(given_up)
            except NoAnswer as error:
                raise NoAnswer(
                    f"{error} It is busy with question {given_up}, which was given up; this one was not sent."
                ) from error

    def _exchanged(self, asked: Frame, member: str) -> Frame:
        """Send a question and return its answer; whatever goes wrong on the way says what it means for a write."""
        try:
            self._connection.send(asked, self._timeout)
            return self._received(asked.number)
        except ChipFault as fault:
            if member == "write":
                raise type(fault)(f"{fault} {DOUBT}") from fault
            raise
        except RangeError:  # nothing was sent
            raise
        except BaseException as interruption:
            if member == "write":
                interruption.add_note(DOUBT)
            raise

    def _received(self, number: int) -> Frame:
        """Return the next frame, which must bear this number: nothing else can still be answered."""
        try:
            frame = self._connection.receive(self._timeout)
        except WireFault:
            self._connection.close()
            raise
        if frame is None:
            raise self._connection.give_up("the other end was closed. Look at its own output for the reason")
        if frame.kind is Kind.ERROR and not frame.number:
            self._connection.give_up("the other end broke it off")
            raise messages.read_error(frame)
        if frame.number != number:
            raise self._connection.give_up(f"an answer to question {number} bears the number {frame.number}")
        return frame
