"""A few generated inputs of every kind: each is taken or refused in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fuzz.__main__ import KINDS, LONGEST, tried


@pytest.mark.parametrize("kind", KINDS)
def test_generated_inputs_end_in_an_answer_or_in_one_sentence(kind: str, monkeypatch: pytest.MonkeyPatch, recwarn):
    from mortalsim.report.store import Store

    monkeypatch.setattr(Store, "begin", Store.begin)  # put back afterwards what the harness puts in its place
    found = tried(kind, 8 if numba.config.DISABLE_JIT else 40, seed=7)
    assert found["failures"] == {} and found["slowest"] < LONGEST
    assert found["refused"] > 0
