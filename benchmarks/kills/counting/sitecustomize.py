"""Loaded by every Python of a run that is to be killed: batches are counted, and training is kept more often.

Each batch appends a line, process and time, to the file that the environment names.
"""

import dataclasses
import os
import sys
import time

if os.environ.get("KILLS_COUNT") and "mortalsim" in " ".join(sys.orig_argv):
    from mortalsim.experiments import variance
    from mortalsim.report import store
    from mortalsim.training import session

    log = os.open(os.environ["KILLS_COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    patience = float(os.environ["KILLS_PATIENCE"])

    def counted(function):
        def wrapper(*given):
            found = function(*given)
            os.write(log, f"{os.getpid()} {time.time()}\n".encode())
            return found

        return wrapper

    def kept_often(function):
        def wrapper(*given, **named):
            return dataclasses.replace(function(*given, **named), patience=patience)

        return wrapper

    session.Session._step = counted(session.Session._step)
    variance._Seen.add = counted(variance._Seen.add)
    store.Keeper.checkpoint = kept_often(store.Keeper.checkpoint)
