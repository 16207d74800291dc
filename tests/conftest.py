"""Settings of the whole suite."""

import pytest
from hypothesis import settings

from mortalsim.experiments import _inputs

# Shared machines stall for longer than any deadline per example; examples are drawn the same way every time.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _data_are_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the data sets of other tests, which may have put others in their place."""
    _inputs._loaded.cache_clear()
