"""Compiling: the user hears of it once, and only who looks."""

import importlib.util
import subprocess
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


def test_another_process_compiles_one_module_and_no_more(monkeypatch, tmp_path):
    """What it is told to do is done here without compiling: it ends well and has not imported the rest."""
    told = []

    class Other:
        def __init__(self, command, **streams):
            told.extend(command)

        def __enter__(self):
            told.append("begun")

        def __exit__(self, *_):
            told.append("waited for")

    monkeypatch.setattr(jit, "is_new", lambda *_: True)
    monkeypatch.setattr(subprocess, "Popen", Other)
    with jit.compiled_beside("pulses", "apply_pulses"):
        told.append("meanwhile")
    assert told[3:] == ["begun", "meanwhile", "waited for"]
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    ask = "; print('mortalsim.kernels.pulses' in sys.modules, 'mortalsim.kernels.dac' in sys.modules)"
    found = subprocess.run([told[0], told[1], told[2] + ask], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.split() == ["True", "False"]


def test_no_other_process_is_begun_where_all_is_compiled(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(jit, "is_new", lambda *_: False)
    with jit.compiled_beside("pulses", "apply_pulses"):
        pass
