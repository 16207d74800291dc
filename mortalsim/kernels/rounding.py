"""Stochastic rounding of many numbers with few random bits: how many pulses each device is sent.

|q| is rounded up where a uniform number lies below its fraction, so the mean number of pulses is |q|. Eight bits of that
number decide in 255 cases of 256. So eight bits are drawn for every element, and 23 more where these leave it open: the
result is as exact as with 31 bits, at a quarter of the random numbers.

Element e of an array has byte e % 16 of the block that `counters` gives to ROUND and e // 16, byte 0 the lowest of word 0.
Where that byte leaves it open, the top 23 bits of word 0 of the block of ROUND_REST and e decide.

Shapes: d elements.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.counters import ROUND, ROUND_REST, for_purpose
from mortalsim.kernels.jit import law, loop
from mortalsim.kernels.philox import count_from, draw_blocks, philox4x32, uniform

BYTES = 16  #: of one block
EIGHT = 8  #: flags looked at together
BYTE = np.float32(256)
ONE = np.float32(1)


@law
def whole_and_rest(q, limit):
    """Return the whole part of |q|, at most ``limit``, and the rest in 256ths."""
    size = min(abs(q), limit)
    whole = np.floor(size)
    return whole, (size - whole) * BYTE


@loop
def round_by_bytes(asked, limit, bytes_drawn, codes):
    """Fill ``codes`` int32 (d,): 2 x the count that eight random bits decide, plus 1 if those leave the last pulse open."""
    for k in range(codes.size):
        whole, rest = whole_and_rest(asked[k], limit)
        byte = np.float32(bytes_drawn[k])
        one_more = np.int32(2) if byte + ONE <= rest else np.int32(0)
        undecided = np.int32(1) if (byte < rest) & (rest < byte + ONE) else np.int32(0)
        codes[k] = np.int32(np.int32(2) * np.int32(whole)) + one_more + undecided


@loop
def flag_odd(codes, flags):
    """Flag odd ``codes`` (d,) in ``flags`` uint8, at least d long."""
    for k in range(codes.size):
        flags[k] = np.uint8(codes[k] & np.int32(1))


@loop
def flag_above(n, counts, p, flags):
    """Flag which of n ``counts`` are above ``p``; return how many are."""
    total = 0
    for k in range(n):
        above = counts[k] > p
        flags[k] = np.uint8(above)
        total += above
    return total


@loop
def list_flagged(n, flags, places):
    """List in ``places`` where the first n ``flags``, 0 or 1, are set; return how many are.

    Both have room for n, rounded up to a multiple of 8. Eight flags are tested as one uint64, which passes over stretches
    without any: a loop over single flags took 2 to 5 times as long where one in a hundred is set.
    """
    m = np.uint64(0)  # unsigned, or numba would ask at every step whether the place is counted from the end
    for k in range(n, (n + EIGHT - 1) // EIGHT * EIGHT):
        flags[k] = 0
    eights = flags.view(np.uint64)
    for group in range((n + EIGHT - 1) // EIGHT):
        if eights[group] != 0:
            for k in range(EIGHT):  # branch-free: the branch would be mispredicted
                places[m] = EIGHT * group + k
                m += np.uint64(flags[EIGHT * group + k])
    return np.int64(m)


@loop
def halve(codes):
    """Turn ``codes`` (d,) into numbers of pulses; return their sum."""
    total = 0
    for k in range(codes.size):
        codes[k] >>= np.int32(1)
        total += codes[k]
    return total


@loop
def round_stretch(asked, limit, start, address, batch):
    """Fill ``batch.counts`` with the pulses ``asked`` (d,) of elements start, start + 1, ...; return their sum.

    ``start`` is a multiple of 16. The batch's flags, listed places and words are scratch.
    """
    words, counts = batch.words, batch.counts[: asked.size]
    blocks = (asked.size + BYTES - 1) // BYTES
    count_from(start // BYTES, words[0, :blocks])
    draw_blocks(blocks, np.int64(0), address.turn, for_purpose(address.where, ROUND), address.key, words)
    for i in range(blocks):
        for k in range(4):
            words[4, 4 * i + k] = words[k, i]
    round_by_bytes(asked, limit, words[4].view(np.uint8), counts)
    flag_odd(counts, batch.flags)
    for i in range(list_flagged(asked.size, batch.flags, batch.listed)):
        k = batch.listed[i]
        rest = whole_and_rest(asked[k], limit)[1]
        block = np.uint32(start + k), np.uint32(0), address.turn, for_purpose(address.where, ROUND_REST)
        word = philox4x32(*block, np.uint64(address.key[0]), np.uint64(address.key[1]))[0]
        counts[k] += 2 if uniform(word) < rest - np.floor(rest) else 0
    return halve(counts)
