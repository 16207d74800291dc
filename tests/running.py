"""How tests run: the command line in a process of its own, and what is left out where kernels are plain Python."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numba
import pytest

import mortalsim

#: Where a process in any folder finds the package. Its kernels are compiled, also where the suite runs with the jit off: the
#: process is what is tested, and plain Python would take minutes.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
ENVIRONMENT |= {"PYTHONPATH": str(Path(mortalsim.__file__).parents[1])}

#: For tests whose subject is not the kernels, and which would take long in plain Python. Kernels are compared with their
#: reference implementations in both modes.
slow_in_plain_python = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="takes long in plain Python")

#: Where such a process finds the files beside this one as well.
BESIDE = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), ENVIRONMENT["PYTHONPATH"]))}


def hear_signals() -> None:
    """Undo what a background shell or nohup has its children ignore; to be called in the new process."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
