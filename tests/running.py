"""Starting the command line in a process of its own, as a terminal would."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import mortalsim

#: Where a process in any folder finds the package.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mortalsim.__file__).parents[1])}

#: Where such a process finds the files beside this one as well.
BESIDE = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), ENVIRONMENT["PYTHONPATH"]))}


def hear_signals() -> None:
    """Undo what a background shell or nohup has its children ignore; to be called in the new process."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
