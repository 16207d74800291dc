"""Run folders of which a file was mutated, removed or swapped: resumed, looked at and opened."""

from __future__ import annotations

import json
import random
import shutil

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim.experiments import execute, resume
from mortalsim.experiments.train import Train
from mortalsim.report.status import status
from mortalsim.runs import open_run


class Kind(Base):
    """A small finished run."""

    share = 0.5

    def prepare(self) -> None:
        execute(Train(learner="readout", hidden=(3,), epochs=1, out=self.folder / "whole"))

    def try_one(self, rng: random.Random) -> str:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.folder / "whole", run)
        files = sorted(path for path in run.rglob("*") if path.suffix in (".json", ".safetensors"))
        for _ in range(rng.choice((1, 1, 2))):
            path = rng.choice(files)
            kind = rng.randrange(5)
            if kind == 0:
                path.unlink(missing_ok=True)
            elif kind == 1 and path.exists():
                shutil.copyfile(rng.choice([file for file in files if file.exists()] or [path]), run / "x")
                (run / "x").replace(path)
            elif kind == 2 and path.suffix == ".json" and path.exists():
                try:
                    content = json.loads(path.read_text())
                    key = rng.choice(list(content))
                except (ValueError, IndexError):
                    continue  # it was mutated already
                content[key] = None if rng.random() < 0.5 else rng.choice((1, "x", [], {}, -1))
                path.write_text(json.dumps(content))
            elif path.exists():
                path.write_bytes(hostile.mutated(path.read_bytes(), rng))
        what = rng.randrange(3)
        if what == 0:
            status(run)
        elif what == 1:
            opened = open_run(run)
            _ = opened.config, opened.rows, opened.curves, list(opened.chips.values())
        else:
            resume(run, tell=lambda sentence: None)
        return ("status", "open_run", "resume")[what]
