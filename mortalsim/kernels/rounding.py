"""Stochastic rounding of many numbers with few random bits: how many pulses each device is sent.

|q| is rounded up where a uniform number lies below its fraction, so the mean number of pulses is |q|. Eight bits of that
number decide in 255 cases of 256. So eight bits are drawn for every device, and 23 more where these leave it open: the
result is as exact as with 31 bits, at a quarter of the random numbers.

Device e of an array has byte e % 16 of the Philox block that `counters` gives to ROUND and e // 16, byte 0 the lowest of
word 0 (the machine is little-endian). Where that byte leaves it open, the top 23 bits of word 0 of the block of ROUND_REST
and e decide.

Shapes: d devices.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.counters import ROUND, ROUND_REST, for_purpose
from mortalsim.kernels.jit import law, loop
from mortalsim.kernels.philox import count_from, draw_blocks, philox4x32, uniform
from mortalsim.kernels.vectors import list_flagged

BYTES = 16  #: of one Philox block
BYTE = np.float32(256)
ONE = np.float32(1)


@law
def whole_and_rest(q, limit):
    """Return the whole part of |q|, at most ``limit``, and the rest in 256ths."""
    size = min(abs(q), limit)
    whole = np.floor(size)
    return whole, (size - whole) * BYTE


@loop
def round_by_bytes(asked, limit, bytes_drawn, doubled):
    """Fill ``doubled`` int32 (d,): 2 x the count that eight random bits decide, plus 1 if those leave the last pulse open.

    One number instead of a count and a flag: a loop that writes two vectors is no vector loop.
    """
    for e in range(doubled.size):
        whole, rest = whole_and_rest(asked[e], limit)
        byte = np.float32(bytes_drawn[e])
        one_more = np.int32(2) if byte + ONE <= rest else np.int32(0)
        undecided = np.int32(1) if (byte < rest) & (rest < byte + ONE) else np.int32(0)
        doubled[e] = np.int32(np.int32(2) * np.int32(whole)) + one_more + undecided


@loop
def flag_odd(doubled, flags):
    """Flag odd numbers of ``doubled`` (d,) in ``flags`` uint8, at least d long."""
    for e in range(doubled.size):
        flags[e] = np.uint8(doubled[e] & np.int32(1))


@loop
def halve(doubled):
    """Turn ``doubled`` (d,) into numbers of pulses; return their sum."""
    total = 0
    for e in range(doubled.size):
        doubled[e] >>= np.int32(1)
        total += doubled[e]
    return total


@loop
def round_stretch(asked, limit, first_device, address, work):
    """Fill ``work.counts`` with the pulses ``asked`` (d,) of devices first_device, first_device + 1, ...; return their sum.

    ``first_device`` is a multiple of 16, so that a Philox block begins with it. Flags, listed places and words of ``work``,
    a `batches.PulseWork`, are scratch.
    """
    words, counts = work.words, work.counts[: asked.size]
    blocks = (asked.size + BYTES - 1) // BYTES
    count_from(first_device // BYTES, words[0, :blocks])
    draw_blocks(blocks, np.int64(0), address.turn, for_purpose(address.where, ROUND), address.key, words)
    for i in range(blocks):
        for k in range(4):
            words[4, 4 * i + k] = words[k, i]
    round_by_bytes(asked, limit, words[4].view(np.uint8), counts)
    flag_odd(counts, work.flags)
    for i in range(list_flagged(asked.size, work.flags, work.listed)):
        e = work.listed[i]
        rest = whole_and_rest(asked[e], limit)[1]
        block = np.uint32(first_device + e), np.uint32(0), address.turn, for_purpose(address.where, ROUND_REST)
        word = philox4x32(*block, np.uint64(address.key[0]), np.uint64(address.key[1]))[0]
        counts[e] += 2 if uniform(word) < rest - np.floor(rest) else 0
    return halve(counts)
