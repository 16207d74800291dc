"""What every chip must keep to, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mortalsim.checks import FloatArray, MissingPort
from mortalsim.hardware import (
    BIAS,
    Chip,
    CurrentNudge,
    Delta,
    Nudge,
    Outer,
    Port,
    Program,
    Replay,
    Shrink,
    Trace,
    WeightNudge,
    WriteRequest,
)
from mortalsim.testing.proxies import expect


def check_chip(make: Callable[[], Chip], samples: int = 3) -> None:
    """Check one kind of chip.

    Parameters
    ----------
    make
        Returns the same fresh individual at every call.
    samples
        Samples per read.

    Raises
    ------
    NotConforming
        A shape, a refusal, the reproducibility or the direction of a write is not what the seam promises.
    """
    chip = make()
    x = np.linspace(0, 1, samples * chip.datasheet.n_inputs, dtype=np.float32).reshape(samples, -1)
    _check_trace(chip, chip.read(x), samples)
    _check_refusals(chip, x)
    _check_ports(chip, x)
    _check_reproducible(make, x)
    _check_direction(make, x)


def _check_trace(chip: Chip, trace: Trace, samples: int) -> None:
    sheet = chip.datasheet
    expect(trace.output.shape == (samples, sheet.n_outputs), f"read: output of shape {trace.output.shape}")
    expect(bool(np.isfinite(trace.output).all()), "read: output is not finite")
    if Port.TAPS not in sheet.ports:
        expect(not trace.taps, "read: gives taps that the data sheet does not list")
        return
    expect([tap.array for tap in trace.taps] == list(range(len(sheet.arrays))), "read: expected one tap per array, in order")
    for tap, spec in zip(trace.taps, sheet.arrays, strict=True):
        expect(
            tap.pre.shape == (samples, spec.n_in),
            f"tap {tap.array}: pre of shape {tap.pre.shape}, expected {(samples, spec.n_in)}",
        )
        expect(tap.post.shape == (samples, spec.n_out), f"tap {tap.array}: post of shape {tap.post.shape}")
        expect(bool((tap.pre[:, -1] == BIAS).all()), f"tap {tap.array}: the last line is the bias line and carries {BIAS}")
    expect(np.array_equal(trace.output, trace.taps[-1].post), "read: output is the last tap's post")


def _check_refusals(chip: Chip, x: FloatArray) -> None:
    spoiled = x.copy()
    spoiled[0, 0] = np.nan
    for what, bad in (("too few inputs", x[:, :-1]), ("one dimension", x[0]), ("NaN", spoiled), ("no samples", x[:0])):
        try:
            chip.read(bad)
        except ValueError:
            continue
        expect(False, f"read: accepted {what} instead of raising a ValueError")


def _check_ports(chip: Chip, x: FloatArray) -> None:
    sheet = chip.datasheet
    spec, nudge = sheet.arrays[0], WeightNudge(7, 0.01)
    currents = CurrentNudge(tuple(np.zeros((len(x), array.n_out), np.float32) for array in sheet.arrays))
    nudges: dict[Port, Nudge] = {Port.CURRENT_NUDGE: currents, Port.WEIGHT_NUDGE: nudge}
    zero = np.zeros(spec.shape, np.float32)
    pre, post = np.ones((2, spec.n_in), np.float32), np.zeros((2, spec.n_out), np.float32)
    requests: dict[Port, WriteRequest] = {
        Port.OUTER: Outer(0, pre, post, 0.1),
        Port.DELTA: Delta(0, zero),
        Port.REPLAY: Replay(nudge, 0.1),
        Port.SHRINK: Shrink(0, 0.99),
        Port.PROGRAM: Program(0, zero),
    }
    for port, what in nudges.items():
        _expect_port(sheet.ports, port, lambda what=what: chip.read(x, what))  # type: ignore[misc]
    for port, request in requests.items():
        _expect_port(sheet.ports, port, lambda request=request: chip.write(request))  # type: ignore[misc]


def _expect_port(ports: frozenset[Port], port: Port, act: Callable[[], object]) -> None:
    try:
        act()
    except MissingPort:
        expect(port not in ports, f"{port.value}: on the data sheet, yet refused")
    else:
        expect(port in ports, f"{port.value}: not on the data sheet, yet accepted; raise MissingPort")


def _check_reproducible(make: Callable[[], Chip], x: FloatArray) -> None:
    first, second = make(), make()
    for _ in range(2):
        same = np.array_equal(first.read(x).output, second.read(x).output)
        expect(same, "two makings of the same individual give different reads")


def _check_direction(make: Callable[[], Chip], x: FloatArray) -> None:
    chip = make()
    last = len(chip.datasheet.arrays) - 1
    spec = chip.datasheet.arrays[last]
    rise = np.zeros(spec.shape, np.float32)
    rise[-1] = spec.weight_range / 4  # the bias line reaches the output whatever the input is

    def ask_often() -> None:
        for _ in range(8):
            if Port.DELTA in chip.datasheet.ports:
                chip.write(Delta(last, rise / 8))
            elif Port.OUTER in chip.datasheet.ports:
                line = np.eye(1, spec.n_in, spec.n_in - 1, dtype=np.float32)
                chip.write(Outer(last, line, np.ones((1, spec.n_out), np.float32), spec.weight_range / 32))

    if not {Port.DELTA, Port.OUTER} & chip.datasheet.ports:
        return
    before = np.mean([chip.read(x).output.mean() for _ in range(8)])
    ask_often()
    after = np.mean([chip.read(x).output.mean() for _ in range(8)])
    expect(bool(after > before), f"a request to raise all biases took the mean output from {before:.3g} to {after:.3g}")
