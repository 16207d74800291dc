"""Chips that are elsewhere: behind a socket or in another process, with the same three members and nothing else.

`in_process` and `connect` return a `RemoteChip`; `Listener` and `python -m mortalsim.boards` serve one. The page
docs/how-to/use-a-board-of-your-own.md goes through it.
"""

from mortalsim.boards.process import in_process
from mortalsim.boards.remote import RemoteChip
from mortalsim.boards.serving import serve
from mortalsim.boards.socket import Listener, connect
from mortalsim.boards.wire import LARGEST, Connection, NoAnswer, WireFault

__all__ = [
    "LARGEST",
    "Connection",
    "Listener",
    "NoAnswer",
    "RemoteChip",
    "WireFault",
    "connect",
    "in_process",
    "serve",
]
