"""`ask` turns a rule's factors into one request an array: every array into a population, every tick, each sample once."""

import numpy as np
import pytest
from batches import RNG, batch, drive_of, watched
from fakes import make_datasheet
from nets import net

from mortalsim.hardware import ArraySpec, Delta, Outer
from mortalsim.learners import steps
from mortalsim.learners.steps import Memory, Pull, ask, remember, row_means

RATE = 0.25


def asked(kind, population, ticks=None, **more):
    """Return a chip that was asked, the trace and random factors of a population's states."""
    chip = watched(net(kind).datasheet())
    trace = chip.read(batch(7).x)
    size, rng = chip.datasheet.populations[population].size, RNG(4)
    factors = {
        tick: rng.standard_normal((7, size), dtype=np.float32)
        for tick in trace.states[population]
        if ticks is None or tick in ticks
    }
    step = ask(chip, trace, population, factors, RATE, **more)
    assert step == pytest.approx(RATE / drive_of(chip.datasheet, trace, population, factors), rel=1e-5)
    return chip, trace, factors


def by_hand(chip, trace, array, factors):
    """The sum over ticks and samples of pre x factor, weight by weight."""
    spec = chip.datasheet.arrays[array]
    total = np.zeros(spec.shape)
    columns = np.arange(spec.n_out)[None] if spec.columns is None else spec.columns
    for tap in trace.of(array):
        if tap.tick not in factors:
            continue
        pre = tap.pre[None] if spec.rows is None else tap.pre
        for block, own in enumerate(columns):
            for column, neuron in enumerate(own):
                if neuron < factors[tap.tick].shape[1]:
                    where = total if spec.rows is None else total[block]
                    where[:, column] += pre[block].T @ factors[tap.tick][:, neuron]
    return total


def change(chip, request):
    """What a request asks of an array's weights."""
    if isinstance(request, Delta):
        return request.scale * request.matrix
    return request.rate * chip.datasheet.arrays[request.array].product(request.pre, request.post)


CASES = [("forked", "h1"), ("forked", "out"), ("blocks", "h1"), ("blocks", "h2"), ("recurrent", "h1"), ("recurrent", "h2")]


@pytest.mark.parametrize(("kind", "population"), CASES)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_every_array_into_a_population_is_asked_once_for_the_sum_of_its_products(kind, population, momentum):
    sheet = net(kind).datasheet()
    state = {f"gradient{a}": np.zeros(sheet.arrays[a].shape, np.float32) for a in sheet.into(population)}
    chip, trace, factors = asked(kind, population, memory=Memory(state, momentum))
    assert [request.array for request in chip.asked] == list(sheet.into(population))
    assert {type(request) for request in chip.asked} == {Delta if momentum else Outer}
    step = RATE / drive_of(sheet, trace, population, factors)
    for request in chip.asked:
        expected = (1 - momentum) * step * by_hand(chip, trace, request.array, factors)
        np.testing.assert_allclose(change(chip, request), expected, rtol=1e-4, atol=1e-5)


def test_ticks_that_carry_the_same_are_joined_and_the_others_follow_as_samples():
    chip, trace, factors = asked("recurrent", "h1")
    clamped, settling = chip.asked  # in to h1 is clamped; h2 to h1 begins at tick 1
    assert clamped.pre.shape == (7, 9) and settling.pre.shape == (3 * 7, 7 - 1)
    np.testing.assert_array_equal(clamped.pre, trace.of(0)[0].pre)
    np.testing.assert_allclose(clamped.post, sum(factors.values()), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(settling.pre, np.concatenate([tap.pre for tap in trace.of(1)]))
    np.testing.assert_array_equal(settling.post, np.concatenate([factors[tick] for tick in (1, 2, 3)]))


def test_arrays_that_did_not_feed_at_the_ticks_asked_for_are_left_alone():
    chip, _, factors = asked("recurrent", "h1", ticks=(0,))
    assert [request.array for request in chip.asked] == [0] and list(factors) == [0]


@pytest.mark.parametrize("kind", ["forked", "blocks"])
def test_samples_without_a_factor_are_left_out_and_change_nothing(kind):
    chip = watched(net(kind).datasheet())
    trace, size = chip.read(batch(7).x), chip.datasheet.populations["h1"].size
    factors = RNG(4).standard_normal((7, size), dtype=np.float32)
    factors[[1, 4]] = 0
    heard = {0: factors.any(axis=1)}
    step = ask(chip, trace, "h1", {0: factors}, RATE, heard=heard)
    for request in chip.asked:
        assert request.post.shape == (5, size) and request.pre.shape[-2] == 5
        expected = step * by_hand(chip, trace, request.array, {0: factors})
        np.testing.assert_allclose(change(chip, request), expected, rtol=1e-4, atol=1e-5)
    chip.asked.clear()
    ask(chip, trace, "h1", {0: 0 * factors}, RATE, heard={0: np.zeros(7, bool)})
    assert not chip.asked
    state = {f"gradient{a}": np.ones(chip.datasheet.arrays[a].shape, np.float32) for a in (0, 1)}
    ask(chip, trace, "h1", {0: 0 * factors}, RATE, memory=Memory(state, 0.5))  # the past still counts
    assert all((request.matrix == 0.5).all() for request in chip.asked) and len(chip.asked) == 2


@pytest.mark.parametrize("kind", ["forked", "blocks", "recurrent"])
def test_momentum_keeps_a_running_mean(kind):
    sheet = net(kind).datasheet()
    old = {f"gradient{a}": RNG(a).standard_normal(sheet.arrays[a].shape, dtype=np.float32) for a in sheet.into("h2")}
    state = {name: mean.copy() for name, mean in old.items()}
    chip, trace, factors = asked(kind, "h2", memory=Memory(state, 0.8))
    for request in chip.asked:
        name = f"gradient{request.array}"
        expected = 0.8 * old[name] + 0.2 * by_hand(chip, trace, request.array, factors)
        np.testing.assert_allclose(state[name], expected, rtol=1e-4, atol=1e-5)
        assert request.matrix is state[name]
        assert request.scale == pytest.approx(RATE / drive_of(sheet, trace, "h2", factors), rel=1e-5)


@pytest.mark.parametrize("kind", ["forked", "blocks", "recurrent"])
def test_a_pull_is_worth_one_row_for_all_samples(kind):
    sheet = net(kind).datasheet()
    size = sheet.populations["h1"].size
    pull = Pull(RNG(1).random(7, dtype=np.float32), RNG(2).standard_normal(size, dtype=np.float32))
    ticks = range(sheet.ticks("h1"))
    chip, trace, factors = asked(kind, "h1", pulls=dict.fromkeys(ticks, pull))
    pulled = {tick: factors[tick] + np.outer(pull.weights, pull.row) for tick in ticks}
    assert [request.array for request in chip.asked] == list(sheet.into("h1"))
    for request in chip.asked:
        expected = RATE / drive_of(sheet, trace, "h1", factors) * by_hand(chip, trace, request.array, pulled)
        np.testing.assert_allclose(change(chip, request), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "population"), CASES)
def test_a_step_changes_a_neuron_s_input_by_rate_times_factor_on_one_sample(kind, population):
    """Whatever the lines, arrays, blocks, ticks and scale: the normalised LMS step, on one sample and factors that last."""
    chip = watched(net(kind, weight_range=1e6).datasheet())
    sheet, size = chip.datasheet, chip.datasheet.populations[population].size
    trace = chip.read(batch(1).x)
    factor = RNG(4).standard_normal((1, size), dtype=np.float32)
    ticks = sorted(trace.states[population])[1:] or [0]
    ask(chip, trace, population, dict.fromkeys(ticks, factor / np.float32(len(ticks))), RATE)
    moved = np.zeros((len(ticks), size))
    for request in chip.asked:
        spec = sheet.arrays[request.array]
        for tap in trace.of(request.array):
            if tap.tick in ticks:
                blocks = tap.pre @ change(chip, request)
                moved[ticks.index(tap.tick)] += spec.collect(blocks, size)[0]
    # Neurons of a patch see rows of other lengths than their neighbours: the mean over neurons is what is fixed.
    wanted = RATE * factor[0] if kind == "forked" else None
    if wanted is not None:
        np.testing.assert_allclose(moved[0], wanted, rtol=1e-4)
    assert np.mean(moved / factor) == pytest.approx(RATE, rel=0.15)


@pytest.mark.parametrize("center", [1.0, 0.9])
@pytest.mark.parametrize("kind", ["forked", "blocks", "recurrent"])
def test_centring_takes_away_a_share_of_the_mean_of_what_rows_carry_and_the_bias_takes_it_back(kind, center):
    """The first mean is the first batch's; later 0.95 old + 0.05 new. The bias line carries 1 - m (x - m)."""
    sheet = net(kind).datasheet()
    state = row_means(sheet, ["h1"])
    chip = watched(sheet)
    means = {}
    for turn in range(2):
        chip.asked.clear()
        trace = chip.read(RNG(turn).random((7, sheet.n_inputs), dtype=np.float32) + turn)
        size = sheet.populations["h1"].size
        factors = {tick: RNG(4 + tick).standard_normal((7, size), dtype=np.float32) for tick in trace.states["h1"]}
        ask(chip, trace, "h1", factors, RATE, memory=Memory(state, center=center))
        for request in chip.asked:
            spec = sheet.arrays[request.array]
            level = np.mean(
                [tap.pre.mean(axis=-2) for tap in {tap.at: tap for tap in trace.of(request.array)}.values()], axis=0
            )
            old = means.get(request.array)
            means[request.array] = level if old is None else 0.95 * old + 0.05 * level
            carried = (np.arange(spec.n_in) if spec.rows is None else spec.rows) < sheet.populations[spec.source].size
            np.testing.assert_allclose(state[f"rows{request.array}"], means[request.array] * carried, rtol=1e-4, atol=1e-6)
            plain = next(tap.pre for tap in trace.of(request.array))
            first = request.pre[..., :7, :]
            away = center * means[request.array]
            wanted = plain - np.where(carried, away, 0)[..., None, :]
            along = np.einsum("...bi,...i->...b", wanted * carried[..., None, :], away)
            bias = (np.arange(spec.n_in) if spec.rows is None else spec.rows) == sheet.populations[spec.source].size
            wanted = wanted - along[..., None] * bias[..., None, :]
            np.testing.assert_allclose(first, wanted, rtol=1e-4, atol=1e-5)
            assert not carried.all() or spec.n_in == sheet.populations[spec.source].size


@pytest.mark.parametrize("center", [1.0, 0.9, 0.5])
def test_a_centred_step_changes_a_neuron_s_input_as_one_on_inputs_without_that_share_of_their_mean_would(center):
    """Change at x: step * ((x - m) (x' - m) + 1) times the factor of x', summed over the batch."""
    chip = watched(make_datasheet((12, 8, 4), weight_range=1e6))
    state, size = row_means(chip.datasheet, ["h1"]), 8
    trace = chip.read(RNG(0).random((9, 12), dtype=np.float32) + 1)
    factors = RNG(1).standard_normal((9, size), dtype=np.float32)
    before = chip.weights[0].copy()
    step = ask(chip, trace, "h1", {0: factors}, RATE, memory=Memory(state, center=center))
    x = trace.of(0)[0].pre[:, :-1].astype(float)
    less = x - center * x.mean(axis=0)
    kernel = less @ less.T + 1
    assert step == pytest.approx(RATE / (np.mean(np.sum(less**2, axis=1)) + 1), rel=1e-5)
    moved = trace.of(0)[0].pre @ (chip.weights[0] - before)
    np.testing.assert_allclose(moved, step * kernel @ factors, rtol=1e-2, atol=1e-4)


def test_rows_alone_correct_what_all_samples_share_unless_all_of_the_mean_is_taken_away():
    """With all of the mean taken away only the bias line could; a share k leaves sum_b (x_b - k m) m = B (1 - k) |m|^2."""
    moved = {}
    for center in (1.0, 0.95):
        chip = watched(make_datasheet((12, 8, 4), weight_range=1e6))
        trace = chip.read(RNG(0).random((9, 12), dtype=np.float32) + 1)
        before = chip.weights[0].copy()
        memory = Memory(row_means(chip.datasheet, ["h1"]), center=center)
        step = ask(chip, trace, "h1", {0: np.ones((9, 8), np.float32)}, RATE, memory=memory)
        x = trace.of(0)[0].pre[:, :-1].astype(float)
        mean = x.mean(axis=0)
        moved[center] = mean @ (chip.weights[0] - before)[:-1] / step
        np.testing.assert_allclose(moved[center], 9 * (1 - center) * mean @ mean, rtol=1e-2, atol=1e-2)
    assert np.all(moved[0.95] > 4)


def test_a_running_mean_is_the_same_in_pieces(monkeypatch):
    rng = RNG(0)
    pre, post = rng.random((5, 23), dtype=np.float32), rng.random((5, 6), dtype=np.float32)
    before = rng.random((23, 6), dtype=np.float32)
    expected = 0.9 * before + pre.T @ post
    for piece in (10**6, 13):
        monkeypatch.setattr(steps, "CHUNK", piece)
        mean = before.copy()
        remember(ArraySpec("a", "b", (23, 6), 1.0), mean, 0.9, pre, post)
        np.testing.assert_allclose(mean, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["forked", "blocks", "recurrent"])
def test_a_pull_goes_by_rows_as_they_are_though_others_are_centred(kind):
    """A pull is about the mean activity, which what rows have in common moves; centred rows would leave it to the bias."""
    sheet = net(kind).datasheet()
    size, ticks = sheet.populations["h1"].size, range(sheet.ticks("h1"))
    pull = Pull(np.full(7, 1 / 7, np.float32), RNG(2).standard_normal(size, dtype=np.float32))
    chips, steps = [], []
    for pulls in (None, dict.fromkeys(ticks, pull)):
        chip = watched(net(kind).datasheet())
        trace = chip.read(batch(7).x)
        factors = {tick: RNG(tick).standard_normal((7, size), dtype=np.float32) for tick in ticks}
        memory = Memory(row_means(sheet, ["h1"]), center=1.0)
        steps.append(ask(chip, trace, "h1", factors, RATE, memory=memory, pulls=pulls))
        chips.append(chip)
    without, both = chips
    assert steps[0] == steps[1]
    for one, two in zip(without.asked, both.asked, strict=True):
        alone = {tick: np.outer(pull.weights, pull.row) for tick in ticks}
        own_step = RATE / drive_of(sheet, trace, "h1", factors)  # by rows as they are, not by the centred ones
        expected = change(without, one) + own_step * by_hand(without, trace, one.array, alone)
        np.testing.assert_allclose(change(both, two), expected, rtol=1e-3, atol=1e-5)
