"""Stochastic rounding of many numbers with few random bits: how many pulses each device is sent.

|q| is rounded up where a uniform number lies below its fraction. Eight bits of that number decide but for one case in 256,
so eight are drawn for all elements and 23 more where these leave it open: as exact as 31 bits, at a quarter of the price.

Element e of an array has byte e % 16 of the block that `counters` gives to ROUND and e // 16, byte 0 the lowest of word 0;
where it is open, the top 23 bits of word 0 of the block of ROUND_REST and e decide.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.counters import ROUND, ROUND_REST, for_purpose
from mortalsim.kernels.jit import law, loop
from mortalsim.kernels.philox import count_from, draw_blocks, philox4x32, uniform

BYTES = 16  #: of one block
EIGHT = 8  #: flags looked at together, to pass over places where nothing happens
BYTE = np.float32(256)
ONE = np.float32(1)


@law
def rounded_down(q, limit):
    """Return the whole part of |q|, at most ``limit``, and what is left of it in 256ths."""
    size = min(abs(q), limit)
    whole = np.floor(size)
    return whole, (size - whole) * BYTE


@loop
def round_roughly(asked, limit, rough, codes):
    """Fill ``codes`` int32 (n,): twice the pulses that a byte vouches for, and 1 more where it leaves one open."""
    for e in range(codes.size):
        whole, left = rounded_down(asked[e], limit)
        byte = np.float32(rough[e])
        surely = np.int32(2) if byte + ONE <= left else np.int32(0)
        perhaps = np.int32(1) if (byte < left) & (left < byte + ONE) else np.int32(0)
        codes[e] = np.int32(np.int32(2) * np.int32(whole)) + surely + perhaps


@loop
def flag_odd(codes, flags):
    """Flag odd ``codes`` (n,) in ``flags`` uint8, at least n long."""
    for e in range(codes.size):
        flags[e] = np.uint8(codes[e] & np.int32(1))


@loop
def flag_above(n, counts, p, flags):
    """Flag which of n ``counts`` are above ``p`` likewise; return how many they are."""
    total = 0
    for e in range(n):
        above = counts[e] > p
        flags[e] = np.uint8(above)
        total += above
    return total


@loop
def list_flagged(n, flags, places):
    """List in ``places`` where the first n ``flags``, 0 or 1, are set; return how many are.

    Both have room for n, rounded up to a multiple of 8.
    """
    m = np.uint64(0)  # of a place without a sign numba need not ask whether it is counted from the end
    for k in range(n, (n + EIGHT - 1) // EIGHT * EIGHT):
        flags[k] = 0
    eights = flags.view(np.uint64)
    for w in range((n + EIGHT - 1) // EIGHT):
        if eights[w] != 0:
            for k in range(EIGHT):  # no branch, which would often be guessed wrong
                places[m] = EIGHT * w + k
                m += np.uint64(flags[EIGHT * w + k])
    return np.int64(m)


@loop
def halve(codes):
    """Turn ``codes`` (n,) into numbers of pulses; return their sum."""
    total = 0
    for e in range(codes.size):
        codes[e] >>= np.int32(1)
        total += codes[e]
    return total


@loop
def round_stretch(asked, limit, start, turn, where, key, counts, flags, places, words):
    """Fill ``counts`` int32 (n,) with the pulses of elements start, start + 1, ... ``asked`` for; return their sum.

    ``start`` is a multiple of 16; ``flags`` uint8 and ``places`` int64, both (n, rounded up to a multiple of 8), and
    ``words`` uint32 (5, n / 4 or more, rounded up to a multiple of 4) are scratch.
    """
    m = (asked.size + BYTES - 1) // BYTES
    count_from(start // BYTES, words[0, :m])
    draw_blocks(m, np.int64(0), turn, for_purpose(where, ROUND), key, words)
    for i in range(m):
        for k in range(4):
            words[4, 4 * i + k] = words[k, i]
    round_roughly(asked, limit, words[4].view(np.uint8), counts)
    flag_odd(counts, flags)
    for i in range(list_flagged(asked.size, flags, places)):
        e = places[i]
        left = rounded_down(asked[e], limit)[1]
        block = np.uint32(start + e), np.uint32(0), turn, for_purpose(where, ROUND_REST)
        word = philox4x32(*block, np.uint64(key[0]), np.uint64(key[1]))[0]
        counts[e] += 2 if uniform(word) < left - np.floor(left) else 0
    return halve(counts)
