/* Norms, rotary embedding and softmax: a row at a time. */
#include "loops.h"

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

/* (x - mean) / sqrt(variance + eps) * weight + bias */
INLINE void layer_norm_body(const word *x, const float *weight, const float *bias, float eps, word *out, Py_ssize_t rows,
                            Py_ssize_t n) {
    for (Py_ssize_t r = 0; r < rows; r++, x += n, out += n) {
        float sums[LANES] = {0}, squares[LANES] = {0};
        Py_ssize_t whole = n - n % LANES;
        for (Py_ssize_t i = 0; i < whole; i += LANES)
            for (int l = 0; l < LANES; l++) sums[l] += widen_word(x[i + l]);
        for (int l = 0; l < n - whole; l++) sums[l] += widen_word(x[whole + l]);
        float mean = add_lanes(sums) / (float)n;
        for (Py_ssize_t i = 0; i < whole; i += LANES)
            for (int l = 0; l < LANES; l++) squares[l] += (widen_word(x[i + l]) - mean) * (widen_word(x[i + l]) - mean);
        for (int l = 0; l < n - whole; l++)
            squares[l] += (widen_word(x[whole + l]) - mean) * (widen_word(x[whole + l]) - mean);
        float scale = 1.0f / sqrtf(add_lanes(squares) / (float)n + eps);
        for (Py_ssize_t i = 0; i < n; i++) out[i] = round_float((widen_word(x[i]) - mean) * scale * weight[i] + bias[i]);
    }
}

/* Pairs (i, i + width/2). x and out [outer, positions, width]; cosine and sine [positions, width]. */
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

/* Pairs (2i, 2i+1), as ttnn's rotary_embedding_llama has them. */
INLINE void rotary_pairs_body(const word *x, const float *cosine, const float *sine, word *out, Py_ssize_t outer,
                              Py_ssize_t positions, Py_ssize_t width) {
    for (Py_ssize_t row = 0; row < outer * positions; row++, x += width, out += width) {
        const float *c = cosine + row % positions * width, *s = sine + row % positions * width;
        for (Py_ssize_t i = 0; i < width; i += 2) {
            float even = widen_word(x[i]), odd = widen_word(x[i + 1]);
            out[i] = round_float(even * c[i] - odd * s[i]);
            out[i + 1] = round_float(odd * c[i + 1] + even * s[i + 1]);
        }
    }
}

/* e**x for x <= 0, within 2 units in the last place; below -87.3 it is 0. NaN gives NaN. */
INLINE float exp_negative(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2**23: adding it rounds to an integer */
    const float least = x < -87.3f ? 0.0f : 1.0f;
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
    return p * scale * least;
}

/* scores[0..n) become softmax(scores * scale). */
INLINE void softmax_body(float *scores, Py_ssize_t n, float scale) {
    float top = -INFINITY, tops[LANES], lanes[LANES] = {0};
    Py_ssize_t whole = n - n % LANES;
    for (int l = 0; l < LANES; l++) tops[l] = -INFINITY;
    for (Py_ssize_t i = 0; i < n; i++) scores[i] *= scale;
    for (Py_ssize_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) tops[l] = scores[i + l] > tops[l] ? scores[i + l] : tops[l];
    for (Py_ssize_t i = whole; i < n; i++) top = scores[i] > top ? scores[i] : top;
    for (int l = 0; l < LANES; l++) top = tops[l] > top ? tops[l] : top;
    for (Py_ssize_t i = 0; i < n; i++) scores[i] = exp_negative(scores[i] - top);
    for (Py_ssize_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] += scores[i + l];
    for (int l = 0; l < n - whole; l++) lanes[l] += scores[whole + l];
    float share = 1.0f / add_lanes(lanes);
    for (Py_ssize_t i = 0; i < n; i++) scores[i] *= share;
}

VERSIONS(rms_norm, (const word *x, const float *weight, float eps, word *out, Py_ssize_t rows, Py_ssize_t n),
         (x, weight, eps, out, rows, n))
VERSIONS(layer_norm, (const word *x, const float *weight, const float *bias, float eps, word *out, Py_ssize_t rows,
                      Py_ssize_t n),
         (x, weight, bias, eps, out, rows, n))
VERSIONS(rotary, (const word *x, const float *c, const float *s, word *out, Py_ssize_t outer, Py_ssize_t positions,
                  Py_ssize_t width), (x, c, s, out, outer, positions, width))
VERSIONS(rotary_pairs, (const word *x, const float *c, const float *s, word *out, Py_ssize_t outer, Py_ssize_t positions,
                        Py_ssize_t width), (x, c, s, out, outer, positions, width))
VERSIONS(softmax, (float *scores, Py_ssize_t n, float scale), (scores, n, scale))
