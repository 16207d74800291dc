"""Settings of the whole suite."""

from pathlib import Path

import pytest
from hypothesis import settings

from mortalsim.experiments import _inputs
from mortalsim.hardware import Port

# Shared machines stall for longer than any deadline per example; examples are drawn the same way every time.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _data_are_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the data sets of other tests, which may have put others in their place."""
    _inputs._loaded.cache_clear()


@pytest.fixture
def unprogrammable(tmp_path: Path) -> str:
    """Return the path of a design whose chips cannot be programmed."""
    ports = ", ".join(f'"{port.value}"' for port in Port if port is not Port.PROGRAM)
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\nsizes = [4, 4, 4]\nports = [{ports}]\n[device]\ntechnology = "linear"\n')
    return str(path)
