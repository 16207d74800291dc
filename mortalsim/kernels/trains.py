"""Trains of pulses: devices that lie side by side take two pulses at a time, together.

Cycle-to-cycle noise: 512 devices that follow each other share 128 blocks: words 0 of all for the first 128 devices and so
on. So pulse p of device d (a place in its array, as `pulses` says) takes the first normal, where p is even, or the second
that `normals_of_halves` makes of word d // 128 % 4 of the block that `counters` gives to CYCLE with the first words
d // 512 * 128 + d % 128 and p // 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mortalsim.kernels.cells import DOWN, HIGH, LOW, UP
from mortalsim.kernels.counters import CYCLE, for_purpose
from mortalsim.kernels.folding import new_row
from mortalsim.kernels.jit import loop, part
from mortalsim.kernels.philox import CHUNK, count_from, draw_blocks, pair_up_halves
from mortalsim.kernels.responses import send_two
from mortalsim.kernels.rounding import flag_above, list_flagged
from mortalsim.kernels.vectors import copy, fill

ZERO = np.float32(0)

#: Devices whose random words come from the same blocks.
TOGETHER = 4 * CHUNK

#: Devices that have had all their pulses are left behind where fewer than one in so many goes on.
NARROW = 8


class Train(NamedTuple):
    """Room for the devices of a stretch that are sent pulses; (devices,) where nothing else is said.

    Of all that were taken: pulses ``asked`` for (float32) and ``counts`` made of them (int32). Of those that go on: pulses
    ``due`` in all (int32), ``place`` among those taken and ``local`` place in the stretch (int64), conductance ``g`` and
    normals of ``even`` and ``odd`` pulses (float32). ``words`` uint32 (5, devices + 1024), random ones for rounding and then
    for normals; ``flags`` uint8, the places ``listed`` by them and ``pairs``, places of pairs in the stretch (int64);
    ``knots`` int32 and ``bent`` float32 (2, devices) for `send_two`.
    """

    asked: Any
    counts: Any
    due: Any
    place: Any
    local: Any
    g: Any
    even: Any
    odd: Any
    words: Any
    flags: Any
    listed: Any
    pairs: Any
    knots: Any
    bent: Any


@loop
def new_count(devices):
    """Return room for a whole number of each."""
    return np.empty(devices, np.int32)


@loop
def new_place(devices):
    """Return room for a place of each."""
    return np.empty(devices, np.int64)


@part
def new_train(devices):
    """Return a `Train` for so many, a multiple of `TOGETHER`."""
    even, odd = new_row(devices), new_row(devices)
    fill(even, ZERO)  # without cycle-to-cycle noise nothing else is ever written there
    fill(odd, ZERO)
    words, flags = np.empty((5, devices + 2 * TOGETHER), np.uint32), np.empty(devices, np.uint8)
    return Train(
        new_row(devices), new_count(devices), new_count(devices), new_place(devices), new_place(devices), new_row(devices),
        even, odd, words, flags, new_place(devices), new_place(devices), new_count(devices),
        np.empty((2, devices), np.float32),
    )  # fmt: skip


@loop
def keep(m, values, kept):
    """Move ``values`` at the m places ``kept``, which rise, to the front."""
    for k in range(m):
        values[k] = values[kept[k]]


@loop
def collect(m, values, places, row):
    """Lay values at m ``places`` side by side in ``row``."""
    for k in range(m):
        row[k] = values[places[k]]


@loop
def put_back(m, row, places, values):
    """Write the first m of ``row`` to ``values`` at ``places``."""
    for k in range(m):
        values[places[k]] = row[k]


@loop
def blocks_of(m, first, local, counters):
    """Write to ``counters`` the blocks of m devices ``local``, counted from device ``first``."""
    for k in range(m):
        device = first + local[k]
        counters[k] = device // TOGETHER * CHUNK + device % CHUNK


@loop
def pick(m, words, first, local, out):
    """Write to ``out`` the word of each device's own block that belongs to it."""
    for k in range(m):
        out[k] = words[(first + local[k]) // CHUNK % 4, k]


@loop
def lay_out(words, groups, out):
    """Write words (4 or more, groups, CHUNK) to ``out`` (groups or more, 4, CHUNK), in the order of their devices."""
    for group in range(groups):
        for k in range(4):
            for lane in range(CHUNK):
                out[group, k, lane] = words[k, group, lane]


@part
def draw_pairs(w, whole, first, q, key, turn, where, train):
    """Draw normals of pulses 2 q and 2 q + 1 for the first w devices; ``whole`` says that they lie in their own order."""
    words, m, ahead = train.words, w, 0
    if whole:
        ahead = first % TOGETHER  # from the beginning of a group to the end of another
        m = (ahead + w + TOGETHER - 1) // TOGETHER * CHUNK
        count_from(first // TOGETHER * CHUNK, words[0, :m])
    else:
        blocks_of(m, first, train.local, words[0])
    draw_blocks(m, q, turn, for_purpose(where, CYCLE), key, words)
    if whole:
        lay_out(words.reshape(5, -1, CHUNK), m // CHUNK, words[4].reshape(-1, 4, CHUNK))
    else:
        pick(m, words, first, train.local, words[4])
    pair_up_halves(w, words[4, ahead:], train.even, train.odd)


@loop
def largest(w, counts):
    """Return the largest of the first w ``counts``, at least one."""
    most = counts[0]
    for k in range(w):
        most = max(most, counts[k])
    return most


@part
def leave_behind(w, m, first_time, whole, bench, train):
    """Go on with the m devices flagged of the first w alone; ``bench.after`` says what the others have become."""
    kept = train.listed
    list_flagged(w, train.flags, kept)
    if first_time:
        copy(kept[:m], train.place)
    else:
        put_back(w, train.g, train.place, bench.after)
        keep(m, train.place, kept)
    if whole:
        copy(kept[:m], train.local)
    else:
        keep(m, train.local, kept)
    collect(m, bench.after, train.place, train.g)
    keep(m, train.due, kept)
    for numbers in (train.asked, bench.traits[LOW], bench.traits[HIGH], bench.traits[UP], bench.traits[DOWN]):
        keep(m, numbers, kept)


@part
def send_train(w, whole, first, tables, ctoc, key, turn, where, bench, train):
    """Send the first w devices their ``train.counts``, from ``bench.after`` on, which becomes what they conduct then."""
    g, traits, narrowed = bench.after, bench.traits, False
    copy(train.counts[:w], train.due)
    most = largest(w, train.due)
    for p in range(0, most, 2):
        if p > 0:
            m = flag_above(w, train.due, p, train.flags)
            if m * NARROW < w:
                leave_behind(w, m, not narrowed, whole, bench, train)
                w, g, narrowed, whole = m, train.g, True, False
        if ctoc > ZERO:
            draw_pairs(w, whole, first, p // 2, key, turn, where, train)
        send_two(
            p, w, most, train.asked, train.due, traits[LOW], traits[HIGH], traits[UP], traits[DOWN], tables, ctoc,
            train.even, train.odd, g, train.knots, train.bent,
        )  # fmt: skip
    if narrowed:
        put_back(w, g, train.place, bench.after)
