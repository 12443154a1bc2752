/* Sums of tensors of several chips, block by block, in the order of a stack program: for direct.c.
 *
 * A program is a list of codes: m >= 0 pushes member m's block; COMBINE pops right (the top) and
 * left and pushes left OP right; ROUND rounds the top to the wire's dtype; DIVIDE divides it by the
 * number of members. bf16 and f16 are computed in f32 and rounded to nearest even at every step, to
 * the canonical NaN; integers wrap; f32 sums, products and means that are NaN become the canonical
 * quiet NaN, since a payload would depend on the processor. Minima and maxima pass a NaN on. One
 * single push copies the bits. Rounded to a block float, each 16 items from the start share an
 * exponent; what would then be too small for a normal f32 is zero.
 *
 * Each loop is plain C over blocks that stay in the first-level cache, compiled for AVX-512, AVX2 and
 * neither; no FMA is ever made of a product and a sum, so all give the same bits.
 */
#ifndef MESHTWIN_DIRECT_KERNELS_H
#define MESHTWIN_DIRECT_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#define ON_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,prefer-vector-width=512")))
#define ON_AVX2 __attribute__((target("avx2")))
#else
#define X86 0
#endif
#define INLINE static inline __attribute__((always_inline))

enum DType { F32, BF16, F16, I32, U32, I8, U8, NUM_DTYPES };
enum Op { SUM, MIN, MAX, PROD, NUM_OPS };
enum Wire { EXACT, WIRE_BF16, WIRE_F16, WIRE_BFP8, WIRE_BFP4, NUM_WIRES };
enum { COMBINE = -1, ROUND = -2, DIVIDE = -3, BLOCK = 2048, MAX_MEMBERS = 1024 };
enum { BLOCK_BYTES = BLOCK * 4, SHARING = 16 }; /* SHARING: items of a block float with one exponent */

static const int item_bytes[NUM_DTYPES] = {4, 2, 2, 4, 4, 1, 1};

typedef struct {
    int16_t *codes;
    int length, depth;
    int is_fold; /* ((m0 + m1) + m2) + ... of f32 or bf16 */
} Program;

typedef struct {
    enum DType dtype;
    enum Op op;
    enum Wire wire;
    int num_members;
} Format;

/* ------------------------------------------------------------------ one number */

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

INLINE float canonical(float value) {
    uint32_t bits = bits_of(value);
    return float_of((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits);
}

INLINE float widen_bf16(uint16_t word) { return float_of((uint32_t)word << 16); }

INLINE uint16_t narrow_bf16(float value) {
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* The exponent is moved by an addition; subnormals are put right by a subtraction of floats. */
INLINE float widen_f16(uint16_t word) {
    uint32_t bits = (uint32_t)(word & 0x7fffu) << 13, exponent = bits & 0x0f800000u;
    uint32_t normal = bits + 0x38000000u;
    uint32_t special = exponent == 0x0f800000u ? normal + 0x38000000u : normal;
    uint32_t tiny = bits_of(float_of(normal + 0x00800000u) - float_of(0x38800000u));
    return float_of((exponent ? special : tiny) | (uint32_t)(word & 0x8000u) << 16);
}

INLINE uint16_t narrow_f16(float value) {
    uint32_t bits = bits_of(value), sign = bits & 0x80000000u;
    bits ^= sign;
    uint32_t normal = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    uint32_t tiny = bits_of(float_of(bits) + 0.5f) - 0x3f000000u; /* 0.5: the last place is 2**-24 */
    uint32_t word = bits >= 0x47800000u ? 0x7c00u : bits < 0x38800000u ? tiny : normal;
    return (uint16_t)(bits > 0x7f800000u ? 0x7e00u : word | sign >> 16);
}

INLINE float load_f32(float stored) { return stored; }
INLINE float store_f32(float value) { return value; }
INLINE float as_bf16(float value) { return widen_bf16(narrow_bf16(value)); }
INLINE float as_f16(float value) { return widen_f16(narrow_f16(value)); }
INLINE float on_wire(float value, const int wire) {
    return wire == WIRE_BF16 ? as_bf16(value) : wire == WIRE_F16 ? as_f16(value) : value;
}

INLINE float float_op(float a, float b, const int op) {
    switch (op) {
    case SUM: return a + b;
    case PROD: return a * b;
    case MIN: return (a < b || a != a) ? a : b;
    default: return (a > b || a != a) ? a : b;
    }
}

INLINE float apply_f32(float a, float b, const int op) { return float_op(a, b, op); }
INLINE float apply_bf16(float a, float b, const int op) { return as_bf16(float_op(a, b, op)); }
INLINE float apply_f16(float a, float b, const int op) { return as_f16(float_op(a, b, op)); }
INLINE float round_f32(float value, const int wire) { return on_wire(value, wire); }
INLINE float round_bf16(float value, const int wire) { return as_bf16(on_wire(value, wire)); }
INLINE float round_f16(float value, const int wire) { return as_f16(on_wire(value, wire)); }

/* The larger exponent of each two; each number twice. (Loops over blocks of 16 come out several times slower.) */
INLINE void larger(const uint32_t *restrict x, uint32_t *restrict out, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t a = x[2 * i] & 0x7f800000u, b = x[2 * i + 1] & 0x7f800000u;
        out[i] = a > b ? a : b;
    }
}

INLINE void twice(const uint32_t *restrict x, uint32_t *restrict out, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) out[2 * i] = out[2 * i + 1] = x[i];
}

/* A magnitude of so many bits at the highest exponent of 16 numbers: chip/formats/convert.c packs and unpacks so. */
INLINE uint32_t shared_bits(uint32_t x, uint32_t highest, uint32_t bits) {
    const uint32_t dropped = 24 - bits, half = 1u << (dropped - 1), most = (1u << bits) - 1, exponent = x & 0x7f800000u;
    uint32_t whole = ((x & 0x7fffffu) | 0x800000u) & -(uint32_t)(exponent != 0), down = (highest - exponent) >> 23;
    whole >>= down < 31 ? down : 31;
    uint32_t rounded = (whole + (half - 1) + (whole >> dropped & 1u)) >> dropped;
    uint32_t magnitude = bits_of((float)(int32_t)(rounded < most ? rounded : most));
    int32_t moved = (int32_t)((magnitude >> 23) + (highest >> 23)) - (int32_t)(126 + bits);
    uint32_t result = (uint32_t)moved << 23 | (magnitude & 0x7fffffu) | (x & 0x80000000u);
    return result & -(uint32_t)(magnitude != 0) & -(uint32_t)(moved > 0);
}

/* n <= BLOCK numbers, in place or not. Many loops, as compilers vectorise none in place and none with branches. */
INLINE void share_f32(const float *in, float *out, ptrdiff_t n, const int wire) {
    uint32_t x[BLOCK + SHARING], highest[BLOCK], pairs[BLOCK / 2], fours[BLOCK / 4], eights[BLOCK / 8], blocks[BLOCK / 16];
    ptrdiff_t whole = (n + SHARING - 1) / SHARING * SHARING;
    for (ptrdiff_t i = 0; i < n; i++) x[i] = bits_of(canonical(in[i]));
    memset(x + n, 0, SHARING * 4);
    larger(x, pairs, whole / 2), larger(pairs, fours, whole / 4);
    larger(fours, eights, whole / 8), larger(eights, blocks, whole / 16);
    twice(blocks, eights, whole / 16), twice(eights, fours, whole / 8);
    twice(fours, pairs, whole / 4), twice(pairs, highest, whole / 2);
    const uint32_t bits = wire == WIRE_BFP8 ? 7 : 3;
    for (ptrdiff_t i = 0; i < n; i++) x[i] = shared_bits(x[i], highest[i], bits);
    for (ptrdiff_t i = 0; i < n; i++) out[i] = canonical(float_of(x[i]));
}

#define share_bf16 share_f32
#define share_f16 share_f32

#define INTEGER(kind, type, wrapping)                                                                                \
    INLINE type load_##kind(type stored) { return stored; }                                                          \
    INLINE type store_##kind(type value) { return value; }                                                           \
    INLINE type round_##kind(type value, const int wire) { return (void)wire, value; }                               \
    INLINE void share_##kind(const type *in, type *out, ptrdiff_t n, const int wire) {                               \
        (void)in, (void)out, (void)n, (void)wire; /* integers are not rounded */                                     \
    }                                                                                                                \
    INLINE type apply_##kind(type a, type b, const int op) {                                                         \
        switch (op) {                                                                                                \
        case SUM: return (type)((wrapping)a + (wrapping)b);                                                          \
        case PROD: return (type)((wrapping)a * (wrapping)b);                                                         \
        case MIN: return a < b ? a : b;                                                                              \
        default: return a > b ? a : b;                                                                               \
        }                                                                                                            \
    }
INTEGER(i32, int32_t, uint32_t)
INTEGER(u32, uint32_t, uint32_t)
INTEGER(i8, int8_t, uint32_t)
INTEGER(u8, uint8_t, uint32_t)

/* ------------------------------------------------------------------ one block */

/* A left fold of sums, by far the most frequent program: accumulators over all parts, four parts a pass. (For other
 * operations and dtypes the general way is fast enough, and each loop costs half a second of the compiler.) */
#define FOLD(kind, T, W)                                                                                             \
    INLINE void fold_##kind(const Program *p, const void *const *members, T *out, W *sum, ptrdiff_t n) {             \
        const T *parts[MAX_MEMBERS], *a = members[p->codes[0]], *b, *c, *d;                                          \
        int count = 1;                                                                                               \
        for (int step = 1; step < p->length; step += 2) parts[count++] = members[p->codes[step]];                    \
        int at = 1;                                                                                                  \
        if (count >= 4) {                                                                                            \
            b = parts[1], c = parts[2], d = parts[3], at = 4;                                                        \
            for (ptrdiff_t i = 0; i < n; i++) {                                                                      \
                W x = apply_##kind(load_##kind(a[i]), load_##kind(b[i]), SUM);                                       \
                sum[i] = apply_##kind(apply_##kind(x, load_##kind(c[i]), SUM), load_##kind(d[i]), SUM);              \
            }                                                                                                        \
        } else                                                                                                       \
            for (ptrdiff_t i = 0; i < n; i++) sum[i] = load_##kind(a[i]);                                            \
        for (; at + 3 < count; at += 4) {                                                                            \
            a = parts[at], b = parts[at + 1], c = parts[at + 2], d = parts[at + 3];                                  \
            for (ptrdiff_t i = 0; i < n; i++) {                                                                      \
                W x = apply_##kind(sum[i], load_##kind(a[i]), SUM);                                                  \
                x = apply_##kind(x, load_##kind(b[i]), SUM);                                                         \
                x = apply_##kind(x, load_##kind(c[i]), SUM);                                                         \
                sum[i] = apply_##kind(x, load_##kind(d[i]), SUM);                                                    \
            }                                                                                                        \
        }                                                                                                            \
        for (; at < count; at++) {                                                                                   \
            a = parts[at];                                                                                           \
            for (ptrdiff_t i = 0; i < n; i++) sum[i] = apply_##kind(sum[i], load_##kind(a[i]), SUM);                 \
        }                                                                                                            \
        if ((void *)out == (void *)sum) return;                                                                      \
        for (ptrdiff_t i = 0; i < n; i++) out[i] = store_##kind(sum[i]);                                             \
    }

/* The general program, for a dtype that is stored as `T` and computed as `W`. Where T is W, a push is a pointer to the
 * part itself. */
#define KIND(kind, T, W)                                                                                             \
    INLINE void combine_##kind(const W *left, const W *right, W *out, ptrdiff_t n, const int op) {                   \
        for (ptrdiff_t i = 0; i < n; i++) out[i] = apply_##kind(left[i], right[i], op);                              \
    }                                                                                                                \
    INLINE const W *push_##kind(const T *part, W *room, ptrdiff_t n) {                                               \
        if (sizeof(T) == sizeof(W)) return (const W *)(const void *)part;                                            \
        for (ptrdiff_t i = 0; i < n; i++) room[i] = load_##kind(part[i]);                                            \
        return room;                                                                                                 \
    }                                                                                                                \
    INLINE const W *stack_##kind(const Program *p, const Format *f, const T *const *parts, W *rooms, ptrdiff_t n) {  \
        const W *top[MAX_MEMBERS + 1];                                                                               \
        int depth = 0;                                                                                               \
        for (int step = 0; step < p->length; step++) {                                                               \
            int code = p->codes[step];                                                                               \
            if (code >= 0) {                                                                                         \
                top[depth] = push_##kind(parts[code], rooms + depth * BLOCK, n);                                     \
                depth++;                                                                                             \
                continue;                                                                                            \
            }                                                                                                        \
            if (code == COMBINE) depth--;                                                                            \
            W *room = rooms + (depth - 1) * BLOCK;                                                                   \
            const W *left = top[depth - 1], *right = top[depth];                                                     \
            if (code == COMBINE) BY_OP(f->op, combine_##kind, left, right, room, n)                                  \
            else if (code == DIVIDE)                                                                                 \
                for (ptrdiff_t i = 0; i < n; i++) room[i] = round_##kind((W)(left[i] / (W)f->num_members), EXACT);   \
            else if (f->wire >= WIRE_BFP8) share_##kind(left, room, n, f->wire);                                     \
            else if (f->wire == WIRE_BF16)                                                                           \
                for (ptrdiff_t i = 0; i < n; i++) room[i] = round_##kind(left[i], WIRE_BF16);                        \
            else                                                                                                     \
                for (ptrdiff_t i = 0; i < n; i++) room[i] = round_##kind(left[i], f->wire);                          \
            top[depth - 1] = room;                                                                                   \
        }                                                                                                            \
        return top[0];                                                                                               \
    }                                                                                                                \
    INLINE void reduce_##kind(const Program *p, const Format *f, const void *const *members, T *out, W *rooms,       \
                              ptrdiff_t n) {                                                                         \
        const W *sum = stack_##kind(p, f, (const T *const *)members, rooms, n);                                      \
        for (ptrdiff_t i = 0; i < n; i++) out[i] = store_##kind(sum[i]);                                             \
    }

#define BY_OP(op, function, ...)                                                                                     \
    switch (op) {                                                                                                    \
    case SUM: function(__VA_ARGS__, SUM); break;                                                                     \
    case MIN: function(__VA_ARGS__, MIN); break;                                                                     \
    case MAX: function(__VA_ARGS__, MAX); break;                                                                     \
    default: function(__VA_ARGS__, PROD); break;                                                                     \
    }

INLINE uint16_t store_bf16(float value) { return narrow_bf16(value); }
INLINE uint16_t store_f16(float value) { return narrow_f16(value); }
INLINE float load_bf16(uint16_t word) { return widen_bf16(word); }
INLINE float load_f16(uint16_t word) { return widen_f16(word); }

FOLD(f32, float, float)
FOLD(bf16, uint16_t, float)
KIND(f32, float, float)
KIND(bf16, uint16_t, float)
KIND(f16, uint16_t, float)
KIND(i32, int32_t, int32_t)
KIND(u32, uint32_t, uint32_t)
KIND(i8, int8_t, int8_t)
KIND(u8, uint8_t, uint8_t)

INLINE void reduce_body(const Program *p, const Format *f, const void *const *members, void *out, void *rooms,
                        ptrdiff_t n) {
    switch (f->dtype) {
    case F32:
        if (p->is_fold) fold_f32(p, members, out, out, n);
        else reduce_f32(p, f, members, out, rooms, n);
        if (f->op == SUM || f->op == PROD || p->codes[p->length - 1] == DIVIDE)
            for (ptrdiff_t i = 0; i < n; i++) ((float *)out)[i] = canonical(((float *)out)[i]);
        break;
    case BF16:
        if (p->is_fold) fold_bf16(p, members, out, rooms, n);
        else reduce_bf16(p, f, members, out, rooms, n);
        break;
    case F16: reduce_f16(p, f, members, out, rooms, n); break;
    case I32: reduce_i32(p, f, members, out, rooms, n); break;
    case U32: reduce_u32(p, f, members, out, rooms, n); break;
    case I8: reduce_i8(p, f, members, out, rooms, n); break;
    default: reduce_u8(p, f, members, out, rooms, n); break;
    }
}

/* One block of n <= BLOCK items: out = the program's result; `rooms` has BLOCK_BYTES for each level of the stack. */
#define PARAMETERS                                                                                                   \
    (const Program *p, const Format *f, const void *const *members, void *out, void *rooms, ptrdiff_t n)
static void reduce_portable PARAMETERS { reduce_body(p, f, members, out, rooms, n); }
static void(*reduce_block) PARAMETERS = reduce_portable;
#if X86
ON_AVX512 static void reduce_avx512 PARAMETERS { reduce_body(p, f, members, out, rooms, n); }
ON_AVX2 static void reduce_avx2 PARAMETERS { reduce_body(p, f, members, out, rooms, n); }
#endif

static const char *instruction_set = "portable";

/* Choose by name, or the best for NULL; 0 where the processor lacks it. */
static int choose(const char *wanted) {
#if X86
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && (!wanted || !strcmp(wanted, "avx512"))) return reduce_block = reduce_avx512, instruction_set = "avx512", 1;
    if (avx2 && (!wanted || !strcmp(wanted, "avx2"))) return reduce_block = reduce_avx2, instruction_set = "avx2", 1;
#endif
    if (wanted && strcmp(wanted, "portable")) return 0;
    return reduce_block = reduce_portable, instruction_set = "portable", 1;
}

/* ------------------------------------------------------------------ moving */

/* Copy past the caches: the reader is another core and the tensor large. Whole lines, so that none is read first. */
#if X86
ON_AVX512 static void stream_lines_avx512(char *to, const char *from, size_t num_lines) {
    for (size_t i = 0; i < num_lines; i++)
        _mm512_stream_si512((void *)(to + 64 * i), _mm512_loadu_si512((const void *)(from + 64 * i)));
}

static void stream_lines_portable(char *to, const char *from, size_t num_lines) {
    for (size_t i = 0; i < 4 * num_lines; i++)
        _mm_stream_si128((__m128i *)(to + 16 * i), _mm_loadu_si128((const __m128i *)(from + 16 * i)));
}
#endif

static void stream_bytes(char *to, const char *from, size_t num_bytes) {
#if X86
    size_t head = (size_t)(-(uintptr_t)to & 63);
    if (head > num_bytes) head = num_bytes;
    memcpy(to, from, head);
    to += head, from += head, num_bytes -= head;
    size_t lines = num_bytes / 64;
    if (reduce_block == reduce_avx512) stream_lines_avx512(to, from, lines);
    else stream_lines_portable(to, from, lines);
    to += 64 * lines, from += 64 * lines, num_bytes -= 64 * lines;
#endif
    memcpy(to, from, num_bytes);
}

static void end_of_stream(void) {
#if X86
    _mm_sfence();
#endif
}

#endif
