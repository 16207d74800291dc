"""Settings of the whole suite."""

from hypothesis import settings

# Shared machines stall for longer than any deadline per example; examples are drawn the same way every time.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
