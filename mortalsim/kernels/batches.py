"""Devices that are sent pulses together, two pulses at a time: one random word makes two normal numbers.

Cycle-to-cycle noise: groups of 512 devices share 128 Philox blocks. Word 0 of block b belongs to device b of the group, word
1 to device b + 128, word 2 to device b + 256, word 3 to device b + 384. So putting words in the order of devices copies runs
of 128, and interleaves nothing. Device 2 (i n_out + j) + k of an array, `pulses` counts them so, is device e: it takes word
e // 128 % 4 of the block that `counters` gives to CYCLE with the first words e // 512 * 128 + e % 128 and p // 2.
`normals_of_halves` makes two normal numbers of that word: the first is for pulse p where p is even, the second where p is
odd. Their 16 bits of radius reach 4.85 standard deviations; tests hold their first four moments and their distribution.

Shapes: d devices, n pairs.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mortalsim.kernels.counters import CYCLE, for_purpose
from mortalsim.kernels.devices import DOWN, HIGH, LOW, UP
from mortalsim.kernels.fetching import Float32s, new_row
from mortalsim.kernels.jit import loop, part
from mortalsim.kernels.philox import count_from, draw_blocks, pair_up_halves
from mortalsim.kernels.responses import send_two_pulses
from mortalsim.kernels.vectors import collect, compact, copy, fill, flag_above, largest, list_flagged, scatter

Counts: TypeAlias = npt.NDArray[np.int32]
Places: TypeAlias = npt.NDArray[np.int64]

ZERO = np.float32(0)

#: Devices that take the same word of their blocks, and those that share blocks. Part of the definition of the random
#: numbers: other values would give every experiment other noise.
LANES = 128
GROUP = 4 * LANES

#: Finished devices are left behind once fewer than one in so many goes on; moving the others costs about as much as a pulse.
COMPACT_ONE_IN = 8


class PulseWork(NamedTuple):
    """What belongs to devices while they are sent pulses; (d,) where nothing else is said.

    Parameters
    ----------
    asked, counts
        Pulses asked for, with their sign, and whole numbers of them.
    pulses
        Whole numbers again, of those devices alone that are not finished yet; see `compact_batch`.
    batch_place, stretch_place
        Of devices that are not finished: where each stood in the batch, and where it stands in its stretch.
    compacted
        Their conductance [S].
    even, odd
        Normal numbers of the even and the odd pulse.
    words
        uint32 (5, d + 1024): random words. Rows 0 to 3 are as drawn, row 4 is in the order of the devices. Up to 511 devices
        before the first one and up to 511 after the last one share groups with them.
    flags, listed
        uint8 flags, and the places that they list.
    pairs
        Places in the stretch of the pairs that are sent pulses.
    knot_of, interpolation
        Scratch of `send_two_pulses`, int32 (d,) and float32 (2, d).
    """

    asked: Float32s
    counts: Counts
    pulses: Counts
    batch_place: Places
    stretch_place: Places
    compacted: Float32s
    even: Float32s
    odd: Float32s
    words: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    listed: Places
    pairs: Places
    knot_of: Counts
    interpolation: Float32s


@loop
def new_counts(n_devices):
    """Return int32 (n_devices,), contents undefined."""
    return np.empty(n_devices, np.int32)


@loop
def new_places(n_devices):
    """Return int64 (n_devices,), contents undefined."""
    return np.empty(n_devices, np.int64)


@part
def new_pulse_work(n_devices):
    """Return a `PulseWork` for a number of devices that is a multiple of `GROUP`."""
    even, odd = new_row(n_devices), new_row(n_devices)
    fill(even, ZERO)  # without cycle-to-cycle noise nothing else is ever written there
    fill(odd, ZERO)
    words, flags = np.empty((5, n_devices + 2 * GROUP), np.uint32), np.empty(n_devices, np.uint8)
    return PulseWork(
        new_row(n_devices), new_counts(n_devices), new_counts(n_devices), new_places(n_devices), new_places(n_devices),
        new_row(n_devices), even, odd, words, flags, new_places(n_devices), new_places(n_devices), new_counts(n_devices),
        np.empty((2, n_devices), np.float32),
    )  # fmt: skip


@loop
def blocks_of(n, first_device, places, counters):
    """Write to ``counters`` the blocks of n devices at ``places``, counted from ``first_device``."""
    for e in range(n):
        device = first_device + places[e]
        counters[e] = device // GROUP * LANES + device % LANES


@loop
def pick_words(n, words, first_device, places, picked):
    """Write to ``picked`` the word of each device's own block that belongs to it."""
    for e in range(n):
        picked[e] = words[(first_device + places[e]) // LANES % 4, e]


@loop
def order_words(words, groups, ordered):
    """Write words (5, groups, LANES) as drawn to ``ordered`` (groups, 4, LANES), which is row 4 of them: never read here."""
    for group in range(groups):
        for k in range(4):
            for lane in range(LANES):
                ordered[group, k, lane] = words[k, group, lane]


@part
def draw_cycle_noise(d, contiguous, first_device, pair_of_pulses, address, work):
    """Draw the normal numbers of two pulses for the first d devices of a batch.

    ``contiguous``: they are consecutive from ``first_device`` on. Then blocks are drawn from the start of the first one's
    group to the end of the last one's, and the words of the ``ahead`` devices before it are passed over. Else one block is
    drawn for each device, and three of its words are thrown away.
    """
    words, blocks, ahead = work.words, d, 0
    if contiguous:
        ahead = first_device % GROUP
        blocks = (ahead + d + GROUP - 1) // GROUP * LANES
        count_from(first_device // GROUP * LANES, words[0, :blocks])
    else:
        blocks_of(blocks, first_device, work.stretch_place, words[0])
    draw_blocks(blocks, pair_of_pulses, address.turn, for_purpose(address.where, CYCLE), address.key, words)
    if contiguous:
        order_words(words.reshape(5, -1, LANES), blocks // LANES, words[4].reshape(-1, 4, LANES))
    else:
        pick_words(blocks, words, first_device, work.stretch_place, words[4])
    pair_up_halves(d, words[4, ahead:], work.even, work.odd)


@part
def compact_batch(d, m, first_time, contiguous, fetched, work):
    """Compact the batch to the m flagged of its d devices, and write back the conductance of those that are finished.

    Most devices of a batch are sent few pulses; without this, all would be worked on until the last one is finished.
    ``contiguous`` only the first time.
    """
    kept = work.listed
    list_flagged(d, work.flags, kept)
    if first_time:
        copy(kept[:m], work.batch_place)
    else:
        scatter(d, work.compacted, work.batch_place, fetched.g_now)
        compact(m, work.batch_place, kept)
    if contiguous:
        copy(kept[:m], work.stretch_place)
    else:
        compact(m, work.stretch_place, kept)
    collect(m, fetched.g_now, work.batch_place, work.compacted)
    compact(m, work.pulses, kept)
    compact(m, work.asked, kept)
    for parameter in (LOW, HIGH, UP, DOWN):
        compact(m, fetched.parameters[parameter], kept)


@part
def send_pulses(d, contiguous, first_device, pulse_law, address, fetched, work):
    """Send d devices their ``work.counts``; ``fetched.g_now`` is what they conduct before, and then after.

    Afterwards ``asked`` and the parameters LOW, HIGH, UP and DOWN are no longer in the devices' order; ``counts``, ``g_now``
    and ERROR are.
    """
    g, compacted = fetched.g_now, False
    copy(work.counts[:d], work.pulses)
    longest = largest(d, work.pulses)
    for p in range(0, longest, 2):
        if p > 0:
            m = flag_above(d, work.pulses, p, work.flags)
            if m * COMPACT_ONE_IN < d:
                compact_batch(d, m, not compacted, contiguous, fetched, work)
                d, g, compacted, contiguous = m, work.compacted, True, False
        if pulse_law.ctoc > ZERO:
            draw_cycle_noise(d, contiguous, first_device, p // 2, address, work)
        send_two_pulses(p, d, longest, fetched, work, pulse_law, g)
    if compacted:
        scatter(d, g, work.batch_place, fetched.g_now)
