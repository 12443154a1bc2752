/* Dot products of float32 rows with rows of words or float32: BLOCK_ROWS x BLOCK_COLUMNS of them at a time.
 *
 * out[m][n] = sum over k of x[m][k] * w[n][k], k < length (a multiple of LANES). The versions give the same bits.
 */
#include "loops.h"

static void dot_portable(Block *block, int rows) {
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < BLOCK_COLUMNS; n++) {
            float lanes[LANES] = {0};
            const float *x = block->x[m];
            for (Py_ssize_t k = 0; k < block->length; k += LANES)
                for (int l = 0; l < LANES; l++) {
                    float w = block->wide ? ((const float *)block->w[n])[k + l] : widen_word(((const word *)block->w[n])[k + l]);
                    lanes[l] = PORTABLE_FMA(x[k + l], w, lanes[l]);
                }
            block->out[m][n] = add_lanes(lanes);
        }
}

#if X86
ON_AVX512 INLINE __m512 load_512(const char *row, Py_ssize_t k, const int wide) {
    if (wide) return _mm512_loadu_ps((const float *)row + k);
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)((const word *)row + k)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

/* The tree over the lanes of four sums at once. */
ON_AVX2 INLINE void add_lanes_of_four(__m256 *halves, float *out) {
    __m128 quarter[4];
    UNROLL for (int n = 0; n < 4; n++)
        quarter[n] = _mm_add_ps(_mm256_castps256_ps128(halves[n]), _mm256_extractf128_ps(halves[n], 1));
    _MM_TRANSPOSE4_PS(quarter[0], quarter[1], quarter[2], quarter[3]);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(quarter[0], quarter[2]), _mm_add_ps(quarter[1], quarter[3])));
}

ON_AVX512 INLINE void store_sums_512(const __m512 *sums, float *out) {
    __m256 halves[4];
    UNROLL for (int n = 0; n < 4; n++)
        halves[n] = _mm256_add_ps(_mm512_castps512_ps256(sums[n]), _mm512_extractf32x8_ps(sums[n], 1));
    add_lanes_of_four(halves, out);
}

ON_AVX512 INLINE void block_512(Block *block, const int rows, const int wide) {
    __m512 sums[BLOCK_ROWS][4];
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < 4; n++) sums[m][n] = _mm512_setzero_ps();
    for (Py_ssize_t k = 0; k < block->length; k += LANES) {
        __m512 w[4];
        UNROLL for (int n = 0; n < 4; n++) w[n] = load_512(block->w[n], k, wide);
        UNROLL for (int m = 0; m < rows; m++) {
            __m512 x = _mm512_loadu_ps(block->x[m] + k);
            UNROLL for (int n = 0; n < 4; n++) sums[m][n] = _mm512_fmadd_ps(x, w[n], sums[m][n]);
        }
    }
    UNROLL for (int m = 0; m < rows; m++) store_sums_512(sums[m], block->out[m]);
}

/* One row of x: the rows of w one after the other, since memory is the limit: 1.7x block_512 on cold weights. */
ON_AVX512 INLINE void row_512(Block *block, const int wide) {
    __m512 sums[4];
    UNROLL for (int n = 0; n < 4; n++) {
        sums[n] = _mm512_setzero_ps();
        for (Py_ssize_t k = 0; k < block->length; k += LANES)
            sums[n] = _mm512_fmadd_ps(_mm512_loadu_ps(block->x[0] + k), load_512(block->w[n], k, wide), sums[n]);
    }
    store_sums_512(sums, block->out[0]);
}

ON_AVX512 static void dot_avx512(Block *block, int rows) {
    switch (rows * 2 + block->wide) {
    case 2: row_512(block, 0); break;
    case 3: row_512(block, 1); break;
    case 4: block_512(block, 2, 0); break;
    case 5: block_512(block, 2, 1); break;
    case 6: block_512(block, 3, 0); break;
    case 7: block_512(block, 3, 1); break;
    case 8: block_512(block, 4, 0); break;
    case 9: block_512(block, 4, 1); break;
    case 10: block_512(block, 5, 0); break;
    case 11: block_512(block, 5, 1); break;
    case 12: block_512(block, 6, 0); break;
    default: block_512(block, 6, 1); break;
    }
}

ON_AVX2 INLINE __m256 load_256(const char *row, Py_ssize_t k, const int wide) {
    if (wide) return _mm256_loadu_ps((const float *)row + k);
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)((const word *)row + k)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

/* Up to two rows of x against two rows of w: sums[m][n] holds lanes 0..7 and 8..15. */
ON_AVX2 INLINE void quad_256(Block *block, const int first, const int rows, const int column, __m256 halves[2][4],
                             const int wide) {
    __m256 sums[2][2][2];
    UNROLL for (int i = 0; i < 8; i++) sums[i / 4][i / 2 % 2][i % 2] = _mm256_setzero_ps();
    for (Py_ssize_t k = 0; k < block->length; k += LANES)
        UNROLL for (int half = 0; half < 2; half++) {
            __m256 w0 = load_256(block->w[column], k + 8 * half, wide);
            __m256 w1 = load_256(block->w[column + 1], k + 8 * half, wide);
            UNROLL for (int m = 0; m < rows; m++) {
                __m256 x = _mm256_loadu_ps(block->x[first + m] + k + 8 * half);
                sums[m][0][half] = _mm256_fmadd_ps(x, w0, sums[m][0][half]);
                sums[m][1][half] = _mm256_fmadd_ps(x, w1, sums[m][1][half]);
            }
        }
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < 2; n++)
        halves[m][column + n] = _mm256_add_ps(sums[m][n][0], sums[m][n][1]);
}

ON_AVX2 INLINE void rows_256(Block *block, const int first, const int rows, const int wide) {
    __m256 halves[2][4];
    quad_256(block, first, rows, 0, halves, wide);
    quad_256(block, first, rows, 2, halves, wide);
    UNROLL for (int m = 0; m < rows; m++) add_lanes_of_four(halves[m], block->out[first + m]);
}

ON_AVX2 static void dot_avx2(Block *block, int rows) {
    for (int m = 0; m + 1 < rows; m += 2) {
        if (block->wide) rows_256(block, m, 2, 1);
        else rows_256(block, m, 2, 0);
    }
    if (rows % 2) {
        if (block->wide) rows_256(block, rows - 1, 1, 1);
        else rows_256(block, rows - 1, 1, 0);
    }
}
#endif

void dot(Block *block, int rows) {
#if X86
    static void (*const versions[])(Block *, int) = {dot_portable, dot_avx2, dot_avx512, dot_avx512};
    versions[isa](block, rows);
#else
    dot_portable(block, rows);
#endif
}
