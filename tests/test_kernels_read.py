"""Input converters and the readout: equality with the reference and the laws that they obey."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mortalsim import kernels
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.circuits.converters import Scale
from mortalsim.hardware import CurrentNudge, TransferCurve
from mortalsim.kernels import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, Converter, NeuronCircuits, Noise, Normaliser
from mortalsim.kernels.counters import READ, Draw

F = np.float32
NONE = np.empty((0, 0), F)
NO_LINES = np.zeros(0, np.int64)
PLACES = [NOT_NORMALISED, BY_SOURCE, BY_BLOCK]

FREE = Scale.of(0, 0.0, unipolar=False)
#: Neither clipped nor rounded, clipped alone, signed, with two levels, unipolar, and a scale that is none of these.
SCALES = st.sampled_from([
    FREE, Scale.of(0, 1.0, unipolar=False), Scale.of(4, 1.0, unipolar=False), Scale.of(1, 0.8, unipolar=False),
    Scale.of(0, 1.5, unipolar=True), Scale.of(3, 1.5, unipolar=True), Scale.of(1, 1.5, unipolar=True),
    Scale(-0.7, 1.3, 0.25, 0.1),
])  # fmt: skip


def both(kernel, inputs, outputs):
    """Run a kernel and its reference on equal copies; return what each wrote."""
    written = []
    for module in (kernels, naive):
        room = {name: value.copy() for name, value in outputs.items()}
        getattr(module, kernel)(**inputs, **room)
        written.append(room)
    return written


def assert_equal(kernel, inputs, outputs):
    got, want = both(kernel, inputs, outputs)
    for name in outputs:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    return got


# --- converters at the input ---


def converter(scale, shape, gain=None, offset=None):
    """A bank of converters, ideal but for what is given."""
    gain, offset = np.ones(shape, F) if gain is None else gain, np.zeros(shape, F) if offset is None else offset
    return Converter(*scale, gain=gain, offset=offset)


def drive(v, gain=None, offset=None, *, bias=True, scale=FREE, lines=NO_LINES, place=NOT_NORMALISED, norm_gain=1.0):
    """Arguments of an input side, ideal but for what is given."""
    n, bank = v.shape[1], converter(scale, v.shape[1], gain, offset)
    inputs = {"v": v, "lines": lines, "normaliser": Normaliser(place, 1e-6, norm_gain), "converter": bank}
    return inputs, {"pre": np.empty((len(v), n + bias), F), "power": np.empty(len(v), F)}


def drive_apart(v, rows, gain=None, offset=None, *, scale=FREE, **options):
    """The same for blocks."""
    inputs, _ = drive(v, scale=scale, **options)
    inputs |= {"rows": rows, "converter": converter(scale, rows.shape, gain, offset)}
    blocks, n_in = rows.shape
    return inputs, {"pre": np.empty((blocks, len(v), n_in), F), "power": np.empty((blocks, len(v)), F)}


@given(
    samples=st.integers(0, 4), n=st.integers(1, 37), seed=st.integers(0, 99), place=st.sampled_from(PLACES),
    scale=SCALES, plain=st.booleans(), k=st.integers(0, 3), bias=st.booleans(),
)  # fmt: skip
def test_drive_lines_equals_its_reference(samples, n, seed, place, scale, plain, k, bias):
    rng = np.random.default_rng(seed)
    gain, offset = (None, None) if plain else (rng.normal(1, 0.1, n).astype(F), rng.normal(0, 0.1, n).astype(F))
    v = rng.normal(size=(samples, n)).astype(F)
    lines = rng.permutation(n)[:k]
    options = {"place": place, "norm_gain": 1.1, "lines": lines, "bias": bias, "scale": scale}
    assert_equal("drive_lines", *drive(v, gain, offset, **options))


@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 20)), blocks=st.integers(1, 4), n_in=st.integers(1, 9),
    seed=st.integers(0, 99), place=st.sampled_from(PLACES), scale=SCALES, plain=st.booleans(), k=st.integers(0, 3),
)  # fmt: skip
def test_drive_blocks_equals_its_reference(shape, blocks, n_in, seed, place, scale, plain, k):
    rng, n = np.random.default_rng(seed), shape[1]
    rows = rng.integers(0, n + 2, (blocks, n_in))  # n is the bias, n + 1 ground
    bank = (None, None) if plain else (rng.normal(1, 0.1, rows.shape).astype(F), rng.normal(0, 0.1, rows.shape).astype(F))
    options = {"place": place, "norm_gain": 1.1, "lines": rng.permutation(n)[:k], "scale": scale}
    assert_equal("drive_blocks", *drive_apart(rng.normal(size=shape).astype(F), rows, *bank, **options))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 150)), seed=st.integers(0, 99), place=st.sampled_from(PLACES),
    scale=SCALES, k=st.integers(0, 2), bias=st.booleans(),
)  # fmt: skip
def test_one_block_that_carries_all_inputs_is_driven_as_they_are(shape, seed, place, scale, k, bias):
    rng, n = np.random.default_rng(seed), shape[1]
    v, gain, offset = (rng.normal(mean, 0.5, size).astype(F) for mean, size in ((0, shape), (1, n), (0, n)))
    # Lines written over an image belong to the source: only its squares are added in an order of their own.
    lines = rng.permutation(n)[: 0 if place == BY_BLOCK else k]
    common = {"scale": scale, "lines": lines, "norm_gain": 0.9}
    dense = drive(v, gain, offset, bias=bias, place=place, **common)
    kernels.drive_lines(**dense[0], **dense[1])
    bank = (np.append(values, [7] * bias).astype(F)[None] for values in (gain, offset))  # no converter drives the bias
    apart = drive_apart(v, np.arange(n + bias)[None], *bank, place=place, **common)
    kernels.drive_blocks(**apart[0], **apart[1])
    for name in ("pre", "power"):
        np.testing.assert_array_equal(apart[1][name][0], dense[1][name], err_msg=name)


def test_normaliser_gives_unit_mean_square_and_keeps_a_row_of_zeros():
    v = np.array([[3, -4, 0, 1], [0, 0, 0, 0]], F)
    inputs, outputs = drive(v, place=BY_SOURCE)
    kernels.drive_lines(**inputs, **outputs)
    np.testing.assert_allclose((outputs["pre"][:, :-1] ** 2).mean(1), [1, 0], rtol=1e-5)
    np.testing.assert_allclose(outputs["power"], [5, 1], rtol=1e-5)
    np.testing.assert_array_equal(outputs["pre"][:, -1], 1)


@pytest.mark.parametrize("place", [NOT_NORMALISED, BY_SOURCE])
def test_without_a_bias_line_the_rows_are_the_same_and_the_power_is_less_by_1(place):
    v = np.array([[3, -4, 0, 1]], F)
    (_, biased), (_, bare) = (drive(v, bias=bias) for bias in (True, False))
    for outputs, bias in ((biased, True), (bare, False)):
        kernels.drive_lines(**drive(v, bias=bias, place=place)[0], **outputs)
    assert bare["pre"].shape == (1, 4)
    np.testing.assert_array_equal(bare["pre"], biased["pre"][:, :-1])
    np.testing.assert_allclose(biased["power"] - bare["power"], 1, rtol=1e-5)


def test_blocks_are_normalised_by_the_source_or_by_what_they_see():
    """Of the inputs 3, -4, 0, 1 one block sees -4 and 1, one only 0, one nothing but bias and ground."""
    v, rows = np.array([[3, -4, 0, 1]], F), np.array([[1, 3, 4], [2, 2, 5], [4, 5, 5]])
    square = {NOT_NORMALISED: 1.0, BY_SOURCE: 26 / 4, BY_BLOCK: 17 / 2}
    for place, mean in square.items():
        inputs, outputs = drive_apart(v, rows, place=place)
        kernels.drive_blocks(**inputs, **outputs)
        want = np.array([[-4 / np.sqrt(mean), 1 / np.sqrt(mean), 1], [0, 0, 0], [1, 0, 0]])
        np.testing.assert_allclose(outputs["pre"][:, 0], want, rtol=1e-5)
        np.testing.assert_allclose(outputs["power"][:, 0], (want**2).sum(1), rtol=1e-5)


def test_converter_reaches_its_limits_and_rounds_to_its_levels():
    inputs, outputs = drive(np.linspace(-2, 2, 101, dtype=F)[None], scale=Scale(-1.0, 1.0, 1 / 3, 0.0))
    kernels.drive_lines(**inputs, **outputs)
    np.testing.assert_allclose(np.unique(outputs["pre"][0, :-1]), np.arange(-3, 4) / 3, rtol=1e-6)


#: Bits, whether unipolar, and the levels between the ends 1.5 apart from 0.
LEVELS = [
    (1, False, [-1.5, 1.5]),
    (2, False, [-1.5, 0, 1.5]),
    (1, True, [0, 1.5]),
    (2, True, [0, 0.5, 1, 1.5]),
]


@pytest.mark.parametrize(("bits", "unipolar", "wanted"), LEVELS)
@pytest.mark.parametrize("side", ["dac", "adc"])
def test_converters_have_these_levels_and_take_the_nearest(side, bits, unipolar, wanted):
    scale, z = Scale.of(bits, 1.5, unipolar), np.linspace(-3, 3, 121, dtype=F)[None] + F(1e-3)  # no place half-way
    if side == "dac":
        inputs, outputs = drive(z, scale=scale, bias=False)
        kernels.drive_lines(**inputs, **outputs)
    else:
        inputs, outputs = readout(z, scale=scale)
        kernels.read_out(**inputs, **outputs)
    (got,) = outputs["pre" if side == "dac" else "out"]
    nearest = np.asarray(wanted, F)[np.abs(z[0, :, None] - np.asarray(wanted, F)).argmin(1)]
    np.testing.assert_allclose(got, nearest, atol=1e-6)
    assert got.min() == wanted[0] and got.max() == wanted[-1]  # the ends are exact


@pytest.mark.parametrize("place", [NOT_NORMALISED, BY_SOURCE])
def test_nan_at_the_input_comes_out_of_the_converter(place):
    v = np.ones((2, 3), F)
    v[0, 1] = np.nan
    inputs, outputs = drive(v, place=place, scale=Scale(-1.0, 1.0, 0.25, 0.0))
    kernels.drive_lines(**inputs, **outputs)
    assert np.isnan(outputs["pre"][0, 1]) and np.isnan(outputs["power"][0])
    assert np.isfinite(outputs["pre"][1]).all() and np.isfinite(outputs["power"][1])


@pytest.mark.parametrize(("place", "reached"), [(NOT_NORMALISED, [0]), (BY_SOURCE, [0, 1]), (BY_BLOCK, [0])])
def test_nan_reaches_the_blocks_that_see_it_or_are_normalised_with_it(place, reached):
    v = np.array([[1, np.nan, 2]], F)
    inputs, outputs = drive_apart(v, np.array([[0, 1], [2, 3], [3, 4]]), place=place, scale=Scale(-1.0, 1.0, 0.25, 0.0))
    kernels.drive_blocks(**inputs, **outputs)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(outputs["power"][:, 0])), reached)
    np.testing.assert_array_equal(outputs["pre"][2, 0], [1, 0])  # bias and ground are never touched


# --- readout ---


def tanh_curve(knots=9):
    x = np.linspace(-3, 3, knots)
    return TransferCurve(-3.0, 6.0 / (knots - 1), np.tanh(x).astype(F), (1 / np.cosh(x) ** 2).astype(F))


def readout(z, *, turn=2**33 + 7, place=1, tick=0, nudge=NONE, scale=FREE, adc_gain=None, adc_offset=None, **options):
    """Arguments of ideal neurons, but for what is given: fields of the records by their names."""
    n, address = z.shape[1], Draw(np.array([5, 6], np.uint32), READ, turn, place, tick).address()
    span = options.pop("span", (0, n))
    noise, neurons = Noise(own=NONE, power=np.ones(len(z), F), line=0.0, neuron=0.0), NeuronCircuits.plain(n)
    noise = noise._replace(**{name: options.pop(name) for name in noise._fields if name in options})
    neurons = neurons._replace(**options)
    inputs = {
        "products": z, "noise": noise, "nudge": nudge, "neurons": neurons, "address": address, "span": span,
        "converter": converter(scale, n, adc_gain, adc_offset),
    }  # fmt: skip
    return inputs, {"out": np.zeros_like(z)}


def tables(curve, count, rng):
    spread = rng.normal(1, 0.1, (count, 1))
    return {
        "start": curve.start, "step": curve.step,
        "values": (curve.value * spread).astype(F), "slopes": (curve.slope * spread).astype(F),
    }  # fmt: skip


@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 11)), seed=st.integers(0, 99), own=st.booleans(), part=st.booleans(),
    line_var=st.sampled_from([0.0, 0.01]), neuron_var=st.sampled_from([0.0, 0.04]), nudged=st.booleans(),
    mismatch=st.booleans(), curve=st.sampled_from(["relu", "leaky", "linear", "shared", "own"]),
    scale=SCALES, saturation=st.sampled_from([np.inf, 0.7]),
)  # fmt: skip
def test_read_out_equals_its_reference(
    shape, seed, own, part, line_var, neuron_var, nudged, mismatch, curve, scale, saturation
):
    rng = np.random.default_rng(seed)
    samples, n = shape

    def normal(mean, sigma, *size):
        return rng.normal(mean, sigma, size).astype(F)

    options = {
        "line": line_var, "neuron": neuron_var, "scale": scale,
        "saturation": np.full(n, saturation, F), "power": rng.uniform(0, 9, samples).astype(F),
        "leak": {"relu": 0.0, "leaky": 0.01}.get(curve, 1.0), "place": seed % 4, "turn": seed * 10**9, "tick": seed,
    }  # fmt: skip
    if part:
        options["span"] = (4 * (n // 8), n - n // 5)
    if own:
        options["own"] = rng.uniform(0, 0.1, shape).astype(F)
    if nudged:
        options |= {"nudge": normal(0, 1, *shape), "port": normal(1, 0.1, n)}
    if mismatch:
        options |= {"gain": normal(1, 0.1, n), "offset": normal(0, 0.1, n)}
        options |= {"adc_gain": normal(1, 0.1, n), "adc_offset": normal(0, 0.1, n)}
    if curve in ("shared", "own"):
        options |= tables(tanh_curve(), 1 if curve == "shared" else n, rng)
    assert_equal("read_out", *readout(normal(0, 2, *shape), **options))


def test_table_is_the_datasheet_s_curve_within_and_beyond_the_knots():
    curve = tanh_curve()
    z = np.concatenate([np.linspace(-7, 7, 201), curve.start + curve.step * np.arange(9)]).astype(F)[None]
    inputs, outputs = readout(z.copy(), **{"values": curve.value[None], "slopes": curve.slope[None]},
                               start=curve.start, step=curve.step)  # fmt: skip
    kernels.read_out(**inputs, **outputs)
    np.testing.assert_allclose(outputs["out"], curve(z.astype(float)), atol=5e-7)


@pytest.mark.parametrize("curve", ["relu", "shared", "own"])
def test_nan_comes_out_as_nan_and_touches_nobody_else(curve):
    z = np.zeros((3, 5), F)
    z[1, 2] = np.nan
    extra = {} if curve == "relu" else tables(tanh_curve(), 5 if curve == "own" else 1, np.random.default_rng(0))
    inputs, outputs = readout(z, leak=0.0, neuron=0.1, scale=Scale(-1.0, 1.0, 0.1, 0.0), saturation=np.ones(5, F), **extra)
    kernels.read_out(**inputs, **outputs)
    np.testing.assert_array_equal(np.isnan(outputs["out"]), np.arange(15).reshape(3, 5) == 7)


def test_noise_has_the_variance_asked_for():
    # 4000 normals: the sample variance lies within the bound but for 1e-3 of seeds.
    samples, n = 40, 100
    power = np.full(samples, 3, F)
    inputs, outputs = readout(
        np.zeros((samples, n), F), own=np.full((samples, n), 0.2, F), power=power, line=0.1, neuron=0.5
    )
    kernels.read_out(**inputs, **outputs)
    assert abs(outputs["out"].var() - 1) < stats.norm.isf(0.5e-3) * np.sqrt(2 / (samples * n))


def test_noise_belongs_to_the_sample_s_place_the_turn_the_population_and_the_tick():
    def noise(samples, **options):
        inputs, outputs = readout(np.zeros((samples, 6), F), neuron=1.0, **options)
        kernels.read_out(**inputs, **outputs)
        return outputs["out"]

    np.testing.assert_array_equal(noise(2), noise(5)[:2])
    np.testing.assert_array_equal(noise(2, turn=3), noise(2, turn=3))
    assert (noise(2, turn=3) != noise(2, turn=4)).all()
    assert (noise(2, turn=3) != noise(2, turn=2**32 + 3)).all()
    assert (noise(2, place=3) != noise(2, place=4)).all()
    assert (noise(2, tick=3) != noise(2, tick=4)).all()
    assert (noise(2)[0] != noise(2)[1]).all()


def test_nudges_reach_the_neuron_and_the_products_stay_as_they_were():
    z = np.array([[1.5, -2.0]], F)
    inputs, outputs = readout(z, leak=0.0, nudge=np.array([[1, 0.5]], F), port=np.array([2, 2], F))
    kernels.read_out(**inputs, **outputs)
    np.testing.assert_array_equal(outputs["out"], [[3.5, 0]])
    np.testing.assert_array_equal(z, [[1.5, -2]])


# --- what a chip hands to the kernels ---


def drawn(values):
    """Numbers that fabrication drew: swapped with any others, they would be noticed."""
    assert len(np.unique(values)) == values.size
    return values


@pytest.mark.parametrize("unipolar", [False, True])
def test_every_field_of_the_records_that_a_chip_makes_is_the_one_of_its_name(unipolar):
    """One read of an array with every spread, worked out by the references from records put together by name."""
    design = load_design("wild").revised(
        sizes=(6, 5),
        neurons={
            "output_curve": "wild", "gain_dtod": 0.2, "offset_dtod": 0.3, "saturation": 2.0, "saturation_dtod": 0.2,
            "noise": 0.1,
        },
        converters={
            "dac_bits": 5, "input_range": 1.5, "dac_unipolar": unipolar, "gain_dtod": 0.1, "offset_dtod": 0.05,
            "adc_bits": 6, "output_range": 2.5, "adc_unipolar": unipolar,
        },
        normaliser={"epsilon": 0.2, "gain_dtod": 0.3},
        nudges={"current_gain_dtod": 0.2},
        device={"read_noise": 2e-7, "read_noise_relative": 0.0},
    )  # fmt: skip
    chip, rng = SimulatedChip(design, 3), np.random.default_rng(0)
    x, current = rng.normal(size=(7, 6)).astype(F), rng.normal(size=(7, 5)).astype(F)
    tap = chip.read(x, CurrentNudge({"out": current})).taps[0]
    array, population, key = chip.arrays[0], chip.populations["out"], chip.streams.key("noise")

    dac, lowest = array.dac, -1.5 * (not unipolar)
    inputs = Converter(
        low=lowest, high=1.5, step=1.5 / (31 if unipolar else 15), level=0.0, gain=drawn(dac.gain), offset=drawn(dac.offset)
    )
    pre, power, post = np.empty((7, 7), F), np.empty(7, F), np.empty((7, 5), F)
    normaliser = Normaliser(place=BY_SOURCE, epsilon=0.2, gain=array.normaliser_gain)
    naive.drive_lines(x, NO_LINES, normaliser, inputs, pre, power)
    np.testing.assert_array_equal(tap.pre, pre)

    bank, tables, adc = population.neurons, population.neurons.tables, population.adc
    unit = design.device.g_max - design.device.g_min
    neurons = NeuronCircuits(
        port=drawn(population.current_gain), gain=drawn(bank.gain), offset=drawn(bank.offset),
        saturation=drawn(bank.saturation), leak=0.0, start=tables.start, step=tables.step, values=tables.values,
        slopes=tables.slopes,
    )  # fmt: skip
    outputs = Converter(
        low=-2.5 * (not unipolar), high=2.5, step=2.5 / (63 if unipolar else 31), level=0.0,
        gain=drawn(adc.gain), offset=drawn(adc.offset),
    )  # fmt: skip
    line = 2 * (2e-7 * array.parts.technology.weight_range / unit) ** 2
    noise = Noise(own=NONE, power=power, line=line, neuron=0.1**2)
    z = pre @ array.crossbar.weights
    naive.read_out(z, noise, current, neurons, outputs, Draw(key, READ, 0, population.place).address(), (0, 5), post)
    np.testing.assert_array_equal(tap.post, post)
