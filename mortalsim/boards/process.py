"""A chip in a fresh process of this machine, which ends with the connection to it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Final

from mortalsim.boards.makers import Maker, described, made
from mortalsim.boards.remote import RemoteChip
from mortalsim.boards.serving import refuse, serve
from mortalsim.boards.wire import LARGEST, SMALLEST, Connection, check_seconds
from mortalsim.checks import ChipFault, MortalsimError, check_whole

#: Seconds that a process is given to end by itself.
GRACE: Final = 10.0

#: Set in a process that was started to make a chip, until the chip is made.
_making = threading.Event()


def in_process(make: Maker, *arguments: Any, timeout: float | None = None, largest: int = LARGEST) -> RemoteChip:
    """Return a chip that is made in, and lives in, a process of its own; for Linux and macOS.

    The process is told the maker's name and its arguments as JSON; nothing is pickled. Its end is the connection's: it ends
    when the chip is closed, and within `GRACE` seconds when this process dies. Ctrl-C at the terminal does not reach it.

    Parameters
    ----------
    make
        Function of a module that returns the chip, a `functools.partial` of one, or its name: ``"package.module:function"``
        or ``"path/to/file.py:function"``.
    arguments
        What to call it with: what JSON can hold.
    timeout
        Seconds that an answer may take once the chip is made; None: for ever.
    largest
        Bytes of the largest message that either side takes.

    Raises
    ------
    ShapeError
        The maker cannot be told to another process.
    RangeError
        A number is out of range.
    ChipFault
        The process ended before the chip was made; or this process was itself started to make a chip and has not made it
        yet, as happens to a script without ``if __name__ == "__main__":``. What the maker raises is raised here.

    Examples
    --------
    >>> with in_process("my_boards.py:board", 7) as chip:  # doctest: +SKIP
    ...     chip.read(x)
    """
    if _making.is_set():  # it would start processes without end
        raise ChipFault(
            "in_process was called while a process that in_process started was still making its chip. A script that holds "
            'the maker is imported there: put what the script does behind `if __name__ == "__main__":`.'
        )
    name, told = described(make, arguments)
    check_whole("largest", largest, SMALLEST)  # both are refused before a process is started
    if timeout is not None:
        check_seconds("timeout", timeout)
    if not hasattr(socket, "AF_UNIX") or os.name != "posix":
        raise ChipFault(
            "in_process needs Linux or macOS. Start `python -m mortalsim.boards MAKER` by hand, and connect to it."
        )
    near, far = socket.socketpair()
    with far:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mortalsim.boards", name, told, "--descriptor", str(far.fileno()),
                 "--largest", str(largest)],
                pass_fds=(far.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                process_group=0,  # Ctrl-C is for those who ask, not for the chip
            )  # fmt: skip
        except BaseException:
            near.close()
            raise
    connection = Connection(near, f"process {process.pid} of {name}", largest=largest)
    chip = RemoteChip(connection, on_close=lambda: _end(process))
    chip.timeout = timeout
    return chip


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process whose connection is closed; kill it if that does not impress it."""
    try:
        process.wait(GRACE)
    except BaseException as error:  # also Ctrl-C: nobody else will end it
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def serve_descriptor(descriptor: int, name: str, arguments: str, largest: int = LARGEST) -> None:
    """Make a chip and serve it over a socket that was inherited as ``descriptor``, until its other end closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(socket.socket(fileno=descriptor), "whoever started this process", largest=largest)
    threading.Thread(target=_follow, args=(descriptor,), daemon=True).start()
    _making.set()
    try:
        chip = made(name, arguments)
        _making.clear()
    except Exception as error:
        refuse(connection, error)
        if isinstance(error, MortalsimError):
            raise SystemExit(1) from error
        raise  # only here can one see where
    serve(chip, connection)


def _follow(descriptor: int) -> None:
    """End this process soon after the other end has gone, even while the chip is busy."""
    poll = select.poll()
    poll.register(descriptor, 0)  # asks for hanging up alone
    poll.poll()
    time.sleep(GRACE)
    os._exit(1)
