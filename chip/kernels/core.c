/* The hot loops of a chip, compiled: conversions, folds, products, norms, attention on bfloat16 words.
 *
 * bfloat16 numbers are stored as 16-bit words; every sum and product is float32. Each loop is written once, as plain C,
 * and compiled three times (AVX-512, AVX2+FMA, portable); the best one the processor has is chosen when the module loads.
 *
 * The order of every float32 sum is fixed: lane i of 16 takes the elements i, i+16, i+32, ..., and the lanes are added as a
 * tree (i and i+8, then 4, 2, 1). So a result is the same bits on AVX-512 and AVX2, for one row or for a thousand.
 * Only an x86 without FMA (before 2013) rounds products of `linear` and `attention` separately. (ARM has FMA and should give
 * the same bits as AVX; that is not tested.)
 * Contraction into FMA is off (ISO C mode of gcc, the pragma for clang); where an FMA is meant, it is written.
 *
 * plain.py holds the same functions in numpy; __init__.py picks. Buffers must be C-contiguous; shapes are checked by the
 * callers, sizes here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define X86 1
#define ON_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define ON_AVX2 __attribute__((target("avx2,fma")))
#else
#define X86 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 8")
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL
#endif

#if X86 || !defined(__FMA__) && !defined(__ARM_FEATURE_FMA) && !defined(__aarch64__)
#define PORTABLE_FMA(a, b, c) ((a) * (b) + (c))
#else
#define PORTABLE_FMA(a, b, c) fmaf(a, b, c)
#endif

typedef uint16_t word; /* a bfloat16 number */

enum { LANES = 16, BLOCK_ROWS = 6, BLOCK_COLUMNS = 4, SMALL = 1 << 15 /* elements worked on while holding the GIL */ };

/* ---- one number ---------------------------------------------------------------------------------------------------- */

INLINE float widen_word(word w) {
    uint32_t bits = (uint32_t)w << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Round to nearest, ties to even; every NaN becomes 0x7fc0 (as ttnn has it; and a sum's NaN payload would depend on the
 * order of its operands). */
INLINE word round_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (word)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

INLINE float canonical(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE float add_lanes(const float *lanes) { /* the tree over 16 lanes */
    float half[8], quarter[4];
    for (int i = 0; i < 8; i++) half[i] = lanes[i] + lanes[i + 8];
    for (int i = 0; i < 4; i++) quarter[i] = half[i] + half[i + 4];
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

/* e**x for x <= 0, within 2 units in the last place; below -87.3 it stays at 1.2e-38. NaN gives NaN. */
INLINE float exp_negative(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2**23: adding it rounds to an integer */
    x = x < -87.3f ? -87.3f : x;
    float shifted = x * 1.44269504f + magic, count = shifted - magic;
    float r = (x - count * 0.693359375f) + count * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    int32_t bits;
    uint32_t power;
    memcpy(&bits, &shifted, 4);
    power = ((uint32_t)(bits - 0x4b400000) + 127u) << 23;
    float scale;
    memcpy(&scale, &power, 4);
    return p * scale;
}

/* ---- loops over elements, compiled for each instruction set ---------------------------------------------------------- */

INLINE void widen_body(const word *x, float *out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = widen_word(x[i]);
}

INLINE void round_words_body(const float *x, word *out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = round_float(x[i]);
}

INLINE void add_body(const word *a, const word *b, word *out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = round_float(widen_word(a[i]) + widen_word(b[i]));
}

INLINE void mul_body(const word *a, const word *b, word *out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = round_float(widen_word(a[i]) * widen_word(b[i]));
}

enum { CHUNK = 512 };

INLINE void fold_float_body(const float *const *parts, Py_ssize_t rows, float *out, Py_ssize_t n) {
    float sum[CHUNK];
    for (Py_ssize_t at = 0; at < n; at += CHUNK) {
        Py_ssize_t len = n - at < CHUNK ? n - at : CHUNK;
        memcpy(sum, parts[0] + at, (size_t)len * 4);
        for (Py_ssize_t r = 1; r < rows; r++) {
            const float *part = parts[r] + at;
            for (Py_ssize_t i = 0; i < len; i++) sum[i] += part[i];
        }
        for (Py_ssize_t i = 0; i < len; i++) out[at + i] = canonical(sum[i]);
    }
}

INLINE void fold_word_body(const word *const *parts, Py_ssize_t rows, word *out, Py_ssize_t n) {
    float sum[CHUNK];
    for (Py_ssize_t at = 0; at < n; at += CHUNK) {
        Py_ssize_t len = n - at < CHUNK ? n - at : CHUNK;
        for (Py_ssize_t i = 0; i < len; i++) sum[i] = widen_word(parts[0][at + i]);
        for (Py_ssize_t r = 1; r < rows; r++) {
            const word *part = parts[r] + at;
            for (Py_ssize_t i = 0; i < len; i++) sum[i] = widen_word(round_float(sum[i] + widen_word(part[i])));
        }
        for (Py_ssize_t i = 0; i < len; i++) out[at + i] = round_float(sum[i]);
    }
}

INLINE void rms_norm_body(const word *x, const float *weight, float eps, word *out, Py_ssize_t rows, Py_ssize_t n) {
    for (Py_ssize_t r = 0; r < rows; r++, x += n, out += n) {
        float lanes[LANES] = {0};
        Py_ssize_t whole = n - n % LANES;
        for (Py_ssize_t i = 0; i < whole; i += LANES)
            for (int l = 0; l < LANES; l++) lanes[l] += widen_word(x[i + l]) * widen_word(x[i + l]);
        for (int l = 0; l < n - whole; l++) lanes[l] += widen_word(x[whole + l]) * widen_word(x[whole + l]);
        float scale = 1.0f / sqrtf(add_lanes(lanes) / (float)n + eps);
        for (Py_ssize_t i = 0; i < n; i++) out[i] = round_float(widen_word(x[i]) * scale * weight[i]);
    }
}

/* x and out [outer, positions, width]; cosine and sine [positions, width]. */
INLINE void rotary_body(const word *x, const float *cosine, const float *sine, word *out, Py_ssize_t outer,
                        Py_ssize_t positions, Py_ssize_t width) {
    Py_ssize_t half = width / 2;
    for (Py_ssize_t row = 0; row < outer * positions; row++, x += width, out += width) {
        const float *c = cosine + row % positions * width, *s = sine + row % positions * width;
        for (Py_ssize_t i = 0; i < half; i++)
            out[i] = round_float(widen_word(x[i]) * c[i] - widen_word(x[i + half]) * s[i]);
        for (Py_ssize_t i = half; i < width; i++)
            out[i] = round_float(widen_word(x[i]) * c[i] + widen_word(x[i - half]) * s[i]);
    }
}

/* scores[0..n) become softmax(scores * scale). */
INLINE void softmax_body(float *scores, Py_ssize_t n, float scale) {
    float top = -INFINITY, lanes[LANES] = {0};
    for (Py_ssize_t i = 0; i < n; i++) scores[i] *= scale;
    for (Py_ssize_t i = 0; i < n; i++) top = scores[i] > top ? scores[i] : top;
    for (Py_ssize_t i = 0; i < n; i++) scores[i] = exp_negative(scores[i] - top);
    Py_ssize_t whole = n - n % LANES;
    for (Py_ssize_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] += scores[i + l];
    for (int l = 0; l < n - whole; l++) lanes[l] += scores[whole + l];
    float share = 1.0f / add_lanes(lanes);
    for (Py_ssize_t i = 0; i < n; i++) scores[i] *= share;
}

/* out[i] += p * v[i] */
INLINE void axpy_body(float p, const word *v, float *out, Py_ssize_t n, const int fused) {
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = fused ? fmaf(p, widen_word(v[i]), out[i]) : PORTABLE_FMA(p, widen_word(v[i]), out[i]);
}

/* ---- dot products: BLOCK_ROWS x BLOCK_COLUMNS of them at a time -------------------------------------------------------- */

/* One block of dot products: out[m][n] = sum over k of x[m][k] * w[n][k], k < length (a multiple of LANES).
 * The three versions of it, and of its tail, give the same bits. */
typedef struct {
    const float *x[BLOCK_ROWS];    /* rows of x, float32 */
    const char *w[BLOCK_COLUMNS];  /* rows of w, words or float32 */
    Py_ssize_t length;
    int wide; /* w is float32 */
    float out[BLOCK_ROWS][BLOCK_COLUMNS];
} Block;

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

/* ---- the best version of each loop -------------------------------------------------------------------------------------- */

#if X86
#define VERSIONS(name, parameters, arguments)                                                                               \
    ON_AVX512 static void name##_avx512 parameters { name##_body arguments; }                                               \
    ON_AVX2 static void name##_avx2 parameters { name##_body arguments; }                                                   \
    static void name##_portable parameters { name##_body arguments; }                                                       \
    static void(*name) parameters = name##_portable;
#else
#define VERSIONS(name, parameters, arguments)                                                                               \
    static void name parameters { name##_body arguments; }
#endif

VERSIONS(widen, (const word *x, float *out, Py_ssize_t n), (x, out, n))
VERSIONS(round_words, (const float *x, word *out, Py_ssize_t n), (x, out, n))
VERSIONS(add, (const word *a, const word *b, word *out, Py_ssize_t n), (a, b, out, n))
VERSIONS(mul, (const word *a, const word *b, word *out, Py_ssize_t n), (a, b, out, n))
VERSIONS(fold_float, (const float *const *parts, Py_ssize_t rows, float *out, Py_ssize_t n), (parts, rows, out, n))
VERSIONS(fold_word, (const word *const *parts, Py_ssize_t rows, word *out, Py_ssize_t n), (parts, rows, out, n))
VERSIONS(rms_norm, (const word *x, const float *weight, float eps, word *out, Py_ssize_t rows, Py_ssize_t n),
         (x, weight, eps, out, rows, n))
VERSIONS(rotary, (const word *x, const float *c, const float *s, word *out, Py_ssize_t outer, Py_ssize_t positions,
                  Py_ssize_t width), (x, c, s, out, outer, positions, width))
VERSIONS(softmax, (float *scores, Py_ssize_t n, float scale), (scores, n, scale))

#if X86
ON_AVX512 static void axpy_avx512(float p, const word *v, float *out, Py_ssize_t n) { axpy_body(p, v, out, n, 1); }
ON_AVX2 static void axpy_avx2(float p, const word *v, float *out, Py_ssize_t n) { axpy_body(p, v, out, n, 1); }
#endif
static void axpy_portable(float p, const word *v, float *out, Py_ssize_t n) { axpy_body(p, v, out, n, 0); }
static void (*axpy)(float p, const word *v, float *out, Py_ssize_t n) = axpy_portable;
static void (*dot)(Block *block, int rows) = dot_portable;

static const char *instruction_set = "portable";

/* Choose by name; return 0 where the processor lacks it. */
static int choose(const char *wanted) {
#if X86
#define USE(isa)                                                                                                            \
    (widen = widen_##isa, round_words = round_words_##isa, add = add_##isa, mul = mul_##isa, fold_float = fold_float_##isa, \
     fold_word = fold_word_##isa, rms_norm = rms_norm_##isa, rotary = rotary_##isa, softmax = softmax_##isa,                \
     axpy = axpy_##isa, dot = dot_##isa, instruction_set = #isa)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && (!wanted || !strcmp(wanted, "avx512"))) return USE(avx512), 1;
    if (avx2 && (!wanted || !strcmp(wanted, "avx2"))) return USE(avx2), 1;
    if (!wanted || !strcmp(wanted, "portable")) return USE(portable), 1;
    return 0;
#else
    return !wanted || !strcmp(wanted, "portable");
#endif
}

/* ---- linear: out[M,N] = x[M,K] . w[N,K]^T + bias[N] ----------------------------------------------------------------------- */

typedef struct {
    const float *x;    /* [m, padded], zeros after k */
    const char *w;     /* [n, k] words or float32 */
    const float *bias; /* [n] or NULL */
    void *out;         /* [m, n] words or float32 */
    Py_ssize_t m, n, k, padded;
    int wide_w, wide_out;
} Linear;

static void store_block(const Linear *job, const Block *block, Py_ssize_t m, int rows, Py_ssize_t n, int columns) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            float value = block->out[i][j];
            if (job->bias) value += job->bias[n + j];
            Py_ssize_t at = (m + i) * job->n + n + j;
            if (job->wide_out) ((float *)job->out)[at] = canonical(value);
            else ((word *)job->out)[at] = round_float(value);
        }
}

/* Columns n .. n+3 of the rows first .. last. Rows of w whose length is no multiple of LANES are first copied to `spare`. */
static void linear_columns(const Linear *job, Py_ssize_t n, Py_ssize_t first, Py_ssize_t last, char *spare) {
    Block block = {.length = job->padded, .wide = job->wide_w};
    int columns = job->n - n < BLOCK_COLUMNS ? (int)(job->n - n) : BLOCK_COLUMNS;
    size_t item = job->wide_w ? 4 : 2;
    for (int j = 0; j < BLOCK_COLUMNS; j++) {
        const char *row = job->w + (size_t)(n + (j < columns ? j : 0)) * (size_t)job->k * item;
        if (spare) row = memcpy(spare + (size_t)j * (size_t)job->padded * item, row, (size_t)job->k * item);
        block.w[j] = row;
    }
    for (Py_ssize_t m = first; m < last; m += BLOCK_ROWS) {
        int rows = last - m < BLOCK_ROWS ? (int)(last - m) : BLOCK_ROWS;
        for (int i = 0; i < rows; i++) block.x[i] = job->x + (m + i) * job->padded;
        dot(&block, rows);
        store_block(job, &block, m, rows, n, columns);
    }
}

static void linear_run(const Linear *job, char *spare) {
    Py_ssize_t at_once = (256 * 1024 / 4) / (job->padded * BLOCK_ROWS) * BLOCK_ROWS; /* rows of x that stay in cache */
    if (at_once < BLOCK_ROWS) at_once = BLOCK_ROWS;
    for (Py_ssize_t first = 0; first < job->m; first += at_once) {
        Py_ssize_t last = first + at_once < job->m ? first + at_once : job->m;
        for (Py_ssize_t n = 0; n < job->n; n += BLOCK_COLUMNS) linear_columns(job, n, first, last, spare);
    }
}

/* ---- attention: causal, grouped heads --------------------------------------------------------------------------------------- */

typedef struct {
    const word *q, *k, *v; /* q [b, heads, s, h]; k, v [b, kv_heads, capacity, h] */
    word *out;             /* [b, heads, s, h] */
    Py_ssize_t b, heads, kv_heads, s, capacity, h, start;
    float scale;
} Attention;

/* Query rows first .. first+rows of one kv head; row r is position r % s of its head and sees keys 0 .. start + r % s.
 * scratch: rows * h (q), rows * h (sums), rows * (start + s + 3) (scores) floats. */
static void attend_rows(const Attention *job, const word *q, const word *k, const word *v, word *out, Py_ssize_t first,
                        int rows, float *scratch) {
    Py_ssize_t h = job->h, longest = 0, limit[BLOCK_ROWS], width = job->start + job->s + BLOCK_COLUMNS - 1;
    float *wide_q = scratch, *sums = wide_q + rows * h, *scores = sums + rows * h;
    Block block = {.length = h, .wide = 0};
    widen(q + first * h, wide_q, rows * h);
    memset(sums, 0, (size_t)(rows * h) * 4);
    for (int r = 0; r < rows; r++) {
        block.x[r] = wide_q + r * h;
        limit[r] = job->start + (first + r) % job->s + 1;
        longest = limit[r] > longest ? limit[r] : longest;
    }
    for (Py_ssize_t t = 0; t < longest; t += BLOCK_COLUMNS) {
        for (int j = 0; j < BLOCK_COLUMNS; j++) block.w[j] = (const char *)(k + (t + j < longest ? t + j : t) * h);
        dot(&block, rows);
        for (int r = 0; r < rows; r++) memcpy(scores + r * width + t, block.out[r], sizeof block.out[r]);
    }
    for (int r = 0; r < rows; r++) softmax(scores + r * width, limit[r], job->scale);
    for (Py_ssize_t t = 0; t < longest; t++)
        for (int r = 0; r < rows; r++)
            if (t < limit[r]) axpy(scores[r * width + t], v + t * h, sums + r * h, h);
    for (Py_ssize_t i = 0; i < rows * h; i++) out[first * h + i] = round_float(sums[i]);
}

static void attention_run(const Attention *job, float *scratch) {
    Py_ssize_t group_rows = job->heads / job->kv_heads * job->s, cache = job->capacity * job->h;
    for (Py_ssize_t head = 0; head < job->b * job->kv_heads; head++) {
        const word *q = job->q + head * group_rows * job->h;
        word *out = job->out + head * group_rows * job->h;
        for (Py_ssize_t first = 0; first < group_rows; first += BLOCK_ROWS) {
            int rows = group_rows - first < BLOCK_ROWS ? (int)(group_rows - first) : BLOCK_ROWS;
            attend_rows(job, q, job->k + head * cache, job->v + head * cache, out, first, rows, scratch);
        }
    }
}

/* ---- Python ------------------------------------------------------------------------------------------------------------------ */

enum { MOST_BUFFERS = 5 };

typedef struct {
    Py_buffer view[MOST_BUFFERS];
    int count;
} Buffers;

static void release(Buffers *buffers) {
    while (buffers->count) PyBuffer_Release(&buffers->view[--buffers->count]);
}

/* Take `count` buffers; the last of them is the output. */
static int take(Buffers *buffers, PyObject *const *args, int count) {
    buffers->count = 0;
    for (int i = 0; i < count; i++) {
        if (PyObject_GetBuffer(args[i], &buffers->view[i], i == count - 1 ? PyBUF_WRITABLE : PyBUF_SIMPLE)) {
            release(buffers);
            return 0;
        }
        buffers->count++;
    }
    return 1;
}

static int expect(Py_ssize_t got, Py_ssize_t wanted, const char *what) {
    if (got == wanted) return 1;
    PyErr_Format(PyExc_ValueError, "%s: %zd (expected %zd)", what, got, wanted);
    return 0;
}

/* Sizes from Python ints, all > 0. */
static int sizes(PyObject *const *args, int count, Py_ssize_t *out) {
    for (int i = 0; i < count; i++) {
        out[i] = PyLong_AsSsize_t(args[i]);
        if (out[i] == -1 && PyErr_Occurred()) return 0;
        if (out[i] < 0) return PyErr_Format(PyExc_ValueError, "a size (=%zd) must be >= 0", out[i]), 0;
    }
    return 1;
}

#define RUN(elements, work)                                                                                                 \
    do {                                                                                                                    \
        PyThreadState *thread = (elements) > SMALL ? PyEval_SaveThread() : NULL;                                            \
        work;                                                                                                               \
        if (thread) PyEval_RestoreThread(thread);                                                                           \
    } while (0)

static PyObject *finish(Buffers *buffers, int good) {
    release(buffers);
    if (!good) return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_widen(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    if (!expect(nargs, 2, "arguments") || !take(&b, args, 2)) return NULL;
    Py_ssize_t n = b.view[0].len / 2;
    int good = expect(b.view[1].len, n * 4, "bytes of out");
    if (good) RUN(n, widen(b.view[0].buf, b.view[1].buf, n));
    return finish(&b, good);
}

static PyObject *py_round_words(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    if (!expect(nargs, 2, "arguments") || !take(&b, args, 2)) return NULL;
    Py_ssize_t n = b.view[0].len / 4;
    int good = expect(b.view[1].len, n * 2, "bytes of out");
    if (good) RUN(n, round_words(b.view[0].buf, b.view[1].buf, n));
    return finish(&b, good);
}

static PyObject *binary(PyObject *const *args, Py_ssize_t nargs, void (*loop)(const word *, const word *, word *, Py_ssize_t)) {
    Buffers b;
    if (!expect(nargs, 3, "arguments") || !take(&b, args, 3)) return NULL;
    Py_ssize_t n = b.view[0].len / 2, period = b.view[1].len / 2;
    int good = expect(b.view[2].len, n * 2, "bytes of out") && expect(period ? n % period : n, 0, "elements left over");
    if (good)
        RUN(n, for (Py_ssize_t at = 0; at < n; at += period) loop((const word *)b.view[0].buf + at, b.view[1].buf,
                                                                  (word *)b.view[2].buf + at, period));
    return finish(&b, good);
}

static PyObject *py_add(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) { return binary(args, nargs, add); }
static PyObject *py_mul(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) { return binary(args, nargs, mul); }

static PyObject *py_lookup(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    if (!expect(nargs, 3, "arguments") || !take(&b, args, 3)) return NULL;
    const word *table = b.view[0].buf, *x = b.view[1].buf;
    word *out = b.view[2].buf;
    Py_ssize_t n = b.view[1].len / 2;
    int good = expect(b.view[0].len, 2 * 65536, "bytes of table") && expect(b.view[2].len, n * 2, "bytes of out");
    if (good) RUN(n, for (Py_ssize_t i = 0; i < n; i++) out[i] = table[x[i]]);
    return finish(&b, good);
}

/* fold(parts, out, wide): out = ((parts[0] + parts[1]) + parts[2]) + ... */
static PyObject *py_fold(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    if (!expect(nargs, 3, "arguments")) return NULL;
    int wide = PyObject_IsTrue(args[2]), good = wide >= 0;
    PyObject *parts = PySequence_Fast(args[0], "parts must be a sequence of arrays");
    if (!parts) return NULL;
    Py_ssize_t rows = PySequence_Fast_GET_SIZE(parts), held = 0;
    Py_buffer out, *views = PyMem_Calloc((size_t)rows + 1, sizeof(Py_buffer));
    const void **rows_of = PyMem_Calloc((size_t)rows + 1, sizeof(void *));
    if (!views || !rows_of) PyErr_NoMemory(), good = 0;
    else if (rows == 0) PyErr_SetString(PyExc_ValueError, "fold needs one part or more"), good = 0;
    if (good && PyObject_GetBuffer(args[1], &out, PyBUF_WRITABLE)) good = 0;
    else if (good) {
        for (; good && held < rows; held++) {
            if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(parts, held), &views[held], PyBUF_SIMPLE)) { good = 0; break; }
            rows_of[held] = views[held].buf;
            good = expect(views[held].len, out.len, "bytes of a part");
        }
        Py_ssize_t n = out.len / (wide ? 4 : 2);
        if (good && wide) RUN(n * rows, fold_float((const float *const *)rows_of, rows, out.buf, n));
        if (good && !wide) RUN(n * rows, fold_word((const word *const *)rows_of, rows, out.buf, n));
        PyBuffer_Release(&out);
    }
    while (held) PyBuffer_Release(&views[--held]);
    PyMem_Free(views);
    PyMem_Free(rows_of);
    Py_DECREF(parts);
    if (!good) return NULL;
    Py_RETURN_NONE;
}

/* rms_norm(x, weight, out, eps): words, float32 weight[n], words. */
static PyObject *py_rms_norm(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    if (!expect(nargs, 4, "arguments")) return NULL;
    double eps = PyFloat_AsDouble(args[3]);
    if ((eps == -1.0 && PyErr_Occurred()) || !take(&b, args, 3)) return NULL;
    Py_ssize_t n = b.view[1].len / 4, total = b.view[0].len / 2;
    int good = expect(b.view[2].len, total * 2, "bytes of out") && expect(n ? total % n : 1, 0, "elements left over");
    if (good) RUN(total, rms_norm(b.view[0].buf, b.view[1].buf, (float)eps, b.view[2].buf, total / n, n));
    return finish(&b, good);
}

/* rotary(x, cosine, sine, out, positions, width): words, float32 [positions, width] twice, words. */
static PyObject *py_rotary(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Py_ssize_t size[2];
    if (!expect(nargs, 6, "arguments") || !sizes(args + 4, 2, size) || !take(&b, args, 4)) return NULL;
    Py_ssize_t plane = size[0] * size[1], total = b.view[0].len / 2;
    int good = expect(b.view[3].len, total * 2, "bytes of out") && expect(plane ? total % plane : 1, 0, "elements left over") &&
               expect(b.view[1].len, plane * 4, "bytes of cosine") && expect(b.view[2].len, plane * 4, "bytes of sine");
    if (good)
        RUN(total, rotary(b.view[0].buf, b.view[1].buf, b.view[2].buf, b.view[3].buf, total / plane, size[0], size[1]));
    return finish(&b, good);
}

/* x as float32 rows padded with zeros to a multiple of LANES, in fresh memory. */
static float *padded_rows(const Py_buffer *x, int wide, Py_ssize_t m, Py_ssize_t k, Py_ssize_t padded) {
    float *rows = PyMem_RawCalloc((size_t)(m * padded), 4);
    for (Py_ssize_t i = 0; rows && i < m; i++) {
        if (wide) memcpy(rows + i * padded, (const float *)x->buf + i * k, (size_t)k * 4);
        else widen((const word *)x->buf + i * k, rows + i * padded, k);
    }
    return rows;
}

/* linear(x, w, bias or None, out, m, n, k): words or float32 each (known by size); bias float32. */
static PyObject *py_linear(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Py_ssize_t size[3];
    if (!expect(nargs, 7, "arguments") || !sizes(args + 4, 3, size)) return NULL;
    int biased = args[2] != Py_None;
    PyObject *three[4] = {args[0], args[1], biased ? args[2] : args[3], args[3]};
    if (!take(&b, three, biased ? 4 : 3)) return NULL;
    Py_buffer *out = &b.view[biased ? 3 : 2];
    Py_ssize_t m = size[0], n = size[1], k = size[2], padded = (k + LANES - 1) / LANES * LANES;
    int wide_x = b.view[0].len == m * k * 4, wide_w = b.view[1].len == n * k * 4, wide_out = out->len == m * n * 4;
    int good = expect(b.view[0].len, m * k * (wide_x ? 4 : 2), "bytes of x") &&
               expect(b.view[1].len, n * k * (wide_w ? 4 : 2), "bytes of weight") &&
               expect(out->len, m * n * (wide_out ? 4 : 2), "bytes of out") &&
               (!biased || expect(b.view[2].len, n * 4, "bytes of bias"));
    if (good && m > 0 && n > 0 && k > 0) {
        float *rows = wide_x && k == padded ? NULL : padded_rows(&b.view[0], wide_x, m, k, padded);
        char *spare = k == padded ? NULL : PyMem_RawCalloc((size_t)(BLOCK_COLUMNS * padded), 4);
        Linear job = {rows ? rows : b.view[0].buf, b.view[1].buf, biased ? b.view[2].buf : NULL, out->buf,
                      m, n, k, padded, wide_w, wide_out};
        if ((!rows && !(wide_x && k == padded)) || (!spare && k != padded)) PyErr_NoMemory(), good = 0;
        else RUN(m * n * k, linear_run(&job, spare));
        PyMem_RawFree(rows);
        PyMem_RawFree(spare);
    }
    return finish(&b, good);
}

/* attention(q, k, v, out, b, heads, kv_heads, s, capacity, h, start, scale); h a multiple of LANES. */
static PyObject *py_attention(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Py_ssize_t z[7];
    if (!expect(nargs, 12, "arguments") || !sizes(args + 4, 7, z)) return NULL;
    double scale = PyFloat_AsDouble(args[11]);
    if ((scale == -1.0 && PyErr_Occurred()) || !take(&b, args, 4)) return NULL;
    Attention job = {b.view[0].buf, b.view[1].buf, b.view[2].buf, b.view[3].buf, z[0], z[1], z[2], z[3], z[4], z[5], z[6],
                     (float)scale};
    int good = expect(z[2] ? z[1] % z[2] : 1, 0, "query heads left over") && expect(z[5] % LANES, 0, "head width beyond lanes") &&
               expect(z[6] + z[3] > z[4], 0, "positions beyond the cache") &&
               expect(b.view[0].len, z[0] * z[1] * z[3] * z[5] * 2, "bytes of q") &&
               expect(b.view[1].len, z[0] * z[2] * z[4] * z[5] * 2, "bytes of k") &&
               expect(b.view[2].len, b.view[1].len, "bytes of v") && expect(b.view[3].len, b.view[0].len, "bytes of out");
    if (good) {
        size_t floats = (size_t)(BLOCK_ROWS * (2 * job.h + job.start + job.s + BLOCK_COLUMNS));
        float *scratch = PyMem_RawMalloc(floats * 4);
        if (!scratch) PyErr_NoMemory(), good = 0;
        else RUN(job.b * job.heads * job.s * (job.start + job.s) * job.h, attention_run(&job, scratch));
        PyMem_RawFree(scratch);
    }
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
static PyMethodDef methods[] = {METHOD(widen), METHOD(round_words), METHOD(add), METHOD(mul), METHOD(lookup), METHOD(fold),
                                METHOD(rms_norm), METHOD(rotary), METHOD(linear), METHOD(attention), METHOD(isa),
                                METHOD(use_isa), {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void) {
    choose(NULL);
    return PyModule_Create(&module);
}
