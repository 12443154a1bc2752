/* The loops of the compiled core: what each file of it gives to the others. Sizes are counts of elements. */
#ifndef MESHTWIN_LOOPS_H
#define MESHTWIN_LOOPS_H

#include "lanes.h"

/* convert.c */
void widen(const word *x, float *out, Py_ssize_t n);
void round_words(const float *x, word *out, Py_ssize_t n);
void add(const word *a, const word *b, word *out, Py_ssize_t n);
void mul(const word *a, const word *b, word *out, Py_ssize_t n);
void fold_float(const float *const *parts, Py_ssize_t rows, float *out, Py_ssize_t n);
void fold_word(const word *const *parts, Py_ssize_t rows, word *out, Py_ssize_t n);

/* norm.c */
void rms_norm(const word *x, const float *weight, float eps, word *out, Py_ssize_t rows, Py_ssize_t n);
void layer_norm(const word *x, const float *weight, const float *bias, float eps, word *out, Py_ssize_t rows, Py_ssize_t n);
void rotary(const word *x, const float *c, const float *s, word *out, Py_ssize_t outer, Py_ssize_t positions,
            Py_ssize_t width);
void rotary_pairs(const word *x, const float *c, const float *s, word *out, Py_ssize_t outer, Py_ssize_t positions,
                  Py_ssize_t width);
void softmax(float *scores, Py_ssize_t n, float scale);

/* blocks.c: block floats, a row of them: an exponent byte for 16 elements each, then the mantissas. */
void prepare_blocks(void); /* once, before the other functions */
Py_ssize_t block_row_bytes(Py_ssize_t k, int bits);
void unpack_row(const uint8_t *row, word *out, Py_ssize_t k, int bits); /* writes whole blocks of 16 */
/* The dot products of x [k] with four rows of block floats, as `tile` has them; 0: not on this processor, or k is no
 * multiple of 32. spare: 4 * (k / 16 + 2) numbers. */
int block_dots(const word *x, const uint8_t *rows, Py_ssize_t k, int bits, uint32_t *spare, float *out);

/* floats.c: one block of dot products, of float32 rows x. */
enum { BLOCK_ROWS = 6, BLOCK_COLUMNS = 4 };

typedef struct {
    const float *x[BLOCK_ROWS];   /* rows of x */
    const char *w[BLOCK_COLUMNS]; /* rows of w, words or float32 */
    Py_ssize_t length;            /* of all rows, a multiple of LANES */
    int wide;                     /* w is float32 */
    float out[BLOCK_ROWS][BLOCK_COLUMNS];
} Block;

void dot(Block *block, int rows);

/* words.c: one tile of dot products, of rows of words. */
enum { STEP = 32 }; /* elements of K taken at a time: a pair a lane */

typedef struct {
    const void *x;                /* a panel of packed rows: [steps][rows][STEP], see pack_panel */
    const word *w[BLOCK_COLUMNS]; /* rows of w */
    Py_ssize_t steps;
    const char *next;             /* what will be read next: 4 * 64 bytes of it are fetched a step; NULL: nothing */
    float *out;                   /* out[row * stride + column] */
    Py_ssize_t stride;
} Tile;

size_t panel_bytes(Py_ssize_t rows, Py_ssize_t steps);
void pack_panel(const word *x, void *panel, Py_ssize_t rows, Py_ssize_t k);
void tile(const Tile *tile, int rows);

/* linear.c: out[M,N] = x[M,K] . w[N,K]^T + bias[N] */
typedef struct {
    const void *x;     /* [m, k] words or float32 */
    const void *w;     /* [n, k] words, float32 or block floats */
    const float *bias; /* [n] or NULL */
    void *out;         /* [m, n] words or float32 */
    Py_ssize_t m, n, k;
    int wide_x, wide_w, wide_out;
    int bits; /* of a block float's mantissa: 8, 4; 0: w is no block floats */
} Linear;

int linear_run(const Linear *job); /* 0: no memory */

/* attention.c: causal, grouped heads */
typedef struct {
    const word *q, *k, *v; /* q [b, heads, s, h]; k, v [b, kv_heads, capacity, h] */
    word *out;             /* [b, heads, s, h] */
    Py_ssize_t b, heads, kv_heads, s, capacity, h, start;
    float scale;
} Attention;

int attention_run(const Attention *job); /* 0: no memory */

#endif
