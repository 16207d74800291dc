"""What every chip must keep to, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from scipy.special import stdtrit

from mortalsim.checks import FloatArray, MissingPort, ShapeError, check_whole
from mortalsim.hardware import (
    BIAS,
    WANTS,
    Chip,
    CurrentNudge,
    Datasheet,
    Delta,
    Nudge,
    Outer,
    Port,
    Program,
    Replay,
    Shrink,
    Trace,
    Want,
    WeightNudge,
    WriteRequest,
)
from mortalsim.testing.proxies import expect

#: Chance that `check_chip` finds a wrong direction on a chip whose writes go the right way, or nowhere.
FALSE_ALARM: Final = 1e-3

#: Most requests that `check_chip` sends one way to see a direction, each of 1/32 of the weight range.
ASKS: Final = 8

#: Most times that `check_chip` looks whether two means differ: after every request up and down, and where nothing may.
LOOKS: Final = 2 * ASKS + 2


def check_chip(chip: Chip | Callable[[], Chip], samples: int = 3, *, erase: bool = False, reads: int = 8) -> None:
    """Check one chip that exists, or one kind of chip that can be made anew.

    What it does to a chip: it reads, also with nudges; it sends requests that change nothing (a matrix, a post or a scale of
    0, a factor of 1); and it asks the biases of one array into the output, or into the last hidden population, to change.
    It asks all of them to rise by 1/32 of the weight range, up to eight times until the outputs show it, and then to sink by
    as much. If no rise shows, they may stand at their limit: it looks after every request to sink, until the outputs show
    that, and asks them to rise again. If the mean output is not where it was after that, it is asked back to within half a
    request. So the biases end where they were as far as devices answer evenly both ways; one that stood at its limit beside
    others that did not may end below it by the requests that it took to see them. Only if ``erase`` is True, all weights of
    array 0 are programmed to 0.

    The reads may be noisy. A direction is judged by Student's t test of the mean output before and after the requests. So is
    whether requests that change nothing have changed it. At most once in 1000 checks a chip that keeps to the seam is
    found wrong by chance. For this the noise of different reads must be independent, and the chip must not drift meanwhile.
    A change that cannot be told from noise is an error too, whose message says so: more ``reads`` make the test sharper.

    Parameters
    ----------
    chip
        A chip; or a function that returns the same fresh individual at every call, which is checked as well. A function that
        returns one and the same object stands for that chip.
    samples
        Samples per read, at least 1.
    erase
        True: also check `Program`, which erases weights.
    reads
        Reads that are averaged for the direction of a write, at least 2.

    Raises
    ------
    NotConforming
        A shape, a refusal, the reproducibility or the direction of a write is not what the seam promises.
    ShapeError
        ``chip`` is neither a chip nor a function that returns one.
    RangeError
        ``samples`` or ``reads`` is too small.
    """
    check_whole("samples", samples, 1)
    check_whole("reads", reads, 2)
    single = isinstance(chip, Chip) and not isinstance(chip, type)  # a class may be a maker, and has the members too
    make: Callable[[], Chip] = (lambda: chip) if single else chip  # type: ignore[assignment, return-value]
    first = make() if callable(make) else chip
    if not isinstance(first, Chip) or isinstance(first, type):
        raise ShapeError(
            "chip: expected a chip with datasheet, read and write, or a function that returns one, found "
            f"{type(first).__name__}. Write check_chip(board), say."
        )
    x = np.linspace(0, 1, samples * first.datasheet.n_inputs, dtype=np.float32).reshape(samples, -1)
    _check_sheet(first.datasheet)
    _check_wants(first, x)
    _check_refusals(first, x)
    second = make()
    if second is not first:
        _check_reproducible(make, x)  # before the first write: what fails here may be a board that exists once
    _check_ports(second, x, erase, reads)
    _check_direction(make(), x, reads)


def _check_sheet(sheet: Datasheet) -> None:
    known = set(sheet.inputs)
    for spec in sheet.arrays:
        expect(
            {spec.source, spec.target} <= set(sheet.populations), f"array {spec.source} to {spec.target}: no such population"
        )
        expect(spec.target not in sheet.inputs, f"array {spec.source} to {spec.target}: an input is fed by nobody")
    for answer in sheet.timetable:
        for array, _ in answer.via:
            source = array if isinstance(array, str) else sheet.arrays[array].source
            expect(source in known, f"timetable: {answer.population} answers to {source} before that has a state")
        known.add(answer.population)
    expect(sheet.output is None or sheet.output in sheet.fed, f"output: no array feeds {sheet.output!r}")
    expect(known == set(sheet.populations), f"timetable: expected every population to answer, found {sorted(known)}")


def _check_trace(sheet: Datasheet, trace: Trace, samples: int, want: Want) -> None:
    expect((trace.output is None) == (sheet.output is None), "read: an output that the data sheet does not name, or none")
    if trace.output is not None:
        size = sheet.populations[str(sheet.output)].size
        expect(np.shape(trace.output) == (samples, size), f"read: output of shape {np.shape(trace.output)}, want={want!r}")
        expect(bool(np.isfinite(trace.output).all()), "read: output is not finite")
    if Port.TAPS not in sheet.ports:
        expect(not trace.taps and not trace.states, "read: gives taps or states that the data sheet does not list")
        return
    if want == "output":
        expect(not trace.taps and not trace.states, "read: gives taps or states where the output alone is wanted")
        return
    answers = [(answer.population, answer.tick) for answer in sheet.timetable]
    found = {(name, tick) for name, states in trace.states.items() for tick in states}
    expect(found == set(answers), "read: expected a state for every line of the timetable")
    for name, tick in answers:
        shape = trace.states[name][tick].shape
        expect(shape == (samples, sheet.populations[name].size), f"state of {name} at tick {tick}: shape {shape}")
        expect(bool(np.isfinite(trace.states[name][tick]).all()), f"state of {name} at tick {tick}: not finite")
    if want == "taps":
        _check_taps(sheet, trace, samples)
    expect(want == "taps" or not trace.taps, "read: gives taps where states alone are wanted")
    if sheet.output is not None:
        last = trace.states[sheet.output][max(trace.states[sheet.output])]
        expect(np.array_equal(trace.output, last), "read: output is the output population's last state")  # type: ignore[arg-type]


def _check_taps(sheet: Datasheet, trace: Trace, samples: int) -> None:
    wanted = [
        (array, answer.tick, at) for answer in sheet.timetable for array, at in answer.via if not isinstance(array, str)
    ]
    taps = [(tap.array, tap.tick, tap.at) for tap in trace.taps]
    expect(taps == wanted, "read: expected a tap for every array in every line of the timetable, in order")
    for tap in trace.taps:
        spec = sheet.arrays[tap.array]
        shape = (*spec.shape[:-2], samples, spec.n_in)
        expect(tap.pre.shape == shape, f"tap {tap.array}: pre of shape {tap.pre.shape}, expected {shape}")
        expect(tap.post is trace.states[spec.target][tap.tick] or np.array_equal(tap.post,
        trace.states[spec.target][tap.tick]),
               f"tap {tap.array}: post is not the target's state")  # fmt: skip
        carried = (
            tap.pre[_bias_rows(sheet, tap.array)] if spec.rows is not None else tap.pre[..., _bias_rows(sheet, tap.array)]
        )
        expect(bool((carried == BIAS).all()), f"tap {tap.array}: a bias line carries {BIAS}")


def _bias_rows(sheet: Datasheet, array: int) -> Any:
    """Return an index of ``pre`` that takes an array's bias lines."""
    spec, size = sheet.arrays[array], sheet.populations[sheet.arrays[array].source].size
    if spec.rows is None:
        return slice(size, None)
    blocks, rows = np.nonzero(spec.rows == size)
    return blocks, slice(None), rows


def _check_wants(chip: Chip, x: FloatArray, nudge: Nudge | None = None) -> None:
    for want in WANTS:
        _check_trace(chip.datasheet, chip.read(x, nudge, want), len(x), want)


def _check_refusals(chip: Chip, x: FloatArray) -> None:
    spoiled = x.copy()
    spoiled[0, 0] = np.nan
    for what, bad in (("too few inputs", x[:, :-1]), ("one dimension", x[0]), ("NaN", spoiled), ("no samples", x[:0])):
        try:
            chip.read(bad)
        except ValueError:
            continue
        expect(False, f"read: accepted {what} instead of raising a ValueError")


def _check_ports(chip: Chip, x: FloatArray, erase: bool, reads: int) -> None:
    sheet = chip.datasheet
    spec, nudge = (
        sheet.arrays[0],
        WeightNudge(7, 0.01, sorted(sheet.patterns)[0]) if sheet.patterns else WeightNudge(7, 0.01),
    )
    currents = CurrentNudge({name: np.zeros((len(x), sheet.populations[name].size), np.float32) for name in sheet.fed})
    nudges: dict[Port, Nudge] = {Port.CURRENT_NUDGE: currents, Port.WEIGHT_NUDGE: nudge}
    zero = np.zeros(spec.shape, np.float32)
    pre = np.ones((*spec.shape[:-2], 2, spec.n_in), np.float32)
    post = np.zeros((2, sheet.populations[spec.target].size), np.float32)
    requests: dict[Port, WriteRequest] = {
        Port.OUTER: Outer(0, pre, post, 0.1),
        Port.DELTA: Delta(0, zero),
        Port.REPLAY: Replay(nudge, 0.0),
        Port.SHRINK: Shrink(0, 1.0),
    }
    for port, what in nudges.items():
        _expect_port(sheet.ports, port, lambda what=what: chip.read(x, what))  # type: ignore[misc]
        if port in sheet.ports:
            _check_wants(chip, x, what)
    before = _sums(chip, x, reads) if _shows(sheet) else np.zeros((reads, 1))
    for port, request in requests.items():
        _expect_port(sheet.ports, port, lambda request=request: chip.write(request))  # type: ignore[misc]
    after = _sums(chip, x, reads) if _shows(sheet) else before
    expect(
        not told_apart(before, after),
        f"requests that change nothing changed the output, in the mean from {before[:, 0].mean():.3g} to "
        f"{after[:, 0].mean():.3g}",
    )
    if erase:  # otherwise not even to see it refused: a chip that took it would be empty
        _expect_port(sheet.ports, Port.PROGRAM, lambda: chip.write(Program(0, zero)))


def _expect_port(ports: frozenset[Port], port: Port, act: Callable[[], object]) -> None:
    try:
        act()
    except MissingPort:
        expect(port not in ports, f"{port.value}: on the data sheet, yet refused")
    else:
        expect(port in ports, f"{port.value}: not on the data sheet, yet accepted; raise MissingPort")


def _check_reproducible(make: Callable[[], Chip], x: FloatArray) -> None:
    first, second = make(), make()
    if not _shows(first.datasheet):
        return
    for _ in range(2):
        same = np.array_equal(_last(first, x), _last(second, x))
        expect(
            same,
            "two makings of the same individual give different reads. Hand in the chip, not its maker, if it exists once.",
        )


def _shows(sheet: Datasheet) -> bool:
    """Return whether a read tells anything."""
    return sheet.output is not None or Port.TAPS in sheet.ports


def _last(chip: Chip, x: FloatArray) -> FloatArray:
    """Return the output, or the last state of the last hidden population of a chip without one."""
    trace = chip.read(x, want="states")
    if trace.output is not None:
        return trace.output
    return next(iter(trace.late(chip.datasheet.hidden[-1], 1).values()))


def _check_direction(chip: Chip, x: FloatArray, reads: int) -> None:
    sheet = chip.datasheet
    last = sheet.output or sheet.hidden[-1]
    biased = [array for array in sheet.into(last) if _has_bias(sheet, array)]
    if not {Port.DELTA, Port.OUTER} & sheet.ports or not biased or not _shows(sheet):
        return
    biases = _Biases(chip, biased[0], reads, x)
    try:
        before = biases.look()
        top, foot, low, steps = _moved(biases, before)
        expect(
            steps > 0,
            f"{ASKS} requests to raise all biases, by a quarter of the weight range in all, took the mean output from "
            f"{before.mean():.3g} to {top.mean():.3g}, and as many to lower them to {low.mean():.3g}, which cannot be told "
            f"from noise. If requests do change it, give more reads than {reads}.",
        )
        if biases.asked or (told_apart(before, low) and told_apart(top, low)):  # devices do not answer evenly at a limit
            share = (before.mean() - low.mean()) / (top.mean() - low.mean())
            biases.ask(round(float(np.clip(steps * share, -ASKS, steps))))
    except BaseException:
        biases.ask(-biases.asked)
        raise
    expect(
        bool(top.mean() > foot.mean()),
        f"a request to raise all biases took the mean output from {foot.mean():.3g} to {top.mean():.3g}",
    )


def _moved(biases: _Biases, before: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Ask biases to rise and to sink until one of both shows.

    Returns
    -------
    top, foot, low, steps
        Reads at the end of the rise, at its lower end as it was seen, and now; and how many requests lie between ``top`` and
        ``low``, 0 if nothing was seen.
    """
    top, steps = _asked_until_seen(biases, 1, before)
    if steps:
        biases.ask(-steps)
        return top, before, biases.look(), steps
    low, steps = _asked_until_seen(biases, -1, top)
    return top, low, low, steps


def _asked_until_seen(biases: _Biases, sign: int, before: FloatArray) -> tuple[FloatArray, int]:
    """Return the reads after the last request, and how many it took; 0 if none was seen."""
    for asked in range(1, ASKS + 1):
        biases.ask(sign)
        after = biases.look()
        if told_apart(before, after):
            return after, asked
    return after, 0


class _Biases:
    """The biases of one array of a chip, and by how many requests more they were asked to rise than to sink."""

    def __init__(self, chip: Chip, array: int, reads: int, x: FloatArray) -> None:
        self.asked, self._chip, self._array, self._reads, self._x = 0, chip, array, reads, x

    def ask(self, steps: int) -> None:
        """Ask all of them so many times to rise, or to sink if it is negative."""
        for _ in range(abs(steps)):
            sign = 1 if steps > 0 else -1
            _ask_biases(self._chip, self._array, sign)
            self.asked += sign

    def look(self) -> FloatArray:
        """Return the mean output of each of the reads."""
        return _means(self._chip, self._x, self._reads)


def _means(chip: Chip, x: FloatArray, reads: int) -> FloatArray:
    """Return the mean output of so many reads, (reads,)."""
    return np.array([_last(chip, x).mean(dtype=np.float64) for _ in range(reads)])


def _sums(chip: Chip, x: FloatArray, reads: int) -> FloatArray:
    """Return sums of the outputs of so many reads, (reads, 3): all, every other one against the rest, pairs against pairs.

    A change that leaves one of them where it was, as one of both signs leaves the mean, is likely to show in another. Sums
    are closer to what Student's test expects than single outputs, which a converter may make coarse.
    """
    outputs: FloatArray = np.array([_last(chip, x).ravel() for _ in range(reads)], np.float64)
    place = np.arange(outputs.shape[1])
    signs = np.array([np.ones(len(place)), 1 - 2 * (place % 2), 1 - 2 * (place // 2 % 2)])
    sums: FloatArray = outputs @ signs.T / len(place)
    return sums


def told_apart(before: FloatArray, after: FloatArray) -> bool:
    """Return whether means over axis 0 differ by Student's t test, at a level that allows for so many looks.

    Parameters
    ----------
    before, after
        One number per read, (reads,), or several, (reads, n), of which one that differs is enough.
    """
    error = np.sqrt((before.var(axis=0, ddof=1) + after.var(axis=0, ddof=1)) / len(before))
    limit = -stdtrit(2 * len(before) - 2, FALSE_ALARM / (2 * LOOKS * before[0].size))
    return bool((np.abs(after.mean(axis=0) - before.mean(axis=0)) > limit * error).any())


def _ask_biases(chip: Chip, array: int, sign: int) -> None:
    """Ask all biases of an array to change by 1/32 of the range of targets."""
    sheet = chip.datasheet
    spec = sheet.arrays[array]
    line = np.zeros((*spec.shape[:-2], 1, spec.n_in), np.float32)  # the bias lines reach the neurons whatever the input is
    line[_bias_rows(sheet, array) if spec.rows is not None else (..., _bias_rows(sheet, array))] = 1
    post = np.ones((1, sheet.populations[spec.target].size), np.float32)
    size = sign * spec.target_range / 32
    if Port.DELTA in sheet.ports:
        chip.write(Delta(array, np.float32(size) * spec.product(line, post)))
    else:
        chip.write(Outer(array, line, post, size))


def _has_bias(sheet: Datasheet, array: int) -> bool:
    spec, size = sheet.arrays[array], sheet.populations[sheet.arrays[array].source].size
    return spec.n_in > size if spec.rows is None else bool((spec.rows == size).any())
