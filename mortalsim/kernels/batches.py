"""Batches of devices that are sent pulses together, two pulses at a time.

Cycle-to-cycle noise: 512 devices that follow each other share 128 blocks: words 0 of all for the first 128 devices, words 1
for the next 128, and so on. Device e of the array, counted as `pulses` says, takes word e // 128 % 4 of the block that
`counters` gives to CYCLE with the first words e // 512 * 128 + e % 128 and p // 2. `normals_of_halves` makes two normal
numbers of that word: the first is for pulse p where p is even, the second where p is odd.

Shapes: d devices of a batch, n pairs.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.counters import CYCLE, for_purpose
from mortalsim.kernels.devices import DOWN, HIGH, LOW, UP
from mortalsim.kernels.effective import F4, new_row
from mortalsim.kernels.jit import loop, part
from mortalsim.kernels.philox import CHUNK, count_from, draw_blocks, pair_up_halves
from mortalsim.kernels.responses import send_two_pulses
from mortalsim.kernels.rounding import flag_above, list_flagged
from mortalsim.kernels.vectors import copy, fill

I4: TypeAlias = npt.NDArray[np.int32]
I8: TypeAlias = npt.NDArray[np.int64]

ZERO = np.float32(0)

#: Devices whose random words come from the same blocks.
TOGETHER = 4 * CHUNK

#: The batch is compacted to the devices that are due more pulses once they are fewer than one in so many.
COMPACT = 8


class PulseBatch(NamedTuple):
    """What belongs to devices that are sent pulses; (d,) where nothing else is said.

    Parameters
    ----------
    asked, counts
        Pulses asked for, with their sign, and whole numbers of them.
    due
        Pulses due in all, of the devices that go on.
    batch_place, stretch_place
        Where a device that goes on stood in the batch, and where it stands in the stretch.
    compacted
        Conductance of the devices that go on [S].
    even, odd
        Normal numbers of the even and the odd pulse.
    words
        uint32 (5, d + 1024): random words. Rows 0 to 3 are as drawn, row 4 is in the order of the devices.
    flags, listed
        uint8 flags, and the places that they list.
    pairs
        (n or more,): places in the stretch of the pairs that are sent pulses.
    knots, responses
        Scratch of `send_two_pulses`, int32 (d,) and float32 (2, d).
    """

    asked: F4
    counts: I4
    due: I4
    batch_place: I8
    stretch_place: I8
    compacted: F4
    even: F4
    odd: F4
    words: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    listed: I8
    pairs: I8
    knots: I4
    responses: F4


@loop
def new_counts(devices):
    """Return room for a count of each device."""
    return np.empty(devices, np.int32)


@loop
def new_places(devices):
    """Return room for a place of each device."""
    return np.empty(devices, np.int64)


@part
def new_pulse_batch(devices):
    """Return a `PulseBatch` for a number of devices that is a multiple of `TOGETHER`."""
    even, odd = new_row(devices), new_row(devices)
    fill(even, ZERO)  # without cycle-to-cycle noise nothing else is ever written there
    fill(odd, ZERO)
    words, flags = np.empty((5, devices + 2 * TOGETHER), np.uint32), np.empty(devices, np.uint8)
    return PulseBatch(
        new_row(devices), new_counts(devices), new_counts(devices), new_places(devices), new_places(devices),
        new_row(devices), even, odd, words, flags, new_places(devices), new_places(devices), new_counts(devices),
        np.empty((2, devices), np.float32),
    )  # fmt: skip


@loop
def compact(m, values, places):
    """Move ``values`` at m ``places``, which rise, to the front."""
    for k in range(m):
        values[k] = values[places[k]]


@loop
def gather(m, values, places, row):
    """Write ``values`` at m ``places`` to ``row``."""
    for k in range(m):
        row[k] = values[places[k]]


@loop
def scatter(m, row, places, values):
    """Write the first m of ``row`` to ``values`` at ``places``."""
    for k in range(m):
        values[places[k]] = row[k]


@loop
def blocks_of(m, first, places, counters):
    """Write to ``counters`` the blocks of m devices at ``places``, counted from device ``first``."""
    for k in range(m):
        device = first + places[k]
        counters[k] = device // TOGETHER * CHUNK + device % CHUNK


@loop
def pick_words(m, words, first, places, picked):
    """Write to ``picked`` the word of each device's own block that belongs to it."""
    for k in range(m):
        picked[k] = words[(first + places[k]) // CHUNK % 4, k]


@loop
def order_words(words, groups, ordered):
    """Write words (4 or more, groups, CHUNK) to ``ordered`` (groups or more, 4, CHUNK), in the order of their devices."""
    for group in range(groups):
        for k in range(4):
            for lane in range(CHUNK):
                ordered[group, k, lane] = words[k, group, lane]


@part
def draw_cycle_noise(d, contiguous, first, pair_of_pulses, address, batch):
    """Draw the normal numbers of two pulses for the first d devices of a batch.

    ``contiguous``: the devices are consecutive from ``first`` on, so whole Philox blocks are drawn. Else each device's own
    block is.
    """
    words, blocks, ahead = batch.words, d, 0
    if contiguous:
        ahead = first % TOGETHER  # from the beginning of a group to the end of another
        blocks = (ahead + d + TOGETHER - 1) // TOGETHER * CHUNK
        count_from(first // TOGETHER * CHUNK, words[0, :blocks])
    else:
        blocks_of(blocks, first, batch.stretch_place, words[0])
    draw_blocks(blocks, pair_of_pulses, address.turn, for_purpose(address.where, CYCLE), address.key, words)
    if contiguous:
        order_words(words.reshape(5, -1, CHUNK), blocks // CHUNK, words[4].reshape(-1, 4, CHUNK))
    else:
        pick_words(blocks, words, first, batch.stretch_place, words[4])
    pair_up_halves(d, words[4, ahead:], batch.even, batch.odd)


@loop
def largest(n, counts):
    """Return the largest of the first n ``counts``, at least one."""
    most = counts[0]
    for k in range(n):
        most = max(most, counts[k])
    return most


@part
def compact_batch(d, m, first_time, contiguous, devices, batch):
    """Compact the batch to the m flagged of its d devices, and write back the conductance of those that are finished."""
    kept = batch.listed
    list_flagged(d, batch.flags, kept)
    if first_time:
        copy(kept[:m], batch.batch_place)
    else:
        scatter(d, batch.compacted, batch.batch_place, devices.present)
        compact(m, batch.batch_place, kept)
    if contiguous:
        copy(kept[:m], batch.stretch_place)
    else:
        compact(m, batch.stretch_place, kept)
    gather(m, devices.present, batch.batch_place, batch.compacted)
    compact(m, batch.due, kept)
    compact(m, batch.asked, kept)
    for parameter in (LOW, HIGH, UP, DOWN):
        compact(m, devices.parameters[parameter], kept)


@part
def send_pulses(d, contiguous, first, pulse_law, address, devices, batch):
    """Send d devices their ``batch.counts``; ``devices.present`` is what they conduct before, and then after."""
    g, compacted = devices.present, False
    copy(batch.counts[:d], batch.due)
    most = largest(d, batch.due)
    for p in range(0, most, 2):
        if p > 0:
            m = flag_above(d, batch.due, p, batch.flags)
            if m * COMPACT < d:
                compact_batch(d, m, not compacted, contiguous, devices, batch)
                d, g, compacted, contiguous = m, batch.compacted, True, False
        if pulse_law.ctoc > ZERO:
            draw_cycle_noise(d, contiguous, first, p // 2, address, batch)
        send_two_pulses(p, d, most, devices, batch, pulse_law, g)
    if compacted:
        scatter(d, g, batch.batch_place, devices.present)
