"""The number of threads changes nothing, to the last bit."""

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from running import slow_in_plain_python
from structures import structured
from threadpoolctl import threadpool_info, threadpool_limits

from mortalsim import parallel
from mortalsim.chips import SimulatedChip, array, blocks, crossbar, load_design, oracle, products
from mortalsim.hardware import Delta, Outer, Replay, WeightNudge
from mortalsim.parallel import chunks, map_chunks, one_blas_thread, workspace


def test_cuts_depend_on_the_size_alone_and_lie_at_multiples():
    assert chunks(10, 1000, 16) == [0, 10]
    assert chunks(2400, 1000, 16) == [0, 1200, 2400]
    assert chunks(2000, 500, 16, head=2.0) == [0, 800, 1200, 1600, 2000]


def test_every_piece_is_done_once_by_however_many_threads():
    done = np.zeros(1000, int)

    def job(start, stop):
        done[start:stop] += 1

    with threadpool_limits(3):
        map_chunks(job, chunks(1000, 7))
    assert (done == 1).all()


def test_a_helper_that_wakes_too_late_is_not_waited_for_and_wakes_for_the_next_job():
    done = np.zeros(2000, int)
    with threadpool_limits(2):
        for turn in range(1000):  # pieces so short that now the helper comes in time, now it does not
            map_chunks(lambda start, stop: done.__setitem__(start, done[start] + 1), [2 * turn, 2 * turn + 1, 2 * turn + 2])
    assert (done == 1).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be told where to run")
def test_a_helper_works_off_its_caller_s_processor_and_is_then_as_free_as_the_caller(monkeypatch):
    allowed, found = os.sched_getaffinity(0), []
    if len(allowed) < 2:
        pytest.skip("one processor")
    caller, main = min(allowed), threading.main_thread()

    def job(start, stop):
        time.sleep(0.01)
        if threading.current_thread() is not main:
            found.append((threading.get_native_id(), os.sched_getaffinity(0)))

    monkeypatch.setattr(parallel, "_here", lambda: caller)
    deadline = time.monotonic() + 20
    with threadpool_limits(2):
        while not found and time.monotonic() < deadline:  # on a busy machine a helper may wake too late
            map_chunks(job, [0, 1, 2, 3])
    assert found and all(place == allowed - {caller} for _, place in found)
    thread = found[0][0]
    while os.sched_getaffinity(thread) != allowed and time.monotonic() < deadline:
        time.sleep(parallel.REST)
    assert os.sched_getaffinity(thread) == allowed


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be told where to run")
def test_a_helper_whose_job_is_withdrawn_is_as_free_as_before():
    allowed, helper, done = os.sched_getaffinity(0), parallel._Helper(), []
    for count in range(200):  # now the job is withdrawn, now it is done
        helper.begin(lambda: done.append(1))
        assert helper.finish() is None
        if len(done) <= count:  # at least one was withdrawn; one that was done leaves the helper where it is for a moment
            break
    deadline = time.monotonic() + 10
    while os.sched_getaffinity(helper._thread.native_id) != allowed and time.monotonic() < deadline:
        time.sleep(parallel.REST)
    assert os.sched_getaffinity(helper._thread.native_id) == allowed


ENDING = """
import threading
from threadpoolctl import threadpool_limits
from mortalsim.parallel import map_chunks

done = []

def work():
    with threadpool_limits(2):
        map_chunks(lambda start, stop: done.append(start), [0, 1, 2])
        print(sorted(done))

def late():
    threading.main_thread().join()
    work()

threading.Thread(target=late).start()
"""


def test_a_thread_may_compute_on_after_the_main_thread_has_ended():
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("[0, 1]\n", "")


def test_room_for_one_use_is_taken_back_by_the_next_and_never_by_another_use_or_thread():
    one, other = workspace("one", 2, 3), workspace("other", 6)
    assert not np.shares_memory(one, other)
    assert np.shares_memory(one, workspace("one", 5)) and not np.shares_memory(one, workspace("one", 7))
    assert not np.shares_memory(workspace("one", 4), in_another_thread(lambda: workspace("one", 4)))


def test_every_place_that_takes_room_names_a_use_of_its_own():
    package = Path(parallel.__file__).parent
    texts = (path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name != "parallel.py")
    uses = [use for text in texts for use in re.findall(r"[^`]workspace\(\s*(.*?),", text)]
    assert len(uses) == len(set(uses)) > 5 and all(use[0] == use[-1] == '"' for use in uses)


def test_an_error_in_any_piece_comes_out_and_the_threads_go_on_serving():
    def job(start, stop):
        raise KeyError(start)

    for _ in range(3):
        with threadpool_limits(2), pytest.raises(KeyError):
            map_chunks(job, [0, 1, 2, 3])


def test_blas_gets_back_the_threads_that_it_had():
    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        with one_blas_thread, one_blas_thread:
            held = {library["num_threads"] for library in threadpool_info() if "numpy" in library["filepath"]}
        assert held <= {1}  # another package's BLAS, loaded later, is not ours to hold
        assert [library["num_threads"] for library in threadpool_info()] == before


@contextmanager
def cut_finely(worthwhile=100_000):
    """Let small chips be cut into pieces, and keep products of their last read, as large ones are and do."""
    with ExitStack() as stack:
        for module in (array, products):
            stack.enter_context(mock.patch.object(module, "WORTHWHILE", worthwhile))
        yield


def results(name, threads):
    """What a chip reads, with and without a nudge, and the weights that an outer product leaves."""
    with threadpool_limits(threads), cut_finely():
        chip = SimulatedChip(load_design(name).with_sizes((64, 2400, 10)), seed=4)
        x = np.random.default_rng(1).random((24, 64), dtype=np.float32)
        trace = chip.read(x)
        nudged = chip.read(x, WeightNudge(3, 0.01)).output
        if not chip.design.device.pulses:  # pulses one by one would take long without the jit; the product is the same
            chip.write(Outer(0, trace.taps[0].pre, trace.taps[0].post, 1e-4))
        return [trace.output, nudged, *oracle.weights(chip)]


@slow_in_plain_python
@pytest.mark.parametrize("name", ["ideal", "harsh"])
def test_one_thread_and_two_give_the_same_bits(name):
    if not any(library["user_api"] == "blas" for library in threadpool_info()):
        pytest.skip("this numpy's matrix products know no thread limit")
    for one, two in zip(results(name, 1), results(name, 2), strict=True):
        np.testing.assert_array_equal(one, two)


def pieces_of_blocks(name, threads, partial):
    """What a chip of blocks reads and writes, cut as finely as can be."""
    design = structured(name)
    design = design.revised(array=[entry | {"partial_sums": partial} for entry in design.fields()["array"]])
    x = np.random.default_rng(1).random((6, design.datasheet().n_inputs), dtype=np.float32)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(threads))
        for module, constant in ((blocks, "CHUNK"), (array, "DRIVEN"), (crossbar, "CHUNK")):
            stack.enter_context(mock.patch.object(module, constant, 1))
        chip, found = SimulatedChip(design, seed=4), []
        for nudge in (None, WeightNudge(3, 0.01), WeightNudge(3, 0.01, "rank1")):
            trace = chip.read(x, nudge)
            found += [values for tap in trace.taps for values in (tap.pre, tap.post)]
        chip.write(Outer(0, trace.taps[0].pre, trace.taps[0].post, 0.01))
        chip.write(Replay(WeightNudge(3, 0.1), 0.3))
        return [*found, *oracle.weights(chip)]


@pytest.mark.parametrize("partial", ["analog", "digital"])
@pytest.mark.parametrize("name", ["fields", "tiled"])
def test_one_thread_and_two_give_the_same_bits_of_every_block(name, partial):
    one, two = (pieces_of_blocks(name, threads, partial) for threads in (1, 2))
    assert len(one) == len(two) > 12
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@slow_in_plain_python
def test_what_a_nudged_read_gives_does_not_depend_on_what_was_kept_of_the_reads_before():
    x = np.random.default_rng(1).random((24, 64), dtype=np.float32)
    with cut_finely():
        chips = [SimulatedChip(load_design("mild").with_sizes((64, 2400, 10)), seed=4) for _ in range(2)]
        plain = chips[1].read(x).output
        chips[0].read(x)
        chips[0].read(x, WeightNudge(3, 0.05))
        chips[1].read(x[::-1], WeightNudge(3, 0.05))
        one, two = (chip.read(x, WeightNudge(3, -0.05)).output for chip in chips)
    np.testing.assert_array_equal(one, two)
    assert (one != plain).any()


def test_writes_cut_into_pieces_give_the_bits_of_one_piece():
    def written(chunk):
        with threadpool_limits(2), mock.patch.object(crossbar, "CHUNK", chunk):
            chip = SimulatedChip(load_design("harsh").with_sizes((40, 30)), seed=4)
            chip.write(Delta(0, np.random.default_rng(2).normal(0, 0.01, (41, 30)).astype(np.float32)))
            chip.wait(1e4)
            chip.read(np.ones((1, 40), np.float32))  # folds the drift
            return [*oracle.weights(chip), *chip.arrays[0].crossbar.devices.arrays, chip.meter.pulses, chip.clock.now]

    for one, two in zip(written(10**9), written(100), strict=True):
        np.testing.assert_array_equal(one, two)


def in_another_thread(job):
    found = []
    thread = threading.Thread(target=lambda: found.append(job()))
    thread.start()
    thread.join()
    return found[0]


@slow_in_plain_python
def test_another_thread_of_the_program_gets_the_same_bits_and_blas_its_threads_back():
    here = results("mild", 2)
    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        there = in_another_thread(lambda: results("mild", 2))
        with one_blas_thread:
            in_another_thread(one_blas_thread.__enter__)
        in_another_thread(lambda: one_blas_thread.__exit__(None, None, None))  # the last one out is not who came first
        assert [library["num_threads"] for library in threadpool_info()] == before
    for one, two in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_numpy_may_do_silently_holds_in_helpers_too():
    def job(start, stop):
        np.full(3, 1e38, np.float32) * np.float32(1e38)
        time.sleep(0.005)

    with threadpool_limits(2), np.errstate(over="ignore"):
        map_chunks(job, list(range(9)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_process_begins_anew():
    with threadpool_limits(2), one_blas_thread:
        child = os.fork()
        if not child:
            with one_blas_thread as threads:
                os._exit(threads)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own():
    def threads_of(cuts):
        found = set()
        map_chunks(lambda *_: (found.add(threading.get_ident()), time.sleep(0.05)), cuts)
        return len(found)

    with threadpool_limits(2):
        assert threads_of([0, 1, 2, 3]) == 2
        child = os.fork()
        if not child:
            os._exit(threads_of([0, 1, 2, 3]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
