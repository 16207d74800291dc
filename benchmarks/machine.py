"""What the numbers were taken on, and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

PACKAGES = ("numpy", "numba", "scipy", "mortalsim")


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, system, and how busy it is before anything is measured."""
    found = {"cpu": _processor(), "cores": _cores(), "memory_gb": _memory_gb(), "os": platform.platform()}
    return found | {"load": round(os.getloadavg()[0], 2)}


def versions() -> dict[str, str]:
    """Return the versions of everything that computes."""
    found = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return found | {"blas": _blas()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    # Those that this process may use, where the system tells.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _blas() -> str:
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    names = (f"{library['internal_api']} {library['version']} {library.get('architecture', '')}" for library in libraries)
    return ", ".join(sorted({name.strip() for name in names})) or "none that tells its threads"
