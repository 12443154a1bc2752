/* Conversions, element by element arithmetic on words, and folds. */
#include "loops.h"

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

VERSIONS(widen, (const word *x, float *out, Py_ssize_t n), (x, out, n))
VERSIONS(round_words, (const float *x, word *out, Py_ssize_t n), (x, out, n))
VERSIONS(add, (const word *a, const word *b, word *out, Py_ssize_t n), (a, b, out, n))
VERSIONS(mul, (const word *a, const word *b, word *out, Py_ssize_t n), (a, b, out, n))
VERSIONS(fold_float, (const float *const *parts, Py_ssize_t rows, float *out, Py_ssize_t n), (parts, rows, out, n))
VERSIONS(fold_word, (const word *const *parts, Py_ssize_t rows, word *out, Py_ssize_t n), (parts, rows, out, n))
