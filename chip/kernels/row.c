/* One row of x against rows of w as they lie, words or block floats: reading memory is the limit, or nearly so.
 *
 * Words: all rows in one loop with one load, which the processor's own prefetching follows: as fast as a plain read. (Four rows
 * side by side, four rows a call, and fetching ahead are all slower, by up to 2 where rows do not start at a cache line.)
 *
 * Block floats: tables give the words of signed magnitudes under one exponent. What a block's own exponent is short of it is
 * taken off the words of x, which changes no product, where every factor stays a normal number (`near`). Where not, as with a
 * zero in x, it is taken off the words of w, zeros kept (`far`); and rows with exponents under LEAST are unpacked. Elements lie
 * in registers as they come cheapest, x is dealt out to suit, and each product stays with its lane (lanes.h), wherever that
 * lies, until the last sum. Instructions are the limit: 4 cycles of an EPYC 9004 for 32 elements, of 8 and of 4 bits, where
 * words take 8. Rows side by side are no stream that the processor follows, so lines ahead are fetched; if rows are long to the
 * second-level cache, since in the first they crowd out x (up to 2x).
 */
#include "loops.h"

enum { SOME = 32, ROWS = 4, LEAST = 7 }; /* blocks whose exponents are prepared at a time; rows */
enum { SHORT = 2048, AHEAD = 6 << 10, FAR_AHEAD = 16 << 10 }; /* elements of a short row, bytes */

/* What x, x dealt out, a row of w and the shortfalls of ROWS of them take, each from a cache line's start. */
static size_t of_x(Py_ssize_t k) { return (size_t)(k * 2 + 63) / 64 * 64; }
static size_t of_lower(Py_ssize_t k) { return (size_t)(k / SHARE + SOME) * ROWS * 4; }

size_t row_bytes(Py_ssize_t k, int bits) { return 64 + of_x(k) + (bits ? 3 * of_x(k) + of_lower(k) : 0); }

int has_row(Py_ssize_t k, int bits) {
#if X86
    return isa == AVX512BF16 && (!bits || (k % STEP == 0 && has_vbmi()));
#else
    return (void)k, (void)bits, 0;
#endif
}

/* The exponents of blocks whose products with x may be scaled on x. */
static Range range_of(const word *x, Py_ssize_t k) {
    int least = 255, most = 0;
    for (Py_ssize_t i = 0; i < k; i++) {
        int exponent = x[i] >> 7 & 255;
        least = exponent < least ? exponent : least;
        most = exponent > most ? exponent : most;
    }
    Range range = {.top = 127, .least = 128 - least > LEAST ? 128 - least : LEAST, .most = 381 - most < 254 ? 381 - most : 254};
    if (least == 0 || most == 255) range.most = 0;
    return range;
}

void prepare_row(Row *r, const word *x, Py_ssize_t k, int bits, void *spare) {
    char *line = (char *)spare + 63 - ((uintptr_t)spare + 63) % 64;
    *r = (Row){.x = memcpy(line, x, (size_t)k * 2), .k = k, .bits = bits, .far = {.top = 255, .least = LEAST, .most = 255}};
    if (!bits) return;
    r->near = range_of(x, k);
    r->dealt = (word *)(line += of_x(k)), r->row = (word *)(line += 2 * of_x(k)), r->lower = (uint32_t *)(line + of_x(k));
    for (Py_ssize_t at = 0; bits == 8 && at < k; at += STEP)
        for (int part = 0; part < 8; part++) /* first halves of the two blocks, twice; second halves, twice */
            memcpy(r->dealt + 2 * at + part * 8, x + at + part / 4 * 8 + part % 2 * SHARE, 16);
}

#if X86
ON_AVX512 INLINE __m128 add_halves(__m256 both) {
    return _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
}

/* The last two sums of the tree: of 0 and 2, 1 and 3; then of these. */
ON_AVX512 INLINE float add_quarters(__m128 quarters) {
    __m128 pairs = _mm_add_ps(quarters, _mm_movehl_ps(quarters, quarters));
    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
}

ON_BF16 static void rows_of_words(const word *x, const word *w, Py_ssize_t k, Py_ssize_t n, float *out) {
    Py_ssize_t whole = k - k % STEP;
    __mmask32 rest = (1u << k % STEP) - 1;
    for (Py_ssize_t row = 0; row < n; row++, w += k) {
        __m512 sum = _mm512_setzero_ps();
        _Pragma("GCC unroll 1") for (Py_ssize_t at = 0; at < whole; at += STEP)
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(x + at), (__m512bh)_mm512_loadu_si512(w + at));
        if (rest)
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi16(rest, x + whole),
                                   (__m512bh)_mm512_maskz_loadu_epi16(rest, w + whole));
        out[row] = add_quarters(add_halves(_mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1))));
    }
}

/* What up to SOME exponents are short of the top, in the place of a word's exponent; *outside: one is outside the range. */
ON_BLOCKS INLINE __m512i shortfalls(const uint8_t *exponents, Py_ssize_t blocks, const Range *range, __mmask32 *outside) {
    __m256i least = _mm256_set1_epi8((char)range->least), most = _mm256_set1_epi8((char)range->most);
    __m256i bytes = _mm256_mask_loadu_epi8(least, blocks < SOME ? (1u << blocks) - 1 : ~0u, exponents);
    *outside |= _mm256_cmplt_epu8_mask(bytes, least) | _mm256_cmpgt_epu8_mask(bytes, most);
    return _mm512_slli_epi16(_mm512_sub_epi16(_mm512_set1_epi16((short)range->top), _mm512_cvtepu8_epi16(bytes)), 7);
}

/* Fetch two lines of what comes after the rows at hand, of which `at` bytes are done. */
ON_BLOCKS INLINE void fetch(const Row *r, const uint8_t *rows, Py_ssize_t at) {
    const char *next = (const char *)rows + at;
    if (r->k <= SHORT) _mm_prefetch(next + AHEAD, _MM_HINT_T0), _mm_prefetch(next + AHEAD + 63, _MM_HINT_T0);
    else _mm_prefetch(next + FAR_AHEAD, _MM_HINT_T1), _mm_prefetch(next + FAR_AHEAD + 63, _MM_HINT_T1);
}

/* Less `by`, where zeros stay zeros. */
ON_BLOCKS INLINE __m512i kept_512(__m512i words, __m512i by) { return _mm512_sub_epi16(_mm512_max_epu16(words, by), by); }
ON_BLOCKS INLINE __m256i kept_256(__m256i words, __m256i by) { return _mm256_sub_epi16(_mm256_max_epu16(words, by), by); }

/* Two rows of 8 bits. A step is 32 elements of one, then of the other; `lows` sums the first halves of their blocks, so lanes 0
 * to 3 and 8 to 11 of each row, `highs` the second halves. 0: an exponent is outside the range. */
ON_BLOCKS INLINE int pair_of_8(const Row *r, const Range *range, const int on_x, const uint8_t *const *rows, float *out) {
    const BlockTables *t = on_x ? &block_tables[0] : &block_tables[1];
    const __m512i low[2] = {_mm512_loadu_si512(t->low), _mm512_loadu_si512(t->low + 64)};
    const __m512i high[2] = {_mm512_loadu_si512(t->high), _mm512_loadu_si512(t->high + 64)};
    const __m512i deal = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i spread = _mm512_set_epi64(0x0706070607060706, 0x0706070607060706, 0x0504050405040504, 0x0504050405040504,
                                            0x0302030203020302, 0x0302030203020302, 0x0100010001000100, 0x0100010001000100);
    Py_ssize_t blocks = r->k / SHARE;
    __mmask32 outside = 0;
    for (Py_ssize_t at = 0; at < blocks; at += SOME) {
        __m512i one = shortfalls(rows[0] + at, blocks - at, range, &outside);
        __m512i other = shortfalls(rows[1] + at, blocks - at, range, &outside);
        _mm512_storeu_si512(r->lower + at, _mm512_permutex2var_epi32(one, deal, other));
        _mm512_storeu_si512(r->lower + at + 16,
                            _mm512_permutex2var_epi32(one, _mm512_add_epi32(deal, _mm512_set1_epi32(8)), other));
    }
    if (outside) return 0;
    __m512 lows = _mm512_setzero_ps(), highs = lows;
    const uint8_t *one = rows[0] + blocks, *other = rows[1] + blocks - STEP;
    const word *x = r->dealt;
    for (Py_ssize_t step = 0; step < blocks / 2; step++, one += STEP, other += STEP, x += 2 * STEP) {
        fetch(r, rows[0], step * 68);
        __m512i bytes = _mm512_mask_loadu_epi64(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)one)), 0xf0, other);
        __m512i foot = _mm512_permutex2var_epi8(low[0], bytes, low[1]);
        __m512i head = _mm512_permutex2var_epi8(high[0], bytes, high[1]);
        head = _mm512_ternarylogic_epi32(head, bytes, _mm512_set1_epi8(0x7f), 0xe0); /* head & (bytes | 0x7f): the sign */
        __m512i by = _mm512_shuffle_epi8(_mm512_set1_epi64(((const long long *)r->lower)[step]), spread);
        __m512i w0 = _mm512_unpacklo_epi8(foot, head), w1 = _mm512_unpackhi_epi8(foot, head);
        __m512i x0 = _mm512_loadu_si512(x), x1 = _mm512_loadu_si512(x + STEP);
        if (on_x) x0 = _mm512_sub_epi16(x0, by), x1 = _mm512_sub_epi16(x1, by);
        else w0 = kept_512(w0, by), w1 = kept_512(w1, by);
        lows = _mm512_dpbf16_ps(lows, (__m512bh)x0, (__m512bh)w0);
        highs = _mm512_dpbf16_ps(highs, (__m512bh)x1, (__m512bh)w1);
    }
    __m256 low_sums[2] = {_mm512_castps512_ps256(lows), _mm512_extractf32x8_ps(lows, 1)};
    __m256 high_sums[2] = {_mm512_castps512_ps256(highs), _mm512_extractf32x8_ps(highs, 1)};
    UNROLL for (int n = 0; n < 2; n++) out[n] = add_quarters(_mm_add_ps(add_halves(low_sums[n]), add_halves(high_sums[n])));
    return 1;
}

/* Four rows of 4 bits, a block of each at a time: lanes 0 to 7 of even blocks, 8 to 15 of odd ones. */
ON_BLOCKS INLINE int four_of_4(const Row *r, const Range *range, const int on_x, const uint8_t *const *rows, float *out) {
    const __m256i table = _mm256_loadu_si256((const void *)(on_x ? &block_tables[0] : &block_tables[1])->both);
    const __m256i nibbles = _mm256_set_epi64x(0x003c003800340030, 0x002c002800240020, 0x001c001800140010, 0x000c000800040000);
    Py_ssize_t blocks = r->k / SHARE, stride = blocks + SOME;
    __mmask32 outside = 0;
    for (int n = 0; n < ROWS; n++)
        for (Py_ssize_t at = 0; at < blocks; at += SOME) {
            __m512i by = shortfalls(rows[n] + at, blocks - at, range, &outside);
            for (int half = 0; half < 2 && at + half * 16 < blocks; half++) { /* as numbers of 32 bits: twice, less a borrow */
                __m512i wide = _mm512_cvtepi16_epi32(half ? _mm512_extracti64x4_epi64(by, 1) : _mm512_castsi512_si256(by));
                __m512i twice = _mm512_add_epi32(wide, _mm512_slli_epi32(wide, 16));
                _mm512_storeu_si512(r->lower + n * stride + at + half * 16, twice);
            }
        }
    if (outside) return 0;
    __m256 sums[ROWS][2];
    const long long *from[ROWS];
    UNROLL for (int n = 0; n < ROWS; n++) {
        sums[n][0] = sums[n][1] = _mm256_setzero_ps();
        from[n] = (const void *)(rows[n] + blocks);
    }
    for (Py_ssize_t block = 0; block < blocks; block += 2) {
        fetch(r, rows[0], block * ROWS * 9);
        UNROLL for (int odd = 0; odd < 2; odd++) {
            __m256i x = _mm256_loadu_si256((const void *)(r->x + (block + odd) * SHARE));
            UNROLL for (int n = 0; n < ROWS; n++) {
                __m256i by = _mm256_set1_epi32((int)r->lower[n * stride + block + odd]);
                __m256i places = _mm256_multishift_epi64_epi8(nibbles, _mm256_set1_epi64x(from[n][block + odd]));
                __m256i w = _mm256_permutexvar_epi16(places, table), scaled = on_x ? _mm256_sub_epi32(x, by) : x;
                if (!on_x) w = kept_256(w, by);
                sums[n][odd] = _mm256_dpbf16_ps(sums[n][odd], (__m256bh)scaled, (__m256bh)w);
            }
        }
    }
    UNROLL for (int n = 0; n < ROWS; n++) out[n] = add_quarters(add_halves(_mm256_add_ps(sums[n][0], sums[n][1])));
    return 1;
}

ON_BLOCKS static int near_8(const Row *r, const uint8_t *const *w, float *out) { return pair_of_8(r, &r->near, 1, w, out); }
ON_BLOCKS static int far_8(const Row *r, const uint8_t *const *w, float *out) { return pair_of_8(r, &r->far, 0, w, out); }
ON_BLOCKS static int near_4(const Row *r, const uint8_t *const *w, float *out) { return four_of_4(r, &r->near, 1, w, out); }
ON_BLOCKS static int far_4(const Row *r, const uint8_t *const *w, float *out) { return four_of_4(r, &r->far, 0, w, out); }

static void rows_of_blocks(const Row *r, const uint8_t *w, Py_ssize_t n, float *out) {
    Py_ssize_t bytes = block_row_bytes(r->k, r->bits), at_once = r->bits == 8 ? 2 : ROWS;
    for (Py_ssize_t first = 0; first < n; first += at_once) {
        const uint8_t *rows[ROWS];
        float sums[ROWS];
        Py_ssize_t count = n - first < at_once ? n - first : at_once;
        for (Py_ssize_t i = 0; i < at_once; i++) rows[i] = w + (first + (i < count ? i : 0)) * bytes;
        int done = r->bits == 8 ? near_8(r, rows, sums) || far_8(r, rows, sums) : near_4(r, rows, sums) || far_4(r, rows, sums);
        for (Py_ssize_t i = 0; !done && i < count; i++) {
            unpack_row(rows[i], r->row, r->k, r->bits);
            rows_of_words(r->x, r->row, r->k, 1, sums + i);
        }
        memcpy(out + first, sums, (size_t)count * 4);
    }
}
#endif

void row_dots(const Row *r, const void *w, Py_ssize_t n, float *out) {
#if X86
    if (r->bits) rows_of_blocks(r, w, n, out);
    else rows_of_words(r->x, w, r->k, n, out);
#else
    (void)r, (void)w, (void)n, (void)out;
#endif
}
