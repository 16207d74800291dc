"""Sign patterns that are a pure function of a key: on-chip weight nudges, never stored.

Element e = i * n_out + j of an array has bit e % 128 of the block that `counters` gives to SIGNS and e // 128, bit 0 being
the lowest of word 0; a set bit means +1. Signs of rows alone take row i from bit i % 128 of block i // 128 of SIGN_ROWS,
and signs of columns alone take column j from SIGN_COLUMNS in the same way. The blocks of an array stand one below the other
as rows, side by side as columns.

`add_signs` never makes a vector of +1 and -1. A float32 has its own sign in its highest bit, so a random bit is shifted
there and XORed into the step. With the bit of each weight looked up by `sign` instead, the kernel takes 0.63 ns a weight
instead of 0.42, the drawing of the bits included (600 x 600 weights, one core).
"""

from __future__ import annotations

import numpy as np

from mortalsim.checks import FloatArray
from mortalsim.kernels.counters import Address
from mortalsim.kernels.jit import KEY, MATRIX, OUT_MATRIX, OUT_VECTOR, VECTOR, f8, i8, kernel, law, loop
from mortalsim.kernels.philox import LOW_WORD, WORD, count_from, draw_blocks, new_scratch

BITS = 128
SIGN_BIT = np.uint32(0x80000000)
BLOCKS = 64  # blocks made at a time: 8192 signs, 32 KiB


def sign_pattern(address: Address, n: int) -> FloatArray:
    """Return the first ``n`` signs of an address, float32 (n,) of +1 and -1."""
    out = np.empty(n, np.float32)
    fill_signs(*address, out)
    return out


@law
def sign(word, bit):
    """Return +1 if ``bit`` of ``word`` is set, else -1."""
    return np.float32(1) if (np.uint32(word) >> np.uint32(bit)) & np.uint32(1) else np.float32(-1)


@loop
def spread_bits(word, signs):
    """Fill ``signs`` (32,) from the bits of one word."""
    for bit in range(32):
        signs[bit] = sign(word, bit)


@loop
def draw_signs(key, turn, where, first, signs, scratch):
    """Fill ``signs`` (128 m,) with the signs of blocks first, first + 1, ..., first + m - 1."""
    words, _ = scratch
    m = signs.size // BITS
    count_from(first, words[0, :m])
    draw_blocks(m, np.int64(0), turn, where, key, words)
    for block in range(m):
        for k in range(4):
            e = BITS * block + 32 * k
            spread_bits(words[k, block], signs[e : e + 32])


@loop
def shift_words(words, low, out):
    """Write words of 32 bits to ``out`` (m,): the bits of blocks of words (4, blocks), from bit ``low`` of the first on.

    A row begins at any bit of a block. Once its bits begin at bit 0 of a word, every word is unpacked by the same 32 shifts.
    """
    right = np.uint64(low % 32)
    left = np.uint64(32) - right
    for w in range(out.size):
        place = low // 32 + w
        here, there = np.uint64(words[place % 4, place // 4]), np.uint64(words[(place + 1) % 4, (place + 1) // 4])
        out[w] = np.uint32((here >> right) | (there << left) & WORD)


@loop
def unpack_to_sign_bits(words, signs):
    """Fill ``signs`` uint32 (m, 32) from words (m,): the highest bit of element (w, b) is set where bit b of word w is 0.

    All lower bits are left as the shift brings them; `add_signed` masks them.
    """
    for w in range(words.size):
        negative = words[w] ^ np.uint32(LOW_WORD)
        for bit in range(32):
            signs[w, bit] = negative << np.uint32(31 - bit)


@loop
def scale(row, factor, out):
    """Write row * factor (n,) to ``out``."""
    for i in range(row.size):
        out[i] = row[i] * factor


@loop
def add_signed(weights, step, signs, out):
    """Write weights + step (m,) to ``out``, with weights - step where the highest bit of ``signs`` uint32 (m,) is set."""
    for j in range(out.size):
        signed = np.uint32(np.float32(step[j]).view(np.uint32) ^ (signs[j] & SIGN_BIT))
        out[j] = weights[j] + signed.view(np.float32)


@loop
def add_row(weights, step, words, low, shifted, signs, out):
    """Write weights +- step (m,) to ``out``, signs from bit ``low`` of the first of the blocks of words (4, blocks) on."""
    shift_words(words, low, shifted)
    unpack_to_sign_bits(shifted, signs)
    add_signed(weights, step, signs.reshape(signs.size), out)


@kernel(KEY, i8, i8, OUT_VECTOR)
def fill_signs(key, turn, where, out):
    """Fill ``out`` (n,) with the signs of an address."""
    scratch = new_scratch(BLOCKS)
    signs = np.empty(BITS * BLOCKS, np.float32)
    for start in range(0, out.size, signs.size):
        m = min(signs.size, out.size - start)
        draw_signs(key, turn, where, start // BITS, signs[: BITS * ((m + BITS - 1) // BITS)], scratch)
        for e in range(m):
            out[start + e] = signs[e]


def add_signs(
    weights: FloatArray, amplitude: float, gain: FloatArray, address: Address, start: int, first: int, out: FloatArray
) -> None:
    """Write ``weights`` plus the nudge ``amplitude * gain[j] * sign_ij`` to ``out``, for some rows and columns of an array.

    Parameters
    ----------
    weights
        float32 (rows, n_out), C-contiguous, of the rows to do but of all columns; or one row (1, n_out) that stands for all.
    amplitude
        Size of the nudge in weight units.
    gain
        float32 (n_out,): what each column's nudge circuit really gives per unit asked for.
    address
        Of the pattern.
    start, first
        The first row and the first column to do.
    out
        float32 (rows, columns), C-contiguous; may be ``weights`` itself where all columns are done.
    """
    compiled_add_signs(weights, amplitude, gain, *address, start, first, first + out.shape[1], out)


@kernel(MATRIX, f8, VECTOR, KEY, i8, i8, i8, i8, i8, OUT_MATRIX)
def compiled_add_signs(weights, amplitude, gain, key, turn, where, start, first, last, out):
    """Write weights plus signed steps to ``out``: `add_signs` with its address as key, turn and counter word 3."""
    n_in, n_out = out.shape[0], weights.shape[1]
    own = weights.shape[0] > 1
    span = (last - first) // BITS + 2  # blocks that one row may need, and a word more
    shifted = np.empty((last - first + 31) // 32, np.uint32)
    signs = np.empty((shifted.size, 32), np.uint32)
    together = max(1, BLOCKS // span)
    words, _ = new_scratch(span * together)
    step = np.empty(last - first, np.float32)
    scale(gain[first:last], np.float32(amplitude), step)
    for begin in range(0, n_in, together):
        m = min(together, n_in - begin)
        for r in range(m):
            count_from(((start + begin + r) * n_out + first) // BITS, words[0, r * span : (r + 1) * span])
        draw_blocks(m * span, np.int64(0), turn, where, key, words)
        for r in range(m):
            low = ((start + begin + r) * n_out + first) % BITS
            blocks = words[:, r * span : (r + 1) * span]
            add_row(weights[begin + r if own else 0, first:last], step, blocks, low, shifted, signs, out[begin + r])
