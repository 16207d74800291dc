"""Chips that stand before other chips: only the seam, one port fewer, or in another process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from mortalsim.checks import ChipFault, MortalsimError, UnknownName
from mortalsim.hardware import NUDGE_PORTS, WRITE_PORTS, Chip, Datasheet, Nudge, Port, Samples, Trace, Want, WriteRequest


class NotConforming(MortalsimError, AssertionError):
    """A device, chip or learner breaks its contract."""


def expect(condition: bool, message: str) -> None:
    """Raise `NotConforming` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise NotConforming(message)


class SeamOnly:
    """A chip that has the three members and nothing else: who reaches behind the seam gets an AttributeError."""

    __slots__ = ("_chip",)

    def __init__(self, chip: Chip) -> None:
        self._chip = chip

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        return self._chip.datasheet

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample once."""
        return self._chip.read(x, nudge, want)

    def write(self, request: WriteRequest) -> None:
        """Ask for a change."""
        self._chip.write(request)


class WithoutPort(SeamOnly):
    """A chip that lacks one port: it is not on the data sheet, and what goes through it is refused."""

    __slots__ = ("_port",)

    def __init__(self, chip: Chip, port: Port) -> None:
        super().__init__(chip)
        self._port = port

    @property
    def datasheet(self) -> Datasheet:
        """The other chip's data sheet less the port."""
        sheet = self._chip.datasheet
        return replace(sheet, ports=sheet.ports - {self._port})

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample once; without taps and states where these are the missing port."""
        if nudge is not None and NUDGE_PORTS[type(nudge)] is self._port:
            self.datasheet.require(f"a {type(nudge).__name__}", self._port)
        trace = self._chip.read(x, nudge, want)
        return Trace(trace.output) if self._port is Port.TAPS else trace

    def write(self, request: WriteRequest) -> None:
        """Ask for a change, unless it goes through the missing port."""
        if WRITE_PORTS[type(request)] is self._port:
            self.datasheet.require(f"the request {type(request).__name__}", self._port)
        self._chip.write(request)


class RemoteChip:
    """A chip that lives in another process; only the three members cross over.

    Parameters
    ----------
    make
        Function of a module (it is called in a fresh process) that returns the chip.
    arguments
        What to call it with.

    Examples
    --------
    >>> with RemoteChip(make_my_chip, "mild", 7) as chip:  # doctest: +SKIP
    ...     chip.read(x)
    """

    def __init__(self, make: Callable[..., Chip], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, make, arguments), daemon=True)
        self._process.start()
        far.close()

    def __enter__(self) -> RemoteChip:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def datasheet(self) -> Datasheet:
        """What is true of every chip of this design."""
        sheet: Datasheet = self._ask("datasheet")
        return sheet

    def read(self, x: Samples, nudge: Nudge | None = None, want: Want = "taps") -> Trace:
        """Present every sample once."""
        trace: Trace = self._ask("read", x, nudge, want)
        return trace

    def write(self, request: WriteRequest) -> None:
        """Ask for a change."""
        self._ask("write", request)

    def close(self) -> None:
        """End the other process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, member: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((member, arguments))
            answer = self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            raise ChipFault("the process of a remote chip has ended. Look at its own output for the reason.") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, make: Callable[..., Chip], arguments: tuple[Any, ...]) -> None:
    chip = make(*arguments)
    while True:
        try:
            member, args = pipe.recv()
        except EOFError:
            return
        try:
            answer = _answer(chip, member, args)
        except Exception as error:  # whatever a chip raises belongs to whoever asked, on the other side
            answer = error
        pipe.send(answer)


def _answer(chip: Chip, member: str, arguments: tuple[Any, ...]) -> Any:
    """Answer for one of the three members; the far side holds the seam, whatever it is asked."""
    if member == "datasheet":
        return chip.datasheet
    if member == "read":
        return chip.read(*arguments)
    if member == "write":
        return chip.write(*arguments)
    raise UnknownName(f"member: expected datasheet, read or write, found {member!r}.")
