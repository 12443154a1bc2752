/* What every file of the compiled core shares: words, lanes, instruction sets.
 *
 * bfloat16 numbers are stored as 16-bit words; every sum and product is float32. Each loop is written once, as plain C or
 * with one hand-written version for an instruction set, compiled for AVX-512 with BF16, AVX-512, AVX2 with FMA, and portable;
 * the best one the processor has is chosen when the module loads (`isa`).
 *
 * The order of every float32 sum is fixed, whatever the instruction set:
 *   - products of float32 numbers, and squares: lane i of 16 takes the elements i, i+16, i+32, ...;
 *   - products of words: lane i of 16 takes the pairs (2i, 2i+1), (32+2i, 32+2i+1), ..., the odd one of a pair first, each
 *     rounded once (fused), with denormals as zeros: what the instruction vdpbf16ps does;
 *   - the lanes are then added as a tree (i and i+8, then 4, 2, 1).
 * So a result is the same bits on every path, for one row or for a thousand. Exceptions: products of float32 are not fused
 * on an x86 without FMA (before 2013); a processor that is no x86 keeps denormals (not tested).
 * Contraction into FMA is off (-ffp-contract=off); where an FMA is meant, it is written.
 */
#ifndef MESHTWIN_LANES_H
#define MESHTWIN_LANES_H

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
#define ON_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define ON_BLOCKS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vbmi,avx2,fma")))
#define ON_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define ON_AVX2 __attribute__((target("avx2,fma")))
#else
#define X86 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline, unused))
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

enum { LANES = 16 };
enum { PORTABLE, AVX2, AVX512, AVX512BF16 };

extern int isa; /* the instruction set in use */

/* The loop `name`, from `name_body`, for each instruction set. */
#if X86
#define VERSIONS(name, parameters, arguments)                                                                               \
    ON_AVX512 static void name##_avx512 parameters { name##_body arguments; }                                               \
    ON_AVX2 static void name##_avx2 parameters { name##_body arguments; }                                                   \
    static void name##_portable parameters { name##_body arguments; }                                                       \
    void name parameters {                                                                                                  \
        static void (*const versions[]) parameters = {name##_portable, name##_avx2, name##_avx512, name##_avx512};          \
        versions[isa] arguments;                                                                                            \
    }
#else
#define VERSIONS(name, parameters, arguments)                                                                               \
    void name parameters { name##_body arguments; }
#endif

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

/* Denormals as zeros, in and out, until `restore_denormals`. Work between the two is called through a pointer, so that the
 * compiler moves none of it out. */
INLINE unsigned flush_denormals(void) {
#if X86
    unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u);
    return saved;
#else
    return 0;
#endif
}

INLINE void restore_denormals(unsigned saved) {
#if X86
    _mm_setcsr(saved);
#else
    (void)saved;
#endif
}

/* sum + a * b rounded once, a and b widened words. The product is exact in double, and double so much longer than float32
 * that rounding the sum twice rounds it as once would. */
INLINE float fused_words(float a, float b, float sum) { return (float)((double)a * (double)b + (double)sum); }

#endif
