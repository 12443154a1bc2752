/* Block floats: 16 elements along K share an exponent; a row is its exponent bytes (biased by 127), then signed magnitudes.
 *
 * Of 8 bits: a byte each, sign and 7 bits of magnitude, worth magnitude / 64 * 2**(exponent - 127). Of 4 bits: two to a byte,
 * the even element low, sign and 3 bits, magnitude / 4 * 2**(exponent - 127). Each value is a bfloat16 number, except that
 * those below 2**-126 become zero (products of words take denormals for zeros anyway), and that an exponent of 255 makes
 * infinities and NaN of magnitudes of 64 (4) and more.
 */
#include "loops.h"

enum { SHARE = 16 };

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

#if X86
#define ON_BLOCKS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vbmi,avx2,fma")))
enum { ROWS = 4 };

/* Bit offsets, for each two bytes: each nibble at the foot of a word (with others above it), and on its top, for the sign. */
#define NIBBLES 0x080c040800043c00

/* Tables of the words of magnitudes under the exponent 255; a lower exponent is taken off with saturation, so that zeros stay
 * zeros, and what would be a denormal is one (which the product takes for a zero). */
typedef struct {
    uint8_t low[128], high[128]; /* of 8 bits */
    word both[32];               /* of 4 bits: of the low three bits of the index */
} Tables;

static Tables tables;

static int has_vbmi(void) { return isa == AVX512BF16 && __builtin_cpu_supports("avx512vbmi"); }

static void make_tables(void) {
    for (int i = 0; i < 128; i++) {
        word whole = block_word(i, 255, 6, 0);
        tables.low[i] = (uint8_t)whole, tables.high[i] = (uint8_t)(whole >> 8);
        if (i < 32) tables.both[i] = block_word(i & 7, 255, 2, 0);
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

/* Four rows at a time, since each is a chain of sums. What is read next is fetched as one stream. */
ON_BLOCKS static void dots_of_8(const word *x, const uint8_t *rows, Py_ssize_t k, const uint32_t *lower, __m512 *sums) {
    const Tables *t = &tables;
    const __m512i low[2] = {_mm512_loadu_si512(t->low), _mm512_loadu_si512(t->low + 64)};
    const __m512i high[2] = {_mm512_loadu_si512(t->high), _mm512_loadu_si512(t->high + 64)};
    const __m512i deal = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    Py_ssize_t blocks = k / SHARE, bytes = block_row_bytes(k, 8);
    const char *next = (const char *)rows + ROWS * bytes;
    for (Py_ssize_t at = 0; at < k; at += 64, next += ROWS * 68) {
        __mmask64 taken = k - at < 64 ? 0xffffffffu : ~(__mmask64)0; /* a last half is zeros twice */
        __m512i x0 = _mm512_loadu_si512(x + at), x1 = _mm512_maskz_loadu_epi16((__mmask32)(taken >> 32), x + at + 32);
        UNROLL for (int n = 0; n < ROWS; n++) {
            __m512i bytes_of = _mm512_maskz_loadu_epi8(taken, rows + n * bytes + blocks + at);
            __m512i dealt = _mm512_permutexvar_epi64(deal, bytes_of);
            __m512i lows = _mm512_permutex2var_epi8(low[0], dealt, low[1]);
            __m512i highs = _mm512_permutex2var_epi8(high[0], dealt, high[1]);
            const uint32_t *by = lower + n * (blocks + 2) + at / SHARE;
            _mm_prefetch(next + n * 64, _MM_HINT_T0);
            sums[n] = _mm512_dpbf16_ps(sums[n], (__m512bh)x0, lowered(_mm512_unpacklo_epi8(lows, highs),
                                                                     _mm512_unpacklo_epi8(dealt, dealt), by));
            if (taken >> 32)
                sums[n] = _mm512_dpbf16_ps(sums[n], (__m512bh)x1, lowered(_mm512_unpackhi_epi8(lows, highs),
                                                                         _mm512_unpackhi_epi8(dealt, dealt), by + 2));
        }
        _mm_prefetch(next + ROWS * 64, _MM_HINT_T0);
    }
}

ON_BLOCKS static void dots_of_4(const word *x, const uint8_t *rows, Py_ssize_t k, const uint32_t *lower, __m512 *sums) {
    const __m512i table = _mm512_loadu_si512(tables.both);
    const __m512i spread = _mm512_set1_epi64(NIBBLES);
    Py_ssize_t blocks = k / SHARE, bytes = block_row_bytes(k, 4);
    const char *next = (const char *)rows + ROWS * bytes;
    for (Py_ssize_t at = 0; at < k; at += 32, next += ROWS * 18) {
        __m512i x0 = _mm512_loadu_si512(x + at);
        UNROLL for (int n = 0; n < ROWS; n++) {
            __m512i pairs = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)(rows + n * bytes + blocks + at / 2)));
            __m512i nibbles = _mm512_multishift_epi64_epi8(spread, pairs);
            const uint32_t *by = lower + n * (blocks + 2) + at / SHARE;
            sums[n] = _mm512_dpbf16_ps(sums[n], (__m512bh)x0, lowered(_mm512_permutexvar_epi16(nibbles, table), nibbles, by));
        }
        _mm_prefetch(next, _MM_HINT_T0), _mm_prefetch(next + 63, _MM_HINT_T0);
    }
}

ON_BLOCKS static void dots(const word *x, const uint8_t *rows, Py_ssize_t k, int bits, uint32_t *spare, float *lanes) {
    Py_ssize_t blocks = k / SHARE;
    __m512 sums[ROWS];
    for (int n = 0; n < ROWS; n++) {
        lower_exponents(rows + n * block_row_bytes(k, bits), spare + n * (blocks + 2), blocks);
        sums[n] = _mm512_setzero_ps();
    }
    if (bits == 8) dots_of_8(x, rows, k, spare, sums);
    else dots_of_4(x, rows, k, spare, sums);
    for (int n = 0; n < ROWS; n++) _mm512_storeu_ps(lanes + n * LANES, sums[n]);
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

int block_dots(const word *x, const uint8_t *rows, Py_ssize_t k, int bits, uint32_t *spare, float *out) {
#if X86
    float lanes[ROWS * LANES];
    if (!has_vbmi() || k % 32) return 0;
    dots(x, rows, k, bits, spare, lanes);
    for (int n = 0; n < ROWS; n++) out[n] = add_lanes(lanes + n * LANES);
    return 1;
#else
    return (void)x, (void)rows, (void)k, (void)bits, (void)spare, (void)out, 0;
#endif
}

void prepare_blocks(void) {
#if X86
    make_tables();
#endif
}
