"""The benchmarks' own arithmetic, their file and what they make of peers; nothing here is timed for its numbers."""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from running import slow_in_plain_python
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are not installed with the package

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import beside_peers as peers  # noqa: E402
from benchmarks import limits, memory, pairs, timing  # noqa: E402

COMMAND = CliRunner()
TINY = timing.Setting(runs=7, threads=1, width=8)


def row(ratio, reach, sense):
    return timing.plain_row("r", timing.Times((1.0,)), against="nothing", ratio=ratio, reach=reach, sense=sense)


# --- rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "reach", "sense", "met"),
    [
        (1.25, 1.25, "at most", True),
        (1.26, 1.25, "at most", False),
        (1.5, 1.5, "at least", True),
        (1.4, 1.5, "at least", False),
        (9.0, None, "at most", None),
        (math.nan, 1.0, "at least", False),
    ],
)
def test_a_bar_is_met_on_its_side(ratio, reach, sense, met):
    assert row(ratio, reach, sense).met is met


def test_a_ratio_is_of_medians_and_turns_with_the_sense():
    ours, other = timing.Times((1.0, 2.0, 9.0)), timing.Times((4.0, 5.0, 4.0))
    assert timing.row("r", ours, other, against="other").ratio == 0.5
    found = timing.row("r", ours, other, against="other", sense="at least", reach=3)
    assert (found.ratio, found.met, found.median_s, found.min_s, found.max_s, found.runs) == (2.0, False, 2.0, 1.0, 9.0, 3)
    assert found.against_median_s == 4.0


@pytest.mark.parametrize("runs", [7, 8, 9])
def test_works_take_turns_and_the_first_call_of_a_block_does_not_count(runs, monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    monkeypatch.setattr(timing, "SHORTEST", 0)
    heard = []
    found = timing.alternate([lambda: heard.append("a"), lambda: heard.append("b")], runs)
    assert [len(times.seconds) for times in found] == [runs, runs]
    blocks = "".join(heard)[2:]  # one call each to begin with
    assert blocks.count("a") == blocks.count("b") == runs + timing.BLOCKS
    assert sum(left != right for left, right in pairwise(blocks)) == 2 * timing.BLOCKS - 1


def test_nothing_is_judged_at_another_width():
    assert timing.judged(1.5, timing.Setting()) == 1.5
    assert timing.judged(1.5, TINY) is None


# --- what stands beside --------------------------------------------------------------------------------------------------


def test_a_product_is_the_product():
    for made in (limits.Product(3, 4, 5), limits.Product(3, 4, 5, transposed=True), limits.Vector(4, 5)):
        made()
        np.testing.assert_allclose(made.out, made.left @ made.right, rtol=1e-6)


def test_a_streaming_pass_takes_all_of_the_state_and_counts_it():
    made = limits.StatePass([(3, 5), (2, 2)], drifts=True, threads=2)
    made()
    assert (made._weights == 1).all()
    assert made.bytes == 4 * 19 * (2 * 6 + 2 * 2 * 2 + 2)  # 6 fields read, 2 read and written; the change, the weights
    assert (limits.SPREADS, made.kept, made.changed) == (5, 6, 2)


def test_arrays_are_found_once_wherever_they_are_kept():
    whole = np.zeros((4, 4))

    class Holder:
        def __init__(self):
            self.a, self.b, self.c = whole[1:], {"x": (whole.T, np.ones(3))}, "text"

    Holder.__module__ = "mortalsim.somewhere"
    found = {id(array): array for array in memory.arrays_in(Holder(), set())}
    assert sorted(array.size for array in found.values()) == [3, 16]


# --- the command line ----------------------------------------------------------------------------------------------------


def run(*arguments):
    return COMMAND.invoke(command.app, list(arguments))


def test_a_tiny_run_writes_what_the_results_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    out = tmp_path / "results.json"
    done = run("--only", "read_b1", "--width", "8", "--runs", "7", "--threads", "1", "--out", str(out))
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "versions", "threads", "width", "rows", "skipped"}
    assert set(found["machine"]) == {"cpu", "cores", "memory_gb", "os", "load"}
    assert {"python", "numpy", "numba", "scipy", "mortalsim", "blas"} == set(found["versions"])
    assert {row["name"] for row in found["rows"]} >= {"read_b1", "read_b100"}
    for entry in found["rows"]:
        assert set(entry) >= {
            "name",
            "median_s",
            "min_s",
            "max_s",
            "against",
            "ratio",
            "reach",
            "runs",
            "sense",
            "met",
            "note",
        }
        assert 0 < entry["min_s"] <= entry["median_s"] <= entry["max_s"]
        assert entry["reach"] is None and entry["met"] is None and entry["runs"] == 7
        assert entry["name"] in done.output


def test_part_of_the_rows_does_not_replace_the_results(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "CASES", [timing.Case(("r",), lambda _: [row(1, None, "at most")])])
    assert run("--only", "r").exit_code == 0
    assert run("--width", "8").exit_code == 0
    assert not list(tmp_path.iterdir())
    assert run().exit_code == 0
    assert (tmp_path / "results.json").exists()


def test_a_name_that_no_row_has_is_said():
    done = run("--only", "no such row")
    assert done.exit_code == 2 and "no row's name" in done.output


def test_names_of_rows_are_all_different():
    names = [name for case in command.CASES for name in case.names] + peers.names()
    assert len(set(names)) == len(names)


# --- pairs of checkouts --------------------------------------------------------------------------------------------------


def test_a_ratio_of_pairs_is_their_geometric_mean_with_a_t_interval():
    logs = np.log([1.1, 1.2, 1.3, 1.4])  # too few for any to be left out
    found = pairs.ratio_of(logs)
    half = 3.1824 * logs.std(ddof=1) / 2  # t of 3 degrees of freedom at 97.5 %
    assert found.ratio == pytest.approx((1.1 * 1.2 * 1.3 * 1.4) ** 0.25)
    np.testing.assert_allclose([found.low, found.high], found.ratio * np.exp([-half, half]), rtol=1e-4)


def test_an_interrupted_run_hardly_moves_a_ratio_and_equal_ones_leave_no_doubt():
    logs = np.random.default_rng(0).normal(np.log(1.2), 0.02, 40)
    clean, hit = pairs.ratio_of(logs), pairs.ratio_of([*logs[:-1], np.log(20)])
    assert abs(hit.ratio / clean.ratio - 1) < 0.005
    assert hit.low < 1.2 < hit.high and hit.high / hit.low < 1.05
    same = pairs.ratio_of([0.0] * 15)
    assert (same.ratio, same.low, same.high) == (1, 1, 1)


def test_intervals_cover_what_they_should():
    rng = np.random.default_rng(1)
    found = [pairs.ratio_of(rng.normal(0, 0.1, 20)) for _ in range(500)]
    assert 0.92 < np.mean([one.low < 1 < one.high for one in found]) < 0.98


def pair_row(ratio, low, high):
    return pairs.Found("r", ratio, low, high, 15, 1, 1.0, 1.0, 1.0, 0.0, 0.0)


def test_a_row_is_too_slow_where_its_whole_interval_says_so():
    assert pair_row(1.1, 1.051, 1.2).slower and not pair_row(1.2, 1.0, 1.4).slower
    whole = pairs.mean_of([pair_row(1.1, 1.0, 1.21), pair_row(1 / 1.1, 1 / 1.21, 1.0)])
    assert whole.ratio == pytest.approx(1)
    assert math.log(whole.high) == pytest.approx(math.log(1.1) / math.sqrt(2))


@pytest.fixture
def hasty(monkeypatch, tmp_path):
    for name, value in (("PAUSE", 0), ("RUN", 1e-3), ("RESULTS", tmp_path / "pairs.json")):
        monkeypatch.setattr(pairs, name, value)
    return tmp_path


@slow_in_plain_python
def test_a_checkout_can_be_compared_with_itself(hasty):
    out = hasty / "some.json"
    done = COMMAND.invoke(pairs.app, [str(ROOT), "--only", "read_tiny_1", "--pairs", "15", "--out", str(out)])
    assert "read_tiny_1" in done.output and "failed" not in done.output, done.output
    found = json.loads(out.read_text())
    assert found["this"] == found["other"]
    (entry,) = found["rows"]
    assert 0 < entry["low"] <= entry["ratio"] <= entry["high"] and entry["pairs"] == 15 and entry["calls"] >= 1
    assert done.exit_code == (entry["slower"] or found["mean"]["ratio"] > pairs.MEAN_BAR)
    assert not (hasty / "pairs.json").exists()


def test_a_worker_refuses_another_checkout_s_package(tmp_path):
    """An empty folder has no package, so the worker finds the one that is installed."""
    with pairs.Worker(tmp_path) as worker, pytest.raises(pairs.WorkerFailed, match="expected the package of"):
        worker.ask(prepare="read_tiny_1")


def test_a_row_that_fails_is_said_and_the_others_are_shown(hasty, monkeypatch):
    monkeypatch.setattr(pairs, "all_compared", lambda *_: ["read_tiny_1: broken", pair_row(0.9, 0.8, 1.0)])
    done = COMMAND.invoke(pairs.app, [str(ROOT), "--only", "read_tiny"])
    assert done.exit_code == 1
    assert "failed: read_tiny_1: broken" in done.output and "0.800 to 1.000" in done.output
    assert not (hasty / "pairs.json").exists()


def test_pairs_say_a_name_that_no_row_has():
    done = COMMAND.invoke(pairs.app, [str(ROOT), "--only", "no such row"])
    assert done.exit_code == 2 and "no row's name" in done.output


# --- peers ---------------------------------------------------------------------------------------------------------------

ANSWER = {
    "peer": "aihwkit",
    "version": "1.0",
    "rows": [{"name": "read_b100", "median_s": 6.0, "min_s": 5.0, "max_s": 7.0, "runs": 7, "note": "fastest tile"}],
}
SAYS = f"import sys\nprint('loading')\nprint({json.dumps(json.dumps(ANSWER))})\n"


def beside(tmp_path, script, wanted):
    """What comes of a fake script for aihwkit."""
    (tmp_path / "aihwkit_tiles.py").write_text(script)
    setting = timing.Setting(runs=7, threads=1, width=8, peers=Path(sys.executable))
    return list(peers.beside_peers(setting, lambda name: name in wanted, tmp_path))


def test_a_peer_s_rows_become_comparisons(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    (found,) = beside(tmp_path, SAYS, {"read_b100_aihwkit"})
    assert (found.name, found.against_median_s, found.against) == ("read_b100_aihwkit", 6.0, "aihwkit 1.0, read_b100")
    assert found.ratio == 6.0 / found.median_s
    assert "fastest tile" in found.note


def test_a_row_that_a_peer_does_not_give_is_skipped_by_name(tmp_path):
    (found,) = beside(tmp_path, SAYS, {"read_pcm_b100_aihwkit"})
    assert found == peers.Skipped("read_pcm_b100_aihwkit", "aihwkit 1.0 gave no row read_pcm_b100")


def test_a_missing_peer_is_skipped_by_name(tmp_path, monkeypatch):
    script = "import sys\nprint('aihwkit: cannot be imported (No module named x)', file=sys.stderr)\nsys.exit(3)\n"
    (found,) = beside(tmp_path, script, {"read_b100_aihwkit", "read_pcm_b100_aihwkit"})
    assert found == peers.Skipped("aihwkit_tiles", "aihwkit: cannot be imported (No module named x)")
    monkeypatch.setattr(command, "measured", lambda *_: [found])
    out = tmp_path / "results.json"
    done = run("--out", str(out))
    assert "skipped: aihwkit_tiles (aihwkit: cannot be imported" in done.output
    assert json.loads(out.read_text())["skipped"] == [{"name": found.name, "reason": found.reason}]


@pytest.mark.parametrize("script", ["raise ValueError('broken')\n", "print('no JSON')\n", "print(1)\n", ""])
def test_a_peer_that_fails_is_not_taken_for_a_missing_one(script, tmp_path, monkeypatch):
    (found,) = beside(tmp_path, script, {"read_b100_aihwkit"})
    assert isinstance(found, peers.PeerFailed)
    monkeypatch.setattr(command, "measured", lambda *_: [found])
    done = run("--out", str(tmp_path / "results.json"))
    assert done.exit_code == 1 and "aihwkit_tiles.py" in done.output


def test_a_script_that_is_not_there_is_skipped(tmp_path):
    (found,) = beside(tmp_path, SAYS, {"read_proportional_b1_crosssim"})
    assert found == peers.Skipped("crosssim", "there is no crosssim.py")
