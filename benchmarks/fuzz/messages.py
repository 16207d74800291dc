"""Messages between a remote chip and its far side: valid ones, mutated, in both directions."""

from __future__ import annotations

import random
import socket
import threading

import numpy as np

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim.boards.remote import RemoteChip
from mortalsim.boards.serving import serve
from mortalsim.boards.wire import Connection
from mortalsim.checks import MortalsimError
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.hardware import Delta

#: Seconds that either side waits for the other; what is longer is a hang.
PATIENCE = 0.5


class Kind(Base):
    """A conversation is recorded once; then one side is played back, mutated, to the other one."""

    def prepare(self) -> None:
        self.chip = SimulatedChip(load_design("mild").with_sizes((4, 3, 2)), 0)
        self.asked, self.answered = self._recorded()

    def _talk(self, end: socket.socket) -> None:
        chip = RemoteChip(Connection(end, "the far side"))
        chip.timeout = PATIENCE
        chip.read(np.ones((2, 4), np.float32))
        chip.write(Delta(0, np.full(chip.datasheet.arrays[0].shape, 0.01, np.float32)))
        chip.close()

    def _recorded(self) -> tuple[bytes, bytes]:
        (near, left), (right, far) = socket.socketpair(), socket.socketpair()
        told: dict[str, bytearray] = {"asked": bytearray(), "answered": bytearray()}

        def copy(source: socket.socket, target: socket.socket, name: str) -> None:
            while block := source.recv(1 << 16):
                told[name] += block
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

        threads = [
            threading.Thread(target=copy, args=(left, right, "asked"), daemon=True),
            threading.Thread(target=copy, args=(right, left, "answered"), daemon=True),
            threading.Thread(target=lambda: serve(self.chip, Connection(far, "the near side")), daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._talk(near)
        for thread in threads:
            thread.join(5)
        return bytes(told["asked"]), bytes(told["answered"])

    def try_one(self, rng: random.Random) -> str:
        near, far = socket.socketpair()
        near.settimeout(PATIENCE)
        with near, far:
            if rng.random() < 0.5:
                near.sendall(hostile.mutated(self.asked, rng)[: 1 << 17])
                near.shutdown(socket.SHUT_WR)
                drain = threading.Thread(target=_drain, args=(near,), daemon=True)
                drain.start()
                serve(self.chip, Connection(far, "generated"))
                return "questions"
            near.sendall(hostile.mutated(self.answered, rng)[: 1 << 17])
            near.shutdown(socket.SHUT_WR)
            drain = threading.Thread(target=_drain, args=(near,), daemon=True)
            drain.start()
            try:
                self._talk(far)
            except (ValueError, TypeError) as error:  # the far side may name these two
                raise MortalsimError(str(error)) from error
            return "answers"


def _drain(end: socket.socket) -> None:
    try:
        while end.recv(1 << 16):
            pass
    except OSError:
        pass
