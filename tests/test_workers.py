"""Worker processes: what is ready before they begin."""

from types import SimpleNamespace

import pytest

from mortalsim.experiments import _parallel


@pytest.mark.parametrize(("jobs", "course"), [(1, ["begun"]), (2, ["compiled", "begun"])])
def test_worker_processes_find_the_kernels_compiled(jobs, course, monkeypatch):
    order = []
    monkeypatch.setattr(_parallel, "compile_all", lambda: order.append("compiled"))
    monkeypatch.setattr(_parallel, "_in_workers", lambda *_: order.append("begun") or ())
    doing, watch = lambda *_: order.append("begun"), SimpleNamespace(begin=lambda name: None, at=print)
    list(_parallel._rows(doing, {0: ("a", 1)}, jobs, watch, alone=False))
    assert order == course
