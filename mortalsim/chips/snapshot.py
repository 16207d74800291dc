"""Snapshots: everything of a chip that changes, and whose it is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from mortalsim.checks import DesignError, RangeError, ShapeError, all_finite
from mortalsim.chips.meter import HOTTEST, LONGEST, Meter
from mortalsim.kernels.counters import TURNS

#: What is never negative, by the first part of its name, with its largest values.
LIMITS = {
    "meter": np.inf, "clock": LONGEST, "temperature": HOTTEST, "turn": TURNS - 1, "computed_at": np.array([LONGEST,
    HOTTEST]), "epoch": LONGEST, "taken": np.inf, "dead": 1, "variance": np.inf,
}  # fmt: skip

#: What may be infinite: costs that overflow are, and stay so.
INFINITE = ("meter.seconds", "meter.joules")

if TYPE_CHECKING:
    from mortalsim.chips.simulated import SimulatedChip


def identity(chip: SimulatedChip) -> dict[str, Any]:
    """Return what makes the chip this individual: its design's digest, and the seed and path of its streams."""
    return {"design": chip.design.digest(), "seed": int(chip.streams.seed), "path": list(chip.streams.path)}


def take(chip: SimulatedChip) -> dict[str, np.ndarray]:
    """Return copies of all that changes, by name."""
    state = {name: np.array(array) for name, array in _present(chip).items()}
    state["identity"] = np.frombuffer(json.dumps(identity(chip), sort_keys=True).encode(), np.uint8).copy()
    return state | {"checksum": _sum_of(state)}


def _sum_of(state: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a checksum of all other entries, uint32 (1,)."""
    found = 0
    for name in sorted(state.keys() - {"checksum"}):
        array = np.ascontiguousarray(state[name])
        found = zlib.crc32(array.data, zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), found))
    return np.array([found], np.uint32)


def give_back(chip: SimulatedChip, state: Mapping[str, np.ndarray]) -> None:
    """Put a snapshot back into the chip that it is of; everything is checked before anything is taken."""
    _check_identity(chip, state)
    present = {**_present(chip), "checksum": np.zeros(1, np.uint32)}
    for name, value in present.items():
        _check_entry(name, value, state)
    foreign = sorted(str(name) for name in state.keys() - present.keys() - {"identity"})
    if foreign:
        raise ShapeError(f"state: expected no entry {foreign[0][:80]!r}, which no snapshot of this chip has. Leave it out.")
    if state["checksum"] != _sum_of(state):
        raise RangeError("state: its checksum does not fit its numbers. Restore a snapshot that nobody changed.")
    for array in chip.arrays:
        own = array.crossbar.arrays()
        array.crossbar.take({name: state[f"{name}.{array.place}"] for name in own})
    chip.clock.now, chip.clock.temperature = float(state["clock"][0]), float(state["temperature"][0])
    kinds = {name: type(value) for name, value in asdict(chip.meter).items()}
    chip.meter = Meter(**{name: kind(state[f"meter.{name}"][0]) for name, kind in kinds.items()})
    chip._turn = int(state["turn"][0])


def _present(chip: SimulatedChip) -> dict[str, np.ndarray]:
    """Return all that changes, by name; devices' arrays are not copied."""
    state = {f"meter.{field.name}": np.array([getattr(chip.meter, field.name)]) for field in fields(Meter)}
    state |= {"clock": np.array([float(chip.clock.now)]), "temperature": np.array([float(chip.clock.temperature)])}
    state |= {"turn": np.array([chip._turn], np.uint64)}
    for array in chip.arrays:
        state |= {f"{name}.{array.place}": value for name, value in array.crossbar.arrays().items()}
    return state


def _check_identity(chip: SimulatedChip, state: Mapping[str, np.ndarray]) -> None:
    try:
        entry = state["identity"]
        if not isinstance(entry, np.ndarray) or entry.dtype != np.uint8 or isinstance(entry, np.ma.MaskedArray):
            raise TypeError("it is no array of bytes")
        found = json.loads(entry.tobytes().decode())
        if type(found["seed"]) is not int:
            raise TypeError("its seed is no whole number")
        parts = {"design": found["design"], "seed": found["seed"], "path": [str(name) for name in found["path"]]}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DesignError(
            "state: expected a snapshot with the entry 'identity', found none that can be read. "
            "Restore what `snapshot` of a chip gave."
        ) from error
    wanted = identity(chip)
    if parts["design"] != wanted["design"]:
        raise DesignError(
            f"state: it is of a chip of another design than {chip.design.name!r} as it is here. "
            "Make the chip from the design that the snapshot was made with."
        )
    if parts != wanted:
        raise DesignError(
            f"state: it is of another individual: seed {str(parts['seed'])[:80]}, "
            f"{'/'.join(parts['path'])[:80]}; this one is "
            f"seed {wanted['seed']}, {'/'.join(wanted['path'])}. Make the chip with the snapshot's own seed and number."
        )


def _check_entry(name: str, array: np.ndarray, state: Mapping[str, np.ndarray]) -> None:
    if name not in state:
        raise ShapeError(f"state: expected an entry {name!r}, found none. Restore the whole of what `snapshot` gave.")
    found = state[name]
    if not isinstance(found, np.ndarray) or isinstance(found, np.ma.MaskedArray):
        raise ShapeError(
            f"state: expected {name} as an array, found {type(found).__name__}. Restore what `snapshot` of a chip gave."
        )
    if found.shape != array.shape or found.dtype != array.dtype:
        raise ShapeError(
            f"state: expected {name} of shape {array.shape}, {array.dtype}, found {found.shape}, {found.dtype}. "
            "Restore only what a chip of the same design and sizes gave."
        )
    if not all_finite(found) and not (name in INFINITE and found[0] == np.inf):
        raise RangeError(
            f"state: expected finite numbers, found NaN or infinity in {name}. Restore a snapshot made before they came up."
        )
    most = LIMITS.get(name.partition(".")[0])
    if most is not None and found.size and found.min() < 0:
        raise RangeError(
            f"state: expected {name} of at least 0, found {found.min()}. Restore a snapshot that nobody changed."
        )
    if most is not None and (found > most).any():
        raise RangeError(
            f"state: expected {name} of at most {np.max(most):g}, found {found.max():g}. Restore a snapshot "
            "that nobody changed."
        )
