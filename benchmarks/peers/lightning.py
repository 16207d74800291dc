"""Times reads of aihwkit-lightning, one layer of 2000 inputs and 2000 outputs.

    PYTHON benchmarks/peers/lightning.py --threads 2 --runs 7

The peer adds output noise in training mode only, so its layer is read in that mode, without gradients.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import _protocol as protocol

LEVELS_8_BIT = 2**8 - 2
OUT_NOISE = 0.04
WEIGHT_NOISE = 0.02


def main() -> None:
    report = protocol.begin("aihwkit-lightning", protocol.parser(__doc__).parse_args())
    # The peer says on standard output that it has no GPU kernels here; that line belongs with the messages.
    with protocol.importing(report.peer), contextlib.redirect_stdout(sys.stderr):
        from importlib.metadata import version

        import torch
        from aihwkit_lightning.nn import AnalogLinear
        from aihwkit_lightning.simulator.configs import (
            InputRangeParameter,
            IOParameters,
            PrePostProcessingParameter,
            TorchInferenceRPUConfig,
            WeightModifierParameter,
            WeightNoiseInjectionType,
        )

    torch.set_num_threads(report.threads)
    torch.manual_seed(0)
    report.version = version("aihwkit-lightning")
    size = protocol.SIZE

    def layer_of(fast_mode: bool, modifier: Any) -> Any:
        config = TorchInferenceRPUConfig(
            forward=IOParameters(inp_res=LEVELS_8_BIT, out_res=LEVELS_8_BIT, out_bound=12.0, out_noise=OUT_NOISE),
            modifier=modifier,
            # A fixed range of one: the statistics that it could collect from the data are no part of a read.
            pre_post=PrePostProcessingParameter(
                input_range=InputRangeParameter(
                    enable=True, learn_input_range=False, init_value=1.0, init_from_data=0, fast_mode=fast_mode
                )
            ),
        )
        layer = AnalogLinear(size, size, bias=False, rpu_config=config)
        layer.set_weights(torch.empty(size, size).uniform_(-0.1, 0.1))
        return layer.train()

    noisy = WeightModifierParameter(noise_type=WeightNoiseInjectionType.ADD_NORMAL, std_dev=WEIGHT_NOISE)
    common = f"AnalogLinear, 8-bit DAC and ADC, output noise {OUT_NOISE}, fixed input range, no_grad, train mode"
    plain, fast = layer_of(False, WeightModifierParameter()), layer_of(True, WeightModifierParameter())
    modified = layer_of(True, noisy)
    with torch.no_grad():
        for batch in (100, 1000):
            x = torch.empty(batch, size).uniform_(-1, 1)
            rows = [
                report.measure(f"read_b{batch}_plain", lambda x=x: plain(x), common),
                report.measure(f"read_b{batch}_fast_mode", lambda x=x: fast(x), f"{common}, fast_mode of the input range"),
            ]
            report.best(f"read_b{batch}", rows)
            note = f"{common}, fast_mode, weight noise {WEIGHT_NOISE} of the largest weight, one draw for the whole batch"
            report.measure(f"read_b{batch}_weight_noise_per_batch", lambda x=x: modified(x), note)
    report.print()


if __name__ == "__main__":
    main()
