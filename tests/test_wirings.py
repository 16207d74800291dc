"""Wirings: one block equals dense to the bit, tiles to rounding, patches see their windows; bad tables are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import slow_in_plain_python

from mortalsim.checks import DesignError, ShapeError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.design import build_design
from mortalsim.chips.wiring import WIRINGS, check_tables
from mortalsim.chips.wiring.patches import patches
from mortalsim.chips.wiring.tiles import tiles
from mortalsim.hardware import CurrentNudge, Delta, Outer, Program, Replay, Shrink, WeightNudge

RNG = np.random.default_rng

#: Everything is off that would make reads or writes of two equal chips differ but for the order of sums.
EXACT = {"device": {"technology": "linear", "slope_up": 0.0, "slope_down": 0.0, "pulses": 0}, "weight_range": 9.0}


def netlist(sizes, wirings, base="mild", **more):
    """Return a chain of populations in the long form, each array with a wiring of its own."""
    names = [f"p{place}" for place in range(len(sizes))]
    fields = load_design(base).fields()
    del fields["sizes"]
    fields |= {
        "population": [{"name": name, "shape": size} for name, size in zip(names, sizes, strict=True)],
        "array": [{"source": a, "target": b, **wiring} for a, b, wiring in zip(names[:-1], names[1:], wirings, strict=True)],
        "output": names[-1],
    }
    return build_design(fields | more, "test")


# --- one block equals dense, to the bit ------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [*(pytest.param(base, marks=slow_in_plain_python) for base in ("mild", "wild")), "harsh"])
def test_one_block_equals_dense_to_the_bit(base):
    """Two chips of one seed: dense arrays, and patches whose only window is the whole image; reads, nudges and writes."""
    whole = {"wiring": {"kind": "patches", "size": 4}}
    dense = netlist([[4, 4], [1, 1, 9], [5]], [{}, {}], base)
    block = netlist([[4, 4], [1, 1, 9], [5]], [whole, {"wiring": {"kind": "tiles", "rows": 10, "columns": 5}}], base)
    assert [spec.shape for spec in block.datasheet().arrays] == [(1, 17, 9), (1, 10, 5)]
    one, two = SimulatedChip(dense, 3), SimulatedChip(block, 3)
    x = RNG(0).random((6, 16), dtype=np.float32)
    nudges = [None, WeightNudge(7, 0.05), WeightNudge(7, 0.05, "rank1", 3), CurrentNudge({"p1": np.ones((6, 9))})]
    for nudge in (*nudges, *nudges):
        traces = [chip.read(x, nudge) for chip in (one, two)]
        for a, b in zip(*(trace.taps for trace in traces), strict=True):
            np.testing.assert_array_equal(a.pre, b.pre[0])
            np.testing.assert_array_equal(a.post, b.post)
        post = RNG(1).standard_normal((6, 9)).astype(np.float32)
        change = RNG(2).normal(0, 0.05, (17, 9)).astype(np.float32)
        one.write(Outer(0, traces[0].taps[0].pre, post, 0.02))
        two.write(Outer(0, traces[1].taps[0].pre, post, 0.02))
        one.write(Delta(0, change))
        two.write(Delta(0, change[None]))
        for chip in (one, two):
            chip.write(Shrink(1, 0.98))
            chip.write(Replay((nudges[1], nudges[2]), (0.3, {"p1": np.linspace(-1, 1, 9)})))
    one.write(Program(0, change))
    two.write(Program(0, change[None]))
    for a, b in zip(oracle.weights(one), oracle.weights(two), strict=True):
        np.testing.assert_array_equal(a, b[0])
    assert one.meter == two.meter


# --- tiles -----------------------------------------------------------------------------------------------------------


def cut(dense, spec):
    """Return dense weights (n + 1, m) as those of the tiles of ``spec``: what is grounded or idle holds 0."""
    full = np.zeros((dense.shape[0] + 1, dense.shape[1] + 1))
    full[:-1, :-1] = dense
    return np.stack([full[np.ix_(rows, columns)] for rows, columns in zip(spec.rows, spec.columns, strict=True)])


def tiled_pair(partial_sums="analog", **more):
    """Return a dense and a tiled chip without noise and mismatch that hold the same weights; tiles end unevenly."""
    sizes = [[20], [13], [5]]
    quiet = {"base": "ideal", **EXACT, **more}
    wirings = [
        {"wiring": {"kind": "tiles", "rows": 8, "columns": 5}, "partial_sums": partial_sums},
        {"wiring": {"kind": "tiles", "rows": 4, "columns": 8}, "partial_sums": partial_sums},
    ]
    plain, tiled = SimulatedChip(netlist(sizes, [{}, {}], **quiet), 1), SimulatedChip(netlist(sizes, wirings, **quiet), 2)
    for place, (w, spec) in enumerate(zip(oracle.weights(plain), tiled.datasheet.arrays, strict=True)):
        tiled.write(Delta(place, cut(w, spec) - oracle.weights(tiled)[place]))
    return plain, tiled


@pytest.mark.parametrize("partial_sums", ["analog", "digital"])
def test_tiled_equals_dense_to_rounding_where_partial_sums_are_analog_or_their_converters_ideal(partial_sums):
    plain, tiled = tiled_pair(partial_sums)
    assert [spec.shape for spec in tiled.datasheet.arrays] == [(9, 8, 5), (4, 4, 5)]
    x = RNG(0).random((7, 20), dtype=np.float32)
    for turn in range(3):
        one, two = plain.read(x), tiled.read(x)
        np.testing.assert_allclose(one.output, two.output, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.states["p1"][0], two.states["p1"][0], rtol=1e-5, atol=1e-5)
        for chip, trace in ((plain, one), (tiled, two)):
            for tap in trace.taps:  # the same update, the same weights again
                chip.write(Outer(tap.array, tap.pre, tap.post, 1e-3 * (turn + 1)))
            chip.write(Shrink(0, 0.9))
    for w, found, spec in zip(oracle.weights(plain), oracle.weights(tiled), tiled.datasheet.arrays, strict=True):
        n, m = (side - 1 for side in np.add(w.shape, (0, 1)))
        wired = (spec.rows <= n)[:, :, None] & (spec.columns < m)[:, None, :]
        np.testing.assert_allclose(cut(w, spec)[wired], found[wired], atol=1e-5)


def test_partial_sums_with_converters_of_their_own_are_rounded_tile_by_tile():
    """Four bits over +-2 make levels 2/7 apart; the sum of three rounded tiles is a whole number of them."""
    converters = {"adc_bits": 4, "output_range": 2.0}
    wiring = {"kind": "tiles", "rows": 3, "columns": 4}
    entry = {"wiring": wiring, "partial_sums": "digital", "converters": converters}
    design = netlist([[6], [4]], [entry], "ideal", **EXACT)
    chip = SimulatedChip(design, 0)
    trace = chip.read(RNG(0).random((50, 6), dtype=np.float32))
    (tap,), (w,) = trace.taps, oracle.weights(chip)
    partial = np.einsum("kbi,kij->kbj", tap.pre, w)
    levels = np.rint(np.clip(partial, -2, 2) * 7 / 2) * 2 / 7
    np.testing.assert_allclose(trace.output, levels.sum(axis=0), atol=1e-5)
    assert np.abs(trace.output - partial.sum(axis=0)).max() > 0.1


@given(n=st.integers(1, 40), m=st.integers(1, 40), rows=st.integers(1, 17), columns=st.integers(1, 17), bias=st.booleans())
def test_tiles_are_bounded_and_every_pair_of_line_and_neuron_meets_once(n, m, rows, columns, bias):
    lines, feeds = check_tables("tiles", tiles((n,), (m,), rows, columns, bias), n, m)
    assert lines.shape[1] <= rows and feeds.shape[1] <= columns
    meets = np.zeros((n + 2, m + 1), int)
    for block, own in zip(lines, feeds, strict=True):
        np.add.at(meets, np.ix_(block, own), 1)
    assert (meets[:n, :m] == 1).all()
    assert (meets[n, :m] == bias).all()


# --- patches ---------------------------------------------------------------------------------------------------------


@given(
    height=st.integers(1, 9), width=st.integers(1, 9), channels=st.integers(1, 3), size=st.integers(1, 4),
    stride=st.integers(1, 3), pad=st.integers(0, 3), last=st.booleans(),
)  # fmt: skip
@settings(max_examples=200)
def test_a_patch_sees_its_window_and_ground_beyond_the_border(height, width, channels, size, stride, pad, last):
    def places(pixels):
        whole, over = divmod(pixels + 2 * pad - size, stride)
        return whole + 1 + (last and over > 0 and (whole + 1) * stride - pad < pixels)

    above = (places(height), places(width), 2)
    below = (height, width, channels)
    if pad >= size or min(above) < 1:
        with pytest.raises(ShapeError, match="patches"):
            patches(below, above, size, stride, pad)
        return
    rows, columns = patches(below, above, size, stride, pad)
    n = height * width * channels
    image = np.arange(n).reshape(below)
    for block, (r, c) in enumerate(np.ndindex(*above[:2])):
        seen = []
        for i, j in np.ndindex(size, size):
            y, x = r * stride - pad + i, c * stride - pad + j
            inside = 0 <= y < height and 0 <= x < width
            seen += image[y, x].tolist() if inside else [n + 1] * channels
        assert rows[block].tolist() == [*seen, n]
        assert columns[block].tolist() == [2 * block, 2 * block + 1]


def test_patches_that_do_not_fit_are_refused_with_the_number_that_does():
    with pytest.raises(ShapeError, match=r"windows of 4 every 2, 0 before the border, on 8 pixels make 3 places, found 4"):
        patches((8, 8), (4, 3, 16), 4, 2)
    with pytest.raises(DesignError, match=r"array 0 \(p0 to p1\): patches: expected a source \(height, width"):
        netlist([[64], [3, 3, 4]], [{"wiring": {"kind": "patches", "size": 2}}])


def test_rows_that_nobody_drives_and_columns_that_feed_nobody_are_never_written():
    """Every request but `Outer`, which sees zeros there anyway, would otherwise pay pulses for grounded devices."""
    design = netlist([[20], [13]], [{"wiring": {"kind": "tiles", "rows": 8, "columns": 5}}])
    chip = SimulatedChip(design, 3)
    spec = chip.datasheet.arrays[0]
    idle = (spec.rows > 20)[:, :, None] | (spec.columns >= 13)[:, None, :]
    before = oracle.weights(chip)[0]
    requests = [
        Delta(0, np.full(spec.shape, 0.2)),
        Shrink(0, 0.5),
        Replay(WeightNudge(1, 0.2), 1.0),
        Program(0, np.zeros(spec.shape)),
        Outer(0, np.ones((9, 2, 8)), np.ones((2, 13)), 0.1),
    ]
    for request in requests:
        chip.write(request)
        after = oracle.weights(chip)[0]
        assert not np.array_equal(after, before)
        drifted = np.abs(after[idle] - before[idle]).max()
        assert drifted < 1e-4, type(request).__name__
        before = after


# --- tables that cannot be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([[0, 1, 4]], [[0, 1]], "expected rows from 0 to 3, found 0 to 4"),
        ([[0, 1, 2]], [[0, 3]], "expected columns from 0 to 2"),
        ([[0, 1, 2]], [[0, 0]], "feeds the same neuron by two"),
        ([[0.0, 1.0, 2.0]], [[0, 1]], "whole numbers, found float64"),
        ([[0, 1], [0]], [[0], [1]], "equally long rows"),
        ([[0, 1]], None, "or None twice, found"),
        ([[0, 2], [1, 2]], [[0, 1], [0, 1]], "neuron 0 of 2 is given more than one bias line"),
        ([[0, 1]], [[0], [1]], r"expected rows \(blocks, n_in\)"),
    ],
)
def test_tables_that_cannot_be_are_refused(rows, columns, message):
    with pytest.raises(ShapeError, match=message):
        check_tables("mine", (rows, columns), 2, 2)


def test_every_wiring_is_one_function_of_its_file_s_name():
    assert {"dense", "patches", "tiles"} <= set(WIRINGS.names())
    for name in WIRINGS.names():
        assert WIRINGS.get(name).__name__ == name
    with pytest.raises(DesignError, match=r"there is no setting 'sice'; it has size, stride, pad"):
        netlist([[4, 4], [1, 1, 9]], [{"wiring": {"kind": "patches", "sice": 4}}])
    with pytest.raises(DesignError, match="the setting 'size' is missing"):
        netlist([[4, 4], [1, 1, 9]], [{"wiring": "patches"}])
    with pytest.raises(DesignError, match="size: Input should be a valid integer, found 'four'"):
        netlist([[4, 4], [1, 1, 9]], [{"wiring": {"kind": "patches", "size": "four"}}])


# --- bias and fresh weights ------------------------------------------------------------------------------------------


def test_one_bias_line_a_population_and_fresh_weights_by_the_lines_that_reach_a_neuron():
    """A neuron of h1 in `fields` is reached by 16 pixels, a bias line and 10 label lines: 27."""
    sheet = load_design("fields").datasheet()
    sizes = {name: population.size for name, population in sheet.populations.items()}
    for name in sheet.fed:
        bias_lines = np.zeros(sizes[name])
        for place in sheet.into(name):
            spec = sheet.arrays[place]
            blocks = spec.rows if spec.rows is not None else np.arange(spec.n_in)[None]
            columns = spec.columns if spec.columns is not None else np.arange(sizes[name])[None]
            for rows, own in zip(blocks, columns, strict=True):
                bias_lines[own] += (rows == sizes[spec.source]).sum()
        assert (bias_lines == 1).all(), name
    assert [set(parts.fan_in.ravel()) for parts in load_design("fields").netlist.arrays] == [{27}, {27}, {65}, {97}]
    assert {int(k) for parts in load_design("tiled").netlist.arrays for k in parts.fan_in[parts.feeding]} == {65}


def test_fresh_weights_have_the_spread_that_the_lines_ask_for():
    """Second moments of 9 * 17 * 16 and 10 * 144 weights; chi-square bounds of six standard deviations."""
    chip = SimulatedChip(
        load_design("fields").revised(weight_range=9.0, device={"stuck": 0.0, "conductance_dtod": 0.0, "bound_dtod": 0.0}), 5
    )
    for place in (0, 1):
        w = oracle.weights(chip)[place]
        ratio = np.mean(w**2) * 27
        assert abs(ratio - 1) < 6 * np.sqrt(2 / w.size) + 0.01
