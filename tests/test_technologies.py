"""Technologies say their own noise, ageing and wear; the conductances, weights and reads of a chip follow them."""

from functools import partial

import numpy as np
import pytest
from scipy import stats
from small import small

from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.chips.meter import Clock
from mortalsim.devices.base import Device, Moment
from mortalsim.devices.linear import Linear
from mortalsim.devices.soft_bounds import SoftBounds
from mortalsim.hardware import Delta, Outer, Program
from mortalsim.testing import NotConforming, check_device

BOLTZMANN = 1.380649e-23
F = np.float32


class Thermal(Linear):
    """Johnson noise of the conductance itself, sqrt(4 k T G B) / V."""

    bandwidth: float = 1e7

    def noise_at(self, u, moment):
        g = self.g_min + (self.g_max - self.g_min) * u
        return np.sqrt(4 * BOLTZMANN * moment.temperature * g * self.bandwidth) / self.read_volts


class Hump(Linear):
    """Random telegraph noise, largest at mid range."""

    height: float = 4e-7

    def noise(self, u):
        return self.height * np.clip(4 * u * (1 - u), 0, 1)


class Retention(SoftBounds):
    """Relaxation to the lowest conductance with a time constant of each device's own."""

    tau: float = 100.0

    def parameters(self, normal):
        return {"tau": self.tau * np.exp(0.2 * normal("tau"))}

    def aged(self, g, parameters, moment):
        age = moment.now - parameters["written"]
        return parameters["low"] + (g - parameters["low"]) * np.exp(-age / parameters["tau"])


class Counted(Linear):
    """Pulses are counted, and nothing comes of it."""

    keeps = ("taken",)


def chip_of(device, sizes=(6, 4), seed=3, clock=None, **fields):
    """An otherwise ideal chip, without normaliser."""
    design = load_design("ideal").revised(sizes=sizes, device=device, normaliser={"present": False}, **fields)
    return SimulatedChip(design, seed, clock=clock)


# --- noise -------------------------------------------------------------------------------------------------------------


def sampled(chip, x, reads):
    """Outputs of so many reads, with every device's noise drawn afresh: the definition, device by device."""
    device, unit = chip.design.device, chip.design.technology.unit
    g = oracle.conductances(chip)[0]
    u = (g - device.g_min) / (device.g_max - device.g_min)
    sd = device.noise_at(u, chip.clock.moment)
    lines = np.append(x, 1.0)
    rng = np.random.default_rng(5)
    return np.stack([lines @ np.subtract(*(g + sd * rng.standard_normal(g.shape))) / unit for _ in range(reads)])


@pytest.mark.parametrize(
    "device",
    [
        Linear(read_noise=3e-7),
        Linear(read_noise_relative=0.04),
        Linear(read_noise=2e-7, read_noise_relative=0.03),
        Hump(),
        Thermal(bandwidth=1e11),
    ],
    ids=["constant", "proportional", "both", "tabulated", "thermal"],
)
def test_read_noise_of_every_law_is_that_of_devices_drawn_one_by_one(device):
    """Two-sample Kolmogorov-Smirnov test of each of four outputs, 2000 reads: a false alarm once in 2500 runs of a law."""
    chip, x = chip_of(device), np.array([0.9, -0.4, 0.3, 0.8, 0.0, 1.0], F)
    mine, theirs = chip.read(np.repeat(x[None], 2000, axis=0)).output, sampled(chip, x, 2000)
    for output in range(4):
        assert stats.ks_2samp(mine[:, output], theirs[:, output]).pvalue > 1e-4
        assert mine[:, output].std() == pytest.approx(theirs[:, output].std(), rel=0.1)


def test_a_noise_law_that_has_a_simple_form_takes_no_table():
    """So that constant noise needs no product, proportional noise no look-up, whoever writes the law down."""
    constant, noise = chip_of(Linear(read_noise=3e-7)).design.technology.read_noise(Moment())
    assert constant > 0 and noise.relative == 0 and not noise.table.size
    constant, noise = chip_of(Linear(read_noise_relative=0.03)).design.technology.read_noise(Moment())
    assert constant == 0 and noise.relative == pytest.approx(0.03) and not noise.table.size
    constant, noise = chip_of(Linear(read_noise=2e-7, read_noise_relative=0.03)).design.technology.read_noise(Moment())
    assert constant > 0 and noise.relative == pytest.approx(0.03) and not noise.table.size
    constant, noise = chip_of(Hump()).design.technology.read_noise(Moment())
    assert constant == 0 and noise.relative == 0 and noise.table.size > 2
    constant, noise = chip_of(Linear()).design.technology.read_noise(Moment())
    assert constant == 0 and noise.relative == 0 and not noise.table.size


def test_the_data_sheet_tells_the_noise_of_a_pair_at_rest():
    technology = chip_of(Hump()).design.technology
    assert technology.nominal_variance == pytest.approx(2 * (4e-7 / technology.unit) ** 2)
    sheet = chip_of(Hump()).datasheet
    assert sheet.populations[sheet.output].read_noise == pytest.approx(np.sqrt(6 * technology.nominal_variance))


def test_noise_follows_the_temperature():
    """Johnson noise power is proportional to temperature; 1000 reads of four outputs, a factor of 4."""
    chip = chip_of(Thermal(bandwidth=1e11))
    x = np.ones((1000, 6), F)
    cold = chip.read(x).output.std(axis=0)
    chip.clock.warm(1200.0)
    np.testing.assert_allclose(chip.read(x).output.std(axis=0) / cold, 2.0, rtol=0.15)
    chip.clock.warm(0.0)
    assert chip.read(x).output.std() == pytest.approx(oracle_output_std(chip, x), abs=1e-6)


def oracle_output_std(chip, x):
    """What outputs differ by without noise."""
    return (np.c_[x, np.ones(len(x))] @ oracle.weights(chip)[0]).std()


def test_a_snapshot_remembers_the_temperature():
    chip, copy = (chip_of(Thermal(bandwidth=1e11)) for _ in range(2))
    chip.clock.warm(500.0)
    chip.read(np.ones((2, 6), F))
    copy.restore(chip.snapshot())
    np.testing.assert_array_equal(copy.read(np.ones((3, 6), F)).output, chip.read(np.ones((3, 6), F)).output)


# --- ageing ------------------------------------------------------------------------------------------------------------


def test_a_law_of_ageing_of_ones_own_is_what_reads_and_writes_see():
    chip = chip_of(Retention(pulses=100_000, max_pulses=0), sizes=(1, 1))
    crossbar = chip.arrays[0].crossbar
    chip.write(Program(0, np.full((2, 1), 0.5, F)))
    g, fields = oracle.conductances(chip)[0], crossbar.fields()
    chip.wait(70.0)
    age = chip.clock.now - fields["written"]
    assert age.min() >= 70.0
    expected = fields["low"] + (g - fields["low"]) * np.exp(-age / fields["tau"])
    np.testing.assert_allclose(oracle.weights(chip)[0], (expected[0] - expected[1]) / chip.design.technology.unit, rtol=1e-5)
    # A write begins where ageing has taken the devices. Continuous-like steps: a change of 0.01 is made exactly.
    before = crossbar.conducted(chip.clock.moment)
    chip.write(Delta(0, np.full((2, 1), 0.01, F)))
    moved = crossbar.conducted(chip.clock.moment) - before
    wanted = 0.005 * chip.design.technology.unit
    assert (np.sign(moved[0]) == 1).all() and (np.sign(moved[1]) == -1).all()
    np.testing.assert_allclose(np.abs(moved), wanted, rtol=0.9)  # soft bounds: some more, some less
    np.testing.assert_allclose(crossbar.fields()["written"], chip.clock.now, atol=1e-4)


def test_two_writes_at_one_moment_add_up_under_a_law_of_ones_own():
    """The second one must begin where the first has left the devices, though no time has passed."""
    one, other = (chip_of(Retention(pulses=20_000, max_pulses=0), sizes=(3, 2)) for _ in range(2))
    for chip in (one, other):
        chip.wait(50.0)
    step = one.datasheet.arrays[0].weight_step
    one.write(Delta(0, np.full((4, 2), 20 * step, F)))
    for _ in range(2):
        other.write(Delta(0, np.full((4, 2), 10 * step, F)))
    np.testing.assert_allclose(oracle.weights(other)[0], oracle.weights(one)[0], atol=0.05 * step)


def test_the_drift_of_the_base_class_is_the_kernels():
    chip = SimulatedChip(small("harsh"), 3)
    chip.wait(300.0)
    chip.read(np.ones((1, 12), F))
    for array in chip.arrays:
        crossbar = array.crossbar
        g = crossbar.conducted(chip.clock.moment) * (1 + crossbar.fields()["error"])
        weights = (g[0] - g[1]) / crossbar.technology.unit
        np.testing.assert_allclose(crossbar.weights, weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("start", [0.0, 1e3, 1e6, 1e9])
def test_ages_are_right_however_late_the_clock(start):
    """A float32 of 1e9 s tells times apart by 64 s; drift constants are seconds."""
    device = Linear(drift=0.1, drift_t0=1.0, pulses=0)
    chip = chip_of(device, sizes=(4, 3), clock=Clock(start))
    chip.write(Delta(0, np.full((5, 3), 0.01, F)))
    g = oracle.conductances(chip)[0].copy()
    for age in (0.25, 3.0, 40.0):
        chip.wait(age)
        chip.read(np.ones((1, 4), F))
        expected = g * (1 + (chip.clock.now - start)) ** -0.1
        weights = (expected[0] - expected[1]) / chip.design.technology.unit
        np.testing.assert_allclose(oracle.weights(chip)[0], weights, atol=2e-6)
        chip.write(Delta(0, np.zeros((5, 3), F)))  # moves nothing, but looks at all


@pytest.mark.parametrize("start", [0.0, 1e9])
def test_devices_age_from_fabrication_on(start):
    """Nothing was ever written: age counts from when the chip was made, however late that was."""
    chip = chip_of(Linear(drift=0.1, drift_t0=1.0), sizes=(4, 3), clock=Clock(start))
    g = oracle.conductances(chip)[0].copy()
    chip.wait(5.0)
    expected = (g[0] - g[1]) * 6**-0.1 / chip.design.technology.unit
    np.testing.assert_allclose(oracle.weights(chip)[0], expected, atol=2e-6)


def test_ages_survive_a_snapshot_far_from_the_epoch():
    make = partial(chip_of, Linear(drift=0.1, drift_t0=1e-3, pulses=500), (4, 3))
    chip, copy = make(clock=Clock(5e5)), make(clock=Clock(0.0))
    chip.write(Delta(0, np.full((5, 3), 0.01, F)))
    chip.wait(2e-3)
    copy.restore(chip.snapshot())
    for both in (chip, copy):
        both.wait(1e-3)
        both.read(np.ones((1, 4), F))
    np.testing.assert_array_equal(oracle.weights(copy)[0], oracle.weights(chip)[0])


def test_a_technology_may_say_itself_when_weights_are_stale():
    class Lazy(Retention):
        def stale(self, then, now):
            return now.now - then.now > 10.0

    chip = chip_of(Lazy())
    versions = []
    for _ in range(3):
        chip.wait(6.0)
        chip.read(np.ones((1, 6), F))
        versions.append(chip.arrays[0].crossbar.version)
    assert np.diff(versions).tolist() == [1, 0]


# --- wear --------------------------------------------------------------------------------------------------------------


def test_devices_die_of_their_pulses_and_stay_where_they_are():
    chip = chip_of(Linear(pulses=1000, max_pulses=0, endurance=50.0, endurance_dtod=0.3), sizes=(8, 6))
    step = chip.datasheet.arrays[0].weight_step
    change = np.full((9, 6), 20 * step, F)  # ten pulses a device
    moved = []
    for n in range(24):
        before = oracle.conductances(chip)[0].copy()
        chip.write(Delta(0, change if n % 2 else -change))
        moved.append((oracle.conductances(chip)[0] != before).mean())
    fields = chip.arrays[0].crossbar.fields()
    np.testing.assert_allclose(fields["taken"], 240, atol=24)  # rounded by chance, where a float's last bit is missing
    assert moved[0] == 1.0 and moved[-1] == 0.0 and 0.0 < moved[5] < 1.0
    assert (fields["dead"] == (fields["taken"] >= fields["endurance"])).all()
    assert np.median(fields["endurance"]) == pytest.approx(50, rel=0.2)


def test_the_dead_stay_dead_in_a_snapshot_and_come_to_life_in_an_older_one():
    make = partial(chip_of, Linear(pulses=1000, max_pulses=0, endurance=15.0), (3, 2))
    chip = make()
    young, change = chip.snapshot(), np.full((4, 2), 20 * chip.datasheet.arrays[0].weight_step, F)
    for _ in range(3):
        chip.write(Delta(0, change))
    old, copy = chip.snapshot(), make()
    copy.restore(old)
    before = oracle.weights(copy)[0].copy()
    copy.write(Delta(0, change))
    np.testing.assert_array_equal(oracle.weights(copy)[0], before)
    copy.restore(young)
    before = oracle.weights(copy)[0].copy()
    copy.write(Delta(0, change))
    assert (oracle.weights(copy)[0] > before).all()


def test_pulses_are_counted_device_by_device():
    chip = chip_of(Counted(pulses=1000, max_pulses=5), sizes=(2, 2))
    step = chip.datasheet.arrays[0].weight_step
    asked = np.array([[0, 2], [4, -6], [100, 0]], F)
    chip.write(Delta(0, asked * step))
    np.testing.assert_allclose(chip.arrays[0].crossbar.fields()["taken"][0], np.minimum(np.abs(asked) / 2, 5), atol=1)
    assert chip.arrays[0].crossbar.fields()["taken"].sum() == chip.meter.pulses


# --- numbers -----------------------------------------------------------------------------------------------------------


def test_pulses_may_be_a_fraction_the_mean_of_counts_up_and_down():
    """100 pulses from low to high and 50 back, as a maker's data sheet says it."""
    mean = (1 / 100 + 1 / 50) / 2
    device = Linear(slope_up=0, slope_down=0, max_pulses=0, g_min=0.0, pulses=1 / mean, asymmetry=(0.01 - 0.02) / 0.03)
    chip, found = chip_of(device, sizes=(1, 1)), []
    chip.write(Delta(0, np.full((2, 1), -1.0, F), 10.0))
    for sign, end in ((1.0, device.g_max), (-1.0, 0.0)):
        count = 0
        while abs(oracle.conductances(chip)[0][0, 0, 0] - end) > 1e-4 * device.g_max:
            chip.write(Delta(0, np.full((2, 1), sign, F), 2 * chip.datasheet.arrays[0].weight_step))
            count += 1
        found.append(count)
    assert found == [100, 50]


def test_steps_finer_than_float32_can_hold_are_refused():
    with pytest.raises(ValueError, match=r"pulses: expected at most 8\.25e\+05, .* found 1e\+06; write 0 for a continuous"):
        Linear(pulses=1_000_000)
    with pytest.raises(ValueError, match="pulses: expected at most"):
        Linear(g_min=24.99e-6, pulses=1000)
    device = Linear(pulses=800_000, max_pulses=0)  # the finest that is taken: a walk of 1000 steps is right to 3 %
    chip = chip_of(device, sizes=(1, 1))
    before = oracle.conductances(chip)[0][0, 0, 0]
    for _ in range(10):
        chip.write(Delta(0, np.full((2, 1), 200 * chip.datasheet.arrays[0].weight_step, F)))
    assert oracle.conductances(chip)[0][0, 0, 0] - before == pytest.approx(1000 * device.step, rel=0.04)


def test_an_older_design_file_may_say_max_train():
    assert Linear(max_train=7).max_pulses == 7
    assert load_design("mild").revised(device={"max_train": 7}).device.max_pulses == 7


def test_own_parameters_of_another_shape_are_refused():
    class Odd(Linear):
        def parameters(self, normal):
            return {"tau": np.ones(3)}

    with pytest.raises(DesignError, match=r"Odd.parameters: expected finite tau of shape .* = \(2, 7, 4\), found shape \(3"):
        chip_of(Odd())


def test_own_parameters_come_from_streams_of_their_own():
    """So that a technology with one more parameter has the devices that it had, and other chips have other parameters."""
    one, other, plain = chip_of(Retention()), chip_of(Retention(), seed=4), chip_of(SoftBounds())
    assert (one.arrays[0].crossbar.fields()["tau"] != other.arrays[0].crossbar.fields()["tau"]).all()
    for parameter in ("low", "high", "up", "down", "error"):
        np.testing.assert_array_equal(*(chip.arrays[0].crossbar.fields()[parameter] for chip in (one, plain)))


def test_every_law_may_be_written_in_parallel_requests():
    """Outer products reach the same places as the matrix that they make, whatever the technology."""
    rng = np.random.default_rng(2)
    pre, post = rng.random((3, 7), dtype=F), rng.random((3, 4), dtype=F)
    for device in (Thermal(), Hump(), Retention(), Counted()):
        one, other = chip_of(device), chip_of(device)
        one.write(Outer(0, pre, post, 0.01))
        other.write(Delta(0, (pre.T @ post).astype(F), 0.01))
        np.testing.assert_array_equal(oracle.weights(one)[0], oracle.weights(other)[0])


def test_laws_that_cannot_be_are_refused():
    class Mute(Linear):
        def noise(self, u):
            return -np.ones_like(u)

    class Odd(Linear):
        keeps = ("age",)

    with pytest.raises(DesignError, match=r"Mute.noise: expected finite standard deviations .* found -1 to -1"):
        chip_of(Mute())
    with pytest.raises(ValueError, match=r"keeps: .* found 'age'"):
        Odd()
    with pytest.raises(ValueError, match="endurance: counts pulses"):
        Linear(pulses=0, endurance=10.0)


@pytest.mark.parametrize("kind", [Thermal, Hump, Retention, Counted])
def test_laws_of_ones_own_conform(kind):
    kind.source = "made up, for tests"
    check_device(kind())


@pytest.mark.parametrize(
    ("method", "made", "message"),
    [
        ("noise", lambda self, u: np.full(3, 1e-7), "noise at 0 K: expected an array like u"),
        ("noise", lambda self, u: u - 0.5, "gives NaN, infinity or less than 0"),
        ("aged", lambda self, g, parameters, moment: 0.5 * g, "does not conduct what was written"),
        ("aged", lambda self, g, parameters, moment: g[0], "aged: expected an array like g"),
        ("aged", lambda self, g, parameters, moment: g / (moment.now < 10), "NaN or infinity at a great age"),
        ("dead", lambda self, parameters: parameters["taken"] >= 0, "dead before their first pulse"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_laws_that_do_not_conform_are_told(method, made, message):
    kind = type("Wrong", (Linear,), {method: made, "source": "made up, for tests"})
    with pytest.raises(NotConforming, match=message):
        check_device(kind(endurance=100.0))


def test_a_technology_says_which_state_it_keeps():
    assert Linear().state == () and Linear(drift=0.1).state == ("written",)
    assert Linear(endurance=9.0).state == ("taken", "dead") and Retention().state == ("written",)
    assert Counted(drift=0.1).state == ("written", "taken")
    assert issubclass(Thermal, Device)
