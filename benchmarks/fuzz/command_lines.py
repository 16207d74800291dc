"""Command lines: options with values of all kinds, commands that do not exist, files that are none."""

from __future__ import annotations

import contextlib
import io
import os
import random

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim import cli
from mortalsim.checks import MortalsimError
from mortalsim.experiments import EXPERIMENTS

FLAGS = {
    "resume": ["--jobs", "--anyway"],
    "status": [],
    "show": ["--out", "--force"],
    "list": [],
}


class Kind(Base):
    """A command with some options; its tasks are not done, all else is."""

    def prepare(self) -> None:
        os.chdir(self.folder)
        self.options = {
            name: [f"--{field.replace('_', '-')}" for field in EXPERIMENTS.get(name).model_fields]
            for name in EXPERIMENTS.names()
        }
        self.options |= FLAGS
        from mortalsim.experiments import _execute

        def none(*_: object, **__: object) -> None:
            raise MortalsimError("enough")

        _execute.Store.begin = none  # type: ignore[method-assign, assignment]

    def try_one(self, rng: random.Random) -> str:
        command = rng.choice([*self.options, "compare", "train"]) if rng.random() < 0.95 else rng.choice(hostile.TEXTS)
        arguments = [command]
        for _ in range(rng.randrange(4)):
            known = self.options.get(command) or ["--help"]
            arguments.append(rng.choice(known) if rng.random() < 0.95 else rng.choice(hostile.TEXTS))
            if rng.random() < 0.9:
                arguments.append(self._text(rng))
        if command in ("show", "resume", "status") and rng.random() < 0.9:
            arguments.insert(1, self._text(rng))
        arguments = [argument.replace("\0", "") for argument in arguments]
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                cli.build(arguments)(arguments)
        except SystemExit as end:
            if end.code not in (0, None, 2) or "Traceback" in said.getvalue():
                raise RuntimeError(f"exit code {end.code}: {said.getvalue()[-300:]}") from end
            if end.code == 2:
                raise MortalsimError(said.getvalue()) from end
        return command

    def _text(self, rng: random.Random) -> str:
        if rng.random() < 0.3:
            return rng.choice(hostile.TEXTS)
        if rng.random() < 0.3:
            return ",".join(str(hostile.number(rng)) for _ in range(rng.randrange(1, 4)))
        if rng.random() < 0.2:
            return f"{rng.choice(('rate', 'epochs', 'probes', 'x', ''))}={hostile.number(rng)}"
        return str(rng.choice((hostile.number(rng), "mild", "ap", "digits", "fields", "oracle", "1", "2", "0.5")))
