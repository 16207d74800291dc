"""Random numbers of whole chips: no two draws share an address, and neither resets nor retries draw any again."""

import inspect

import naive
import numpy as np
from small import inputs, small

from mortalsim.chips import Meter, SimulatedChip, blocks, crossbar, load_design, population
from mortalsim.hardware import Delta, Outer, Program, Replay, Shrink, WeightNudge
from mortalsim.kernels.counters import PARTIAL, READ, ROUND, VERIFY, Address, Draw
from mortalsim.kernels.devices import G

F = np.float32

#: Feedback, an array whose partial sums are digital, and one in blocks whose partial sums are not.
TILES = {"kind": "tiles", "rows": 2, "columns": 2}
LOOP = {
    "population": [{"name": name, "shape": [size]} for name, size in (("in", 3), ("h1", 3), ("h2", 2), ("out", 2))],
    "array": [
        {"source": "in", "target": "h1"},
        {"source": "h2", "target": "h1", "wiring": TILES, "partial_sums": "digital"},
        {"source": "h1", "target": "h2", "wiring": TILES},
        {"source": "h2", "target": "out"},
    ],
    "dynamics": {"kind": "recurrent", "ticks": 2},
    "device": {"verify_steps": 3, "read_noise": 1e-6},
}


def watch(monkeypatch):
    """Note under which address chips draw: kernel, key, turn, where, and the second word where the caller chooses it."""
    noted = []
    for module, name in (
        (population, "read_out"),
        (blocks, "read_out"),
        (crossbar, "apply_pulses"),
        (crossbar, "fill_normal"),
    ):
        kernel = getattr(module, name)
        names = inspect.signature(getattr(kernel, "py_func", kernel))

        def call(*args, name=name, kernel=kernel, names=names):
            given = names.bind(*args).arguments
            given |= Address(*given["address"])._asdict() if "address" in given else {}
            turn, word = (given["c2"], given["c3"]) if name == "fill_normal" else (given["turn"], given["where"])
            noted.append((tuple(int(half) for half in given["key"]), turn, word, given.get("c1", 0)))
            return kernel(*args)

        monkeypatch.setattr(module, name, call)
    return noted


def occasions(noted, purpose):
    """Turn, place, and tick or attempt of all draws for a purpose."""
    return {(turn, word >> 14 & 0x3FFF, word & 0x3FFF) for _, turn, word, _ in noted if word >> 28 == purpose}


def test_no_two_draws_of_a_chip_share_an_address(monkeypatch):
    noted, chip = watch(monkeypatch), SimulatedChip(load_design("recurrent").revised(**LOOP), 3)
    sheet, x = chip.datasheet, np.ones((2, 3), F)
    chip.read(x)  # turn 0
    chip.read(x, WeightNudge(4, 0.1))
    for place, array in enumerate(sheet.arrays):
        chip.write(Delta(place, np.full(array.shape, 0.01, F)))
    chip.write(Outer(0, np.ones((1, 4), F), np.ones((1, 3), F), 0.01))
    chip.write(Shrink(1, 0.9))
    chip.write(Replay(WeightNudge(4, 0.1), 0.1))
    chip.write(Program(2, np.zeros(sheet.arrays[2].shape, F)))  # turn 9
    assert len(set(noted)) == len(noted)
    names = list(sheet.populations)
    answers = {(turn, names.index(answer.population), answer.tick) for turn in (0, 1) for answer in sheet.timetable}
    assert occasions(noted, READ) == answers
    partial = {(turn, 1, answer.tick) for turn in (0, 1) for answer in sheet.timetable for via in answer.via if via[0] == 1}
    assert occasions(noted, PARTIAL) == partial and len(partial) == 4
    once = {(2, 0, 0), (3, 1, 0), (4, 2, 0), (5, 3, 0), (6, 0, 0), (7, 1, 0), *((8, place, 0) for place in range(4))}
    assert occasions(noted, ROUND) == once | {(9, 2, attempt) for attempt in range(3)}
    assert occasions(noted, VERIFY) == {(9, 2, attempt) for attempt in range(3)}


def restless(**device):
    """A chip whose devices differ in nothing; each pulse moves them by another step."""
    return SimulatedChip(small("ideal", device={"pulses": 100, "step_ctoc": 0.3, **device}), 3)


def conductances(chip):
    """A copy of what the devices of the first array conduct."""
    return chip.arrays[0].crossbar.devices.levels(G).copy()


#: A pulse or two for each of the 208 devices of the first array.
CHANGE = Delta(0, np.full((13, 8), 0.05, F))


def test_equal_writes_at_different_turns_differ():
    """At the same turn they are equal; at others, noise moves two devices alike but once in thousands."""
    moved = []
    for reads in (0, 0, 1, 2):
        chip = restless()
        before = conductances(chip)
        for _ in range(reads):
            chip.read(inputs(1))
        chip.write(CHANGE)
        moved.append(conductances(chip) - before)
    np.testing.assert_array_equal(moved[0], moved[1])
    for one, other in ((0, 2), (0, 3), (2, 3)):
        assert (moved[one] != moved[other]).mean() > 0.9


def test_every_attempt_of_a_program_draws_numbers_of_its_own():
    """Stuck devices are asked for the same at every attempt: 6 counts that round otherwise are equal once in 1e6 seeds."""
    totals = []
    for attempts in range(1, 7):
        chip = restless(verify_steps=attempts, stuck=1.0)
        chip.write(Program(0, np.zeros((13, 8), F)))
        totals.append(chip.meter.pulses)
    assert len(set(np.diff(totals, prepend=0))) > 1


def test_verifying_reads_each_attempt_with_other_noise():
    """Of four weights of a row in word 0, of a row in word 1."""
    chip = restless(read_noise=1e-6)
    part, draw = chip.arrays[0].crossbar, Draw(chip._key, VERIFY, 4)
    errors = [part._read_error(draw._replace(attempt=attempt)) for attempt in (0, 1)]
    assert (errors[0] != errors[1]).all()
    for attempt, error in enumerate(errors):
        key, turn, word = draw._replace(attempt=attempt).address()
        normals = np.empty((13, 8), F)
        naive.fill_normal(key, 0, turn, word, normals)
        np.testing.assert_allclose(error, np.sqrt(part.line_variance) * normals, rtol=1e-6)


def test_an_emptied_meter_does_not_repeat_the_noise():
    moved = {True: [], False: []}
    for emptied, found in moved.items():
        chip = restless()
        for _ in range(3):
            before = conductances(chip)
            chip.write(CHANGE)
            found.append(conductances(chip) - before)
            if emptied:
                chip.meter = Meter()
        assert (chip.meter == Meter()) == emptied
    np.testing.assert_array_equal(moved[True], moved[False])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (moved[True][one] != moved[True][other]).mean() > 0.9


def test_an_emptied_meter_does_not_repeat_the_noise_of_reads():
    chip = SimulatedChip(small("ideal", neurons={"noise": 0.5}), 3)
    first = chip.read(inputs(2)).output
    chip.meter = Meter()
    assert (chip.read(inputs(2)).output != first).all()
