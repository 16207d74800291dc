"""Simulated mortal hardware: analog chips, no two alike, trained as black boxes without backpropagation."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mortalsim.runs import Run, open_run

__all__ = ["Run", "open_run"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for, so that `mortalsim --help` answers at once.
    if name in __all__:
        from mortalsim import runs

        return getattr(runs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
