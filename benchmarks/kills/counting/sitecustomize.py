"""Loaded by every Python of a run that is to be killed: batches are counted, and training is kept more often.

Each batch, each save, and each begin of a training appends a line, process and what it was, to the file that the environment
names.
"""

import dataclasses
import os
import sys

if os.environ.get("KILLS_COUNT") and "mortalsim" in " ".join(sys.orig_argv):
    from mortalsim.experiments import _recorder
    from mortalsim.report import store
    from mortalsim.training import checkpoint, session

    log = os.open(os.environ["KILLS_COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    patience = float(os.environ["KILLS_PATIENCE"])

    def counted(function, what):
        def wrapper(*given, **named):
            found = function(*given, **named)
            os.write(log, f"{os.getpid()} {what}\n".encode())
            return found

        return wrapper

    def kept_often(function):
        def wrapper(*given, **named):
            return dataclasses.replace(function(*given, **named), patience=patience)

        return wrapper

    session.Session._step = counted(session.Session._step, "batch")
    _recorder.Seen.add = counted(_recorder.Seen.add, "batch")
    checkpoint.Keeping.__init__ = counted(checkpoint.Keeping.__init__, "begin")
    checkpoint.Keeping.save = counted(checkpoint.Keeping.save, "save")
    store.Keeper.checkpoint = kept_often(store.Keeper.checkpoint)
