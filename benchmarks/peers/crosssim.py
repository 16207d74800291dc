"""Times reads of CrossSim, one layer of 2000 inputs and 2000 outputs.

    PYTHON benchmarks/peers/crosssim.py --threads 2 --runs 7

With read noise CrossSim draws one number for every device, sample and read, in arrays as large as all of them together: 100
samples would need tens of gigabytes, so that case has no row.
"""

from __future__ import annotations

from typing import Any

import _protocol as protocol

READ_NOISE = 0.02
BITS = 8


def main() -> None:
    report = protocol.begin("crosssim", protocol.parser(__doc__).parse_args())
    with protocol.importing(report.peer):
        from importlib.metadata import version

        import numpy as np
        from simulator import AnalogCore, CrossSimParameters

    report.version = version("crosssim")
    size = protocol.SIZE
    rng = np.random.default_rng(0)
    weights = rng.uniform(-0.1, 0.1, (size, size)).astype(np.float32)

    def parameters() -> Any:
        chosen = CrossSimParameters()
        chosen.core.mapping.inputs.mvm.min, chosen.core.mapping.inputs.mvm.max = -1.0, 1.0
        return chosen

    noisy = parameters()
    noisy.xbar.device.read_noise.enable = True
    noisy.xbar.device.read_noise.model = "NormalProportionalDevice"
    noisy.xbar.device.read_noise.magnitude = READ_NOISE
    core = AnalogCore(weights, params=noisy)
    note = (
        f"AnalogCore, balanced pair, read noise NormalProportionalDevice {READ_NOISE} fresh per device and sample, float32"
    )
    for batch in (1, 10):
        x = rng.uniform(-1, 1, (size, batch)).astype(np.float32)
        read = (lambda x=x[:, 0]: core @ x) if batch == 1 else (lambda x=x: core @ x)
        report.measure(f"read_b{batch}_device_noise", read, f"{note}, no DAC or ADC", warmups=1)

    converted = parameters()
    converted.xbar.dac.mvm.model = "QuantizerDAC"
    converted.xbar.dac.mvm.bits = BITS
    converted.xbar.adc.mvm.model = "QuantizerADC"
    converted.xbar.adc.mvm.bits = BITS
    # In units of the largest weight: 12 of them is the range that the other peers are given, too.
    converted.xbar.adc.mvm.calibrated_range = [-120.0, 120.0]
    core = AnalogCore(weights, params=converted)
    x = rng.uniform(-1, 1, (size, 100)).astype(np.float32)
    note = "AnalogCore, balanced pair, 8-bit QuantizerDAC, 8-bit QuantizerADC of calibrated range, no noise, float32 input"
    report.measure("read_b100_8bit", lambda: core @ x, note)
    report.print()


if __name__ == "__main__":
    main()
