"""Training that is kept in a file while it goes on: whose it is, the newest state, and the one before."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mortalsim.checks import MortalsimError, OutputError, RunError
from mortalsim.files import CutOff, differences, jsonable, read_arrays, write_arrays

#: Seconds between two saves, if a save takes less than a thirtieth of it.
PATIENCE = 60.0

#: How many times as long as a save the training goes on before the next one: saving then costs at most 3 %.
SHARE = 30.0

KIND = "training"


@dataclass(frozen=True)
class Checkpoint:
    """Where and how to keep training from being lost; an existing file of the same training is gone on from.

    Parameters
    ----------
    path
        A ``.safetensors`` file, replaced as a whole at each save. The one before is kept beside it, for a day when the
        newest one was cut off.
    save_chip, load_chip
        Give and take back everything of the chip that changes, as named arrays.
    patience
        Seconds between two saves; they are further apart where a save takes long (`SHARE`). The end is always saved.
    facts
        What else the file is to say, as JSON can hold it, such as all fields of the chip's design.
    """

    path: Path
    save_chip: Callable[[], dict[str, np.ndarray]]
    load_chip: Callable[[dict[str, np.ndarray]], None]
    patience: float = PATIENCE
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def before(self) -> Path:
        """Where the state before the newest one lies."""
        path = Path(self.path)
        return path.with_name(f"{path.stem}.before{path.suffix}")


class Keeping:
    """A checkpoint in use: knows whose training it keeps, and when the next save is due.

    Parameters
    ----------
    checkpoint
        Where and how.
    identity
        What must agree for a file to be of this training; what JSON can hold.
    """

    def __init__(self, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
        self.checkpoint, self.identity = checkpoint, jsonable(identity)
        if not Path(checkpoint.path).resolve().parent.is_dir():
            raise OutputError(f"checkpoint {checkpoint.path}: its folder does not exist. Make it, or choose another one.")
        self._due = time.monotonic() + checkpoint.patience

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._due

    def save(self, state: Mapping[str, np.ndarray], *, last: bool = False) -> None:
        """Write the state of a session and of its chip; the ``last`` one needs none before it.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        started = time.monotonic()
        arrays = {f"session/{name}": value for name, value in state.items()}
        arrays |= {f"chip/{name}": value for name, value in self.checkpoint.save_chip().items()}
        path = Path(self.checkpoint.path)
        write_arrays(path, KIND, arrays, {"identity": self.identity, **self.checkpoint.facts}, before=self.checkpoint.before)
        if last:
            self.checkpoint.before.unlink(missing_ok=True)
        ended = time.monotonic()
        self._due = ended + max(self.checkpoint.patience, SHARE * (ended - started))

    def load(self, restore: Callable[[dict[str, np.ndarray]], None]) -> bool:
        """Give what was kept to ``restore`` and to the chip; return whether there was anything.

        Raises
        ------
        RunError
            The file is damaged, foreign, of another training or of another chip. Nothing is taken then.
        """
        found = self._newest()
        if found is None:
            return False
        path, arrays = found
        parts: dict[str, dict[str, np.ndarray]] = {"session": {}, "chip": {}}
        for name, value in arrays.items():
            part, _, key = name.partition("/")
            parts.setdefault(part, {})[key] = value
        try:
            self.checkpoint.load_chip(parts["chip"])
        except MortalsimError as error:
            raise RunError(f"{path}: it is of another training: {error} {_ANOTHER}") from error
        restore(parts["session"])
        return True

    def _newest(self) -> tuple[Path, dict[str, np.ndarray]] | None:
        """Return the newest state that is whole; None if nothing was kept."""
        broken: CutOff | None = None
        for path in (Path(self.checkpoint.path), self.checkpoint.before):
            remedy = f"Delete {path.name} and {self.checkpoint.before.name} to begin this training anew."
            try:
                arrays, facts = read_arrays(path, KIND, remedy)
            except FileNotFoundError:
                continue
            except CutOff as error:
                broken = broken or error
                continue
            there = differences(facts.get("identity", {}), self.identity)
            if there:
                raise RunError(f"{path}: it is of another training: {there[0]}. {_ANOTHER}")
            return path, arrays
        if broken is not None:
            raise broken
        return None


_ANOTHER = "Give this training another path, or delete the file."


def settings_of(learner: Any) -> dict[str, Any]:
    """Return every hyper-parameter of a learner, by name."""
    return {field.name: getattr(learner, field.name) for field in dataclasses.fields(learner)}
