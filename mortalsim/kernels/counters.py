"""The one address book for chance: who may use which random number.

A random number is a pure function of a 64-bit key and of four 32-bit counter words. The last two words and the key are the
address. The first two words count what is drawn under it, elements and samples. The address is made of:

==========  =================================================================
key word 0  the key's lower half
key word 1  the key's upper half XOR the upper half of ``turn``
word 2      the lower half of ``turn``
word 3      ``purpose`` in bits 28 to 31, ``place`` in bits 14 to 27, ``tick`` or ``attempt`` in bits 0 to 13; the other is 0
==========  =================================================================

A turn has 64 bits and a counter word 32, so its upper half goes into the key: two turns that share the lower half have
different keys.

What the first two words count, by purpose:

===============  ==========================================  ==============================
purpose          word 0                                      word 1
===============  ==========================================  ==============================
READ, PARTIAL    four neurons or columns, from 0 on          sample
VERIFY           four weights of a row                       row
ROUND            16 devices                                  0
ROUND_REST       device                                      0
CYCLE            128 for each 512 devices, see `batches`     two pulses
SIGNS            128 weights                                 0
SIGN_ROWS        128 rows                                    0
SIGN_COLUMNS     128 columns                                 0
===============  ==========================================  ==============================

Sign patterns are drawn under the nudge's own key, with its index as turn; all else under the chip's key.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mortalsim.checks import check_between
from mortalsim.kernels.jit import law

Key = npt.NDArray[np.uint32]

READ, PARTIAL, VERIFY, ROUND, ROUND_REST, CYCLE, SIGNS, SIGN_ROWS, SIGN_COLUMNS = range(9)

PURPOSE_BITS, PLACE_BITS, OCCASION_BITS, TURN_BITS = 4, 14, 14, 64

#: How many purposes, places, ticks or attempts, and turns there are room for.
PURPOSES, PLACES, OCCASIONS, TURNS = (2**bits for bits in (PURPOSE_BITS, PLACE_BITS, OCCASION_BITS, TURN_BITS))

BELOW_PURPOSE = 2 ** (PLACE_BITS + OCCASION_BITS) - 1

#: Purposes whose numbers belong to a tick; all others may be attempted again.
TICKED = frozenset({READ, PARTIAL})


class Address(NamedTuple):
    """A draw as kernels take it: the key uint32 (2,), and counter words 2 and 3."""

    key: Key
    turn: int
    where: int


class Draw(NamedTuple):
    """Who draws.

    Parameters
    ----------
    key
        Of the chip or of a nudge, uint32 (2,).
    purpose
        One of those above.
    turn
        Number of the chip's read or write, which share one count; or index of a nudge. 0 to 2^64 - 1.
    place
        Of the population for reads, of the array for everything else, 0 to 2^14 - 1.
    tick
        Of a read, 0 to 2^14 - 1.
    attempt
        Of a write that verifies, 0 to 2^14 - 1.
    """

    key: Key
    purpose: int
    turn: int = 0
    place: int = 0
    tick: int = 0
    attempt: int = 0

    def address(self) -> Address:
        """Return the counter words; raises `RangeError` for what there is no room for."""
        key, turn = key_of_turn(self.key, self.turn)
        return Address(key, turn, where(self.purpose, self.place, self.tick, self.attempt))


def where(purpose: int, place: int, tick: int = 0, attempt: int = 0) -> int:
    """Return counter word 3; raises `RangeError` for what there is no room for."""
    ticks, attempts = (OCCASIONS, 1) if purpose in TICKED else (1, OCCASIONS)
    if not (0 <= purpose < PURPOSES and 0 <= place < PLACES and 0 <= tick < ticks and 0 <= attempt < attempts):
        check_between("purpose", purpose, 0, PURPOSES - 1)
        check_between("place", place, 0, PLACES - 1)
        check_between("tick", tick, 0, ticks - 1)
        check_between("attempt", attempt, 0, attempts - 1)
    return purpose << (PLACE_BITS + OCCASION_BITS) | place << OCCASION_BITS | tick | attempt


def key_of_turn(key: Key, turn: int) -> tuple[Key, int]:
    """Return the key and counter word 2 of a turn; for the first 2^32 turns the key is the array itself, not a copy."""
    if turn >> 32 == 0:
        return key, turn
    check_between("turn", turn, 0, TURNS - 1)
    return np.array([key[0], int(key[1]) ^ turn >> 32], np.uint32), turn & 0xFFFFFFFF


def split_key(key: int) -> Key:
    """Return the lower and the upper half of a 64-bit key."""
    return np.array([key & 0xFFFFFFFF, key >> 32], np.uint32)


@law
def for_purpose(word, purpose):
    """Return counter word 3 of the same place and attempt for another purpose."""
    return (word & BELOW_PURPOSE) | purpose << (PLACE_BITS + OCCASION_BITS)
