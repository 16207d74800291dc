"""What is said over a connection: hello, questions to the three members, their answers, and errors."""

from __future__ import annotations

from typing import Any, Final

from mortalsim.boards.packing import Packer, Unpacker, unfit
from mortalsim.boards.values import FLAG, NUMBER, SAMPLES, TEXT, WANT, Form, optional, record
from mortalsim.boards.wire import HELLO, LARGEST, SMALLEST, Frame, Kind, WireFault
from mortalsim.checks import (
    ChipFault,
    DataError,
    DesignError,
    MissingPort,
    MortalsimError,
    OutputError,
    RangeError,
    RunError,
    ShapeError,
    UnknownName,
)
from mortalsim.hardware import WRITE_PORTS, CurrentNudge, Datasheet, Trace, WeightNudge

#: The three members and the forms of what they are asked.
MEMBERS: Final[dict[str, dict[str, Form]]] = {
    "datasheet": {},
    "read": {"x": SAMPLES, "nudge": optional(record(CurrentNudge, WeightNudge)), "want": WANT},
    "write": {"request": record(*WRITE_PORTS)},
}

#: The forms of what they answer, no two alike; a write answers that it was carried out, and no more.
ANSWERS: Final[dict[str, Form]] = {"datasheet": record(Datasheet), "read": record(Trace), "write": FLAG}

#: Errors that are raised on this side as what they were on the other.
ERRORS: Final[dict[str, type[Exception]]] = {
    kind.__name__: kind
    for kind in (
        MortalsimError, ShapeError, RangeError, UnknownName, DesignError, MissingPort, ChipFault, RunError, DataError,
        OutputError, WireFault, ValueError, TypeError,
    )
}  # fmt: skip


def hello(token: str, largest: int) -> Frame:
    """Return the first frame of either side: a secret, and the largest frame that this side takes.

    Raises
    ------
    ShapeError
        The secret is no text.
    RangeError
        It is too long.
    """
    frame = _framed(Kind.HELLO, 0, {"token": (TEXT, token), "largest": (NUMBER, largest)})
    if frame.size > HELLO:
        raise RangeError(
            f"token: expected a text of at most some {HELLO} bytes, found {frame.size}. Take 20 characters, say."
        )
    return frame


def read_hello(frame: Frame) -> tuple[str, int]:
    """Return the secret and the largest frame that the other side takes."""
    if frame.kind is not Kind.HELLO:
        raise WireFault(f"message: expected a hello first, found the kind {frame.kind.name.lower()}.")
    unpacker = Unpacker(frame.text, frame.body)
    found = _fields(unpacker, {"token": TEXT, "largest": NUMBER})
    if type(found["largest"]) is not int or found["largest"] < SMALLEST:
        raise unfit("largest", f"a whole number of at least {SMALLEST}", found["largest"])
    return found["token"], found["largest"]


def question(number: int, member: str, **arguments: Any) -> Frame:
    """Return a question to a member."""
    forms = MEMBERS[member]
    said = {name: (forms[name], value) for name, value in arguments.items()}
    return _framed(Kind.QUESTION, number, {"member": (TEXT, member), **said})


def read_question(frame: Frame) -> tuple[str, dict[str, Any]]:
    """Return which member is asked, and with what.

    Raises
    ------
    UnknownName
        A chip has no such member.
    WireFault
        The frame holds no question, or not what the member is asked with.
    ShapeError, RangeError
        A nudge, a request or samples that cannot be.
    """
    unpacker = Unpacker(frame.text, frame.body)
    member = unpacker.value.get("member") if isinstance(unpacker.value, dict) else None
    if not isinstance(member, str) or member not in MEMBERS:
        raise UnknownName(f"member: expected datasheet, read or write, found {str(member)[:80]!r}.")
    arguments = _fields(unpacker, {"member": TEXT, **MEMBERS[member]})
    del arguments["member"]
    return member, arguments


def answer(number: int, member: str, value: Any) -> Frame:
    """Return the answer of a member to the question of this number."""
    return _framed(Kind.ANSWER, number, {"answer": (ANSWERS[member], value)})


def read_answer(frame: Frame, member: str) -> Any:
    """Return what a member answered; raise what it raised, or `WireFault` if the frame holds neither."""
    if frame.kind is Kind.ERROR:
        raise read_error(frame)
    if frame.kind is not Kind.ANSWER:
        raise WireFault(f"message: expected an answer, found the kind {frame.kind.name.lower()}.")
    return _fields(Unpacker(frame.text, frame.body), {"answer": ANSWERS[member]})["answer"]


def error(number: int, error: BaseException, largest: int = LARGEST) -> Frame:
    """Return an error as the answer to the question of this number; 0: to none. Its text is cut to fit ``largest`` bytes."""
    known = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS and _is_known(kind)), "ChipFault")
    message = str(error)
    if type(error).__name__ != known:
        message = f"The chip's side raised {type(error).__name__}: {message}"
    message = message[: 2**16]
    while True:
        frame = _framed(Kind.ERROR, number, {"class": (TEXT, known), "message": (TEXT, message)})
        if frame.size <= largest or not message:
            return frame
        message = message[: len(message) // 2]  # a character takes 1 to 12 bytes


def read_error(frame: Frame) -> Exception:
    """Return the error that a frame holds; one of a class that is not known here is a `ChipFault`."""
    found = _fields(Unpacker(frame.text, frame.body), {"class": TEXT, "message": TEXT})
    kind = ERRORS.get(found["class"])
    return kind(found["message"]) if kind else ChipFault(f"The chip's side raised {found['class']}: {found['message']}")


def _is_known(kind: type) -> bool:
    return ERRORS[kind.__name__] is kind


def _framed(kind: Kind, number: int, said: dict[str, tuple[Form, Any]]) -> Frame:
    packer = Packer()
    value = {name: form.pack(packer, name, item) for name, (form, item) in said.items()}
    return Frame(kind, number, *packer.finish(value))


def _fields(unpacker: Unpacker, forms: dict[str, Form]) -> dict[str, Any]:
    found = unpacker.value
    if not isinstance(found, dict) or found.keys() != forms.keys():
        raise unfit("message", f"an object of {', '.join(forms)}", found)
    return {name: form.unpack(unpacker, name, found[name]) for name, form in forms.items()}
