"""Times reads and updates of aihwkit's tiles, one layer of 2000 inputs and 2000 outputs.

    PYTHON benchmarks/peers/aihwkit_tiles.py --threads 2 --runs 7

Every read has an 8-bit DAC, an 8-bit ADC and fresh noise on each output. aihwkit has three tiles that can do it (in torch,
in C++ for inference, in C++ with devices that learn); each has its row, and the fastest is repeated as the peer's own. Every
update sends the pulses of a batch of outer products to devices that all differ.
"""

from __future__ import annotations

import math
from typing import Any

import _protocol as protocol

LEVELS_8_BIT = 2**8 - 2  # aihwkit counts steps of a range that is symmetric about zero, as its own presets do
OUT_NOISE = 0.04
W_NOISE = 0.0175  # of aihwkit's preset for hardware-aware training, which is fitted to phase-change memory
BATCH = 100

#: Mean number of pulses that an update asks of one device: large steps early in training, and what most steps ask for.
PULSES = {"": 1.0, "_typical": 0.05}


def main() -> None:
    report = protocol.begin("aihwkit", protocol.parser(__doc__).parse_args())
    with protocol.importing(report.peer):
        import aihwkit
        import torch
        from aihwkit.simulator.configs import (
            ConstantStepDevice,
            InferenceRPUConfig,
            SingleRPUConfig,
            SoftBoundsDevice,
            TorchInferenceRPUConfig,
        )
        from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType
        from aihwkit.simulator.parameters.io import IOParameters
        from aihwkit.simulator.presets import PCMPreset

    torch.set_num_threads(report.threads)
    torch.manual_seed(0)
    report.version = aihwkit.__version__
    size = protocol.SIZE

    def periphery(**more: Any) -> Any:
        return IOParameters(
            inp_res=LEVELS_8_BIT,
            out_res=LEVELS_8_BIT,
            inp_bound=1.0,
            out_bound=12.0,
            out_noise=OUT_NOISE,
            # No rescaling of the inputs and no second pass: one read is one read.
            noise_management=NoiseManagementType.NONE,
            bound_management=BoundManagementType.NONE,
            **more,
        )

    def tile_of(config: Any) -> Any:
        tile = config.tile_class(size, size, config, bias=False)
        tile.set_weights(torch.empty(size, size).uniform_(-0.1, 0.1))
        return tile

    configs = {
        "torch": TorchInferenceRPUConfig(forward=periphery()),
        "inference": InferenceRPUConfig(forward=periphery()),
        "single": SingleRPUConfig(forward=periphery(), device=ConstantStepDevice()),
    }
    tiles = {name: tile_of(config).eval() for name, config in configs.items()}
    common = f"8-bit DAC and ADC, output noise {OUT_NOISE} of a bound of 12, no noise or bound management, no_grad, eval"
    with torch.no_grad():
        for batch in (BATCH, 10 * BATCH):
            x = torch.empty(batch, size).uniform_(-1, 1)
            rows = []
            for name, tile in tiles.items():
                note = f"{type(tile.rpu_config).__name__}; {common}"
                rows.append(report.measure(f"read_b{batch}_{name}", lambda t=tile, x=x: t(x), note))
            report.best(f"read_b{batch}", rows)

        x = torch.empty(BATCH, size).uniform_(-1, 1)
        noisy = tile_of(InferenceRPUConfig(forward=periphery(w_noise=W_NOISE, w_noise_type=WeightNoiseType.PCM_READ))).eval()
        note = (
            f"InferenceRPUConfig, w_noise_type PCM_READ, w_noise {W_NOISE}: variance in proportion to conductance and"
            f" squared input, drawn anew for every sample and output; {common}"
        )
        report.measure("read_pcm_b100", lambda: noisy(x), note)

    soft, constant, pcm = SoftBoundsDevice(), ConstantStepDevice(), PCMPreset()
    branch = pcm.device.unit_cell_devices[0]
    devices = {
        "softbounds": (SingleRPUConfig(device=soft), soft.dw_min, "SoftBoundsDevice with its defaults"),
        "constant": (SingleRPUConfig(device=constant), constant.dw_min, "ConstantStepDevice with its defaults"),
        # What aihwkit takes for this device's step when it plans its pulse trains: the downward branch at weight zero.
        "pcm_pair": (
            pcm,
            branch.dw_min * (1 - branch.A_down),
            "PCMPreset: one-sided pair of PCMPresetDevice, both read and checked for refresh after each batch",
        ),
    }
    x, d = torch.randn(BATCH, size), torch.randn(BATCH, size)
    for name, (config, step, note) in devices.items():
        for suffix, pulses in PULSES.items():
            update = _Updates(tile_of(config), x, d, pulses, step)
            row = report.measure(f"update_{name}_b100{suffix}", update, f"{note}; {update.note}", warmups=1)
            row["mean_abs_dw"] = update.change
            row["pulses_per_device"] = pulses
    report.print()


class _Updates:
    """Pulsed updates of one batch, each undoing the one before as far as the devices let it.

    Parameters
    ----------
    tile
        Whom to update.
    x, d
        Inputs and errors, a row for each sample.
    pulses
        Mean number of pulses that the summed update asks of one device.
    step
        Change that aihwkit expects of one pulse.
    """

    def __init__(self, tile: Any, x: Any, d: Any, pulses: float, step: float) -> None:
        rate = pulses * step / (d.T @ x).abs().mean().item()
        tile.set_learning_rate(rate)
        self._tile, self._x, self._count = tile, x, 0
        self._errors = (d, -d)  # to and fro, or all devices would end at their bounds
        before = tile.tile.get_weights().clone()
        self()
        self.change = (tile.tile.get_weights() - before).abs().mean().item()
        coincidences = rate * (d.abs().T @ x.abs()).mean().item() / step
        options = tile.rpu_config.update
        longest = min(options.desired_bl, math.ceil(rate * x.abs().max().item() * d.abs().max().item() / step))
        self.note = (
            "device-to-device and cycle-to-cycle noise on; x and d standard normal, signs of d turned at each update;"
            f" learning rate {rate:.3g}, step {step:.3g}; {options.pulse_type.value} trains of up to {longest} pulses"
            f" (desired_bl {options.desired_bl}, update_management and update_bl_management on);"
            f" the summed update asks {pulses:g} pulses a device,"
            f" the samples' trains coincide {coincidences:.3g} times a device;"
            f" mean |dw| asked {pulses * step:.3g}, got {self.change:.3g}"
        )

    def __call__(self) -> None:
        """Update once."""
        self._tile.update(self._x, self._errors[self._count % 2])
        self._count += 1


if __name__ == "__main__":
    main()
