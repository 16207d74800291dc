"""Stochastic rounding of many numbers with few random bits: how many pulses each device is sent.

|q| is rounded up where a uniform number lies below its fraction. Eight bits of that number decide but for one case in 256,
so eight are drawn for all elements and 23 more where these leave it open: as exact as 31 bits, at a quarter of the price.

Element e of an array has byte e % 16 of the block with counter (e // 16, 0, write, stream), byte 0 the lowest of word 0;
where it is open, the top 23 bits of word 0 of the block with counter (e, 1, write, stream) decide.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import law, loop
from mortalsim.kernels.philox import count_from, draw_words, philox4x32, uniform

WORD = 0xFFFFFFFF
BYTES = 16  #: of one block
GROUP = 32  #: elements looked at together, to pass over those where nothing happens
BYTE = np.float32(256)
ZERO, ONE = np.float32(0), np.float32(1)


@law
def rounded_down(q, limit):
    """Return the whole part of |q|, at most ``limit``, and what is left of it in 256ths."""
    size = min(abs(q), limit)
    whole = np.floor(size)
    return whole, (size - whole) * BYTE


@loop
def round_roughly(change, per_weight, limit, rough, counts, open_, groups):
    """Fill ``counts`` (n,) as far as a byte tells and mark the ``open_``; ``groups`` says where anything may happen."""
    total = 0
    for g in range(groups.size):
        first, last = g * GROUP, min((g + 1) * GROUP, counts.size)
        busy = 0
        for e in range(first, last):
            whole, left = rounded_down(change[e] * per_weight, limit)
            byte = np.float32(rough[e])
            counts[e] = np.int32(whole) + (1 if byte + ONE <= left else 0)
            open_[e] = 1 if (byte < left) & (left < byte + ONE) else 0
            busy += counts[e] + open_[e]
        groups[g] = busy
        total += busy
    return total


@loop
def settle_open(change, per_weight, limit, start, write, stream, key, counts, open_, groups):
    """Decide what a byte left open; return the sum of all counts."""
    total = 0
    for g in range(groups.size):
        if groups[g] > 0:
            for e in range(g * GROUP, min((g + 1) * GROUP, counts.size)):
                if open_[e] > 0:
                    left = rounded_down(change[e] * per_weight, limit)[1]
                    word = philox4x32(start + e, 1, write & WORD, stream, np.uint64(key[0]), np.uint64(key[1]))[0]
                    counts[e] += 1 if uniform(word) < left - np.floor(left) else 0
                total += counts[e]
    return total


@loop
def round_stretch(change, per_weight, limit, start, write, stream, key, counts, open_, groups, words):
    """Fill ``counts`` int32 (n,) with the pulses of elements start, start + 1, ...; return their sum.

    ``start`` is a multiple of 16; ``open_`` int32 (n,), ``groups`` int32 (n / 32, rounded up) and ``words`` uint32
    (5, n / 4, rounded up) are scratch.
    """
    m = (change.size + BYTES - 1) // BYTES
    count_from(start // BYTES, words[0, :m])
    words[1, :m] = 0
    draw_words(words[0, :m], words[1, :m], words[2, :m], words[3, :m], write & WORD, stream, key)
    for i in range(m):
        for k in range(4):
            words[4, 4 * i + k] = words[k, i]
    rough = words[4].view(np.uint8)
    if round_roughly(change, per_weight, limit, rough, counts, open_, groups) == 0:
        return 0
    return settle_open(change, per_weight, limit, start, write, stream, key, counts, open_, groups)
