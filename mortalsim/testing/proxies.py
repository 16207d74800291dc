"""Chips that stand before other chips: only the seam, or one port fewer."""

from __future__ import annotations

from dataclasses import replace

from mortalsim.checks import MortalsimError
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
