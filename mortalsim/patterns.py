"""What a keyed sign pattern is: the definition that every chip keeps to, so that a learner can work one out from its key.

Element e = i * n_out + j of an array has bit e % 128 of a Philox4x32 block (Salmon et al. 2011) with counter
(e // 128, array, part, 0x5167), bit 0 being the lowest of word 0; a set bit means +1. The pattern ``"signs"`` is part 0;
``"rank1"`` is the product of row signs, part 1, and column signs, part 2. The key's two words are its low and high half.
"""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.hardware import WeightNudge

_DOMAIN = 0x5167
_BITS = 128
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def pattern(nudge: WeightNudge, array: int, shape: tuple[int, int]) -> FloatArray:
    """Return the nudge's signs on one array, (n_in, n_out) of +1 and -1.

    Parameters
    ----------
    nudge
        Its key and kind of pattern are used, not its amplitude.
    array
        The array's place in the chip.
    shape
        (n_in, n_out).
    """
    n_in, n_out = shape
    if nudge.pattern == "rank1":
        return _signs(nudge.key, array, 1, n_in)[:, None] * _signs(nudge.key, array, 2, n_out)
    return _signs(nudge.key, array, 0, n_in * n_out).reshape(shape)


def _signs(key: int, array: int, part: int, n: int) -> FloatArray:
    words = np.empty((-(-n // _BITS), 4), np.uint64)
    words[:] = 0, array, part, _DOMAIN
    words[:, 0] = np.arange(len(words))
    bits = np.unpackbits(_philox(words, key).astype("<u4").view(np.uint8), count=n, bitorder="little")
    return bits * np.float32(2) - np.float32(1)


def _philox(words: np.ndarray, key: int) -> np.ndarray:
    """Return the blocks (m, 4) for the counters ``words`` (m, 4): ten rounds, 32-bit words held in 64 bits."""
    w0, w1, w2, w3 = words.T
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        first, second = w0 * np.uint64(0xD2511F53), w2 * np.uint64(0xCD9E8D57)
        w0, w1 = (second >> _HALF) ^ w1 ^ np.uint64(k0), second & _LOW
        w2, w3 = (first >> _HALF) ^ w3 ^ np.uint64(k1), first & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([w0, w1, w2, w3], axis=1)
