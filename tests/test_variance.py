"""The noise of gradient estimates: theory, truth, and that only what is asked for is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nets import net
from running import slow_in_plain_python
from tiny import load_tiny

from mortalsim import build, data
from mortalsim.chips import SimulatedChip, oracle
from mortalsim.experiments import _trial, variance
from mortalsim.experiments._recorder import Recorder
from mortalsim.experiments.variance import Variance
from mortalsim.hardware import Datasheet, Delta, Outer, Program, Replay, Shrink, WeightNudge
from mortalsim.learners import Batch
from mortalsim.objectives import goodness, one_hot
from mortalsim.streams import Streams


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", load_tiny)


@slow_in_plain_python
def test_variance_of_perturbation_obeys_theory_on_a_quiet_chip(tiny, monkeypatch: pytest.MonkeyPatch):
    probes = 512
    for name in ("wp", "ap"):  # theory is for small probes; larger ones also see the bends of narrow populations
        monkeypatch.setitem(variance.BARE_RULES, name, {**variance.BARE_RULES[name], "amplitude": 0.003})
    found = Variance(design="ideal", widths=(12,), probes=probes, batch=8, learners=("wp", "ap"), jobs=1).run()
    for row in found.rows:
        assert row["p_theory"] == pytest.approx(row["p_noiseless"])
        # P is measured with a relative error of about sqrt(2 / probes): four of them, a false alarm below 1e-4.
        assert row["p_measured"] == pytest.approx(row["p_noiseless"], rel=4 * (2 / probes) ** 0.5)
        # Shows a grossly wrong direction; the objective itself is held by the test below.
        assert row["cosine_all"] == pytest.approx((probes / (probes + row["p_noiseless"])) ** 0.5, abs=0.04)
    assert found.rows[0]["p_noiseless"] == found.rows[0]["weights"] - 1


@slow_in_plain_python
def test_read_noise_adds_to_what_theory_expects(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, amplitude in (("wp", 0.01), ("ap", 0.05)):
        monkeypatch.setitem(variance.BARE_RULES, name, {**variance.BARE_RULES[name], "amplitude": amplitude})
    path = tmp_path / "noisy.toml"
    ideal = 'weight_range = 2.0\n[device]\ntechnology = "linear"\nslope_up = 0.0\nslope_down = 0.0\npulses = 0\n'
    path.write_text(f'name = "noisy"\nsizes = [4, 4, 4]\n{ideal}[neurons]\nnoise = 0.07\n')
    noisy = Variance(design=str(path), widths=(8,), probes=1024, batch=8, learners=("wp", "ap"), jobs=1).run()
    for row in noisy.rows:
        assert row["p_theory"] > 1.9 * row["p_noiseless"]
        # Noise as large as the signal: P is measured with a relative error of about 2 sqrt(3 / probes), so 4 of them.
        assert row["p_measured"] == pytest.approx(row["p_theory"], rel=8 * (3 / 1024) ** 0.5)


@slow_in_plain_python
@pytest.mark.parametrize("name", ["wp", "ap", "ff"])
def test_each_rule_is_compared_with_the_gradient_of_its_own_objective(name: str):
    """The mean update, per unit of step, is that gradient in size as well: another temperature or threshold would show."""
    dataset = load_tiny("tiny", Streams(0))
    design, own = build.fitted("ideal", dataset, (5, 5))
    small = {} if name == "ff" else {"amplitude": 0.01}  # larger ones also see the bends of narrow populations
    learner = _trial.make_learner(name, settings=variance.BARE_RULES[name] | small)
    recorder = Recorder(build.make_chip(design, Streams(0), 0))
    batch = Batch(own.train_x[:8], one_hot(own.train_y[:8], 4), 0.0)
    probes = 16 if name == "ff" else 600
    updates, truth = variance._updates(recorder, learner, own.task, batch, probes, Streams(1))
    along = updates @ truth / (truth @ truth)
    # ff learns (1 - p) s of which the true derivative is twice, and a mean over the batch.
    # ap's products are sums over the batch; wp's step is the rate over the number of weights.
    expected = {"ff": 1 / (2 * 8), "ap": 8}.get(name) or learner.rate / learner.sizes(recorder.datasheet)[0]
    error = along.std() / np.sqrt(probes) + 0.01 * expected
    assert abs(along.mean() - expected) < 4 * error and error < 0.08 * expected


def test_gradient_of_goodness_is_that_of_the_chip_with_its_converters_errors():
    dataset = load_tiny("tiny", Streams(0))
    design = build.design_for("mild", dataset, (5, 5)).revised(
        converters={"gain_dtod": 0.3, "offset_dtod": 0.3}, normaliser={"gain_dtod": 0.3}
    )
    chip = SimulatedChip(design, 0)
    positive, negative = dataset.train_x[:4], dataset.train_x[4:8]
    found = variance._goodness_ascent(chip, positive, negative)
    cells = chip.arrays[0].crossbar.weights

    def likelihood() -> float:
        model = oracle.model(chip)
        total = 0.0
        for x, sign in ((positive, 1.0), (negative, -1.0)):
            post = model.forward(x.astype(np.float64)).states["h1"][0]
            heat = np.sqrt(post.shape[1])
            total -= heat * np.logaddexp(0, sign * (post.shape[1] - goodness(post)) / heat).sum()
        return total

    for place in ((0, 0), (7, 3), (16, 2)):
        before, step, values = cells[place], np.float32(2**-9), []
        for sign in (1, -1):
            cells[place] = before + sign * step
            values.append(likelihood())
        cells[place] = before
        slope = (values[0] - values[1]) / (2 * step)
        assert found[np.ravel_multi_index(place, cells.shape)] == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_forward_forward_follows_the_gradient_of_its_own_goodness(tiny):
    # On ideal relu neurons its update is that gradient but for the draw of wrong labels.
    found = Variance(design="ideal", widths=(5,), probes=16, batch=20, learners=("ff",), jobs=1).run()
    assert found.rows[0]["cosine_all"] > 0.95 and found.rows[0]["p_theory"] is None


def alive(sheet: Datasheet, array: int) -> np.ndarray:
    """Return which weights of an array join two ends."""
    spec = sheet.arrays[array]
    if spec.rows is None:
        return np.ones(spec.shape, bool)
    n, m = (sheet.populations[end].size for end in (spec.source, spec.target))
    return (spec.rows <= n)[:, :, None] & (spec.columns < m)[:, None, :]


@pytest.mark.parametrize("kind", ["forked", "blocks"])
def test_the_recorder_adds_up_every_request_and_carries_out_none(kind: str):
    """What it adds up is what an ideal twin of the chip then does."""
    design = net(kind, weight_range=50.0)
    chip, twin = SimulatedChip(design, 1), SimulatedChip(design, 1)
    held, recorder, rng = oracle.weights(chip), Recorder(chip), np.random.default_rng(0)
    nudges = (WeightNudge(5, 0.01), WeightNudge(6, 0.01, "rank1", arrays=(0, 2)))
    requests = [Replay(nudges, (0.5, {"h1": np.ones(chip.populations["h1"].size, np.float32)}))]
    for array, spec in enumerate(chip.datasheet.arrays):
        pre = rng.random((*spec.shape[:-2], 3, spec.n_in), dtype=np.float32)
        post = rng.random((3, chip.datasheet.populations[spec.target].size), dtype=np.float32)
        requests += [Outer(array, pre, post, 0.1), Delta(array, rng.random(spec.shape, dtype=np.float32), 0.2)]
    for request in requests:
        recorder.write(request)
        twin.write(request)
    for array, (before, after) in enumerate(zip(held, oracle.weights(twin), strict=True)):
        live = alive(chip.datasheet, array)  # nothing happens to devices of grounded rows and unused columns
        np.testing.assert_allclose(recorder.changes[array][live], (after - before)[live], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(before, oracle.weights(chip)[array])
    recorder.clear()
    assert not any(change.any() for change in recorder.changes)
    recorder.write(Shrink(1, 0.9))
    np.testing.assert_allclose(recorder.changes[1], -0.1 * held[1], rtol=1e-4, atol=1e-6)
    recorder.clear()
    recorder.write(Program(0, np.full(held[0].shape, 0.25, np.float32)))
    np.testing.assert_allclose(recorder.changes[0], 0.25 - held[0], rtol=1e-4, atol=1e-6)
    assert not any(change.any() for change in recorder.changes[1:])


@pytest.mark.parametrize("learner", ["wp", "ap", "ff"])
def test_variance_probes_a_chip_of_the_run(learner: str, tiny, monkeypatch: pytest.MonkeyPatch):
    seen = []
    real = variance._updates
    monkeypatch.setattr(variance, "_updates", lambda recorder, *rest: (seen.append(recorder.chip), real(recorder, *rest))[1])
    Variance(learners=(learner,), widths=(4,), probes=4, batch=4, jobs=1, chip=3, seed=2).run()
    assert [chip.streams for chip in seen] == [Streams(2).child("chip", 3)]
