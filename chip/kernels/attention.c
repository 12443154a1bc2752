/* attention: causal, grouped heads; scores = q.k, softmax in float32, mixed = p.v.
 *
 * The keys of a head are packed once, 16 keys side by side (a pair of elements each), so that a score is a lane: its sum
 * goes over the pairs in their order, as products of words do (see lanes.h). The values are mixed key after key.
 */
#include "loops.h"

enum { QUERIES = 6 /* rows at a time */, GROUPS = 4 /* groups of 16 keys at a time */ };

/* keys [count, 2 * pairs] as [ceil(count / 16)][pairs][16] pairs; the lanes after the last key hold what they held. */
static void pack_keys(const word *keys, uint32_t *packed, Py_ssize_t count, Py_ssize_t pairs) {
    const char *from = (const char *)keys;
    for (Py_ssize_t key = 0; key < count; key++, from += pairs * 4) {
        uint32_t *out = packed + key / LANES * LANES * pairs + key % LANES;
        Py_ssize_t pair = 0;
#if X86
        if (key % 4 == 0 && key + 4 <= count) {
            for (; pair + 4 <= pairs; pair += 4) {
                __m128 rows[4];
                UNROLL for (int i = 0; i < 4; i++) rows[i] = _mm_loadu_ps((const float *)(from + (i * pairs + pair) * 4));
                _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
                UNROLL for (int i = 0; i < 4; i++) _mm_storeu_ps((float *)(out + (pair + i) * LANES), rows[i]);
            }
            for (; pair < pairs; pair++)
                for (int i = 0; i < 4; i++) memcpy(out + pair * LANES + i, from + (i * pairs + pair) * 4, 4);
            key += 3, from += pairs * 12;
            continue;
        }
#endif
        for (; pair < pairs; pair++) memcpy(out + pair * LANES, from + pair * 4, 4);
    }
}

/* scores[row * stride + key] of `rows` queries and groups * 16 keys. */
typedef struct {
    const word *q;
    const uint32_t *keys;
    Py_ssize_t pairs, groups, stride;
    float *scores;
} Scores;

INLINE void scores_body(const Scores *s, int rows, const int has_fma) {
    for (Py_ssize_t group = 0; group < s->groups; group++)
        for (int row = 0; row < rows; row++) {
            float sums[LANES] = {0};
            const word *q = s->q + row * s->pairs * 2;
            const uint32_t *keys = s->keys + group * s->pairs * LANES;
            for (Py_ssize_t pair = 0; pair < s->pairs; pair++, keys += LANES)
                for (int odd = 1; odd >= 0; odd--) {
                    float x = widen_word(q[2 * pair + odd]);
                    for (int l = 0; l < LANES; l++) {
                        float key = widen_word((word)(keys[l] >> 16 * odd));
                        sums[l] = has_fma ? fmaf(x, key, sums[l]) : fused_words(x, key, sums[l]);
                    }
                }
            memcpy(s->scores + row * s->stride + group * LANES, sums, sizeof sums);
        }
}

/* sums[row * h + i] = sum over t < count of p[row * stride + t] * v[t * h + i] */
typedef struct {
    const float *p;
    const word *v;
    Py_ssize_t stride, count, h;
    float *sums;
} Mix;

/* sums[i] += p * v[i] */
INLINE void axpy_body(float p, const word *v, float *sums, Py_ssize_t n, const int has_fma) {
    for (Py_ssize_t i = 0; i < n; i++)
        sums[i] = has_fma ? fmaf(p, widen_word(v[i]), sums[i]) : PORTABLE_FMA(p, widen_word(v[i]), sums[i]);
}

INLINE void mix_body(const Mix *mix, int rows, const int has_fma) {
    memset(mix->sums, 0, (size_t)(rows * mix->h) * 4);
    for (Py_ssize_t t = 0; t < mix->count; t++)
        for (int row = 0; row < rows; row++)
            axpy_body(mix->p[row * mix->stride + t], mix->v + t * mix->h, mix->sums + row * mix->h, mix->h, has_fma);
}

static void scores_portable(const Scores *s, int rows) { scores_body(s, rows, 0); }
static void mix_portable(const Mix *mix, int rows) { mix_body(mix, rows, 0); }
static void axpy_portable(float p, const word *v, float *sums, Py_ssize_t n) { axpy_body(p, v, sums, n, 0); }

#if X86
ON_AVX2 static void scores_avx2(const Scores *s, int rows) { scores_body(s, rows, 1); }
ON_AVX512 static void scores_avx512(const Scores *s, int rows) { scores_body(s, rows, 1); }
ON_AVX2 static void mix_avx2(const Mix *mix, int rows) { mix_body(mix, rows, 1); }
ON_AVX2 static void axpy_avx2(float p, const word *v, float *sums, Py_ssize_t n) { axpy_body(p, v, sums, n, 1); }

ON_BF16 INLINE void rows_of_scores(const Scores *s, Py_ssize_t group, const int rows, const int groups) {
    __m512 sums[QUERIES][GROUPS];
    const uint32_t *keys = s->keys + group * s->pairs * LANES;
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int g = 0; g < groups; g++) sums[m][g] = _mm512_setzero_ps();
    for (Py_ssize_t pair = 0; pair < s->pairs; pair++) {
        __m512bh key[GROUPS];
        UNROLL for (int g = 0; g < groups; g++)
            key[g] = (__m512bh)_mm512_loadu_si512(keys + (g * s->pairs + pair) * LANES);
        UNROLL for (int m = 0; m < rows; m++) {
            int32_t q;
            memcpy(&q, s->q + (m * s->pairs + pair) * 2, 4);
            UNROLL for (int g = 0; g < groups; g++)
                sums[m][g] = _mm512_dpbf16_ps(sums[m][g], (__m512bh)_mm512_set1_epi32(q), key[g]);
        }
    }
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int g = 0; g < groups; g++)
        _mm512_storeu_ps(s->scores + m * s->stride + (group + g) * LANES, sums[m][g]);
}

ON_BF16 INLINE void groups_of_scores(const Scores *s, const int rows) {
    Py_ssize_t group = 0;
    for (; group + GROUPS <= s->groups; group += GROUPS) rows_of_scores(s, group, rows, GROUPS);
    for (; group < s->groups; group++) rows_of_scores(s, group, rows, 1);
}

ON_AVX512 INLINE void columns_of_mix(const Mix *mix, Py_ssize_t column, const int rows, const int vectors) {
    __m512 sums[QUERIES][4];
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < vectors; n++) sums[m][n] = _mm512_setzero_ps();
    for (Py_ssize_t t = 0; t < mix->count; t++) {
        __m512 v[4];
        UNROLL for (int n = 0; n < vectors; n++) {
            __m256i words = _mm256_loadu_si256((const void *)(mix->v + t * mix->h + column + n * LANES));
            v[n] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
        }
        UNROLL for (int m = 0; m < rows; m++) {
            __m512 p = _mm512_set1_ps(mix->p[m * mix->stride + t]);
            UNROLL for (int n = 0; n < vectors; n++) sums[m][n] = _mm512_fmadd_ps(p, v[n], sums[m][n]);
        }
    }
    UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < vectors; n++)
        _mm512_storeu_ps(mix->sums + m * mix->h + column + n * LANES, sums[m][n]);
}

ON_AVX512 INLINE void rows_of_mix(const Mix *mix, const int rows) {
    Py_ssize_t column = 0;
    for (; column + 4 * LANES <= mix->h; column += 4 * LANES) columns_of_mix(mix, column, rows, 4);
    for (; column < mix->h; column += LANES) columns_of_mix(mix, column, rows, 1);
}

#define EACH_COUNT_OF_QUERIES(loop, job)                                                                                    \
    switch (rows) {                                                                                                         \
    case 1: loop(job, 1); break;                                                                                            \
    case 2: loop(job, 2); break;                                                                                            \
    case 3: loop(job, 3); break;                                                                                            \
    case 4: loop(job, 4); break;                                                                                            \
    case 5: loop(job, 5); break;                                                                                            \
    default: loop(job, 6); break;                                                                                           \
    }
ON_BF16 static void scores_avx512bf16(const Scores *s, int rows) { EACH_COUNT_OF_QUERIES(groups_of_scores, s) }
ON_AVX512 static void mix_avx512(const Mix *mix, int rows) { EACH_COUNT_OF_QUERIES(rows_of_mix, mix) }

static void (*const scores[])(const Scores *, int) = {scores_portable, scores_avx2, scores_avx512, scores_avx512bf16};
static void (*const mixes[])(const Mix *, int) = {mix_portable, mix_avx2, mix_avx512, mix_avx512};
static void (*const axpys[])(float, const word *, float *, Py_ssize_t) = {axpy_portable, axpy_avx2, axpy_avx2, axpy_avx2};
#else
static void (*const scores[])(const Scores *, int) = {scores_portable};
static void (*const mixes[])(const Mix *, int) = {mix_portable};
static void (*const axpys[])(float, const word *, float *, Py_ssize_t) = {axpy_portable};
#endif

/* Query rows first .. first+rows of one key-value head; row r is position r % s of its head and sees keys 0 .. start + r % s.
 * scratch: rows * h sums, then rows * stride scores. */
static void attend_rows(const Attention *job, const word *q, const uint32_t *keys, const word *v, word *out,
                        Py_ssize_t first, int rows, Py_ssize_t stride, float *scratch) {
    Py_ssize_t h = job->h, shortest = stride, longest = 0, limit[QUERIES];
    float *sums = scratch, *p = scratch + rows * h;
    for (int r = 0; r < rows; r++) {
        limit[r] = job->start + (first + r) % job->s + 1;
        longest = limit[r] > longest ? limit[r] : longest;
        shortest = limit[r] < shortest ? limit[r] : shortest;
    }
    Scores s = {q + first * h, keys, h / 2, (longest + LANES - 1) / LANES, stride, p};
    scores[isa](&s, rows);
    for (int r = 0; r < rows; r++) softmax(p + r * stride, limit[r], job->scale);
    Mix mix = {p, v, stride, shortest, h, sums};
    mixes[isa](&mix, rows);
    for (int r = 0; r < rows; r++)
        for (Py_ssize_t t = shortest; t < limit[r]; t++) axpys[isa](p[r * stride + t], v + t * h, sums + r * h, h);
    round_words(sums, out + first * h, rows * h);
}

int attention_run(const Attention *job) {
    Py_ssize_t group_rows = job->heads / (job->kv_heads ? job->kv_heads : 1) * job->s, cache = job->capacity * job->h;
    Py_ssize_t seen = job->start + job->s, stride = (seen + LANES - 1) / LANES * LANES;
    uint32_t *keys = PyMem_RawCalloc((size_t)(stride * job->h / 2) + 1, 4);
    float *scratch = PyMem_RawMalloc((size_t)(QUERIES * (job->h + stride)) * 4);
    int good = keys && scratch;
    unsigned saved = flush_denormals();
    for (Py_ssize_t head = 0; good && head < job->b * job->kv_heads; head++) {
        const word *q = job->q + head * group_rows * job->h;
        word *out = job->out + head * group_rows * job->h;
        pack_keys(job->k + head * cache, keys, seen, job->h / 2);
        for (Py_ssize_t first = 0; first < group_rows; first += QUERIES) {
            int rows = group_rows - first < QUERIES ? (int)(group_rows - first) : QUERIES;
            attend_rows(job, q, keys, job->v + head * cache, out, first, rows, stride, scratch);
        }
    }
    restore_denormals(saved);
    PyMem_RawFree(keys);
    PyMem_RawFree(scratch);
    return good;
}
