"""Each kernel beside its reference implementation, and random numbers and a read beside what one would write in numpy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.chips import inputs, layer_chip
from benchmarks.reads import read_work
from benchmarks.timing import Case, Row, Setting, Work, compare
from mortalsim import kernels
from mortalsim.kernels.counters import READ, ROUND, SIGNS, Address
from mortalsim.kernels.devices import DOWN, HIGH, LOW, UP, Devices, G

F = np.float32
KEY = np.array([3, 4], np.uint32)
SAMPLES, WIDTH, BLOCKS = 8, 250, 5

NO_LINES = np.zeros(0, np.int64)

NORMALISER = kernels.Normaliser(kernels.BY_BLOCK, epsilon=1e-6, gain=1.0)

Arguments = tuple[Any, ...]


def references() -> ModuleType:
    """Load the reference implementations from the tests, which are no package."""
    path = Path(__file__).parents[1] / "tests" / "naive.py"
    spec = importlib.util.spec_from_file_location("naive", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _address(purpose: int) -> Address:
    return kernels.Draw(KEY, purpose, 1).address()


def _flat(value: float, n: int = WIDTH) -> np.ndarray:
    return np.full(n, value, F)


def fill() -> Arguments:
    """Twenty thousand numbers of one row."""
    return KEY, 1, 2, 3, np.empty((1, 20_000), F)


def pattern() -> Arguments:
    """Signs of a square array."""
    return _address(SIGNS), WIDTH * WIDTH


def added_signs() -> Arguments:
    """Signs added to a square array."""
    return _random(WIDTH, WIDTH), 0.1, _flat(1), _address(SIGNS), 0, 0, np.empty((WIDTH, WIDTH), F)


def driven() -> Arguments:
    """Normaliser and 8-bit converter."""
    into = np.empty((SAMPLES, WIDTH + 1), F), np.empty(SAMPLES, F)
    return _random(SAMPLES, WIDTH), NO_LINES, NORMALISER, _input_converter(_flat(1), _flat(0)), *into


def driven_blocks() -> Arguments:
    """Normaliser and 8-bit converter of five blocks that share the inputs."""
    rows = np.column_stack([np.arange(WIDTH).reshape(BLOCKS, -1), np.full(BLOCKS, WIDTH)])
    converter = _input_converter(np.ones(rows.shape, F), np.zeros(rows.shape, F))
    into = np.empty((BLOCKS, SAMPLES, rows.shape[1]), F), np.empty((BLOCKS, SAMPLES), F)
    return _random(SAMPLES, WIDTH), NO_LINES, rows, NORMALISER, converter, *into


def _input_converter(gain: np.ndarray, offset: np.ndarray) -> kernels.Converter:
    return kernels.Converter(low=-4.0, high=4.0, step=0.03, level=0.0, gain=gain, offset=offset)


def readout() -> Arguments:
    """Own noise of every product, rectifier, saturation, 8-bit converter."""
    noise = kernels.Noise(own=np.ones((SAMPLES, WIDTH), F), power=_flat(1, SAMPLES), line=0.1, neuron=0.1)
    neurons = kernels.NeuronCircuits.plain(WIDTH)._replace(leak=0.0, saturation=_flat(12))
    converter = kernels.Converter(low=-12.0, high=12.0, step=0.1, level=0.0, gain=_flat(1), offset=_flat(0))
    into = (0, WIDTH), np.empty((SAMPLES, WIDTH), F)
    return _random(SAMPLES, WIDTH), noise, np.zeros((0, 0), F), neurons, converter, _address(READ), *into


#: Now, for devices that do not age.
PRESENT = kernels.Present(1.0, 1.0, np.zeros((0, 0, 1, 2), F))


def made(side: int) -> Devices:
    """Return equal devices at mid range, without drift."""
    devices = Devices.blank(side, side, drift=False)
    devices.levels(G)[...] = 5e-6
    for parameter, value in ((UP, 1e-8), (DOWN, 1e-8), (LOW, 1e-6), (HIGH, 9e-6)):
        devices.fix(parameter, value)
    return devices


def pulses() -> Arguments:
    """Half a pulse for each device of a small array, with cycle-to-cycle noise."""
    side, unit = 20, 8e-6
    change = np.full((side, side), 0.5 * 1e-8 / unit, F)
    asked = kernels.Asked(change, 2 * unit / 1e-8, np.full((2, 2), [0.5, -0.5], F), 0, 0)
    sent = kernels.Sent(np.zeros(side, np.int64), np.zeros((0, 0, 2), np.int32))
    law = kernels.PulseLaw(np.ones((2, 2), F), 0.3)
    return made(side), asked, law, PRESENT, _effective(side), _address(ROUND), sent


def weighed() -> Arguments:
    """Weights and noise variances of an array."""
    return made(WIDTH), PRESENT, _effective(WIDTH), 0, WIDTH


def _effective(side: int) -> kernels.Effective:
    return kernels.Effective(np.empty((side, side), F), np.empty((side, side), F), 8e-6, kernels.ReadNoise(0.1))


#: Kernels that run for long enough to be timed, with arguments for them.
KERNELS: dict[str, Callable[[], Arguments]] = {
    "fill_normal": fill,
    "sign_pattern": pattern,
    "add_signs": added_signs,
    "drive_lines": driven,
    "drive_blocks": driven_blocks,
    "read_out": readout,
    "apply_pulses": pulses,
    "compute_weights": weighed,
}


def beside_reference(setting: Setting, *, kernel: str) -> Iterable[Row]:
    """Time one kernel and its reference on arguments of their own."""
    ours, reference = (
        partial(getattr(kernels, kernel), *KERNELS[kernel]()),
        partial(getattr(references(), kernel), *KERNELS[kernel]()),
    )
    note = f"{(KERNELS[kernel].__doc__ or '').rstrip('.')}; the reference is made to be read, not to be fast"
    yield compare(
        f"kernel_{kernel}", ours, reference, setting, against="its reference implementation", sense="at least", note=note
    )


def random_numbers(setting: Setting) -> Iterable[Row]:
    """Draw a million float32 numbers beside numpy's own generator."""
    into, other = np.empty(10**6, F), np.empty(10**6, F)
    rng = np.random.default_rng(0)
    draw = partial(rng.standard_normal, dtype=np.float32, out=other)
    ours = partial(kernels.fill_normal, KEY, 1, 2, 3, into[None])
    note = "10^6 float32; numpy's default generator (PCG64) into a given array, one thread"
    yield compare("numpy_fill_normal", ours, draw, setting, against="numpy's generator", sense="at least", note=note)


def whole_read(setting: Setting) -> Iterable[Row]:
    """Read as `reads.plain_read` does, beside the same circuits in numpy expressions."""
    ours = read_work(layer_chip("mild", setting.width), 100)
    plain = numpy_read(100, setting.width)
    note = "`mild`, 100 samples; numpy expressions as one would write them, noise by numpy's default generator"
    yield compare("numpy_read_b100", ours, plain, setting, against="the read in plain numpy", sense="at least", note=note)


def numpy_read(samples: int, width: int) -> Work:
    """Return a read with the circuits of `mild` in numpy alone."""
    rng = np.random.default_rng(0)
    x, weights = inputs(samples, width), _random(width + 1, width) / F(np.sqrt(width))
    normal = partial(rng.standard_normal, width, np.float32)
    dac_gain, adc_gain, gain = (F(1) + F(0.01) * normal() for _ in range(3))
    dac_offset, adc_offset, offset = (F(0.01) * normal() for _ in range(3))
    dac_step, adc_step = F(8 / 254), F(24 / 254)

    def read() -> np.ndarray:
        v = x / (F(1e-6) + np.sqrt(np.mean(x * x, axis=1, keepdims=True)))
        v = np.rint(np.clip(v, -4, 4) / dac_step) * dac_step * dac_gain + dac_offset
        pre = np.concatenate([v, np.ones((samples, 1), F)], axis=1)
        sigma = np.sqrt(F(1e-5) * np.sum(pre * pre, axis=1, keepdims=True) + F(4e-4))
        z = pre @ weights + sigma * rng.standard_normal((samples, width), dtype=np.float32)
        y = np.clip(np.maximum(gain * z + offset, 0), -12, 12) * adc_gain + adc_offset
        return np.asarray(np.rint(np.clip(y, -12, 12) / adc_step) * adc_step)

    return read


CASES = [
    *(Case((f"kernel_{name}",), partial(beside_reference, kernel=name)) for name in KERNELS),
    Case(("numpy_fill_normal",), random_numbers),
    Case(("numpy_read_b100",), whole_read),
]
