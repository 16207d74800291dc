"""Design files, and fields handed in from Python; what is taken is made a chip, read and written."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from benchmarks.fuzz import hostile
from benchmarks.fuzz.kinds import Kind as Base
from mortalsim.chips import SimulatedChip, design_names, load_design
from mortalsim.chips.design import build_design
from mortalsim.hardware import Delta


class Kind(Base):
    """A field or two of a small design changed, in memory or in a file; or a file's bytes."""

    share = 2.0

    def prepare(self) -> None:
        small = {"sizes": (4, 3, 2)}
        self.designs = [load_design(name).revised(**small) for name in ("ideal", "mild", "harsh", "wild")]
        self.designs += [load_design(name) for name in ("fields", "recurrent", "tiled", "boxed")]
        self.files = [self._toml(design.fields()) for design in self.designs]
        self.names = design_names()

    def try_one(self, rng: random.Random) -> str:
        kind = rng.randrange(4)
        if kind == 0:
            path = self.folder / "a.toml"
            path.write_bytes(hostile.mutated(rng.choice(self.files), rng))
            self._use(load_design(path), rng)
            return "a file's bytes"
        fields = json.loads(json.dumps(rng.choice(self.designs).fields()))
        for _ in range(rng.choice((1, 1, 2, 3))):
            self._change(fields, rng)
        if kind == 1:
            self._use(build_design(fields, "generated"), rng)
        elif kind == 2:
            group = rng.choice(list(fields))
            self._use(rng.choice(self.designs).revised(**{group: fields[group]}), rng)
        else:
            self._use(load_design(hostile.value(rng)), rng)  # type: ignore[arg-type]
        return "fields"

    def _change(self, fields: Any, rng: random.Random) -> None:
        while isinstance(fields, dict | list) and fields:
            key = rng.choice(list(fields)) if isinstance(fields, dict) else rng.randrange(len(fields))
            if not isinstance(fields[key], dict | list) or rng.random() < 0.3:
                fields[key] = hostile.value(rng)
                return
            fields = fields[key]

    def _use(self, design: Any, rng: random.Random) -> None:
        if max(spec.size for spec in design.datasheet().populations.values()) > 2000:
            return
        chip = SimulatedChip(design, 0)
        x = np.random.default_rng(0).random((2, chip.datasheet.n_inputs), dtype=np.float32)
        chip.read(x)
        for array, spec in enumerate(chip.datasheet.arrays):
            chip.write(Delta(array, np.full(spec.shape, rng.choice((0.01, 10.0)), np.float32)))
        chip.wait(rng.choice((0.0, 1e3)))
        chip.read(x)

    def _toml(self, fields: Any) -> bytes:
        lines = [
            f"{key} = {self._word(item)}" for key, item in fields.items() if not isinstance(item, dict) and item is not None
        ]
        lines += [f"{key} = {self._word(item)}" for key, item in fields.items() if isinstance(item, dict)]
        return "\n".join(lines).encode()

    def _word(self, item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {self._word(one)}" for key, one in item.items() if one is not None) + "}"
        if isinstance(item, list | tuple):
            return "[" + ", ".join(map(self._word, item)) + "]"
        return json.dumps(item)
