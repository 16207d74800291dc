"""Compiling: at the first call and not before, once, with a word to the user, and with a second process that does half."""

import functools
import importlib.util
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest

from mortalsim.kernels import compiling, jit, keeping

compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="with NUMBA_DISABLE_JIT nothing is compiled")

TINY = """
from mortalsim.kernels.jit import f8, kernel, loop

@loop
def twice(x):
    return 2 * x

@kernel(f8, returns=f8)
def tiny(x):
    return twice(x)
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return a maker of fresh copies of one tiny kernel, the only one of a room of its own."""
    monkeypatch.setattr(compiling, "_kernels", [])
    path = tmp_path / "tiny_room.py"
    path.write_text(TINY, encoding="utf-8")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")  # its code is kept beside it, wherever that of the package is

    def make():
        spec = importlib.util.spec_from_file_location("tiny_room", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.tiny

    return make


def files(tmp_path):
    return sorted((tmp_path / "__pycache__").glob("*.nb[ic]"))


# --- when ----------------------------------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, os, pkgutil, sys
changes = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.rmdir"}
seen = []

def watch(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in changes:
        seen.append((event, arguments[0]))

sys.addaudithook(watch)
import mortalsim
for found in pkgutil.walk_packages(mortalsim.__path__, "mortalsim."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
assert not seen, seen
"""


def test_importing_every_room_starts_no_process_touches_no_file_and_says_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path)  # nothing is compiled there yet
    command = [sys.executable, "-B", "-c", IMPORT_ALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@compiled
def test_a_kernel_is_compiled_at_its_first_call_for_one_signature_alone(tiny, tmp_path):
    kernel = tiny()
    assert not files(tmp_path) and not kernel.signatures
    assert kernel(2.0) == 4
    assert len(kernel.signatures) == 1 and files(tmp_path)
    assert type(kernel) is numba.core.registry.CPUDispatcher  # later calls go straight to the machine code
    with pytest.raises(TypeError, match="No matching definition"):
        kernel(np.zeros(2))


@compiled
def test_the_next_process_finds_what_was_compiled(tiny):
    tiny()(1.0)
    kernel = tiny()
    kernel(1.0)
    assert kernel.stats.cache_hits and not kernel.stats.cache_misses


@compiled
def test_threads_that_call_first_at_once_wait_for_one_compilation(tiny):
    kernel, found = tiny(), []
    threads = [threading.Thread(target=lambda: found.append(kernel(3.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6.0] * 4 and len(kernel.signatures) == 1


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_process_forked_while_another_thread_compiles_can_call_kernels(tiny):
    begun, kernel = threading.Event(), tiny()

    class Slow(compiling.Kernel):
        def compile(self):
            begun.set()
            time.sleep(0.3)
            super().compile()

    compiling._kernels[:] = [Slow(*compiling._kernels[0])]
    thread = threading.Thread(target=kernel, args=(1.0,))
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)  # hangs otherwise, if it hangs
        os._exit(int(kernel(2.0) != 4))
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


# --- what python may call ------------------------------------------------------------------------------------------------

CALL_ALL = """
import importlib, pkgutil
from mortalsim import kernels
from mortalsim.kernels.compiling import Inner
refused = set()
for found in pkgutil.iter_modules(kernels.__path__, "mortalsim.kernels."):
    for name, value in vars(importlib.import_module(found.name)).items():
        if isinstance(value, Inner):
            try:
                value()
            except TypeError as error:
                assert value.py_func.__name__ in str(error) and "call it from a kernel" in str(error), error
                refused.add(name)
print(*sorted(refused))
"""


@compiled
def test_loops_and_parts_called_from_python_raise_instead_of_ending_the_interpreter():
    done = subprocess.run([sys.executable, "-c", CALL_ALL], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    sources = "".join(path.read_text(encoding="utf-8") for path in compiling.HERE.glob("*.py"))
    assert set(re.findall(r"^@(?:loop|part)\ndef (\w+)", sources, re.MULTILINE)) <= set(done.stdout.split())


def test_laws_may_be_called_from_python():
    assert jit.law(lambda x: 3 * x)(2) == 6


def test_with_the_jit_off_everything_is_plain_python(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    monkeypatch.setattr(compiling, "_kernels", [])
    for decorator in (jit.law, jit.loop, jit.part, jit.kernel(jit.f8)):
        assert decorator(files) is files
    compiling.compile_all()


# --- the cache -----------------------------------------------------------------------------------------------------------


def flipped(content: bytes, place: float) -> bytes:
    """Return a file with one bit turned over, as memory or a disk may do it."""
    at = int(place * (len(content) - 1))
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "foreign": lambda content: pickle.dumps(numba.__version__) + pickle.dumps((("stamp", 1), {})),
    "without its seal": lambda content: content[32:],
    **{f"one bit at {place}": functools.partial(flipped, place=place) for place in (0.0, 0.02, 0.4, 0.5, 0.6, 0.7, 1.0)},
}


@compiled
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_damaged_machine_code_is_not_run_but_made_anew(tiny, tmp_path, ending, damage):
    tiny()(1.0)
    (path,) = (tmp_path / "__pycache__").glob(f"*.{ending}")
    path.write_bytes(damage(path.read_bytes()))
    for hits in (False, True):
        kernel = tiny()
        assert kernel(2.0) == 4 and bool(kernel.stats.cache_hits) == hits
    assert len(files(tmp_path)) == 2


@compiled
def test_machine_code_of_another_kernel_is_not_run_under_this_ones_name(tiny, tmp_path):
    tiny()(1.0)
    other = {path: path.read_bytes() for path in files(tmp_path)}
    (tmp_path / "tiny_room.py").write_text(TINY.replace("2 * x", "3 * x"), encoding="utf-8")
    for path in files(tmp_path):
        path.unlink()
    assert tiny()(2.0) == 6
    for path, content in other.items():  # a copy that was put back
        path.write_bytes(content)
    assert tiny()(2.0) == 6


@compiled
def test_machine_code_made_of_other_sources_is_dropped(tiny, tmp_path, monkeypatch):
    """A law may stand in another file of the room than the kernel that it was compiled into."""
    tiny()(1.0)
    monkeypatch.setattr(keeping, "SOURCES", b"after an edit elsewhere")
    for hits in (False, True):
        kernel = tiny()
        assert kernel(2.0) == 4 and bool(kernel.stats.cache_hits) == hits
    assert len(files(tmp_path)) == 2


def test_sources_are_compared_by_content_and_with_the_versions_that_compile_them(tmp_path, monkeypatch):
    assert keeping.digest_of(compiling.HERE) == keeping.SOURCES
    law = tmp_path / "law.py"
    law.write_text("1 - x", encoding="utf-8")
    seen = [keeping.digest_of(tmp_path)]
    os.utime(law, (0, 0))
    assert keeping.digest_of(tmp_path) == seen[0]
    law.write_text("1 + x", encoding="utf-8")
    os.utime(law, (0, 0))  # as a copy that keeps time stamps leaves it
    seen.append(keeping.digest_of(tmp_path))
    law.rename(tmp_path / "laws.py")
    seen.append(keeping.digest_of(tmp_path))
    for owner, name in ((numba, "__version__"), (keeping.llvmlite, "__version__"), (sys, "version")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, "another")
            seen.append(keeping.digest_of(tmp_path))
    assert len(set(seen)) == len(seen)


@compiled
def test_a_full_disk_costs_the_cache_alone(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(compiling.SealedCache, "save_overload", full)
    assert tiny()(2.0) == 4
    assert not files(tmp_path)


@compiled
@pytest.mark.parametrize("error", [RuntimeError("no locator available"), ValueError("no zip file"), PermissionError()])
def test_without_a_folder_for_the_cache_kernels_are_compiled_here(error, tiny, monkeypatch):
    def nowhere(*_):
        raise error

    monkeypatch.setattr(compiling, "SealedCache", nowhere)
    monkeypatch.setattr(compiling, "BESIDE", ("tiny_room",))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("what another process compiles would be lost"))
    assert tiny()(2.0) == 4


# --- the word ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "said"), [(True, "this once"), (False, "NUMBA_CACHE_DIR")])
def test_whoever_sits_at_a_terminal_is_told(kept, said, capsys, monkeypatch):
    for at_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda at_terminal=at_terminal: at_terminal)
        compiling.announce(kept=kept)
        told = capsys.readouterr().err
        assert told.count("compiling its kernels") == told.count(said) == at_terminal


@compiled
def test_only_what_is_not_in_the_cache_is_announced(tiny, monkeypatch):
    told = []
    monkeypatch.setattr(compiling, "announce", lambda **how: told.append(how))
    for _ in range(2):
        tiny()(1.0)
    assert told == [{"kept": True}]


@pytest.mark.parametrize("closed", [True, False])
def test_a_missing_or_closed_standard_error_is_no_obstacle(closed, monkeypatch, tmp_path):
    stream = open(tmp_path / "closed", "w", encoding="utf-8")  # noqa: SIM115 - it is to be closed
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if closed else None)
    compiling.announce(kept=True)


# --- the second process --------------------------------------------------------------------------------------------------


class Other:
    """Stands for the second process; writes down what happens to it."""

    stdin = None

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


def told_to(monkeypatch, *, hangs=False):
    """Return the command that a second process is begun with, and what happens to it."""
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Other(told, hangs=hangs))
        with compiling.compiled_beside(compiling.BESIDE, needed=True):
            told.append("meanwhile")
    return told


def test_the_second_process_has_something_to_compile():
    for module in compiling.BESIDE:
        source = (compiling.HERE / f"{module}.py").read_text(encoding="utf-8")
        assert "@kernel(" in source, module


@pytest.mark.parametrize("hangs", [False, True])
def test_the_second_process_compiles_its_modules_and_imports_nothing_of_the_user_s(hangs, monkeypatch, tmp_path):
    """What it is told to do is done here without compiling: it ends well and has not imported the rest."""
    command, *course = told_to(monkeypatch, hangs=hangs)
    assert course == ["begun", "meanwhile", "waited for", "killed", "waited for"]
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    (tmp_path / "random.py").write_text("raise SystemExit('a file in the user's folder was run')", encoding="utf-8")
    ask = "; print('mortalsim.kernels.pulses' in sys.modules, 'mortalsim.kernels.dac' in sys.modules)"
    other = subprocess.Popen(
        [*command[:2], command[2] + ask], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    with other:
        assert other.stdout.read().split() == ["True", "False"]
    assert other.returncode == 0


@compiled
def test_the_second_process_ends_with_the_first(monkeypatch, tmp_path):
    """However that one ends, its end of the pipe closes; compiling into an empty cache would take many seconds more."""
    command, *_ = told_to(monkeypatch)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    other = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    other.stdin.close()
    assert other.wait(timeout=60) == 1
    assert not list(tmp_path.rglob("*.nbi"))


def test_an_error_in_the_meantime_ends_the_second_process(monkeypatch):
    told = []
    monkeypatch.setattr(subprocess, "Popen", Other(told))
    with pytest.raises(KeyboardInterrupt), compiling.compiled_beside(compiling.BESIDE, needed=True):
        raise KeyboardInterrupt
    assert told[1:] == ["begun", "killed", "waited for"]


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/sh", "", None])
def test_where_no_second_process_can_begin_this_one_does_all(executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    with compiling.compiled_beside(compiling.BESIDE, needed=True):
        pass


def test_no_second_process_is_begun_where_all_is_compiled(monkeypatch):
    told = []
    monkeypatch.setattr(subprocess, "Popen", Other(told))
    with compiling.compiled_beside(compiling.BESIDE, needed=False):
        pass
    assert told == []
