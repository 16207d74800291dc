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


class Other:
    """Stands for the other process; writes down what happens to it."""

    def __init__(self, told, *, hangs=False):
        self.told, self.hangs = told, hangs

    def __call__(self, command, **streams):
        self.told.extend([command, "begun"])
        return self

    def wait(self, timeout=None):
        self.told.append("waited for")
        if self.hangs and timeout is not None:
            raise subprocess.TimeoutExpired("python", timeout)

    def kill(self):
        self.told.append("killed")


@pytest.mark.parametrize("hangs", [False, True])
def test_another_process_compiles_one_module_and_no_more(hangs, monkeypatch, tmp_path):
    """What it is told to do is done here without compiling: it ends well and has not imported the rest."""
    told = []
    monkeypatch.setattr(jit, "is_new", lambda *_: True)
    monkeypatch.setattr(subprocess, "Popen", Other(told, hangs=hangs))
    with jit.compiled_beside("pulses", "apply_pulses"):
        told.append("meanwhile")
    command, *course = told
    assert course == ["begun", "meanwhile", "waited for", "killed", "waited for"]
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    (tmp_path / "random.py").write_text("raise SystemExit('a file in the user's folder was run')", encoding="utf-8")
    ask = "; print('mortalsim.kernels.pulses' in sys.modules, 'mortalsim.kernels.dac' in sys.modules)"
    asked = [*command[:2], command[2] + ask]
    found = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/sh", "", None])
def test_where_no_other_process_can_begin_this_one_does_all(executable, monkeypatch):
    monkeypatch.setattr(jit, "is_new", lambda *_: True)
    monkeypatch.setattr(sys, "executable", executable)
    with jit.compiled_beside("pulses", "apply_pulses"):
        pass


def test_no_other_process_is_begun_where_all_is_compiled(monkeypatch):
    told = []
    monkeypatch.setattr(subprocess, "Popen", Other(told))
    monkeypatch.setattr(jit, "is_new", lambda *_: False)
    with jit.compiled_beside("pulses", "apply_pulses"):
        pass
    assert told == []
