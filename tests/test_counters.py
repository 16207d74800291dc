"""The address book of random numbers: no two draws share an address, what has no room is refused, kernels keep to it."""

from itertools import product

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mortalsim import kernels
from mortalsim.checks import RangeError
from mortalsim.circuits.patterns import Site, pattern_of
from mortalsim.hardware import WeightNudge
from mortalsim.kernels import counters
from mortalsim.kernels.counters import (
    CYCLE,
    PARTIAL,
    READ,
    ROUND,
    ROUND_REST,
    SIGN_COLUMNS,
    SIGN_ROWS,
    SIGNS,
    VERIFY,
    Address,
    Draw,
    for_purpose,
    key_of_turn,
    split_key,
    where,
)
from mortalsim.kernels.devices import DOWN, HIGH, LOW, PLUS, UP, Devices, G

F = np.float32
KEY = np.array([0x12345678, 0x9ABCDEF0], np.uint32)
PURPOSES = (READ, PARTIAL, VERIFY, ROUND, ROUND_REST, CYCLE, SIGNS, SIGN_ROWS, SIGN_COLUMNS)
TICKED = (READ, PARTIAL)

CORNERS = [0, 1, 2, 127, 2**7, 2**13 - 1, 2**13, 2**14 - 2, 2**14 - 1]
TURNS = [0, 1, 2**14, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**33, 2**33 + 2**31, 2**46, 2**63, 2**64 - 2**32, 2**64 - 1]


def drawn(purpose, turn=0, place=0, occasion=0, key=KEY):
    """The draw at this tick, or in this attempt, whichever the purpose knows."""
    return Draw(key, purpose, turn, place, **{"tick" if purpose in TICKED else "attempt": occasion})


def words(draw):
    """All that an address tells the generator: both words of the key, two of the counter."""
    key, turn, word = draw.address()
    assert key.dtype == np.uint32 and key.shape == (2,)
    assert 0 <= turn < 2**32 and 0 <= word < 2**32
    return int(key[0]), int(key[1]), turn, word


# --- addresses -------------------------------------------------------------------------------------------------------------

FIELDS = st.tuples(
    st.integers(0, 15),
    st.one_of(st.sampled_from(TURNS), st.integers(0, 2**64 - 1)),
    st.one_of(st.sampled_from(CORNERS), st.integers(0, 2**14 - 1)),
    st.one_of(st.sampled_from(CORNERS), st.integers(0, 2**14 - 1)),
)


@given(one=FIELDS, other=FIELDS, key=st.integers(0, 2**64 - 1))
def test_two_draws_never_share_an_address(one, other, key):
    """All mixtures of two draws' fields as well: draws that differ in one field alone are nearest to each other."""
    mixtures = set(product(*zip(one, other, strict=True)))
    found = {words(drawn(*fields, key=split_key(key))) for fields in mixtures}
    assert len(found) == len(mixtures)


@pytest.mark.parametrize("key", [0, 2**64 - 1, 0x9ABCDEF012345678])
def test_no_two_corners_of_the_range_share_an_address(key):
    corners = list(product(range(16), TURNS, CORNERS, CORNERS))
    found = {words(drawn(*fields, key=split_key(key))) for fields in corners}
    assert len(found) == len(corners)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_all_places_and_all_occasions_are_apart(purpose):
    found = {words(drawn(purpose, 5, place, 2**14 - 1)) for place in range(2**14)}
    found |= {words(drawn(purpose, 5, 2**14 - 1, occasion)) for occasion in range(2**14)}
    assert len(found) == 2**15 - 1  # the corner is in both


@given(FIELDS)
def test_words_are_laid_out_as_the_book_says(fields):
    purpose, turn, place, occasion = fields
    k0, k1, low, word = words(drawn(purpose, turn, place, occasion))
    assert (k0, k1) == (KEY[0], KEY[1] ^ turn >> 32)
    assert low == turn % 2**32
    assert (word >> 28, word >> 14 & 0x3FFF, word & 0x3FFF) == (purpose, place, occasion)


def test_purposes_keep_their_numbers():
    """With other numbers every chip would be another."""
    assert tuple(range(9)) == PURPOSES
    assert {purpose for purpose in range(16) if purpose in counters.TICKED} == set(TICKED)


def test_a_turn_leaves_the_chip_s_own_key_as_it_was():
    key = KEY.copy()
    address = Draw(key, READ, 2**40).address()
    assert isinstance(address, Address)
    np.testing.assert_array_equal(key, KEY)
    np.testing.assert_array_equal(Draw(key, READ, 5).address().key, KEY)


@given(st.integers(0, 2**64 - 1))
def test_a_key_s_halves_are_its_words(key):
    low, high = split_key(key)
    assert int(low) + (int(high) << 32) == key


# --- refusals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 16, 2**32, float("nan")])
def test_purposes_without_room_are_refused(value):
    with pytest.raises(RangeError, match=r"^purpose: expected a number between 0 and 15"):
        Draw(KEY, value).address()


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("value", [-1, 2**14, 2**32, float("nan")])
def test_places_and_occasions_without_room_are_refused(purpose, value):
    occasion, other = ("tick", "attempt") if purpose in TICKED else ("attempt", "tick")
    for name in ("place", occasion, other):
        with pytest.raises(RangeError, match=rf"^{name}: expected a number between 0 and"):
            Draw(KEY, purpose, **{name: value}).address()
        with pytest.raises(RangeError, match=rf"^{name}: expected a number between 0 and"):
            where(purpose, **{"place": 0, name: value})


@pytest.mark.parametrize("turn", [-1, -(2**63), 2**64, 2**80])
def test_turns_without_room_are_refused(turn):
    with pytest.raises(RangeError, match=r"^turn: expected a number between 0 and"):
        Draw(KEY, READ, turn).address()
    with pytest.raises(RangeError, match=r"^turn: expected a number between 0 and"):
        key_of_turn(KEY, turn)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_only_reads_have_a_tick_and_only_the_others_an_attempt(purpose):
    mine, foreign = ("tick", "attempt") if purpose in TICKED else ("attempt", "tick")
    assert Draw(KEY, purpose, **{mine: 1}).address().where & 0x3FFF == 1
    with pytest.raises(RangeError, match=rf"^{foreign}: expected a number between 0 and 0, found 1"):
        Draw(KEY, purpose, **{foreign: 1}).address()


@given(place=st.integers(0, 2**14 - 1), occasion=st.integers(0, 2**14 - 1))
def test_another_purpose_keeps_place_and_occasion(place, occasion):
    for old, new in product(range(16), PURPOSES):
        word = drawn(old, 0, place, occasion).address().where
        assert int(for_purpose(word, new)) == drawn(new, 0, place, occasion).address().where


# --- what the first two words count ----------------------------------------------------------------------------------------
# Worked out here in float64 from the known-answer generator, by nothing else that the kernels or their twins use.


def block(address, c0, c1):
    """The four words of a block."""
    return naive.philox4x32(int(c0), c1, address.turn, address.where, *(int(word) for word in address.key))


def normal_at(address, element, c1):
    """The normal that belongs to an element of a row."""
    a, b = block(address, element // 4, c1)[element % 4 // 2 * 2 :][:2]
    radius, angle = np.sqrt(-2 * np.log((a // 2 + 0.5) / 2**31)), 2 * np.pi * b / 2**32
    return radius * (np.sin(angle) if element % 2 else np.cos(angle))


def sign_at(address, element):
    """The sign that belongs to an element of a pattern."""
    word = block(address, element // 128, 0)[element % 128 // 32]
    return 1 if word >> element % 32 & 1 else -1


@pytest.mark.parametrize("purpose", TICKED)
def test_reads_count_four_neurons_and_samples(purpose):
    samples, n, address = 3, 11, drawn(purpose, 2**35 + 3, 7, 5).address()
    out, none, neurons = np.zeros((samples, n), F), np.zeros((0, 0), F), kernels.NeuronCircuits.plain(n)
    noise = kernels.Noise(own=none, power=np.zeros(samples, F), line=0.0, neuron=1.0)
    free = kernels.Converter(-np.inf, np.inf, step=0.0, level=0.0, gain=neurons.gain, offset=neurons.offset)
    kernels.read_out(out, noise, none, neurons, free, address, (4, n), out)
    wanted = [[normal_at(address, j, b) if j >= 4 else 0 for j in range(n)] for b in range(samples)]
    np.testing.assert_allclose(out, wanted, atol=2e-6)


def devices(rows, n_out, step=1e-7):
    """Equal devices at mid range."""
    cells = Devices.blank(rows, n_out, drift=False)
    for trait, value in ((UP, step), (DOWN, step), (LOW, 1e-6), (HIGH, 9e-6)):
        cells.fix(trait, F(value))
    cells.levels(G)[...] = 5e-6
    return cells


def steps_of(change, ctoc, address, first):
    """Ask devices of rows ``first`` and on for so many pulses; return how far each has gone, (rows, n_out, 2), in steps."""
    cells = devices(first + len(change), change.shape[1])
    before, room = cells.state.astype(float), np.zeros((first + len(change), change.shape[1]), F)
    asked = kernels.Asked(change, 1.0, np.full((2, 2), [1, -1], F), 0, first)
    law, present = kernels.PulseLaw(np.ones((2, 2), F), ctoc), kernels.Present(0.0, 1.0, np.zeros((0, 0, 1, 2), F))
    effective = kernels.Effective(room, np.zeros((0, 0), F), 1e-5, kernels.ReadNoise())
    sent = kernels.Sent(np.zeros(len(room), np.int64), np.zeros((0, 0, 2), np.int32))
    kernels.apply_pulses(cells, asked, law, present, effective, address, sent)
    return (cells.state.astype(float) - before)[first:, :, 0] / 1e-7


def test_rounding_counts_16_devices_and_where_a_byte_leaves_it_open_one():
    """Each positive device is asked for a fraction that its byte leaves open, so that 23 more bits decide."""
    rows, n_out, first, draw = 3, 21, 16, drawn(ROUND, 2**34 + 9, 3, 2)
    rough, rest = draw.address(), draw._replace(purpose=ROUND_REST).address()
    elements = 2 * (first * n_out + np.arange(rows * n_out))
    byte = np.array([block(rough, e // 16, 0)[e % 16 // 4] >> 8 * (e % 4) & 255 for e in elements])
    fraction = np.array([(block(rest, e, 0)[0] // 512 + 0.5) / 2**23 for e in elements])
    for left in (0.125, 0.5, 0.875):
        change = ((byte + left) / 256).astype(F).reshape(rows, n_out)
        moved = steps_of(change, 0.0, rough, first)[..., PLUS].reshape(-1) > 0.5
        np.testing.assert_array_equal(moved, fraction < left)
        assert moved.any() and not moved.all()  # but once in 4000 keys


def test_cycles_count_devices_as_the_trains_say_and_two_pulses():
    """Devices 1020 to 1083 lie on either side of 1024, where a further 128 blocks begin."""
    first, n_out, pulses, draw = 32, 16, 3, drawn(CYCLE, 2**36 + 1, 3, 2)
    change = np.zeros((2, n_out), F)
    change[0, :5], change[1, 7:] = pulses, pulses
    got = steps_of(change, 0.3, draw._replace(purpose=ROUND).address(), first)
    address = draw.address()
    wanted = np.zeros_like(got)
    for i, j, side in zip(*np.nonzero(np.stack([change, change], axis=-1)), strict=True):
        d = 2 * ((first + i) * n_out + j) + side
        for p in range(pulses):
            word = block(address, d // 512 * 128 + d % 128, p // 2)[d // 128 % 4]
            radius, angle = np.sqrt(-2 * np.log(((word >> 16) + 0.5) / 2**16)), 2 * np.pi * (word & 0xFFFF) / 2**16
            normal = radius * (np.sin(angle) if p % 2 else np.cos(angle))
            wanted[i, j, side] += (1 + 0.3 * normal) * (-1) ** side
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_signs_count_128_weights_rows_or_columns():
    nudge, place, rows, columns = WeightNudge(2**63 + 5, 0.1, "rank1", index=2**31), 6, 300, 130
    by_row, by_column = pattern_of(nudge, Site(place, 0, 1, rows, columns)).factors
    for purpose, (found,) in ((SIGN_ROWS, by_row), (SIGN_COLUMNS, by_column)):
        address = Draw(split_key(nudge.key), purpose, nudge.index, place).address()
        np.testing.assert_array_equal(found, [sign_at(address, e) for e in range(found.size)])
    address = Draw(split_key(nudge.key), SIGNS, nudge.index, place).address()
    one, nudged = np.zeros((3, 130), F), np.zeros((3, 130), F)
    kernels.add_signs(one, 1.0, np.ones(130, F), address, 4, 0, nudged)
    np.testing.assert_array_equal(nudged.reshape(-1), [sign_at(address, e) for e in range(4 * 130, 7 * 130)])
