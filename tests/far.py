"""Chips at the other end of a connection, in a thread: plain, slow, and interrupted as by a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
from batches import SIZES
from fakes import IdealChip, make_datasheet

from mortalsim.boards import Connection, RemoteChip, serve
from mortalsim.testing import SeamOnly

X = np.random.default_rng(0).random((3, SIZES[0]), dtype=np.float32)


def fake(**fields):
    return IdealChip(make_datasheet(SIZES, **fields), seed=1)


@contextlib.contextmanager
def pair():
    """Two sockets that are connected."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@contextlib.contextmanager
def far_side(act, **settings):
    """A connection to whoever ``act`` makes of its other end, in a thread."""
    with pair() as (near, far):
        thread = threading.Thread(target=act, args=(far,), daemon=True)
        thread.start()
        try:
            yield Connection(near, **settings)
        finally:
            near.close()
            thread.join(10)
            assert not thread.is_alive()


@contextlib.contextmanager
def remote(chip, timeout=None, **settings):
    """The chip behind a connection."""
    with (
        far_side(lambda far: serve(chip, Connection(far, "the asker", **settings))) as connection,
        RemoteChip(connection, timeout=timeout) as there,
    ):
        yield there


class Slow(SeamOnly):
    """Takes its time for one sample, none for more; counts what it is asked."""

    __slots__ = ("busy", "gives", "reads", "seconds", "writes")

    def __init__(self, chip, seconds=0.4):
        super().__init__(chip)
        self.seconds, self.reads, self.writes, self.busy, self.gives = seconds, 0, 0, threading.Event(), None

    def read(self, x, nudge=None, want="taps"):
        self.reads += 1
        if np.shape(x)[:1] == (1,):
            self._wait()
            return self.gives or super().read(x, nudge, want)
        return super().read(x, nudge, want)

    def write(self, request):
        self.writes += 1
        self._wait()
        super().write(request)

    def _wait(self):
        self.busy.set()
        time.sleep(self.seconds)


@contextlib.contextmanager
def ctrl_c_while(slow):
    """What a terminal's Ctrl-C does while the far side is busy."""
    slow.busy.clear()

    def press():
        assert slow.busy.wait(10)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            yield lambda: caught.value
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
