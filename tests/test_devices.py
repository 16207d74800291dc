"""Every memory technology keeps its contract; the laws agree with closed forms and published traces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.devices import DEVICES
from mortalsim.devices.exponential import Exponential
from mortalsim.devices.soft_bounds import SoftBounds
from mortalsim.hardware import Delta
from mortalsim.kernels.devices import PLUS, G
from mortalsim.testing import check_device


@pytest.mark.parametrize("name", DEVICES.names())
def test_every_device_found_conforms(name):
    check_device(DEVICES.get(name)())


def one_pair(technology, **fields):
    """A chip of a single weight pair and its bias, silent, whose devices answer pulses exactly."""
    design = load_design("ideal").revised(sizes=(1, 1), weight_range=1.0, device={"technology": technology, **fields})
    return SimulatedChip(design, seed=0)


def walk(chip, pulses, sign):
    """Send ``pulses`` single pulses to G+ (up for a positive sign) and return G+ / range after each."""
    device = chip.design.device
    one = np.full((2, 1), sign / chip.design.technology.pulses_per_weight, np.float32)
    places = []
    for _ in range(pulses):
        chip.write(Delta(0, one))
        places.append((oracle.conductances(chip)[0][0, 0, 0] - device.g_min) / (device.g_max - device.g_min))
    return np.array(places)


@given(pulses=st.integers(20, 60), sign=st.sampled_from([-1, 1]))
def test_soft_bounds_follow_the_closed_form(pulses, sign):
    """G(n) = bound - (bound - G(0)) r^n with r = 1 - 2 D / (high - low) (NeuroSim's exponential, devices of equal steps)."""
    chip = one_pair("soft_bounds", pulses=pulses, max_pulses=0)
    start = (oracle.conductances(chip)[0][0, 0, 0] - 1e-6) / 24e-6
    found = walk(chip, 12, sign)
    bound = 1.0 if sign > 0 else 0.0
    expected = bound - (bound - start) * (1 - 2 / pulses) ** np.arange(1, 13)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_exponential_reproduces_the_resistive_ram_trace():
    """Noiseless mean trace of the fit to Gong et al. 2018 from w = -1: 1000 pulses up, then 1000 down.

    Reference values as computed with the public model (aihwkit's ReRamES preset, dw_min 0.00135, up_down 0.259359).
    """
    device = Exponential()
    up_scale, down_scale = 0.00135, 0.00135 * (1 - 0.259359)
    w, trace = -1.0, []
    for _ in range(1000):
        w = min(w + up_scale * float(device.up(np.array((w + 1) / 2))), 1.0)
        trace.append(w)
    assert [trace[n - 1] for n in (100, 250, 500, 1000)] == pytest.approx([-0.748, -0.456, -0.054, 0.656], abs=2e-3)
    for _ in range(1000):
        w = max(w - down_scale * float(device.down(np.array((w + 1) / 2))), -1.0)
        trace.append(w)
    assert [trace[999 + n] for n in (100, 250, 500, 1000)] == pytest.approx([0.252, -0.082, -0.460, -1.0], abs=2e-3)


def test_the_default_exponential_device_is_the_fit():
    """The same trace with the technology's own defaults, on a chip, pulse by pulse through the kernel."""
    chip = one_pair("exponential", max_pulses=0)
    g, device = chip.arrays[0].crossbar.devices.levels(G), chip.design.device
    g[PLUS] = device.g_min
    train, trace = np.full((2, 1), 50 / chip.design.technology.pulses_per_weight, np.float32), []
    for sign in (1, -1):
        for _ in range(20):
            chip.write(Delta(0, sign * train))
            trace.append(2 * (g[PLUS, 0, 0] - device.g_min) / (device.g_max - device.g_min) - 1)
    up, down = trace[:20], trace[20:]
    assert [up[n // 50 - 1] for n in (100, 250, 500, 1000)] == pytest.approx([-0.748, -0.456, -0.054, 0.656], abs=4e-3)
    assert [down[n // 50 - 1] for n in (100, 250, 500, 1000)] == pytest.approx([0.252, -0.082, -0.460, -1.0], abs=4e-3)


@pytest.mark.parametrize("name", DEVICES.names())
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_kernel_walks_as_the_law_says(name, sign):
    """Tables and kernel together follow each technology's own formula pulse by pulse."""
    chip = one_pair(name, pulses=40, max_pulses=0, g_min=1e-6, g_max=25e-6)
    device = chip.design.device
    law = device.up if sign > 0 else device.down
    u = (oracle.conductances(chip)[0][0, 0, 0] - device.g_min) / (device.g_max - device.g_min)
    expected = []
    for _ in range(30):
        u = float(np.clip(u + (sign + device.asymmetry) * float(law(np.array(u))) / device.pulses, 0, 1))
        expected.append(u)
    np.testing.assert_allclose(walk(chip, 30, sign), expected, atol=3e-4)


def test_ranges_are_checked():
    with pytest.raises(ValueError, match="g_min must be below g_max"):
        SoftBounds(g_min=2e-6, g_max=1e-6)
