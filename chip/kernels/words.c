/* Dot products of rows of words, a tile of them at a time: rows of x, packed into panels, against rows of w as they lie.
 *
 * Rows of w are contiguous along K, which is what vdpbf16ps takes: no packing of weights. Without that instruction its
 * steps are done one by one, with the same roundings: fused, the odd element of a pair first, denormals as zeros (the
 * callers see to the last, by flush_denormals).
 */
#include "loops.h"

static size_t step_bytes(void) { return isa == AVX512BF16 ? STEP * 2 : STEP * 4; } /* of one row of a panel */

size_t panel_bytes(Py_ssize_t rows, Py_ssize_t steps) { return (size_t)(rows * steps) * step_bytes(); }

/* Rows [rows, k] of x as a panel, zeros after k: words for vdpbf16ps, elsewhere float32, odd elements before even ones. */
void pack_panel(const word *x, void *panel, Py_ssize_t rows, Py_ssize_t k) {
    char *out = panel;
    for (Py_ssize_t at = 0; at < k; at += STEP)
        for (Py_ssize_t row = 0; row < rows; row++, out += step_bytes()) {
            word words[STEP] = {0};
            const word *from = x + row * k + at;
            if (k - at < STEP) from = memcpy(words, from, (size_t)(k - at) * 2);
            if (isa == AVX512BF16) memcpy(out, from, STEP * 2);
            else
                for (int i = 0; i < LANES; i++) {
                    ((float *)out)[i] = widen_word(from[2 * i + 1]);
                    ((float *)out)[LANES + i] = widen_word(from[2 * i]);
                }
        }
}

static void tile_portable(const Tile *t, int rows) {
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < BLOCK_COLUMNS; n++) {
            float sums[LANES] = {0};
            const float *x = (const float *)t->x + m * STEP;
            const word *w = t->w[n];
            for (Py_ssize_t step = 0; step < t->steps; step++, x += rows * STEP, w += STEP)
                for (int odd = 1; odd >= 0; odd--)
                    for (int l = 0; l < LANES; l++)
                        sums[l] = fused_words(x[l + (1 - odd) * LANES], widen_word(w[2 * l + odd]), sums[l]);
            t->out[m * t->stride + n] = add_lanes(sums);
        }
}

#if X86
/* The sums over the lanes of two rows of four, each given as halves: lanes i and i+8 added. */
ON_AVX2 INLINE __m256 add_lanes_of_two_rows(const __m256 *row, const __m256 *other) {
    __m256 pairs[2];
    UNROLL for (int n = 0; n < 2; n++) {
        __m256 quarters[2];
        UNROLL for (int i = 0; i < 2; i++) {
            __m256 a = row[2 * n + i], b = other[2 * n + i];
            quarters[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
        }
        pairs[n] = _mm256_add_ps(_mm256_shuffle_ps(quarters[0], quarters[1], 0x44),
                                 _mm256_shuffle_ps(quarters[0], quarters[1], 0xee));
    }
    return _mm256_add_ps(_mm256_shuffle_ps(pairs[0], pairs[1], 0x88), _mm256_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

ON_AVX512 INLINE void clear_512(const int rows, __m512 sums[][BLOCK_COLUMNS]) {
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++) sums[m][n] = _mm512_setzero_ps();
}

/* A level of the tree for two vectors at once: half of either is kept, half moved, so that one sum holds both. */
ON_AVX512 INLINE __m512 halves_of(__m512 a, __m512 b) { /* i and i+8: a's below, b's above */
    return _mm512_add_ps(_mm512_mask_blend_ps(0xff00, a, b), _mm512_shuffle_f32x4(a, b, 0x4e));
}

ON_AVX512 INLINE __m512 quarters_of(__m512 a, __m512 b) { /* i and i+4: in each half, a's below, b's above */
    __m512 others = _mm512_mask_blend_ps(0xf0f0, b, a);
    return _mm512_add_ps(_mm512_mask_blend_ps(0xf0f0, a, b), _mm512_shuffle_f32x4(others, others, 0xb1));
}

ON_AVX512 INLINE __m512 pairs_of(__m512 a, __m512 b) { /* i and i+2: in each quarter */
    return _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, a, b), _mm512_shuffle_ps(a, b, 0x4e));
}

ON_AVX512 INLINE __m512 sums_of(__m512 a, __m512 b) { /* i and i+1: in each pair */
    __m512 others = _mm512_mask_blend_ps(0xaaaa, b, a);
    return _mm512_add_ps(_mm512_mask_blend_ps(0xaaaa, a, b), _mm512_permute_ps(others, 0xb1));
}

/* The sums of up to four rows, a row a quarter. */
ON_AVX512 INLINE __m512 four_rows_512(const int rows, __m512 sums[][BLOCK_COLUMNS]) {
    const int other = rows > 3 ? 3 : 1;
    __m512 quarters[BLOCK_COLUMNS];
    UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++)
        quarters[n] = quarters_of(halves_of(sums[0][n], sums[2][n]), halves_of(sums[1][n], sums[other][n]));
    return sums_of(pairs_of(quarters[0], quarters[2]), pairs_of(quarters[1], quarters[3]));
}

/* The same of one row or two: in half the steps, and put in order at the end. */
ON_AVX512 INLINE __m512 two_rows_512(const int rows, __m512 sums[][BLOCK_COLUMNS]) {
    __m512 halves[BLOCK_COLUMNS];
    UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++) halves[n] = halves_of(sums[0][n], sums[rows - 1][n]);
    __m512 pairs = pairs_of(quarters_of(halves[0], halves[1]), quarters_of(halves[2], halves[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 2, 6, 8, 12, 10, 14, 0, 4, 2, 6, 8, 12, 10, 14);
    return _mm512_permutexvar_ps(order, sums_of(pairs, pairs));
}

ON_AVX512 INLINE void store_sums_512(const Tile *t, const int rows, __m512 sums[][BLOCK_COLUMNS]) {
    UNROLL for (int m = 0; m < rows; m += 4) {
        float *out = t->out + m * t->stride;
        __m512 all = rows - m > 2 ? four_rows_512(rows - m, sums + m) : two_rows_512(rows - m, sums + m);
        _mm_storeu_ps(out, _mm512_castps512_ps128(all));
        if (rows - m > 1) _mm_storeu_ps(out + t->stride, _mm512_extractf32x4_ps(all, 1));
        if (rows - m > 2) _mm_storeu_ps(out + 2 * t->stride, _mm512_extractf32x4_ps(all, 2));
        if (rows - m > 3) _mm_storeu_ps(out + 3 * t->stride, _mm512_extractf32x4_ps(all, 3));
    }
}

ON_BF16 INLINE void rows_bf16(const Tile *t, const int rows) {
    __m512 sums[BLOCK_ROWS][BLOCK_COLUMNS];
    clear_512(rows, sums);
    const word *x = t->x;
    const char *next = t->next;
    for (Py_ssize_t at = 0; at < t->steps * STEP; at += STEP, x += rows * STEP) {
        __m512bh w[BLOCK_COLUMNS];
        UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++) w[n] = (__m512bh)_mm512_loadu_si512(t->w[n] + at);
        if (next) {
            for (int n = 0; n < t->lines; n++) _mm_prefetch(next + n * 64, _MM_HINT_T1);
            next += t->lines * 64;
        }
        UNROLL for (int m = 0; m < rows; m++) {
            __m512bh words = (__m512bh)_mm512_loadu_si512(x + m * STEP);
            UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++) sums[m][n] = _mm512_dpbf16_ps(sums[m][n], words, w[n]);
        }
    }
    store_sums_512(t, rows, sums);
}

/* The odd, or the even, elements of 16 pairs of words as float32. */
ON_AVX512 INLINE __m512 half_of_pairs_512(__m512i words, const int odd) {
    return _mm512_castsi512_ps(odd ? _mm512_and_si512(words, _mm512_set1_epi32((int)0xffff0000u))
                                   : _mm512_slli_epi32(words, 16));
}

ON_AVX512 INLINE void rows_512(const Tile *t, const int rows) {
    __m512 sums[BLOCK_ROWS][BLOCK_COLUMNS];
    clear_512(rows, sums);
    const float *x = t->x;
    for (Py_ssize_t at = 0; at < t->steps * STEP; at += STEP, x += rows * STEP)
        UNROLL for (int odd = 1; odd >= 0; odd--) {
            __m512 w[BLOCK_COLUMNS];
            UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++)
                w[n] = half_of_pairs_512(_mm512_loadu_si512(t->w[n] + at), odd);
            UNROLL for (int m = 0; m < rows; m++) {
                __m512 wide = _mm512_loadu_ps(x + m * STEP + (1 - odd) * LANES);
                UNROLL for (int n = 0; n < BLOCK_COLUMNS; n++) sums[m][n] = _mm512_fmadd_ps(wide, w[n], sums[m][n]);
            }
        }
    store_sums_512(t, rows, sums);
}

#define EACH_COUNT_OF_ROWS(rows_of)                                                                                         \
    switch (rows) {                                                                                                         \
    case 1: rows_of(t, 1); break;                                                                                           \
    case 2: rows_of(t, 2); break;                                                                                           \
    case 3: rows_of(t, 3); break;                                                                                           \
    case 4: rows_of(t, 4); break;                                                                                           \
    case 5: rows_of(t, 5); break;                                                                                           \
    default: rows_of(t, 6); break;                                                                                          \
    }
ON_BF16 static void tile_avx512bf16(const Tile *t, int rows) { EACH_COUNT_OF_ROWS(rows_bf16) }
ON_AVX512 static void tile_avx512(const Tile *t, int rows) { EACH_COUNT_OF_ROWS(rows_512) }

ON_AVX2 INLINE __m256 half_of_pairs_256(__m256i words, const int odd) {
    return _mm256_castsi256_ps(odd ? _mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000u))
                                   : _mm256_slli_epi32(words, 16));
}

/* Up to two rows from `first` against two columns, as lanes i + lanes i+8. */
ON_AVX2 INLINE void quad_256(const Tile *t, const int of, const int first, const int rows, const int column,
                             __m256 halves[2][4]) {
    __m256 sums[2][2][2];
    UNROLL for (int i = 0; i < 8; i++) sums[i / 4][i / 2 % 2][i % 2] = _mm256_setzero_ps();
    const float *x = (const float *)t->x + first * STEP;
    for (Py_ssize_t at = 0; at < t->steps * STEP; at += STEP, x += of * STEP)
        UNROLL for (int half = 0; half < 2; half++) {
            __m256i w0 = _mm256_loadu_si256((const void *)(t->w[column] + at + half * LANES));
            __m256i w1 = _mm256_loadu_si256((const void *)(t->w[column + 1] + at + half * LANES));
            UNROLL for (int odd = 1; odd >= 0; odd--) UNROLL for (int m = 0; m < rows; m++) {
                __m256 wide = _mm256_loadu_ps(x + m * STEP + (1 - odd) * LANES + half * 8);
                sums[m][0][half] = _mm256_fmadd_ps(wide, half_of_pairs_256(w0, odd), sums[m][0][half]);
                sums[m][1][half] = _mm256_fmadd_ps(wide, half_of_pairs_256(w1, odd), sums[m][1][half]);
            }
        }
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < 2; n++)
        halves[m][column + n] = _mm256_add_ps(sums[m][n][0], sums[m][n][1]);
}

ON_AVX2 static void tile_avx2(const Tile *t, int rows) {
    __m256 halves[2][4];
    for (int m = 0; m < rows; m += 2) {
        int two = m + 1 < rows;
        for (int column = 0; column < 4; column += 2) {
            if (two) quad_256(t, rows, m, 2, column, halves);
            else quad_256(t, rows, m, 1, column, halves);
        }
        __m256 both = add_lanes_of_two_rows(halves[0], halves[two]);
        _mm_storeu_ps(t->out + m * t->stride, _mm256_castps256_ps128(both));
        if (two) _mm_storeu_ps(t->out + (m + 1) * t->stride, _mm256_extractf128_ps(both, 1));
    }
}
#endif

void tile(const Tile *t, int rows) {
#if X86
    static void (*const versions[])(const Tile *, int) = {tile_portable, tile_avx2, tile_avx512, tile_avx512bf16};
    versions[isa](t, rows);
#else
    tile_portable(t, rows);
#endif
}
