/* Number formats, compiled: float32 to and from bfloat16, float16, fp8_e4m3 and block floats.
 *
 * The same bits as plain.py, for any input bits: see there for what each function does. Loops are plain C, compiled for
 * AVX-512, AVX2 and portable; the best one the processor has is chosen when the module loads. All arithmetic is on integers,
 * or on floats that are exact, so the instruction set does not show.
 *
 * Results larger than the caches are first written to a small buffer, then past the caches: a line of memory that is written
 * as a whole need not be read before.
 *
 * Buffers must be C-contiguous; shapes are checked by the callers, sizes here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define X86 1
#if defined(__clang__)
#define ON_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#else
#define ON_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,prefer-vector-width=512")))
#endif
#define ON_AVX2 __attribute__((target("avx2")))
#else
#define X86 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
#else
#define INLINE static inline
#define ALIGNED
#endif

enum { BLOCK = 16, CHUNK = 1024 /* elements at a time, a multiple of BLOCK */, SMALL = 1 << 15 /* done with the GIL held */ };
enum { STREAM_BYTES = 8 << 20 /* results from this size on go past the caches */ };
enum { EVEN, AWAY, TWICE };
enum { OFFSET_A = 64 };

/* ---- one number ---------------------------------------------------------------------------------------------------- */

INLINE float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

INLINE uint16_t word_of(uint32_t bits) {
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* The exponent is moved by an addition; subnormals are put right by a subtraction of floats. */
INLINE uint32_t widen_half_word(uint16_t word) {
    uint32_t bits = (uint32_t)(word & 0x7fffu) << 13, exponent = bits & 0x0f800000u;
    uint32_t normal = bits + 0x38000000u;
    uint32_t tiny = bits_of(float_of(normal + 0x00800000u) - float_of(0x38800000u));
    uint32_t value = (exponent == 0x0f800000u ? normal + 0x38000000u : exponent ? normal : tiny) |
                     (uint32_t)(word & 0x8000u) << 16;
    return (bits > 0x0f800000u) ? 0x7fc00000u : value;
}

INLINE uint16_t half_word_of(uint32_t bits) {
    uint32_t sign = bits & 0x80000000u;
    bits ^= sign;
    uint32_t normal = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    uint32_t tiny = bits_of(float_of(bits) + 0.5f) - 0x3f000000u; /* 0.5: the last place is 2**-24 */
    uint32_t word = bits >= 0x47800000u ? 0x7c00u : bits < 0x38800000u ? tiny : normal;
    return (uint16_t)(bits > 0x7f800000u ? 0x7e00u : word | sign >> 16);
}

INLINE uint32_t widen_fp8_code(uint8_t code) {
    uint32_t magnitude = code & 0x7fu, sign = (uint32_t)(code & 0x80u) << 24;
    uint32_t tiny = bits_of((float)(int32_t)magnitude * 0x1p-9f);
    uint32_t normal = magnitude == 0x7fu ? 0x7fc00000u : (magnitude << 20) + (120u << 23);
    return (magnitude < 8 ? tiny : normal) | sign;
}

INLINE uint8_t fp8_code_of(uint32_t bits) {
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t rounded = (magnitude + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20;
    uint32_t code = (rounded < 0x43eu ? rounded : 0x43eu) - (120u << 3);
    code = magnitude < 121u << 23 ? 0 : code;
    return (uint8_t)(magnitude > 0x7f800000u ? 0x7fu : code | bits >> 31 << 7);
}

/* ---- loops over elements ---------------------------------------------------------------------------------------------- */

INLINE void widen_body(const void *from, void *to, Py_ssize_t n) {
    const uint16_t *x = from;
    uint32_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)x[i] << 16;
}

INLINE void round_words_body(const void *from, void *to, Py_ssize_t n) {
    const uint32_t *x = from;
    uint16_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = word_of(x[i]);
}

INLINE void widen_half_body(const void *from, void *to, Py_ssize_t n) {
    const uint16_t *x = from;
    uint32_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = widen_half_word(x[i]);
}

INLINE void round_half_body(const void *from, void *to, Py_ssize_t n) {
    const uint32_t *x = from;
    uint16_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = half_word_of(x[i]);
}

INLINE void widen_fp8_body(const void *from, void *to, Py_ssize_t n) {
    const uint8_t *x = from;
    uint32_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = widen_fp8_code(x[i]);
}

INLINE void round_fp8_body(const void *from, void *to, Py_ssize_t n) {
    const uint32_t *x = from;
    uint8_t *out = to;
    for (Py_ssize_t i = 0; i < n; i++) out[i] = fp8_code_of(x[i]);
}

/* ---- block floats ------------------------------------------------------------------------------------------------------- */

/* Float32 bits as the packer sees them: rounded to 8 exponent and 6 mantissa bits (TWICE), then cut to bfloat16. */
INLINE void packer_body(uint32_t *bits, Py_ssize_t n, int rounding) {
    for (Py_ssize_t i = 0; rounding == TWICE && i < n; i++) {
        uint32_t magnitude = bits[i] & 0x7fffffffu, rounded = (magnitude + (1u << 16)) & 0xfffe0000u;
        rounded = (rounded < 0x7f800000u ? rounded : 0x7f800000u) | (bits[i] & 0x80000000u);
        bits[i] = magnitude < 0x00800000u ? 0 : rounded;
    }
    for (Py_ssize_t i = 0; i < n; i++) bits[i] &= 0xffff0000u;
}

/* Exponents as 5 bits + OFFSET_A; zeros keep exponent 0. */
INLINE void exponent_a_body(uint32_t *bits, Py_ssize_t n, int rounding) {
    const uint32_t least = rounding == EVEN ? 0 : 112;
    for (Py_ssize_t i = 0; i < n; i++) {
        uint32_t exponent = bits[i] >> 23 & 255u, mantissa = bits[i] & 0x7fffffu;
        mantissa = exponent > 143 ? 0x7fffffu : exponent < 112 ? 0 : mantissa;
        uint32_t moved = (exponent > 143 ? 143 : exponent < 112 ? 112 : exponent) - (112 - OFFSET_A);
        bits[i] = (bits[i] & 0x80000000u) | (exponent > least ? moved : 0) << 23 | mantissa;
    }
}

/* Loops of this section run over up to CHUNK elements, not over blocks of 16: so compilers vectorise them. */

/* The larger exponent of each two. */
INLINE void larger(const uint32_t *restrict x, uint32_t *restrict out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) {
        uint32_t a = x[2 * i] & 0x7f800000u, b = x[2 * i + 1] & 0x7f800000u;
        out[i] = a > b ? a : b;
    }
}

/* Each number twice. (A loop over blocks that repeats 16 times comes out several times slower.) */
INLINE void twice(const uint32_t *restrict x, uint32_t *restrict out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[2 * i] = out[2 * i + 1] = x[i];
}

/* One number a block to one an element. */
INLINE void repeat(const uint32_t *restrict x, uint32_t *restrict out, Py_ssize_t blocks) {
    uint32_t twos[CHUNK / 8] ALIGNED, fours[CHUNK / 4] ALIGNED, eights[CHUNK / 2] ALIGNED;
    twice(x, twos, blocks);
    twice(twos, fours, blocks * 2);
    twice(fours, eights, blocks * 4);
    twice(eights, out, blocks * 8);
}

/* Signed magnitudes of so many bits as bytes, the first element lowest; bytes to elements and back. */
INLINE void join(const uint8_t *restrict one, uint8_t *restrict out, Py_ssize_t n, const int bits) {
    if (bits == 3)
        for (Py_ssize_t i = 0; i < n / 2; i++) out[i] = (uint8_t)(one[2 * i] | one[2 * i + 1] << 4);
    else
        for (Py_ssize_t i = 0; i < n / 4; i++) {
            uint32_t four;
            memcpy(&four, one + 4 * i, 4);
            out[i] = (uint8_t)(four | four >> 6 | four >> 12 | four >> 18);
        }
}

INLINE void split(const uint8_t *restrict x, uint8_t *restrict one, Py_ssize_t n, const int bits) {
    if (bits == 3)
        for (Py_ssize_t i = 0; i < n / 2; i++) {
            uint16_t two = (uint16_t)((x[i] & 15u) | (x[i] & 240u) << 4);
            memcpy(one + 2 * i, &two, 2);
        }
    else
        for (Py_ssize_t i = 0; i < n / 4; i++) {
            uint32_t four = (x[i] & 3u) | (x[i] & 12u) << 6 | (x[i] & 48u) << 12 | (x[i] & 192u) << 18;
            memcpy(one + 4 * i, &four, 4);
        }
}

/* Whole blocks of float32 bits; `bits` and `rounding` are constants where this is inlined. */
INLINE void quantise(const uint32_t *restrict x, uint8_t *restrict exponents, uint8_t *restrict out, Py_ssize_t blocks,
                     const int bits, const int rounding, uint32_t offset) {
    const int kept = rounding == EVEN ? bits : 7, dropped = 24 - kept;
    const uint32_t half = 1u << (dropped - 1), most = (1u << kept) - 1;
    uint32_t pairs[CHUNK / 2] ALIGNED, fours[CHUNK / 4] ALIGNED, eights[CHUNK / 8] ALIGNED, highest[CHUNK / BLOCK] ALIGNED;
    uint32_t repeated[CHUNK] ALIGNED;
    uint8_t bytes[CHUNK] ALIGNED, *one = bits == 7 ? out : bytes;
    larger(x, pairs, blocks * 8);
    larger(pairs, fours, blocks * 4);
    larger(fours, eights, blocks * 2);
    larger(eights, highest, blocks);
    for (Py_ssize_t b = 0; b < blocks; b++) {
        uint32_t exponent = highest[b] >> 23;
        exponents[b] = (uint8_t)(exponent > offset ? exponent - offset : 0);
    }
    repeat(highest, repeated, blocks);
    for (Py_ssize_t i = 0; i < blocks * BLOCK; i++) {
        uint32_t exponent = x[i] & 0x7f800000u, whole = exponent ? (x[i] & 0x7fffffu) | 0x800000u : 0;
        uint32_t down = (repeated[i] - exponent) >> 23;
        whole >>= down < 31 ? down : 31;
        uint32_t rounded = (rounding == EVEN ? whole + (half - 1) + (whole >> dropped & 1u) : whole + half) >> dropped;
        uint32_t magnitude = (rounded < most ? rounded : most) >> (kept - bits);
        one[i] = (uint8_t)(magnitude ? magnitude | x[i] >> 31 << bits : 0);
    }
    if (bits != 7) join(one, out, blocks * BLOCK, bits);
}

#define QUANTISE_ALL(one_kind)                                                                                             \
    switch (bits + (rounding == EVEN ? 0 : 8)) {                                                                            \
    case 7: one_kind(x, exponents, out, blocks, 7, EVEN, offset); break;                                                    \
    case 3: one_kind(x, exponents, out, blocks, 3, EVEN, offset); break;                                                    \
    case 1: one_kind(x, exponents, out, blocks, 1, EVEN, offset); break;                                                    \
    case 15: one_kind(x, exponents, out, blocks, 7, AWAY, offset); break;                                                   \
    case 11: one_kind(x, exponents, out, blocks, 3, AWAY, offset); break;                                                   \
    default: one_kind(x, exponents, out, blocks, 1, AWAY, offset);                                                          \
    }

/* Any exponent, one element at a time: beyond the normal numbers of float32. */
static uint32_t scaled_bits(uint32_t magnitude, int power) {
    uint32_t bits = bits_of((float)(int32_t)magnitude);
    int exponent = (int)(bits >> 23) + power;
    if (magnitude && exponent >= 1 && exponent <= 255) return (uint32_t)exponent << 23 | (bits & 0x7fffffu);
    return bits_of(ldexpf((float)(int32_t)magnitude, power));
}

/* Blocks whose numbers may lie beyond the normal ones of float32. `one`: the signed magnitudes, a byte each. */
static void expand_odd(const uint8_t *exponents, const uint8_t *one, void *to, Py_ssize_t blocks, int bits, int words, int up) {
    const uint32_t most = (1u << bits) - 1;
    for (Py_ssize_t b = 0; b < blocks; b++) {
        const int power = exponents[b] - up;
        if (power >= -126 && power + bits + 126 <= 254) continue;
        for (Py_ssize_t i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
            uint32_t value = scaled_bits(one[i] & most, power) | (uint32_t)one[i] >> bits << 31;
            if (words) ((uint16_t *)to)[i] = one[i] == most + 1 ? 0xff80u : word_of(value);
            else ((uint32_t *)to)[i] = value;
        }
    }
}

/* Whole blocks to float32 bits (or words); `bits` and `words` are constants where this is inlined. */
INLINE void expand(const uint8_t *restrict exponents, const uint8_t *restrict x, void *restrict to, Py_ssize_t blocks,
                   const int bits, const int words, int bias) {
    const uint32_t most = (1u << bits) - 1;
    const int up = bias + bits - 1;
    uint32_t *out = to, powers[CHUNK / BLOCK] ALIGNED, moves[CHUNK] ALIGNED;
    uint16_t *out_words = to;
    uint8_t bytes[CHUNK] ALIGNED;
    const uint8_t *one = bits == 7 ? x : bytes;
    if (bits != 7) split(x, bytes, blocks * BLOCK, bits);
    for (Py_ssize_t b = 0; b < blocks; b++) powers[b] = (uint32_t)(exponents[b] - up) << 23;
    repeat(powers, moves, blocks);
    for (Py_ssize_t i = 0; i < blocks * BLOCK; i++) {
        uint32_t magnitude = one[i] & most, sign = (uint32_t)(one[i] & (most + 1)) << (31 - bits);
        uint32_t moved = bits_of((float)(int32_t)magnitude) + moves[i];
        if (words) out_words[i] = (uint16_t)(magnitude ? (moved | sign) >> 16 : sign ? 0xff80u : 0);
        else out[i] = (magnitude ? moved : 0) | sign;
    }
    expand_odd(exponents, one, to, blocks, bits, words, up);
}

#define EXPAND_ALL(one_kind)                                                                                               \
    switch (bits + (words ? 8 : 0)) {                                                                                       \
    case 7: one_kind(exponents, x, out, blocks, 7, 0, bias); break;                                                         \
    case 3: one_kind(exponents, x, out, blocks, 3, 0, bias); break;                                                         \
    case 1: one_kind(exponents, x, out, blocks, 1, 0, bias); break;                                                         \
    case 15: one_kind(exponents, x, out, blocks, 7, 1, bias); break;                                                        \
    case 11: one_kind(exponents, x, out, blocks, 3, 1, bias); break;                                                        \
    default: one_kind(exponents, x, out, blocks, 1, 1, bias);                                                               \
    }

/* ---- the same by hand for AVX-512, a block to a vector ------------------------------------------------------------------------ */

#if X86
#define INLINE_AVX512 ON_AVX512 INLINE

INLINE_AVX512 __m512i highest_avx512(__m512i x) { /* in all lanes */
    x = _mm512_max_epu32(x, _mm512_shuffle_i64x2(x, x, 0x4e));
    x = _mm512_max_epu32(x, _mm512_shuffle_i64x2(x, x, 0xb1));
    x = _mm512_max_epu32(x, _mm512_shuffle_epi32(x, 0x4e));
    return _mm512_max_epu32(x, _mm512_shuffle_epi32(x, 0xb1));
}

/* 16 signed magnitudes to their bytes. */
INLINE_AVX512 uint8_t *store_avx512(__m512i one, uint8_t *out, const int bits) {
    if (bits == 7) return _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8(one)), out + 16;
    __m512i pairs = _mm512_or_si512(one, _mm512_srli_epi64(one, 32 - (bits + 1)));
    __m128i bytes = _mm512_cvtepi64_epi8(pairs);
    if (bits == 3) return _mm_storel_epi64((__m128i *)out, bytes), out + 8;
    bytes = _mm_cvtepi16_epi8(_mm_or_si128(bytes, _mm_srli_epi16(bytes, 4)));
    uint32_t fours = (uint32_t)_mm_cvtsi128_si32(bytes);
    return memcpy(out, &fours, 4), out + 4;
}

/* Bytes to 16 signed magnitudes. */
INLINE_AVX512 __m512i load_avx512(const uint8_t *x, const int bits) {
    if (bits == 7) return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
    if (bits == 3) {
        __m512i pairs = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)x));
        return _mm512_and_si512(_mm512_or_si512(pairs, _mm512_slli_epi64(pairs, 28)), _mm512_set1_epi32(15));
    }
    int32_t all;
    memcpy(&all, x, 4);
    const __m512i place = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32(all), place), _mm512_set1_epi32(3));
}

INLINE_AVX512 void quantise_by_hand(const uint32_t *x, uint8_t *exponents, uint8_t *out, Py_ssize_t blocks, const int bits,
                                    const int rounding, uint32_t offset) {
    const int kept = rounding == EVEN ? bits : 7, dropped = 24 - kept;
    const __m512i exponent_bits = _mm512_set1_epi32(0x7f800000), hidden = _mm512_set1_epi32(0x800000);
    const __m512i mantissa_bits = _mm512_set1_epi32(0x7fffff), one = _mm512_set1_epi32(1);
    const __m512i half = _mm512_set1_epi32((1 << (dropped - 1)) - (rounding == EVEN)), sign_bit = _mm512_set1_epi32(1 << bits);
    const __m512i most = _mm512_set1_epi32((1 << kept) - 1);
    for (Py_ssize_t b = 0; b < blocks; b++) {
        __m512i given = _mm512_loadu_si512(x + b * BLOCK), exponent = _mm512_and_si512(given, exponent_bits);
        __m512i highest = highest_avx512(exponent);
        uint32_t shared = (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(highest)) >> 23;
        exponents[b] = (uint8_t)(shared > offset ? shared - offset : 0);
        __m512i whole = _mm512_or_si512(_mm512_and_si512(given, mantissa_bits), hidden);
        whole = _mm512_maskz_mov_epi32(_mm512_test_epi32_mask(exponent, exponent), whole);
        whole = _mm512_srlv_epi32(whole, _mm512_srli_epi32(_mm512_sub_epi32(highest, exponent), 23));
        __m512i rounded = _mm512_add_epi32(whole, half);
        if (rounding == EVEN) rounded = _mm512_add_epi32(rounded, _mm512_and_si512(_mm512_srli_epi32(whole, dropped), one));
        __m512i magnitude = _mm512_min_epu32(_mm512_srli_epi32(rounded, dropped), most);
        magnitude = _mm512_srli_epi32(magnitude, kept - bits);
        __m512i sign = _mm512_and_si512(_mm512_srli_epi32(given, 31 - bits), sign_bit);
        out = store_avx512(_mm512_maskz_or_epi32(_mm512_test_epi32_mask(magnitude, magnitude), magnitude, sign), out, bits);
    }
}

/* Signed magnitudes of 3 bits or fewer to bfloat16 words, before exponents. */
INLINE_AVX512 __m512i word_table(const int bits) {
    uint16_t words[32] ALIGNED = {0};
    for (uint32_t i = 0; i < 2u << bits; i++) {
        uint32_t magnitude = i & ((1u << bits) - 1), sign = i >> bits << 15;
        words[i] = (uint16_t)(magnitude ? bits_of((float)(int32_t)magnitude) >> 16 | sign : sign ? 0xff80u : 0);
    }
    return _mm512_load_si512(words);
}

/* The signed magnitudes of two blocks, 16 bits each. */
INLINE_AVX512 __m512i load_pair(const uint8_t *x, const int bits) {
    if (bits == 3) {
        __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
        return _mm512_and_si512(_mm512_or_si512(pairs, _mm512_slli_epi32(pairs, 12)), _mm512_set1_epi32(0x000f000f));
    }
    int64_t all;
    memcpy(&all, x, 8);
    uint16_t part[32] ALIGNED, place[32] ALIGNED;
    for (int i = 0; i < 32; i++) part[i] = (uint16_t)(i / 8), place[i] = (uint16_t)(2 * (i % 8));
    __m512i eights = _mm512_permutexvar_epi16(_mm512_load_si512(part), _mm512_set1_epi64(all));
    return _mm512_and_si512(_mm512_srlv_epi16(eights, _mm512_load_si512(place)), _mm512_set1_epi16(3));
}

INLINE_AVX512 void expand_by_hand(const uint8_t *exponents, const uint8_t *x, void *to, Py_ssize_t blocks, const int bits,
                                  const int words, int bias) {
    const int up = bias + bits - 1;
    const __m512i most = _mm512_set1_epi32((1 << bits) - 1), sign_bit = _mm512_set1_epi32(1 << bits);
    const __m512i infinity = _mm512_set1_epi32((int)0xff800000u);
    int odd = 0;
    Py_ssize_t first = 0;
    if (words && bits != 7)
        for (const __m512i table = word_table(bits); first + 2 <= blocks; first += 2) {
            const int low = exponents[first] - up, high = exponents[first + 1] - up;
            odd |= low < -126 || low + bits + 126 > 254 || high < -126 || high + bits + 126 > 254;
            __m512i one = load_pair(x + first * 2 * (bits + 1), bits), word = _mm512_permutexvar_epi16(one, table);
            __m512i move = _mm512_inserti64x4(_mm512_set1_epi16((int16_t)(uint16_t)((uint32_t)low << 7)),
                                              _mm256_set1_epi16((int16_t)(uint16_t)((uint32_t)high << 7)), 1);
            __mmask32 some = _mm512_test_epi16_mask(one, _mm512_set1_epi16((1 << bits) - 1));
            _mm512_storeu_si512((uint16_t *)to + first * BLOCK, _mm512_mask_add_epi16(word, some, word, move));
        }
    for (Py_ssize_t b = first; b < blocks; b++) {
        const int power = exponents[b] - up;
        odd |= power < -126 || power + bits + 126 > 254;
        __m512i one = load_avx512(x + b * 2 * (bits + 1), bits), magnitude = _mm512_and_si512(one, most);
        __m512i moved = _mm512_castps_si512(_mm512_cvtepi32_ps(magnitude));
        moved = _mm512_add_epi32(moved, _mm512_set1_epi32((int)((uint32_t)power << 23)));
        __m512i sign = _mm512_slli_epi32(_mm512_and_si512(one, sign_bit), 31 - bits);
        __mmask16 some = _mm512_test_epi32_mask(magnitude, magnitude);
        __m512i value = _mm512_or_si512(_mm512_maskz_mov_epi32(some, moved), sign);
        if (words) {
            value = _mm512_mask_mov_epi32(value, _mm512_cmpeq_epi32_mask(one, sign_bit), infinity);
            _mm256_storeu_si256((__m256i *)((uint16_t *)to + b * BLOCK), _mm512_cvtepi32_epi16(_mm512_srli_epi32(value, 16)));
        } else _mm512_storeu_si512((uint32_t *)to + b * BLOCK, value);
    }
    if (odd) {
        uint8_t bytes[CHUNK];
        if (bits != 7) split(x, bytes, blocks * BLOCK, bits);
        expand_odd(exponents, bits == 7 ? x : bytes, to, blocks, bits, words, up);
    }
}
#endif

/* ---- each loop for each instruction set ------------------------------------------------------------------------------------ */

#if X86
#define EACH(name, parameters, arguments)                                                                                   \
    ON_AVX512 static void name##_avx512 parameters { name##_body arguments; }                                               \
    ON_AVX2 static void name##_avx2 parameters { name##_body arguments; }                                                   \
    static void name##_portable parameters { name##_body arguments; }                                                       \
    static void(*name) parameters = name##_portable;
#else
#define EACH(name, parameters, arguments)                                                                                   \
    static void name##_portable parameters { name##_body arguments; }                                                       \
    static void(*name) parameters = name##_portable;
#endif

typedef void (*Loop)(const void *, void *, Py_ssize_t);

EACH(widen, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(round_words, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(widen_half, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(round_half, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(widen_fp8, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(round_fp8, (const void *x, void *out, Py_ssize_t n), (x, out, n))
EACH(packer, (uint32_t *bits, Py_ssize_t n, int rounding), (bits, n, rounding))
EACH(exponent_a, (uint32_t *bits, Py_ssize_t n, int rounding), (bits, n, rounding))

#define QUANTISE_PARAMETERS                                                                                                 \
    (const uint32_t *x, uint8_t *exponents, uint8_t *out, Py_ssize_t blocks, int bits, int rounding, uint32_t offset)
#define EXPAND_PARAMETERS                                                                                                   \
    (const uint8_t *exponents, const uint8_t *x, void *out, Py_ssize_t blocks, int bits, int words, int bias)

#if X86
ON_AVX512 static void quantise_all_avx512 QUANTISE_PARAMETERS { QUANTISE_ALL(quantise_by_hand) }
ON_AVX512 static void expand_all_avx512 EXPAND_PARAMETERS { EXPAND_ALL(expand_by_hand) }
ON_AVX2 static void quantise_all_avx2 QUANTISE_PARAMETERS { QUANTISE_ALL(quantise) }
ON_AVX2 static void expand_all_avx2 EXPAND_PARAMETERS { EXPAND_ALL(expand) }
#endif
static void quantise_all_portable QUANTISE_PARAMETERS { QUANTISE_ALL(quantise) }
static void expand_all_portable EXPAND_PARAMETERS { EXPAND_ALL(expand) }
static void(*quantise_all) QUANTISE_PARAMETERS = quantise_all_portable;
static void(*expand_all) EXPAND_PARAMETERS = expand_all_portable;

static const char *instruction_set = "portable";

#define USE(isa)                                                                                                            \
    (widen = widen_##isa, round_words = round_words_##isa, widen_half = widen_half_##isa, round_half = round_half_##isa,    \
     widen_fp8 = widen_fp8_##isa, round_fp8 = round_fp8_##isa, packer = packer_##isa, exponent_a = exponent_a_##isa,        \
     quantise_all = quantise_all_##isa, expand_all = expand_all_##isa, instruction_set = #isa)

/* The best instruction set, or the one wanted; 0 where the processor lacks it. */
static int choose(const char *wanted) {
#if X86
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && (!wanted || !strcmp(wanted, "avx512"))) return USE(avx512), 1;
    if (avx2 && (!wanted || !strcmp(wanted, "avx2"))) return USE(avx2), 1;
#endif
    if (!wanted || !strcmp(wanted, "portable")) return USE(portable), 1;
    return 0;
}

/* ---- whole arrays ------------------------------------------------------------------------------------------------------------ */

/* Copy past the caches; both ends 16-byte aligned. */
static void stream(void *to, const void *from, Py_ssize_t num_bytes) {
#if X86
    Py_ssize_t at = 0;
    for (; at + 16 <= num_bytes; at += 16)
        _mm_stream_si128((__m128i *)((char *)to + at), _mm_load_si128((const __m128i *)((const char *)from + at)));
    memcpy((char *)to + at, (const char *)from + at, (size_t)(num_bytes - at));
#else
    memcpy(to, from, (size_t)num_bytes);
#endif
}

static int streams(const void *out, Py_ssize_t num_bytes) {
    return X86 && num_bytes >= STREAM_BYTES && (uintptr_t)out % 16 == 0;
}

static void end_of_stream(void) {
#if X86
    _mm_sfence();
#endif
}

static void each_element(Loop loop, const char *x, char *out, Py_ssize_t n, int in_size, int out_size) {
    if (!streams(out, n * out_size)) {
        loop(x, out, n);
        return;
    }
    char buffer[4 * CHUNK] ALIGNED;
    for (Py_ssize_t at = 0; at < n; at += CHUNK) {
        Py_ssize_t count = n - at < CHUNK ? n - at : CHUNK;
        loop(x + at * in_size, buffer, count);
        stream(out + at * out_size, buffer, count * out_size);
    }
    end_of_stream();
}

typedef struct {
    Py_ssize_t rows, length, blocks;
    int bits, is_a, words, rounding;
} Shape;

/* A row of float32 or words to a row of blocks, CHUNK elements at a time. */
static void pack_row(const Shape *shape, const char *x, uint8_t *out) {
    uint32_t buffer[CHUNK] ALIGNED;
    uint8_t *mantissas = out + shape->blocks;
    for (Py_ssize_t at = 0; at < shape->length; at += CHUNK) {
        Py_ssize_t count = shape->length - at < CHUNK ? shape->length - at : CHUNK, blocks = (count + BLOCK - 1) / BLOCK;
        const uint32_t *bits = (const uint32_t *)(const void *)(x + at * 4);
        if (shape->words || shape->is_a || shape->rounding != EVEN || count % BLOCK || (uintptr_t)x % 4) {
            memset(buffer + count, 0, (size_t)(blocks * BLOCK - count) * 4);
            if (shape->words) widen(x + at * 2, buffer, count);
            else memcpy(buffer, x + at * 4, (size_t)count * 4);
            if (shape->rounding != EVEN) packer(buffer, count, shape->rounding);
            if (shape->is_a) exponent_a(buffer, count, shape->rounding);
            bits = buffer;
        }
        quantise_all(bits, out + at / BLOCK, mantissas + at / BLOCK * 2 * (shape->bits + 1), blocks, shape->bits,
                     shape->rounding, shape->is_a ? OFFSET_A : 0);
    }
}

/* A row of blocks to float32 or words. */
static void unpack_row(const Shape *shape, const uint8_t *x, char *out, int streamed) {
    char buffer[4 * CHUNK] ALIGNED;
    const uint8_t *mantissas = x + shape->blocks;
    const int size = shape->words ? 2 : 4;
    for (Py_ssize_t at = 0; at < shape->length; at += CHUNK) {
        Py_ssize_t count = shape->length - at < CHUNK ? shape->length - at : CHUNK, blocks = (count + BLOCK - 1) / BLOCK;
        char *to = !streamed && count % BLOCK == 0 && (uintptr_t)out % 4 == 0 ? out + at * size : buffer;
        expand_all(x + at / BLOCK, mantissas + at / BLOCK * 2 * (shape->bits + 1), to, blocks, shape->bits, shape->words,
                   shape->is_a ? 15 : 127);
        if (to == buffer && streamed) stream(out + at * size, buffer, count * size);
        else if (to == buffer) memcpy(out + at * size, buffer, (size_t)(count * size));
    }
}

static void pack_all(const Shape *shape, const char *x, uint8_t *out) {
    Py_ssize_t row_bytes = shape->blocks * (1 + 2 * (shape->bits + 1));
    for (Py_ssize_t row = 0; row < shape->rows; row++)
        pack_row(shape, x + row * shape->length * (shape->words ? 2 : 4), out + row * row_bytes);
}

static void unpack_all(const Shape *shape, const uint8_t *x, char *out) {
    Py_ssize_t row_bytes = shape->blocks * (1 + 2 * (shape->bits + 1)), out_bytes = shape->length * (shape->words ? 2 : 4);
    int streamed = out_bytes % 16 == 0 && streams(out, shape->rows * out_bytes);
    for (Py_ssize_t row = 0; row < shape->rows; row++)
        unpack_row(shape, x + row * row_bytes, out + row * out_bytes, streamed);
    if (streamed) end_of_stream();
}

/* ---- Python ------------------------------------------------------------------------------------------------------------------ */

typedef struct {
    Py_buffer x, out;
} Buffers;

static int take(Buffers *buffers, PyObject *const *args) {
    if (PyObject_GetBuffer(args[0], &buffers->x, PyBUF_SIMPLE)) return 0;
    if (PyObject_GetBuffer(args[1], &buffers->out, PyBUF_WRITABLE)) return PyBuffer_Release(&buffers->x), 0;
    return 1;
}

static PyObject *finish(Buffers *buffers, int good) {
    PyBuffer_Release(&buffers->x);
    PyBuffer_Release(&buffers->out);
    if (!good) return NULL;
    Py_RETURN_NONE;
}

static int expect(Py_ssize_t got, Py_ssize_t wanted, const char *what) {
    if (got == wanted) return 1;
    PyErr_Format(PyExc_ValueError, "%s: %zd (expected %zd)", what, got, wanted);
    return 0;
}

#define RUN(elements, work)                                                                                                 \
    do {                                                                                                                    \
        PyThreadState *thread = (elements) > SMALL ? PyEval_SaveThread() : NULL;                                            \
        work;                                                                                                               \
        if (thread) PyEval_RestoreThread(thread);                                                                           \
    } while (0)

static PyObject *elements(PyObject *const *args, Py_ssize_t nargs, Loop loop, int in_size, int out_size) {
    Buffers b;
    if (!expect(nargs, 2, "arguments") || !take(&b, args)) return NULL;
    Py_ssize_t n = b.x.len / in_size;
    int good = expect(b.out.len, n * out_size, "bytes of out");
    if (good) RUN(n, each_element(loop, b.x.buf, b.out.buf, n, in_size, out_size));
    return finish(&b, good);
}

#define ELEMENTS(name, in_size, out_size)                                                                                   \
    static PyObject *py_##name(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {                        \
        return elements(args, nargs, name, in_size, out_size);                                                              \
    }
ELEMENTS(widen, 2, 4)
ELEMENTS(round_words, 4, 2)
ELEMENTS(widen_half, 2, 4)
ELEMENTS(round_half, 4, 2)
ELEMENTS(widen_fp8, 1, 4)
ELEMENTS(round_fp8, 4, 1)

/* Arguments 2 .. of pack_blocks and unpack_blocks: length, magnitude_bits, exponent_bias[, rounding]. */
static int read_shape(PyObject *const *args, int count, Shape *shape, Py_ssize_t packed_bytes, Py_ssize_t plain_bytes) {
    Py_ssize_t value[4] = {0, 0, 0, EVEN};
    for (int i = 0; i < count; i++) {
        value[i] = PyLong_AsSsize_t(args[i]);
        if (value[i] == -1 && PyErr_Occurred()) return 0;
    }
    shape->length = value[0], shape->bits = (int)value[1], shape->is_a = value[2] == 15, shape->rounding = (int)value[3];
    if (value[0] < 0 || (value[1] != 7 && value[1] != 3 && value[1] != 1) || (value[2] != 15 && value[2] != 127) ||
        value[3] < EVEN || value[3] > TWICE) {
        PyErr_SetString(PyExc_ValueError, "length >= 0, magnitude_bits 7, 3 or 1, exponent_bias 127 or 15, rounding 0 .. 2");
        return 0;
    }
    shape->blocks = (shape->length + BLOCK - 1) / BLOCK;
    Py_ssize_t row_bytes = shape->blocks * (1 + 2 * (shape->bits + 1));
    shape->rows = row_bytes ? packed_bytes / row_bytes : 0;
    shape->words = plain_bytes == shape->rows * shape->length * 2;
    return expect(packed_bytes, shape->rows * row_bytes, "bytes of blocks") &&
           expect(plain_bytes, shape->rows * shape->length * (shape->words ? 2 : 4), "bytes of numbers");
}

static PyObject *py_pack_blocks(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Shape shape;
    if (!expect(nargs, 6, "arguments") || !take(&b, args)) return NULL;
    int good = read_shape(args + 2, 4, &shape, b.out.len, b.x.len);
    if (good) RUN(shape.rows * shape.length, pack_all(&shape, b.x.buf, b.out.buf));
    return finish(&b, good);
}

static PyObject *py_unpack_blocks(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Shape shape;
    if (!expect(nargs, 5, "arguments") || !take(&b, args)) return NULL;
    int good = read_shape(args + 2, 3, &shape, b.x.len, b.out.len);
    if (good) RUN(shape.rows * shape.length, unpack_all(&shape, b.x.buf, b.out.buf));
    return finish(&b, good);
}

static PyObject *py_isa(PyObject *Py_UNUSED(self), PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs)) {
    return PyUnicode_FromString(instruction_set);
}

/* use_isa(name): for tests; ValueError where the processor lacks it. */
static PyObject *py_use_isa(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    if (!expect(nargs, 1, "arguments")) return NULL;
    const char *name = PyUnicode_AsUTF8(args[0]);
    if (!name) return NULL;
    if (!choose(name)) return PyErr_Format(PyExc_ValueError, "this processor has no %s", name);
    Py_RETURN_NONE;
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {METHOD(widen), METHOD(round_words), METHOD(widen_half), METHOD(round_half), METHOD(widen_fp8),
                                METHOD(round_fp8), METHOD(pack_blocks), METHOD(unpack_blocks), METHOD(isa), METHOD(use_isa),
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_convert", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__convert(void) {
    choose(NULL);
    return PyModule_Create(&module);
}
