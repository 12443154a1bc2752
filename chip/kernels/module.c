/* The extension _core: arrays in, loops called, errors out.
 *
 * plain.py holds the same functions in numpy; __init__.py picks. Buffers must be C-contiguous; shapes are checked by the
 * callers, sizes here.
 */
#include "loops.h"

enum { SMALL = 1 << 15 /* elements worked on while holding the GIL */ };

int isa = PORTABLE;

static const char *const names[] = {"portable", "avx2", "avx512", "avx512bf16"};

/* Choose by name (NULL: the best); return 0 where the processor lacks it. */
static int choose(const char *wanted) {
    int has[4] = {1, 0, 0, 0};
#if X86
    __builtin_cpu_init();
    has[AVX2] = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    has[AVX512] = has[AVX2] && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    has[AVX512BF16] = has[AVX512] && __builtin_cpu_supports("avx512bf16");
#endif
    for (int i = AVX512BF16; i >= PORTABLE; i--)
        if (has[i] && (!wanted || !strcmp(wanted, names[i]))) return isa = i, 1;
    return 0;
}

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

/* layer_norm(x, weight, bias, out, eps): words, float32 [n] twice, words. */
static PyObject *py_layer_norm(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    if (!expect(nargs, 5, "arguments")) return NULL;
    double eps = PyFloat_AsDouble(args[4]);
    if ((eps == -1.0 && PyErr_Occurred()) || !take(&b, args, 4)) return NULL;
    Py_ssize_t n = b.view[1].len / 4, total = b.view[0].len / 2;
    int good = expect(b.view[3].len, total * 2, "bytes of out") && expect(n ? total % n : 1, 0, "elements left over") &&
               expect(b.view[2].len, n * 4, "bytes of bias");
    if (good)
        RUN(total, layer_norm(b.view[0].buf, b.view[1].buf, b.view[2].buf, (float)eps, b.view[3].buf, total / n, n));
    return finish(&b, good);
}

/* softmax(x, out, n): float32 rows of n, softmax of each. */
static PyObject *py_softmax(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Py_ssize_t n;
    if (!expect(nargs, 3, "arguments") || !sizes(args + 2, 1, &n) || !take(&b, args, 2)) return NULL;
    Py_ssize_t total = b.view[0].len / 4;
    float *out = b.view[1].buf;
    int good = expect(b.view[1].len, b.view[0].len, "bytes of out") && expect(n ? total % n : 1, 0, "elements left over");
    if (good) {
        memmove(out, b.view[0].buf, (size_t)b.view[0].len);
        RUN(total, for (Py_ssize_t at = 0; at < total; at += n) softmax(out + at, n, 1.0f));
    }
    return finish(&b, good);
}

/* rotary and rotary_pairs(x, cosine, sine, out, positions, width): words, float32 [positions, width] twice, words. */
static PyObject *rotate(PyObject *const *args, Py_ssize_t nargs, int pairs) {
    Buffers b;
    Py_ssize_t size[2];
    if (!expect(nargs, 6, "arguments") || !sizes(args + 4, 2, size) || !take(&b, args, 4)) return NULL;
    Py_ssize_t plane = size[0] * size[1], total = b.view[0].len / 2;
    int good = expect(b.view[3].len, total * 2, "bytes of out") && expect(plane ? total % plane : 1, 0, "elements left over") &&
               expect(b.view[1].len, plane * 4, "bytes of cosine") && expect(b.view[2].len, plane * 4, "bytes of sine") &&
               expect(size[1] % 2, 0, "elements of a row without a partner");
    if (good)
        RUN(total, (pairs ? rotary_pairs : rotary)(b.view[0].buf, b.view[1].buf, b.view[2].buf, b.view[3].buf,
                                                   total / plane, size[0], size[1]));
    return finish(&b, good);
}

static PyObject *py_rotary(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) { return rotate(args, nargs, 0); }
static PyObject *py_rotary_pairs(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    return rotate(args, nargs, 1);
}

/* What linear and linear_block share: x, w, bias or None, out, m, n, k; words or float32 each (known by size). */
static PyObject *product(PyObject *const *args, int bits, PyObject *const *shape) {
    Buffers b;
    Py_ssize_t size[3];
    if (!sizes(shape, 3, size)) return NULL;
    int biased = args[2] != Py_None;
    PyObject *four[4] = {args[0], args[1], biased ? args[2] : args[3], args[3]};
    if (!take(&b, four, biased ? 4 : 3)) return NULL;
    Py_buffer *out = &b.view[biased ? 3 : 2];
    Py_ssize_t m = size[0], n = size[1], k = size[2];
    int wide_x = b.view[0].len == m * k * 4, wide_w = !bits && b.view[1].len == n * k * 4, wide_out = out->len == m * n * 4;
    int good = expect(b.view[0].len, m * k * (wide_x ? 4 : 2), "bytes of x") &&
               expect(b.view[1].len, bits ? n * block_row_bytes(k, bits) : n * k * (wide_w ? 4 : 2), "bytes of weight") &&
               expect(out->len, m * n * (wide_out ? 4 : 2), "bytes of out") &&
               (!biased || expect(b.view[2].len, n * 4, "bytes of bias"));
    if (good && m > 0 && n > 0 && k > 0) {
        Linear job = {b.view[0].buf, b.view[1].buf, biased ? b.view[2].buf : NULL, out->buf, m, n, k, wide_x, wide_w, wide_out,
                      bits};
        RUN(m * n * k, good = linear_run(&job));
        if (!good) PyErr_NoMemory();
    }
    return finish(&b, good);
}

/* linear(x, w, bias or None, out, m, n, k) */
static PyObject *py_linear(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    return expect(nargs, 7, "arguments") ? product(args, 0, args + 4) : NULL;
}

/* linear_block(x, w, bits, bias or None, out, m, n, k): w block floats, bits 8 or 4 */
static PyObject *py_linear_block(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    if (!expect(nargs, 8, "arguments")) return NULL;
    long bits = PyLong_AsLong(args[2]);
    if (bits == -1 && PyErr_Occurred()) return NULL;
    if (bits != 4 && bits != 8) return PyErr_Format(PyExc_ValueError, "bits (=%ld): expected 8 or 4", bits);
    PyObject *four[4] = {args[0], args[1], args[3], args[4]};
    return product(four, (int)bits, args + 5);
}

/* unpack_blocks(blocks, out, bits): rows of block floats, as many as rows of out [rows, k]; k a multiple of 16. */
static PyObject *py_unpack_blocks(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs) {
    Buffers b;
    Py_ssize_t size[2];
    if (!expect(nargs, 4, "arguments") || !sizes(args + 2, 2, size) || !take(&b, args, 2)) return NULL;
    Py_ssize_t k = size[0], bits = size[1];
    int good = expect(bits == 8 || bits == 4, 1, "bits of 8 or 4") && expect(k > 0 ? k % 16 : 1, 0, "elements left over");
    Py_ssize_t rows = good ? b.view[1].len / 2 / k : 0;
    good = good && expect(b.view[1].len, rows * k * 2, "bytes of out") &&
           expect(b.view[0].len, rows * block_row_bytes(k, (int)bits), "bytes of blocks");
    if (good)
        RUN(rows * k, for (Py_ssize_t row = 0; row < rows; row++)
                          unpack_row((const uint8_t *)b.view[0].buf + row * block_row_bytes(k, (int)bits),
                                     (word *)b.view[1].buf + row * k, k, (int)bits));
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
        RUN(job.b * job.heads * job.s * (job.start + job.s) * job.h, good = attention_run(&job));
        if (!good) PyErr_NoMemory();
    }
    return finish(&b, good);
}

static PyObject *py_isa(PyObject *Py_UNUSED(self), PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs)) {
    return PyUnicode_FromString(names[isa]);
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
static PyMethodDef methods[] = {
    METHOD(widen),        METHOD(round_words), METHOD(add),          METHOD(mul),           METHOD(lookup), METHOD(fold),
    METHOD(rms_norm),     METHOD(layer_norm),  METHOD(rotary),       METHOD(rotary_pairs),  METHOD(softmax), METHOD(linear),
    METHOD(linear_block), METHOD(attention),   METHOD(isa),          METHOD(unpack_blocks), METHOD(use_isa), {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void) {
    choose(NULL);
    prepare_blocks();
    return PyModule_Create(&module);
}
