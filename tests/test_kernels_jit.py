"""Compiling: the user hears of it once, and only who looks."""

import importlib.util
import sys
import types

import numba
import pytest

from mortalsim import kernels
from mortalsim.kernels import jit


def sit_down(monkeypatch: pytest.MonkeyPatch, *, at_terminal: bool):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal)
    monkeypatch.setattr(jit, "_said", [])
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)


@pytest.fixture
def fresh(tmp_path):
    path = tmp_path / "never_compiled.py"
    path.write_text("def fresh(x):\n    return x\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("never_compiled", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fresh


def test_a_first_compilation_is_announced_once(fresh, capsys, monkeypatch):
    sit_down(monkeypatch, at_terminal=True)
    for _ in range(2):
        jit.say_if_new(fresh)
    assert capsys.readouterr().err.count("compiling its kernels") == 1


def test_pipes_hear_nothing(fresh, capsys, monkeypatch):
    sit_down(monkeypatch, at_terminal=False)
    jit.say_if_new(fresh)
    assert capsys.readouterr().err == ""


def test_cached_kernels_are_not_announced(fresh, capsys, monkeypatch):
    sit_down(monkeypatch, at_terminal=True)
    if isinstance(kernels.fold, types.FunctionType):
        pytest.skip("with NUMBA_DISABLE_JIT nothing is compiled")
    numba.njit("float64(float64)", cache=True)(fresh)
    jit.say_if_new(fresh)
    assert capsys.readouterr().err == ""
