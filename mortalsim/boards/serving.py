"""The far side of a remote chip: three members, one question at a time, nothing else."""

from __future__ import annotations

import hmac
import logging
from typing import Any

from mortalsim.boards import messages
from mortalsim.boards.wire import HELLO, Connection, Frame, Kind, WireFault
from mortalsim.checks import ChipFault, MortalsimError
from mortalsim.hardware import Chip

LOG = logging.getLogger(__name__)


def serve(chip: Chip, connection: Connection, *, token: str = "") -> None:
    """Answer the questions that come over a connection until its other end closes it.

    What the chip raises is sent back, and so is the refusal of a question that cannot be; the text is cut to what the other
    end takes. Bytes that are no message end the connection, after an error that says so. Anything else that goes wrong on
    the way ends the connection too. The chip stays as it is and can be served over another connection.

    Parameters
    ----------
    chip
        Who answers; asked from this thread, one question at a time.
    connection
        It is closed at the end.
    token
        The secret that the other end must say first.
    """
    try:
        if _greeted(connection, token):
            while (frame := connection.receive()) is not None:
                connection.send(_answer(chip, frame, connection))
    except Exception as fault:  # the connection's; what the chip raises has been sent back
        if isinstance(fault, MortalsimError):
            LOG.info("%s", fault)
        else:
            LOG.exception("The connection to %s came to an error.", connection.name)
        refuse(connection, fault)
    finally:
        connection.close()


def refuse(connection: Connection, error: Exception) -> None:
    """Answer whoever is at the other end with an error, and close the connection."""
    connection.complain(messages.error(0, error, connection.theirs))


def _greeted(connection: Connection, token: str) -> bool:
    frame = connection.receive(connection.patience, HELLO)
    if frame is None:
        return False
    said, connection.theirs = messages.read_hello(frame)
    if not hmac.compare_digest(said.encode("utf-8", "surrogatepass"), token.encode()):
        raise WireFault("token: expected the one that the far side told when it started, found another.")
    connection.send(messages.hello("", connection.largest))
    return True


def _answer(chip: Chip, frame: Frame, connection: Connection) -> Frame:
    """Return the answer to a question, or the error that it came to."""
    if frame.kind is not Kind.QUESTION:
        raise WireFault(f"message: expected a question, found the kind {frame.kind.name.lower()}.")
    try:
        member, arguments = messages.read_question(frame)
        answer = _packed(frame.number, member, _asked(chip, member, arguments))
        connection.check_fits(answer)
    except Exception as error:  # whatever a chip raises belongs to whoever asked, on the other side
        if not isinstance(error, MortalsimError):
            LOG.exception("Question %d came to an error.", frame.number)  # only here can one see where
        return messages.error(frame.number, error, connection.theirs)
    return answer


def _asked(chip: Chip, member: str, arguments: dict[str, Any]) -> Any:
    if member == "datasheet":
        return chip.datasheet
    if member == "read":
        return chip.read(arguments["x"], arguments["nudge"], arguments["want"])
    chip.write(arguments["request"])
    return True


def _packed(number: int, member: str, given: Any) -> Frame:
    try:
        return messages.answer(number, member, given)
    except MortalsimError as error:
        raise ChipFault(f"{member}: the chip gave what the seam does not know. {error}") from error
