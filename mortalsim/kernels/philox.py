"""Random numbers from a counter: Philox4x32-7 and Box-Muller.

A number is a pure function of a key and of four counter words, so results do not depend on who asks first, nothing need be
stored to draw the same number again, and a reference implementation in plain numpy gives the same bits. Source: J. K.
Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3 (constants
in table 2). Seven rounds are the fewest that passed all of TestU01's BigCrush there; the usual ten cost two fifths more.

The logarithm, sine and cosine are polynomials in float32, made of + and * only: the machine's library would give other last
bits on other machines, and compilers can turn these loops into vector instructions.

Shapes: m blocks of four 32-bit words, or the m words or normals at one place of each block; rows of n numbers.
"""

from __future__ import annotations

import numpy as np

from mortalsim.kernels.jit import KEY, OUT_MATRIX, i8, kernel, law, loop
from mortalsim.kernels.vectors import fill

LOW_WORD = 0xFFFFFFFF
WORD = np.uint64(LOW_WORD)
HALF_WORD = np.uint64(32)
MULTIPLY_0, MULTIPLY_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
BUMP_0, BUMP_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

ROUNDS = 7

#: Blocks of four numbers made at a time: the scratch of one chunk stays in the nearest cache.
CHUNK = 128

ONE, HALF = np.float32(1), np.float32(0.5)
TWO_TO_16, TWO_TO_23 = np.float32(2.0**-16), np.float32(2.0**-23)
TWO_TO_31, TWO_TO_32 = np.float32(2.0**-31), np.float32(2.0**-32)

# log(1 + f) = f - f^2/2 + f^3 (L0 + L1 f + ... + L7 f^7) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1: least squares in float64 at
# 400 Chebyshev nodes, rounded to float32; relative error of the rounded polynomial 2.6e-8. LN2_HIGH has few enough bits that
# its product with an exponent is exact (Cody and Waite).
L0, L1, L2, L3 = np.float32(0.333333283662796), np.float32(-0.25000298), np.float32(0.20001468), np.float32(-0.16642247)
L4, L5, L6, L7 = np.float32(0.14202175), np.float32(-0.12972239), np.float32(0.12712307), np.float32(-0.081015587)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
ROOT_HALF_BITS = np.int32(0x3F3504F3)

# exp(r) = 1 + r + r^2 (E0 + E1 r + ... + E4 r^4) for |r| <= ln(2)/2, fitted as above; relative error 4e-9 before rounding.
E0, E1, E2 = np.float32(0.49999988), np.float32(0.16666512), np.float32(0.041669644)
E3, E4 = np.float32(0.008369628), np.float32(0.0013748823)
ONE_BY_LN2, LEAST_EXPONENT = np.float32(1.442695), np.float32(-126)

# sin(t pi/2) = t (S0 + S1 t^2 + S2 t^4 + S3 t^6) and cos(t pi/2) = 1 + t^2 (C0 + ... + C3 t^6) for |t| <= 1/2, fitted as
# above; relative errors 3.5e-8 and 1.3e-8.
S0, S1, S2, S3 = np.float32(1.5707964), np.float32(-0.6459635), np.float32(0.07968022), np.float32(-0.004602163)
C0, C1, C2, C3 = np.float32(-1.2337005), np.float32(0.25366941), np.float32(-0.02086153), np.float32(0.00090674165)


@law
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Return the four 32-bit words (as uint64) that belong to counter (c0, c1, c2, c3) and key (k0, k1)."""
    w0, w1, w2, w3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    a, b = np.uint64(k0), np.uint64(k1)
    for _ in range(ROUNDS):
        left, right = w0 * MULTIPLY_0, w2 * MULTIPLY_1
        w0, w1, w2, w3 = (right >> HALF_WORD) ^ w1 ^ a, right & WORD, (left >> HALF_WORD) ^ w3 ^ b, left & WORD
        a, b = (a + BUMP_0) & WORD, (b + BUMP_1) & WORD
    return w0, w1, w2, w3


@law
def uniform(word):
    """Return (m + 1/2) / 2^23, m the word's top 23 bits: float32 holds it exactly, so 0 and 1 never come."""
    return (np.float32(np.int32(word >> np.uint64(9))) + HALF) * TWO_TO_23


@law
def natural_log(x):
    """Return ln x of a positive, normal float32."""
    # The bits of a float32, taken as a whole number, give exponent and mantissa without a call of the library, which other
    # machines would answer with other last bits and which would keep the loop from vector instructions.
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - ROOT_HALF_BITS) >> np.int32(23))
    f = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - ONE
    tail = L0 + f * (L1 + f * (L2 + f * (L3 + f * (L4 + f * (L5 + f * (L6 + f * L7))))))
    e = np.float32(exponent)
    square = f * f
    return (f + (square * f * tail - HALF * square + e * LN2_LOW)) + e * LN2_HIGH


@law
def natural_exp(x):
    """Return e^x of a float32 not above 0; where that is below 2^-126, a number between a third of it and 2^-126 instead."""
    k = max(np.rint(x * ONE_BY_LN2), LEAST_EXPONENT)
    r = max((x - k * LN2_HIGH) - k * LN2_LOW, -ONE)
    value = ONE + (r + (r * r) * (E0 + r * (E1 + r * (E2 + r * (E3 + r * E4)))))
    # 2^k by writing k into the exponent's bits: exact, and no call of the library.
    return value * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@law
def cos_sin(angle):
    """Return cosine and sine of ``angle`` / 2^32 turns, uint32."""
    # The top three bits give the nearest quarter turn; the others, shifted up and taken as signed, are the distance to it,
    # -1/2 to 1/2 quarter turns. That saves a division and a rounding. The casts keep numba from widening to 64 bits, which
    # would halve the vectors.
    octant = np.uint32(angle >> np.uint32(29))
    quarter = np.uint32(((octant + np.uint32(1)) >> np.uint32(1)) & np.uint32(3))
    t = np.float32(np.uint32(angle << np.uint32(2)).view(np.int32)) * TWO_TO_32
    square = t * t
    sine = t * (S0 + square * (S1 + square * (S2 + square * S3)))
    cosine = ONE + square * (C0 + square * (C1 + square * (C2 + square * C3)))
    x, y = (sine, cosine) if (quarter == np.uint32(1)) | (quarter == np.uint32(3)) else (cosine, sine)
    x = -x if (quarter == np.uint32(1)) | (quarter == np.uint32(2)) else x
    y = -y if quarter >= np.uint32(2) else y
    return x, y


@law
def normal_pair(word_a, word_b):
    """Return two independent standard normals (Box and Muller 1958); 31 bits of radius reach 6.7 standard deviations."""
    # 31 bits and not 32: AVX2 turns signed whole numbers into float32 in one instruction, and has none for unsigned ones.
    u = (np.float32(np.int32(word_a >> np.uint64(1))) + HALF) * TWO_TO_31
    radius = np.sqrt(np.float32(-2) * natural_log(u))
    x, y = cos_sin(np.uint32(word_b))
    return radius * x, radius * y


@law
def normals_of_halves(word):
    """Return two independent standard normals: the word's upper half makes the radius, up to 4.85, its lower the angle."""
    u = (np.float32(np.int32(np.uint32(word >> np.uint32(16)))) + HALF) * TWO_TO_16
    radius = np.sqrt(np.float32(-2) * natural_log(u))
    x, y = cos_sin(np.uint32(word << np.uint32(16)))
    return radius * x, radius * y


@loop
def draw_words(w0, w1, w2, w3, c2, c3, key):
    """Write the words of the m counters (w0[i], w1[i], c2, c3) to w0, w1, w2 and w3, (m,) each."""
    # Counters and words share vectors: with a fifth one the compiler gives up proving that they do not overlap, and the loop
    # stays scalar.
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for i in range(w0.size):
        a, b, c, d = philox4x32(w0[i], w1[i], c2, c3, k0, k1)
        w0[i] = a
        w1[i] = b
        w2[i] = c
        w3[i] = d


@loop
def draw_blocks(m, c1, c2, c3, key, words):
    """Replace the block counters in words[0, :m] by words 0 of these blocks; rows 1 to 3 get words 1 to 3."""
    fill(words[1, :m], c1)
    draw_words(words[0, :m], words[1, :m], words[2, :m], words[3, :m], c2, c3, key)


@loop
def pair_up(words_a, words_b, x, y):
    """Turn two vectors of words (m,) into two vectors of normals (m,)."""
    for i in range(words_a.size):
        x[i], y[i] = normal_pair(np.uint64(words_a[i]), np.uint64(words_b[i]))


@loop
def pair_up_halves(m, words, x, y):
    """Turn m words into two vectors of normals, of 16 bits each: enough for cycle-to-cycle noise."""
    for i in range(m):
        x[i], y[i] = normals_of_halves(words[i])


@loop
def new_scratch(blocks):
    """Return room for ``blocks`` blocks: words (4, blocks) and numbers (4, blocks)."""
    return np.empty((4, blocks), np.uint32), np.empty((4, blocks), np.float32)


@loop
def draw_normals(m, c2, c3, key, words, normals):
    """Fill normals[:, :m] with the four normals of each counter (words[0, i], words[1, i], c2, c3); overwrites ``words``."""
    draw_words(words[0, :m], words[1, :m], words[2, :m], words[3, :m], c2, c3, key)
    pair_up(words[0, :m], words[1, :m], normals[0, :m], normals[1, :m])
    pair_up(words[2, :m], words[3, :m], normals[2, :m], normals[3, :m])


@loop
def count_from(first, counters):
    """Fill ``counters`` (m,) with first, first + 1, ..."""
    for i in range(counters.size):
        counters[i] = first + i


@loop
def interleave(quads, m, out):
    """Lay quads[:, :m] out as out[4 i + k] = quads[k, i]; ``out`` may end within the last block."""
    whole = out.size // 4
    for i in range(whole):
        for k in range(4):
            out[4 * i + k] = quads[k, i]
    for e in range(4 * whole, out.size):
        out[e] = quads[e % 4, m - 1]


@loop
def normal_row(key, first, c1, c2, c3, out, scratch):
    """Do `fill_normal` from block ``first`` on, with ``scratch`` from `new_scratch`."""
    words, quads = scratch
    blocks, room = (out.size + 3) // 4, words.shape[1]
    for start in range(0, blocks, room):
        m = min(room, blocks - start)
        count_from(first + start, words[0, :m])
        fill(words[1, :m], c1)
        draw_normals(m, c2, c3, key, words, quads)
        interleave(quads, m, out[4 * start : min(out.size, 4 * (start + m))])


@loop
def normal_rows(key, c1, c2, c3, first, out, scratch):
    """Do `normal_row` for each row of ``out`` (rows, n), counters c1, c1 + 1, ...: many narrow rows fill one loop."""
    words, quads = scratch
    rows, blocks = out.shape[0], (out.shape[1] + 3) // 4
    if blocks > words.shape[1]:  # a row wider than the scratch comes alone
        return normal_row(key, first, c1, c2, c3, out[0], scratch)
    for r in range(rows):
        count_from(first, words[0, r * blocks : (r + 1) * blocks])
        fill(words[1, r * blocks : (r + 1) * blocks], c1 + r)
    draw_normals(rows * blocks, c2, c3, key, words, quads)
    for r in range(rows):
        interleave(quads[:, r * blocks : (r + 1) * blocks], blocks, out[r])


@kernel(KEY, i8, i8, i8, OUT_MATRIX)
def fill_normal(key, c1, c2, c3, out):
    """Fill ``out`` (rows, n) with standard normals.

    Parameters
    ----------
    key
        uint32 (2,).
    c1, c2, c3
        Counter words, 0 to 2^32 - 1; c1 belongs to the first row. Block q of counter (q, c1 + r, c2, c3) gives elements 4q
        to 4q + 3 of row r, its words (0, 1) the first two of them, words (2, 3) the others.
    out
        float32 (rows, n), C-contiguous; written.
    """
    scratch = new_scratch(CHUNK)
    for row in range(out.shape[0]):
        normal_row(key, np.int64(0), c1 + row, c2, c3, out[row], scratch)  # a bare 0 is a type of its own, compiled anew
