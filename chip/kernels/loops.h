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
enum { SHARE = 16 };

typedef struct { /* words of magnitudes under one exponent: 127 in the first table, 255 in the second */
    uint8_t low[128], high[128]; /* of 8 bits; bit 7 of `high` is set where the sign counts: not for zero */
    word both[16];               /* of 4 bits, with their sign */
} BlockTables;

extern BlockTables block_tables[2];
void prepare_blocks(void); /* once, before the other functions */
Py_ssize_t block_row_bytes(Py_ssize_t k, int bits);
void unpack_row(const uint8_t *row, word *out, Py_ssize_t k, int bits); /* writes whole blocks of 16 */
int has_vbmi(void);

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
    const char *next;             /* what will be read later, fetched meanwhile; NULL: nothing */
    int lines;                    /* of 64 bytes of it, a step */
    float *out;                   /* out[row * stride + column] */
    Py_ssize_t stride;
} Tile;

size_t panel_bytes(Py_ssize_t rows, Py_ssize_t steps);
void pack_panel(const word *x, void *panel, Py_ssize_t rows, Py_ssize_t k);
void tile(const Tile *tile, int rows);

/* row.c: one row of x against rows of w as they lie. */
typedef struct { int top, least, most; } Range; /* of exponents: the one of the tables, and the bounds of where they hold */

typedef struct {
    const word *x;
    Py_ssize_t k;
    int bits;        /* of a block float's mantissa: 8, 4; 0: w is words */
    Range near, far; /* of block floats: scaled on x, or on w */
    uint32_t *lower; /* what is taken off for each block of the rows at hand */
    word *dealt;     /* x in the order that 8 bits take it in, twice */
    word *row;       /* [k]: one row of w unpacked */
} Row;

int has_row(Py_ssize_t k, int bits); /* whether the three below may be called */
size_t row_bytes(Py_ssize_t k, int bits); /* that prepare_row needs to spare for as long as the row is used */
void prepare_row(Row *r, const word *x, Py_ssize_t k, int bits, void *spare);
void row_dots(const Row *r, const void *w, Py_ssize_t n, float *out); /* with n rows of w */

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
