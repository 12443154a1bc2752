/* Block floats: 16 elements along K share an exponent; a row is its exponent bytes (biased by 127), then signed magnitudes.
 *
 * Of 8 bits: a byte each, sign and 7 bits of magnitude, worth magnitude / 64 * 2**(exponent - 127). Of 4 bits: two to a byte,
 * the even element low, sign and 3 bits, magnitude / 4 * 2**(exponent - 127). Each value is a bfloat16 number, except that
 * those below 2**-126 become zero (products of words take denormals for zeros anyway), and that an exponent of 255 makes
 * infinities and NaN of magnitudes of 64 (4) and more.
 */
#include "loops.h"

Py_ssize_t block_row_bytes(Py_ssize_t k, int bits) { return (k + SHARE - 1) / SHARE * (1 + SHARE * bits / 8); }

/* The word of a magnitude, in units of 2**(exponent - 127 - shift), with its sign in bit 15 of `sign`. */
INLINE word block_word(int magnitude, int exponent, int shift, int sign) {
    float whole = (float)magnitude;
    uint32_t bits;
    memcpy(&bits, &whole, 4);
    int32_t value = (int32_t)(bits >> 16) + (exponent - 127 - shift) * 128;
    return (word)((magnitude && value >= 128 ? value : 0) | (sign & 0x8000));
}

INLINE void unpack_body(const uint8_t *exponents, const uint8_t *from, word *out, Py_ssize_t blocks, int bits) {
    for (Py_ssize_t block = 0; block < blocks; block++, out += SHARE) {
        int exponent = exponents[block];
        if (bits == 8) {
            for (int i = 0; i < SHARE; i++) out[i] = block_word(from[i] & 127, exponent, 6, from[i] << 8);
            from += SHARE;
        } else {
            for (int i = 0; i < SHARE / 2; i++) {
                out[2 * i] = block_word(from[i] & 7, exponent, 2, from[i] << 12);
                out[2 * i + 1] = block_word(from[i] >> 4 & 7, exponent, 2, from[i] << 8);
            }
            from += SHARE / 2;
        }
    }
}

VERSIONS(unpack, (const uint8_t *exponents, const uint8_t *from, word *out, Py_ssize_t blocks, int bits),
         (exponents, from, out, blocks, bits))

BlockTables block_tables[2];

#if X86
/* Bit offsets, for each two bytes: each nibble at the foot of a word (with others above it), and on its top, for the sign. */
#define NIBBLES 0x080c040800043c00

/* Tables of the words of magnitudes under the exponent 255; a lower exponent is taken off with saturation, so that zeros stay
 * zeros, and what would be a denormal is one (which the product takes for a zero). */
typedef struct {
    uint8_t low[128], high[128]; /* of 8 bits */
    word both[32];               /* of 4 bits: of the low three bits of the index */
} Tables;

static Tables tables;

int has_vbmi(void) { return isa == AVX512BF16 && __builtin_cpu_supports("avx512vbmi"); }

static void make_tables(void) {
    for (int i = 0; i < 128; i++) {
        word whole = block_word(i, 255, 6, 0);
        tables.low[i] = (uint8_t)whole, tables.high[i] = (uint8_t)(whole >> 8);
        if (i < 32) tables.both[i] = block_word(i & 7, 255, 2, 0);
    }
    for (int top = 0; top < 2; top++) {
        BlockTables *t = &block_tables[top];
        for (int i = 0; i < 128; i++) {
            word whole = block_word(i, top ? 255 : 127, 6, i ? 0x8000 : 0);
            t->low[i] = (uint8_t)whole, t->high[i] = (uint8_t)(whole >> 8);
            if (i < 16) t->both[i] = block_word(i & 7, top ? 255 : 127, 2, i & 7 ? i << 12 : 0);
        }
    }
}

/* What to take off the words of 16 elements, twice in 32 bits. */
ON_BLOCKS INLINE void lower_exponents(const uint8_t *exponents, uint32_t *lower, Py_ssize_t blocks) {
    for (Py_ssize_t i = 0; i < blocks; i++) lower[i] = (255u - exponents[i]) << 7 | (255u - exponents[i]) << 23;
}

/* 32 words with sign, of magnitudes' words; the sign is bit 15 of `signs`. */
ON_BLOCKS INLINE __m512bh lowered(__m512i magnitudes, __m512i signs, const uint32_t *lower) {
    __m512i by = _mm512_mask_set1_epi32(_mm512_set1_epi32((int)lower[0]), 0xff00, (int)lower[1]);
    return (__m512bh)_mm512_ternarylogic_epi32(_mm512_set1_epi16((short)0x8000), signs, _mm512_subs_epu16(magnitudes, by), 0xca);
}

/* Denormals, which lowering left with any fraction, as zeros of their sign. */
ON_BLOCKS INLINE __m512i flushed(__m512bh words) {
    __mmask32 normal = _mm512_test_epi16_mask((__m512i)words, _mm512_set1_epi16(0x7f80));
    __m512i signs = _mm512_and_si512((__m512i)words, _mm512_set1_epi16((short)0x8000));
    return _mm512_mask_blend_epi16(normal, signs, (__m512i)words);
}

/* As many of the blocks as are whole groups of 64 elements, of 8 bits, and of 32, of 4; how many that were. */
ON_BLOCKS static Py_ssize_t unpack_groups(const uint8_t *exponents, const uint8_t *from, word *out, Py_ssize_t blocks,
                                          int bits) {
    const __m512i low[2] = {_mm512_loadu_si512(tables.low), _mm512_loadu_si512(tables.low + 64)};
    const __m512i high[2] = {_mm512_loadu_si512(tables.high), _mm512_loadu_si512(tables.high + 64)};
    const __m512i table = _mm512_loadu_si512(tables.both), spread = _mm512_set1_epi64(NIBBLES);
    Py_ssize_t group = bits == 8 ? 4 : 2, done = 0;
    for (; done + group <= blocks; done += group, out += group * SHARE, from += group * 2 * bits) {
        uint32_t lower[4];
        lower_exponents(exponents + done, lower, group);
        if (bits == 8) {
            __m512i dealt = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), _mm512_loadu_si512(from));
            __m512i lows = _mm512_permutex2var_epi8(low[0], dealt, low[1]);
            __m512i highs = _mm512_permutex2var_epi8(high[0], dealt, high[1]);
            _mm512_storeu_si512(out, flushed(lowered(_mm512_unpacklo_epi8(lows, highs), _mm512_unpacklo_epi8(dealt, dealt),
                                                     lower)));
            _mm512_storeu_si512(out + 32, flushed(lowered(_mm512_unpackhi_epi8(lows, highs),
                                                          _mm512_unpackhi_epi8(dealt, dealt), lower + 2)));
        } else {
            __m512i nibbles = _mm512_multishift_epi64_epi8(spread, _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)from)));
            _mm512_storeu_si512(out, flushed(lowered(_mm512_permutexvar_epi16(nibbles, table), nibbles, lower)));
        }
    }
    return done;
}
#endif

void unpack_row(const uint8_t *row, word *out, Py_ssize_t k, int bits) {
    Py_ssize_t blocks = (k + SHARE - 1) / SHARE, done = 0;
    const uint8_t *from = row + blocks;
#if X86
    if (has_vbmi()) done = unpack_groups(row, from, out, blocks, bits);
#endif
    unpack(row + done, from + done * 2 * bits, out + done * SHARE, blocks - done, bits);
}

void prepare_blocks(void) {
#if X86
    make_tables();
#endif
}
