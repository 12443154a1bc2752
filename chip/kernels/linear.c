/* linear: out[M,N] = x[M,K] . w[N,K]^T + bias[N], by tiles of words or by blocks of float32.
 *
 * A pass holds as many rows of x as stay in the second-level cache, and goes over the columns once, four rows of w at a time,
 * while the next four are fetched into that cache: a few lines a step, so that products do not wait for memory. Passes are of
 * nearly one height, since one of few rows is as slow as memory. Weights that are block floats, or whose length is no whole
 * number of steps, are unpacked or copied four rows at a time. (Tried without gain: packing the four rows, their stride being
 * no trouble; going over K in parts; huge pages for x.) One row of x goes its own way where row.c has one.
 */
#include "loops.h"

enum { PASS_BYTES = 512 * 1024, SPAN = 64 };

/* Row n of w as [padded] words or float32, where it lies or in `spare`. */
static const char *weight_row(const Linear *job, Py_ssize_t n, char *spare) {
    if (job->bits) {
        unpack_row((const uint8_t *)job->w + n * block_row_bytes(job->k, job->bits), (word *)spare, job->k, job->bits);
        return spare;
    }
    size_t bytes = (size_t)job->k * (job->wide_w ? 4 : 2);
    const char *row = (const char *)job->w + (size_t)n * bytes;
    return spare ? memcpy(spare, row, bytes) : row;
}

INLINE void store_sums_body(const float *sums, const float *bias, void *out, Py_ssize_t n, int wide) {
    for (Py_ssize_t i = 0; i < n; i++) {
        float value = bias ? sums[i] + bias[i] : sums[i];
        if (wide) ((float *)out)[i] = canonical(value);
        else ((word *)out)[i] = round_float(value);
    }
}

VERSIONS(store_sums, (const float *sums, const float *bias, void *out, Py_ssize_t n, int wide), (sums, bias, out, n, wide))

/* Sums [rows, SPAN] of rows `first` and on, columns n .. n+columns. */
static void store_span(const Linear *job, const float *sums, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t n,
                       Py_ssize_t columns) {
    for (Py_ssize_t row = 0; row < rows; row++) {
        char *out = (char *)job->out + ((first + row) * job->n + n) * (job->wide_out ? 4 : 2);
        store_sums(sums + row * SPAN, job->bias ? job->bias + n : NULL, out, columns, job->wide_out);
    }
}

/* Rows of x of one pass against four rows of w; the first one, two or four panels fetch the next four. */
static void word_columns(Tile t, const char *panels, Py_ssize_t rows, float *sums) {
    Py_ssize_t num_panels = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, row = 0;
    t.lines = num_panels >= 4 ? 1 : num_panels >= 2 ? 2 : 4;
    for (Py_ssize_t panel = 0; panel < num_panels; panel++) {
        int count = (int)((rows - row) / (num_panels - panel)); /* panels of nearly one height */
        t.x = panels + panel_bytes(row, t.steps);
        t.out = sums + row * SPAN;
        tile(&t, count);
        int fetched = (panel + 1) * t.lines >= BLOCK_COLUMNS;
        t.next = t.next && !fetched ? t.next + t.steps * t.lines * 64 : NULL;
        row += count;
    }
}

/* One row of x straight against rows of w. */
static int linear_row(const Linear *job) {
    Row row;
    float sums[SPAN];
    void *spare = PyMem_RawMalloc(row_bytes(job->k, job->bits));
    size_t bytes = job->bits ? (size_t)block_row_bytes(job->k, job->bits) : (size_t)job->k * 2;
    if (!spare) return 0;
    prepare_row(&row, job->x, job->k, job->bits, spare);
    for (Py_ssize_t n = 0; n < job->n; n += SPAN) {
        Py_ssize_t columns = job->n - n < SPAN ? job->n - n : SPAN;
        row_dots(&row, (const char *)job->w + (size_t)n * bytes, columns, sums);
        store_span(job, sums, 0, 1, n, columns);
    }
    PyMem_RawFree(spare);
    return 1;
}

static int linear_words(const Linear *job) {
    Py_ssize_t steps = (job->k + STEP - 1) / STEP, padded = steps * STEP;
    Py_ssize_t most = PASS_BYTES / (padded * 2) < BLOCK_ROWS ? BLOCK_ROWS : PASS_BYTES / (padded * 2);
    Py_ssize_t passes = (job->m + most - 1) / most, at_once = (job->m + passes - 1) / passes;
    int copied = job->bits || job->k != padded;
    char *panels = PyMem_RawMalloc(panel_bytes(at_once, steps));
    float *sums = PyMem_RawMalloc((size_t)(at_once * SPAN) * 4);
    word *spare = copied ? PyMem_RawCalloc((size_t)(BLOCK_COLUMNS * padded), 2) : NULL;
    int good = panels && sums && (spare || !copied);
    for (Py_ssize_t first = 0; good && first < job->m; first += at_once) {
        Py_ssize_t rows = job->m - first < at_once ? job->m - first : at_once, row = 0;
        Py_ssize_t num_panels = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
        for (Py_ssize_t panel = 0; panel < num_panels; panel++) {
            Py_ssize_t count = (rows - row) / (num_panels - panel);
            pack_panel((const word *)job->x + (first + row) * job->k, panels + panel_bytes(row, steps), count, job->k);
            row += count;
        }
        for (Py_ssize_t n = 0; n < job->n; n += BLOCK_COLUMNS) {
            Py_ssize_t at = n % SPAN;
            Tile t = {.stride = SPAN, .steps = steps};
            for (Py_ssize_t j = 0; j < BLOCK_COLUMNS; j++) {
                Py_ssize_t column = n + j < job->n ? n + j : n;
                t.w[j] = (const word *)weight_row(job, column, copied ? (char *)(spare + j * padded) : NULL);
            }
            if (!copied) t.next = (const char *)job->w + (n + BLOCK_COLUMNS) * padded * 2;
            word_columns(t, panels, rows, sums + at);
            Py_ssize_t end = n + BLOCK_COLUMNS < job->n ? n + BLOCK_COLUMNS : job->n;
            if (end % SPAN == 0 || end == job->n) store_span(job, sums, first, rows, n - at, end - (n - at));
        }
    }
    PyMem_RawFree(panels);
    PyMem_RawFree(sums);
    PyMem_RawFree(spare);
    return good;
}

/* x as float32 rows padded with zeros to a multiple of LANES, in fresh memory. */
static float *padded_rows(const Linear *job, Py_ssize_t padded) {
    float *rows = PyMem_RawCalloc((size_t)(job->m * padded), 4);
    for (Py_ssize_t i = 0; rows && i < job->m; i++) {
        if (job->wide_x) memcpy(rows + i * padded, (const float *)job->x + i * job->k, (size_t)job->k * 4);
        else widen((const word *)job->x + i * job->k, rows + i * padded, job->k);
    }
    return rows;
}

/* Columns n .. n+3 of the rows first .. last of x. */
static void float_columns(const Linear *job, const float *x, Py_ssize_t padded, Py_ssize_t n, Py_ssize_t first,
                          Py_ssize_t last, char *spare) {
    Block block = {.length = padded, .wide = job->wide_w};
    Py_ssize_t columns = job->n - n < BLOCK_COLUMNS ? job->n - n : BLOCK_COLUMNS;
    for (Py_ssize_t j = 0; j < BLOCK_COLUMNS; j++)
        block.w[j] = weight_row(job, n + (j < columns ? j : 0), spare ? spare + j * padded * 4 : NULL);
    for (Py_ssize_t m = first; m < last; m += BLOCK_ROWS) {
        int rows = last - m < BLOCK_ROWS ? (int)(last - m) : BLOCK_ROWS;
        for (int i = 0; i < rows; i++) block.x[i] = x + (m + i) * padded;
        dot(&block, rows);
        for (int i = 0; i < rows; i++) {
            char *out = (char *)job->out + ((m + i) * job->n + n) * (job->wide_out ? 4 : 2);
            store_sums(block.out[i], job->bias ? job->bias + n : NULL, out, columns, job->wide_out);
        }
    }
}

static int linear_floats(const Linear *job) {
    Py_ssize_t padded = (job->k + LANES - 1) / LANES * LANES;
    Py_ssize_t at_once = (256 * 1024 / 4) / (padded * BLOCK_ROWS) * BLOCK_ROWS; /* rows of x that stay in cache */
    int copied = job->bits || job->k != padded, whole = job->wide_x && job->k == padded;
    at_once = at_once < BLOCK_ROWS ? BLOCK_ROWS : at_once;
    float *rows = whole ? NULL : padded_rows(job, padded);
    char *spare = copied ? PyMem_RawCalloc((size_t)(BLOCK_COLUMNS * padded), 4) : NULL;
    int good = (rows || whole) && (spare || !copied);
    for (Py_ssize_t first = 0; good && first < job->m; first += at_once) {
        Py_ssize_t last = first + at_once < job->m ? first + at_once : job->m;
        for (Py_ssize_t n = 0; n < job->n; n += BLOCK_COLUMNS)
            float_columns(job, rows ? rows : job->x, padded, n, first, last, spare);
    }
    PyMem_RawFree(rows);
    PyMem_RawFree(spare);
    return good;
}

int linear_run(const Linear *job) {
    if (job->wide_x || job->wide_w) return linear_floats(job);
    unsigned saved = flush_denormals();
    int good = job->m == 1 && has_row(job->k, job->bits) ? linear_row(job) : linear_words(job);
    restore_denormals(saved);
    return good;
}
