"""Look at two memory technologies pulse by pulse, then copy learned weights from one chip to another.

Run it as ``python examples/two_technologies.py [--pulses N] [--epochs N]``.
"""

import argparse

import numpy as np

from mortalsim import data
from mortalsim.chips import SimulatedChip, chip_streams, load_design, oracle
from mortalsim.devices import DEVICES, Device
from mortalsim.hardware import Program
from mortalsim.learners import LEARNERS
from mortalsim.streams import Streams
from mortalsim.training import error_rate, train


def staircase(device: Device, pulses: int) -> list[float]:
    """Conductance in microsiemens after up pulses from the lower bound, then as many down pulses: the law, no noise."""
    span, u, trace = device.g_max - device.g_min, 0.0, []
    for law, sign in ((device.up, 1), (device.down, -1)):
        for _ in range(pulses):
            u = min(max(u + sign * float(law(np.array([u]))[0]) * device.step / span, 0.0), 1.0)
            trace.append(1e6 * (device.g_min + u * span))
    return trace


def main(pulses: int, epochs: int) -> None:
    for name in ("soft_bounds", "linear"):
        trace = staircase(DEVICES.get(name)(pulses=pulses), pulses)
        shown = ", ".join(f"{trace[place - 1]:.1f}" for place in range(pulses // 4, 2 * pulses + 1, pulses // 4))
        print(f"{name:12} {pulses} pulses up, {pulses} down, microsiemens: {shown}")

    # A design of your own: a shipped one with other fields. A .toml file does the same from the command line.
    poor = load_design("harsh").revised(name="poor", neurons={"gain_dtod": 0.5, "offset_dtod": 0.5})
    run = Streams(seed=0)
    digits = data.load("digits", run)
    first, second = (SimulatedChip(poor, chip_streams(run, number)) for number in (1, 2))
    learner = LEARNERS.get("physics_aware")(epochs=epochs)
    state = train(first, learner, digits, run, validate_every=0).state
    own = error_rate(first, learner, digits.task, digits.test_x, digits.test_y, state)
    for array, weights in enumerate(oracle.weights(first)):  # the most generous copy: the true weights, seen from outside
        second.write(Program(array, weights))
    copied = error_rate(second, learner, digits.task, digits.test_x, digits.test_y, state)
    print(f"test error on the chip that was trained: {own:.1%}; its weights on another chip of its kind: {copied:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pulses", type=int, default=200, help="pulses in each direction (default: 200)")
    parser.add_argument("--epochs", type=int, default=10, help="passes through the training data (default: 10)")
    main(**vars(parser.parse_args()))
