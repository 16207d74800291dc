"""Other simulators beside ours: their scripts run in an environment of their own, then our counterpart right after.

A script in ``benchmarks/peers/`` is run as ``PYTHON SCRIPT --threads N --runs N``. Its last line of output is one object,
``{"peer", "version", "rows": [{"name", "median_s", "min_s", "max_s", "runs", "note"}]}``, in JSON; its exit code 3 says that
the peer cannot be imported there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.chips import EXPONENTIAL, PROPORTIONAL, SOFT_BOUNDS, layer_chip
from benchmarks.memory import last_json, own_peak
from benchmarks.reads import read_work
from benchmarks.steps import FF_ROWS, ff_steps
from benchmarks.timing import Row, Sense, Setting, Times, Work, alternate, judged, plain_row, row
from benchmarks.writes import PULSES, outer_writes

SCRIPTS = Path(__file__).parent / "peers"

#: A script says so by this exit code.
CANNOT_IMPORT = 3

#: Of each of a script's rows; slow ones take fewer.
RUNS = 7

#: Seconds after which a script has hung.
PATIENCE = 1800


@dataclass(frozen=True)
class Skipped:
    """What could not be measured, and why."""

    name: str
    reason: str


class PeerFailed(RuntimeError):
    """A peer's script ended with an error of its own."""


@dataclass(frozen=True)
class Comparison:
    """One row of a peer and what stands beside it.

    Parameters
    ----------
    name
        Of the row here.
    script, theirs
        The peer's script, less its ending, and the name of the row there.
    ours
        Makes our work; None compares peak memory instead of time.
    reach, sense
        The bar, or None for no more than a look; "at least" takes the peer's time over ours, "at most" ours over the peer's.
    """

    name: str
    script: str
    theirs: str
    ours: Callable[[Setting], Work] | None
    reach: float | None
    sense: Sense = "at least"


def _read(setting: Setting, *, samples: int, **fields: Any) -> Work:
    return read_work(layer_chip("mild", setting.width, **fields), samples)


def _outer(setting: Setting, *, device: dict[str, Any]) -> Work:
    return outer_writes(setting.width, PULSES["dense"], device)


def _ff(setting: Setting, *, name: str) -> Work:
    return ff_steps(setting.width, name)


_PROPORTIONAL: dict[str, Any] = {"device": PROPORTIONAL}

COMPARISONS = [
    Comparison("read_b100_aihwkit", "aihwkit_tiles", "read_b100", partial(_read, samples=100), 1.5),
    Comparison("read_b1000_aihwkit", "aihwkit_tiles", "read_b1000", partial(_read, samples=1000), None),
    Comparison("read_pcm_b100_aihwkit", "aihwkit_tiles", "read_pcm_b100", partial(_read, samples=100, **_PROPORTIONAL), 25),
    Comparison("outer_b100_aihwkit", "aihwkit_tiles", "update_softbounds_b100", partial(_outer, device=SOFT_BOUNDS), 8),
    Comparison("outer_pair_b100_aihwkit", "aihwkit_tiles", "update_pcm_pair_b100", partial(_outer, device=EXPONENTIAL), 50),
    Comparison("read_b100_lightning", "lightning", "read_b100", partial(_read, samples=100), None),
    Comparison("read_b1000_lightning", "lightning", "read_b1000", partial(_read, samples=1000), None),
    *(
        Comparison(
            f"read_proportional_b{samples}_crosssim",
            "crosssim",
            f"read_b{samples}_device_noise",
            partial(_read, samples=samples, **_PROPORTIONAL),
            100,
        )
        for samples in (1, 10)
    ),
    *(
        Comparison(f"{name}_loewex", "loewex", "ff_step_4x2000", partial(_ff, name=name), row.peer_reach, "at most")
        for name, row in FF_ROWS.items()
    ),
    Comparison("memory_ff_peak_backprop", "loewex", "backprop_4x2000", None, None),
]


def names() -> list[str]:
    """Return the names of all rows that the peers' environment adds."""
    return [comparison.name for comparison in COMPARISONS]


def run_script(python: Path, script: Path, *arguments: str) -> dict[str, Any] | Skipped:
    """Run a script by the peers' interpreter; return its JSON object, or its name with the reason for skipping it.

    Raises
    ------
    PeerFailed
        The script ended in any other way than the agreed ones.
    """
    command = [str(python), str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode == CANNOT_IMPORT:
        said = (done.stderr.strip() or done.stdout.strip() or "cannot be imported").splitlines()[-1]
        return Skipped(script.stem, said)
    if done.returncode:
        raise PeerFailed(f"{script.name} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    try:
        return last_json(done.stdout)
    except (ValueError, IndexError, TypeError) as error:
        raise PeerFailed(f"{script.name}: its last line of output is no JSON object ({error}).") from error


def compared(comparison: Comparison, found: dict[str, Any], setting: Setting) -> Row | Skipped:
    """Return the row of a comparison whose peer has answered with ``found``."""
    theirs = {entry["name"]: entry for entry in found["rows"]}.get(comparison.theirs)
    if theirs is None:
        return Skipped(comparison.name, f"{found['peer']} {found['version']} gave no row {comparison.theirs}")
    against = f"{found['peer']} {found['version']}, {comparison.theirs}"
    if comparison.ours is None:
        return beside_memory(comparison, theirs, against, setting)
    return beside_time(comparison, comparison.ours(setting), theirs, against, setting)


def beside_time(comparison: Comparison, work: Work, theirs: dict[str, Any], against: str, setting: Setting) -> Row:
    """Time ours and hold it against the peer's median."""
    (ours,) = alternate([work], setting.runs)
    spread = f"{theirs['min_s']:.4g} to {theirs['max_s']:.4g} s in {theirs['runs']} runs"
    note = f"the peer: {spread}; {theirs.get('note', '')}"
    reach = judged(comparison.reach, setting)
    other = Times((theirs["median_s"],))
    return row(comparison.name, ours, other, against=against, reach=reach, sense=comparison.sense, note=note)


def beside_memory(comparison: Comparison, theirs: dict[str, Any], against: str, setting: Setting) -> Row:
    """Hold the peak memory of our training steps against that of the peer's."""
    ours = own_peak(setting)
    note = (
        f"the ratio is peak RSS, {ours['peak_mb']:.0f} MB over {theirs['peak_rss_mb']:.0f} MB, of which "
        f"{ours['before_mb']:.0f} and {theirs['peak_rss_mb'] - theirs['rss_growth_mb']:.0f} MB before the steps "
        f"(theirs with the model); ours: {ours['note']}; the peer: {theirs.get('note', '')}; our seconds are of all steps"
    )
    return plain_row(
        comparison.name,
        Times((ours["seconds"],)),
        against=against,
        against_median_s=theirs["median_s"],
        ratio=ours["peak_mb"] / theirs["peak_rss_mb"],
        note=note,
    )


def beside_peers(
    setting: Setting, wanted: Callable[[str], bool], scripts: Path = SCRIPTS
) -> Iterator[Row | Skipped | PeerFailed]:
    """Run every script that a wanted comparison needs; yield rows, what was skipped by name, and scripts that failed."""
    if setting.peers is None:
        return
    arguments = ("--threads", str(setting.threads), "--runs", str(RUNS))
    needed = [comparison for comparison in COMPARISONS if wanted(comparison.name)]
    for stem, group in groupby(needed, key=lambda comparison: comparison.script):
        script = scripts / f"{stem}.py"
        if not script.exists():
            yield Skipped(stem, f"there is no {script.name}")
            continue
        try:
            found = run_script(setting.peers, script, *arguments)
        except PeerFailed as error:
            yield error
            continue
        if isinstance(found, Skipped):
            yield found
            continue
        for comparison in group:
            yield compared(comparison, found, setting)
