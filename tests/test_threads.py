"""The number of threads changes nothing, to the last bit."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mortalsim.chips import SimulatedChip, load_design, oracle
from mortalsim.hardware import Outer, WeightNudge


def results(name, threads):
    """What a chip reads, with and without a nudge, and the weights that an outer product leaves."""
    with threadpool_limits(threads):
        chip = SimulatedChip(load_design(name).with_sizes((300, 200, 10)), seed=4)
        x = np.random.default_rng(1).random((64, 300), dtype=np.float32)
        trace = chip.read(x)
        nudged = chip.read(x, WeightNudge(3, 0.01)).output
        if not chip.design.device.pulses:  # pulses one by one would take long without the jit; the product is the same
            chip.write(Outer(0, trace.taps[0].pre, trace.taps[0].post, 1e-4))
        return [trace.output, nudged, *oracle.weights(chip)]


@pytest.mark.parametrize("name", ["ideal", "harsh"])
def test_one_thread_and_two_give_the_same_bits(name):
    if not any(library["user_api"] == "blas" for library in threadpool_info()):
        pytest.skip("this numpy's matrix products know no thread limit")
    for one, two in zip(results(name, 1), results(name, 2), strict=True):
        np.testing.assert_array_equal(one, two)
