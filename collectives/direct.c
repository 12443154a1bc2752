/* A whole collective in one call: publish, wait, compare calls, move and add, wait.
 *
 * A Group is the slots and words of a window (fabric/transport/window.py) as C sees them; a Work is a
 * plan made ready for one chip: runs of bytes to copy or to add up. `Group.run` does the rest.
 *
 * Small work takes one meeting. Every chip lays a header and its input into its slot, publishes,
 * waits for all and computes its whole result from the slots. Two slots in turn make a second meeting
 * unnecessary: whoever publishes n + 1 has read all of n.
 *
 * Other work takes two meetings. The header says where input and output lie in the chip's segment
 * (its heap; what is not there is staged in the slots if it fits). After the first meeting each chip
 * computes its share of the result straight from all inputs and writes it into the outputs of the
 * `targets`; after the second all is done. Should a tensor be out of reach, every chip sees that in the
 * headers, and all return NOT_SHARED; so they do for work that is done `elsewhere`.
 *
 * The number of the last publish is in the chip's own channel word, and nowhere else, so Window and
 * this code may publish in turn. A call that waits longer than its patience returns STALLED and is called
 * again with the phase that `group.phase` tells. A call that is given up leaves its chip out of step with the
 * others, so the caller then aborts the run (Window.give_up), and no call begins in a run that was aborted. From the first publish to the end the Group keeps
 * input and output alive, also when the call is given up: peers may still read and write there.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../fabric/transport/signal.h"
#include "direct_kernels.h"

enum { RUN_SHIFT = 32, HEADER_BYTES = 128, DIGEST_BYTES = 16, FIELDS = 7 };
enum { HOLD_GIL_BYTES = 1 << 15, PIECE_BYTES = 1 << 15 };
/* What a chip writes at least for its stores to bypass the caches: into outputs of others, whose caches hold the lines
 * (all_reduce of 4 MB on 4 chips: 0.68 ms instead of 0.97), and into its own (all_gather of 4 MB: 0.63 instead of 0.47;
 * of 64 MB: 11 instead of 16). */
#define STREAM_TO_OTHERS_BYTES (1 << 21)
#define STREAM_TO_OWN_BYTES (1 << 23)
enum Answer { MISMATCH = 1, NOT_SHARED, STALLED, GROUP_ABORTED };
enum { OUT_OF_REACH = -1 };

typedef struct {
    unsigned char digest[DIGEST_BYTES];
    uint64_t number;
    int64_t sim_now_ps, input_bytes, output_bytes, input_at, output_at; /* at: in the segment */
} Header;

/* ------------------------------------------------------------------ work */

typedef struct {
    int64_t which; /* m >= 0: copy from member m; -1 - p: program p */
    int64_t rows, num_bytes, in_offset, in_stride, out_offset, out_stride;
} Run;

typedef struct {
    Run *runs;
    Py_ssize_t num_runs;
    int64_t *reads_to; /* how many bytes of each member's input it needs */
    int64_t writes_to; /* how many bytes of the output */
    int64_t moved_bytes, written_bytes;
} RunList;

typedef struct {
    PyObject_HEAD
    Format format;
    Program *programs;
    int num_programs, depth;
    RunList all, shared;
    int *targets;
    int num_targets;
    int64_t input_bytes, output_bytes;
    int small, shares_input, shares_output, elsewhere;
} Work;

static int bad(const char *why) { return PyErr_SetString(PyExc_ValueError, why), 0; }

static int parse_program(Program *program, PyObject *source, const Format *format) {
    Py_buffer view;
    if (PyObject_GetBuffer(source, &view, PyBUF_SIMPLE) < 0) return 0;
    program->length = (int)(view.len / 2);
    program->codes = PyMem_Malloc((size_t)view.len + 2);
    if (program->codes) memcpy(program->codes, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (!program->codes) return PyErr_NoMemory(), 0;
    int depth = 0, is_fold = program->length % 2 == 1 && format->op == SUM && format->dtype <= BF16;
    for (int step = 0; step < program->length; step++) {
        int code = program->codes[step];
        if (code >= format->num_members || code < DIVIDE) return bad("a program names no member and no operation");
        if (code == DIVIDE && format->dtype > F16) return bad("integers have no mean");
        if (code == ROUND && (format->dtype > F16 || format->wire == EXACT)) return bad("nothing to round to");
        depth += code >= 0 ? 1 : code == COMBINE ? -1 : 0;
        if (depth < 1) return bad("a program combines more than it pushed");
        if (depth > program->depth) program->depth = depth;
        if (step && (step % 2 ? code < 0 : code != COMBINE)) is_fold = 0;
    }
    if (depth != 1 || program->depth > MAX_MEMBERS) return bad("a program must leave one result");
    program->is_fold = is_fold && program->length < 2 * MAX_MEMBERS;
    return 1;
}

static int64_t end_of(int64_t rows, int64_t stride, int64_t offset, int64_t num_bytes) {
    return rows && num_bytes ? offset + (rows - 1) * stride + num_bytes : 0;
}

static int check_run(const Work *work, RunList *list, Run *run) {
    const int64_t most = (int64_t)1 << 40, *field = &run->rows;
    for (int i = 0; i < FIELDS - 1; i++)
        if (field[i] < 0 || field[i] > most) return bad("a run's numbers must be in 0..2**40");
    int64_t past = end_of(run->rows, run->in_stride, 0, 1) | end_of(run->rows, run->out_stride, 0, 1);
    if (run->rows > 1 && (run->in_stride > most / run->rows || run->out_stride > most / run->rows || past < 0))
        return bad("a run's numbers must be in 0..2**40");
    if (run->in_stride == run->num_bytes && run->out_stride == run->num_bytes) {
        run->num_bytes *= run->rows; /* rows without gaps are one row */
        run->rows = run->rows ? 1 : 0;
    }
    int64_t in_end = end_of(run->rows, run->in_stride, run->in_offset, run->num_bytes);
    int64_t out_end = end_of(run->rows, run->out_stride, run->out_offset, run->num_bytes);
    int64_t bytes = run->rows * run->num_bytes, num_parts = 1;
    if (run->which >= 0) {
        if (run->which >= work->format.num_members) return bad("a run copies from no member");
        if (list->reads_to[run->which] < in_end) list->reads_to[run->which] = in_end;
    } else {
        int64_t number = -1 - run->which, item = item_bytes[work->format.dtype];
        if (number >= work->num_programs) return bad("a run names no program");
        if ((run->num_bytes | run->in_offset | run->in_stride | run->out_offset | run->out_stride) % item)
            return bad("a run cuts items apart");
        const Program *program = &work->programs[number];
        num_parts = 0;
        for (int step = 0; step < program->length; step++) {
            int member = program->codes[step];
            if (member < 0) continue;
            num_parts++;
            if (list->reads_to[member] < in_end) list->reads_to[member] = in_end;
        }
    }
    if (list->writes_to < out_end) list->writes_to = out_end;
    list->moved_bytes += bytes * (num_parts + 1);
    list->written_bytes += bytes;
    return 1;
}

static int parse_runs(const Work *work, RunList *list, PyObject *source) {
    Py_buffer view;
    if (PyObject_GetBuffer(source, &view, PyBUF_SIMPLE) < 0) return 0;
    int good = view.len % (Py_ssize_t)sizeof(Run) == 0 || bad("runs must be int64[k, 7]");
    list->num_runs = view.len / (Py_ssize_t)sizeof(Run);
    list->runs = PyMem_Malloc((size_t)view.len + 1);
    list->reads_to = PyMem_Calloc((size_t)work->format.num_members, sizeof(int64_t));
    if (good && (!list->runs || !list->reads_to)) PyErr_NoMemory(), good = 0;
    if (good) memcpy(list->runs, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    for (Py_ssize_t i = 0; good && i < list->num_runs; i++) good = check_run(work, list, &list->runs[i]);
    return good;
}

static int parse_targets(Work *work, PyObject *source) {
    PyObject *items = PySequence_Fast(source, "targets must be a sequence");
    if (!items) return 0;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    int good = count <= work->format.num_members || bad("more targets than members");
    work->targets = PyMem_Malloc((size_t)(count + 1) * sizeof(int));
    if (good && !work->targets) PyErr_NoMemory(), good = 0;
    for (Py_ssize_t i = 0; good && i < count; i++) {
        long member = PyLong_AsLong(PySequence_Fast_GET_ITEM(items, i));
        good = (member >= 0 && member < work->format.num_members) || bad("a target is no member");
        work->targets[i] = (int)member;
        work->num_targets++;
    }
    Py_DECREF(items);
    return good && !PyErr_Occurred();
}

static int parse_programs(Work *work, PyObject *source) {
    PyObject *items = PySequence_Fast(source, "programs must be a sequence");
    if (!items) return 0;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    work->programs = PyMem_Calloc((size_t)count + 1, sizeof(Program));
    int good = work->programs || (PyErr_NoMemory(), 0);
    for (Py_ssize_t i = 0; good && i < count; i++) {
        work->num_programs++;
        good = parse_program(&work->programs[i], PySequence_Fast_GET_ITEM(items, i), &work->format);
        if (good && work->programs[i].depth > work->depth) work->depth = work->programs[i].depth;
    }
    Py_DECREF(items);
    return good;
}

static void work_dealloc(Work *work) {
    PyTypeObject *type = Py_TYPE(work);
    for (int i = 0; i < work->num_programs; i++) PyMem_Free(work->programs[i].codes);
    PyMem_Free(work->programs);
    PyMem_Free(work->all.runs), PyMem_Free(work->all.reads_to);
    PyMem_Free(work->shared.runs), PyMem_Free(work->shared.reads_to);
    PyMem_Free(work->targets);
    type->tp_free(work);
    Py_DECREF(type);
}

static PyObject *work_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"dtype", "op", "wire", "num_members", "programs", "all_runs", "shared_runs", "targets",
                            "input_bytes", "output_bytes", "small", "shares_input", "shares_output", "elsewhere", NULL};
    int dtype, op, wire, num_members, small, shares_input, shares_output, elsewhere = 0;
    PyObject *programs, *all_runs, *shared_runs, *targets;
    long long input_bytes, output_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iiiiOOOOLLppp|p", names, &dtype, &op, &wire, &num_members, &programs,
                                     &all_runs, &shared_runs, &targets, &input_bytes, &output_bytes, &small, &shares_input,
                                     &shares_output, &elsewhere))
        return NULL;
    if (dtype < 0 || dtype >= NUM_DTYPES || op < 0 || op >= NUM_OPS || wire < 0 || wire >= NUM_WIRES || num_members < 1 ||
        num_members > MAX_MEMBERS || input_bytes < 0 || output_bytes < 0)
        return bad("dtype, op, wire, num_members or bytes are out of range"), NULL;
    Work *work = (Work *)type->tp_alloc(type, 0);
    if (!work) return NULL;
    work->format = (Format){dtype, op, wire, num_members};
    work->input_bytes = input_bytes, work->output_bytes = output_bytes;
    work->small = small, work->shares_input = shares_input, work->shares_output = shares_output;
    work->elsewhere = elsewhere;
    if (parse_programs(work, programs) && parse_runs(work, &work->all, all_runs) &&
        parse_runs(work, &work->shared, shared_runs) && parse_targets(work, targets) &&
        (work->all.writes_to <= output_bytes || bad("all_runs write beyond the output")))
        return (PyObject *)work;
    Py_DECREF(work);
    return NULL;
}

PyDoc_STRVAR(work_doc,
             "Work(dtype, op, wire, num_members, programs, all_runs, shared_runs, targets, input_bytes, output_bytes,\n"
             "     small, shares_input, shares_output, elsewhere=False)\n\nOne chip's part of a plan; see _direct.pyi.");
static PyType_Slot work_slots[] = {
    {Py_tp_new, work_new}, {Py_tp_dealloc, work_dealloc}, {Py_tp_doc, (void *)work_doc}, {0, NULL}};
static PyType_Spec work_spec = {"meshtwin.collectives._direct.Work", sizeof(Work), 0, Py_TPFLAGS_DEFAULT, work_slots};
static PyTypeObject *work_type;

/* ------------------------------------------------------------------ moving and adding */

typedef struct {
    const Work *work;
    const char **inputs; /* by member */
    char **outputs;      /* by target */
    int num_outputs, stream;
    char *rooms; /* one block for the result, then the stack's */
} Site;

static void put(const Site *site, int64_t at, const char *from, size_t num_bytes) {
    for (int i = 0; i < site->num_outputs; i++) {
        if (site->stream && num_bytes >= 256) stream_bytes(site->outputs[i] + at, from, num_bytes);
        else memcpy(site->outputs[i] + at, from, num_bytes);
    }
}

static void copy_row(const Site *site, const char *from, int64_t to, int64_t num_bytes) {
    int64_t piece = site->num_outputs == 1 && !site->stream ? num_bytes : PIECE_BYTES;
    for (int64_t at = 0; at < num_bytes; at += piece)
        put(site, to + at, from + at, (size_t)(num_bytes - at < piece ? num_bytes - at : piece));
}

static void reduce_row(const Site *site, const Program *program, int64_t from, int64_t to, int64_t num_bytes) {
    const Format *format = &site->work->format;
    const void *parts[MAX_MEMBERS];
    int64_t item = item_bytes[format->dtype], piece = BLOCK * item;
    for (int64_t at = 0; at < num_bytes; at += piece) {
        int64_t bytes = num_bytes - at < piece ? num_bytes - at : piece;
        for (int m = 0; m < format->num_members; m++) parts[m] = site->inputs[m] + from + at;
        reduce_block(program, format, parts, site->rooms, site->rooms + BLOCK_BYTES, bytes / item);
        put(site, to + at, site->rooms, (size_t)bytes);
    }
}

static void do_runs(const Site *site, const RunList *list) {
    for (Py_ssize_t i = 0; i < list->num_runs; i++) {
        const Run *run = &list->runs[i];
        const Program *program = run->which < 0 ? &site->work->programs[-1 - run->which] : NULL;
        int64_t which = program && program->length == 1 ? program->codes[0] : run->which;
        for (int64_t row = 0; row < run->rows; row++) {
            int64_t from = run->in_offset + row * run->in_stride, to = run->out_offset + row * run->out_stride;
            if (which >= 0) copy_row(site, site->inputs[which] + from, to, run->num_bytes);
            else reduce_row(site, program, from, to, run->num_bytes);
        }
    }
    if (site->stream) end_of_stream();
}

/* ------------------------------------------------------------------ group */

typedef struct {
    PyObject_HEAD
    Py_buffer *views;
    char **bases; /* by member */
    int num_members, index;
    Cell **cells; /* of the others, in the order they are waited for */
    int *awaited; /* their indices */
    Cell *own_cell, *run_cell, *abort_cell;
    Py_ssize_t slots_at[2], slot_bytes, heap_at, heap_bytes;
    int sees_heaps;
    const char **inputs;
    char **outputs;
    int64_t *entries; /* simulated, ps; by member */
    int all_enter_with_me;
    char *rooms;
    int depth; /* that the rooms suffice for */
    PyObject *held_input, *held_output;
    int phase, missing;
    int staged_output;
} Group;

static void group_dealloc(Group *g) {
    PyTypeObject *type = Py_TYPE(g);
    for (int i = 0; i < g->num_members; i++) PyBuffer_Release(&g->views[i]);
    PyMem_Free(g->views), PyMem_Free(g->bases), PyMem_Free(g->cells), PyMem_Free(g->awaited);
    PyMem_Free(g->inputs), PyMem_Free(g->outputs), PyMem_Free(g->entries), PyMem_Free(g->rooms);
    Py_XDECREF(g->held_input);
    Py_XDECREF(g->held_output);
    type->tp_free(g);
    Py_DECREF(type);
}

static int map_members(Group *g, PyObject *buffers, Py_ssize_t channel_at, Py_ssize_t reach) {
    Py_ssize_t n = PyTuple_GET_SIZE(buffers);
    size_t room = (size_t)n + 1;
    g->views = PyMem_Calloc(room, sizeof *g->views);
    g->bases = PyMem_Calloc(room, sizeof *g->bases);
    g->cells = PyMem_Calloc(room, sizeof *g->cells);
    g->awaited = PyMem_Calloc(room, sizeof *g->awaited);
    g->inputs = PyMem_Calloc(room, sizeof *g->inputs);
    g->outputs = PyMem_Calloc(room, sizeof *g->outputs);
    g->entries = PyMem_Calloc(room, sizeof *g->entries);
    if (!g->views || !g->bases || !g->cells || !g->awaited || !g->inputs || !g->outputs || !g->entries)
        return PyErr_NoMemory(), 0;
    for (; g->num_members < n; g->num_members++) {
        Py_buffer *view = &g->views[g->num_members];
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(buffers, g->num_members), view, PyBUF_WRITABLE) < 0) return 0;
        g->bases[g->num_members] = view->buf;
        if (view->len < reach) return g->num_members++, bad("a member's buffer is too short");
    }
    for (int i = 0; i < g->num_members - 1; i++) { /* not all wait for the same member first */
        g->awaited[i] = (g->index + 2 * g->num_members - 1 - i) % g->num_members;
        g->cells[i] = (Cell *)(g->bases[g->awaited[i]] + channel_at);
    }
    return 1;
}

static PyObject *group_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords)) {
    PyObject *buffers;
    Py_ssize_t channel_at, even_at, odd_at, slot_bytes, run_at, abort_at, heap_at, heap_bytes;
    int index, sees_heaps;
    if (!PyArg_ParseTuple(args, "O!in(nn)nnnnnp", &PyTuple_Type, &buffers, &index, &channel_at, &even_at, &odd_at,
                          &slot_bytes, &run_at, &abort_at, &heap_at, &heap_bytes, &sees_heaps))
        return NULL;
    Py_ssize_t reach = (even_at > odd_at ? even_at : odd_at) + slot_bytes;
    if (PyTuple_GET_SIZE(buffers) > MAX_MEMBERS || index < 0 || index >= PyTuple_GET_SIZE(buffers) ||
        slot_bytes < HEADER_BYTES || ((channel_at | run_at | abort_at | even_at | odd_at) & 7) || channel_at < 0 ||
        run_at < 0 || abort_at < 0 || even_at < 0 || odd_at < 0 || channel_at + CELL_BYTES > reach ||
        run_at + CELL_BYTES > reach || abort_at + CELL_BYTES > reach)
        return bad("no such group"), NULL;
    Group *g = (Group *)type->tp_alloc(type, 0);
    if (!g) return NULL;
    g->index = index;
    if (!map_members(g, buffers, channel_at, reach)) return Py_DECREF(g), NULL;
    char *own = g->bases[index];
    g->own_cell = (Cell *)(own + channel_at);
    g->run_cell = (Cell *)(own + run_at);
    g->abort_cell = (Cell *)(own + abort_at);
    g->slots_at[0] = even_at, g->slots_at[1] = odd_at, g->slot_bytes = slot_bytes;
    g->heap_at = heap_at, g->heap_bytes = heap_bytes, g->sees_heaps = sees_heaps;
    return (PyObject *)g;
}

static int make_rooms(Group *g, int depth) {
    if (g->rooms && g->depth >= depth) return 1;
    char *rooms = PyMem_Realloc(g->rooms, (size_t)(depth + 1) * BLOCK_BYTES);
    if (!rooms) return PyErr_NoMemory(), 0;
    g->rooms = rooms;
    g->depth = depth;
    return 1;
}

static char *slot_of(const Group *g, int member, uint64_t word) { return g->bases[member] + g->slots_at[word & 1]; }

static uint64_t last_word(const Group *g) {
    uint64_t word = load(g->own_cell), first = load(g->run_cell) << RUN_SHIFT;
    return word > first ? word : first;
}

static void publish(Group *g, uint64_t word) {
    store(g->own_cell, word);
    wake_sleepers(g->own_cell);
}

/* REACHED; or ABORTED; or TIMED_OUT, and g->missing is who is missing; or LOOK_AT_SIGNALS: an exception is set. */
static enum Outcome wait_for_all(Group *g, uint64_t word, double patience_s) {
    ptrdiff_t member = 0, others = g->num_members - 1;
    while (member < others && load(g->cells[member]) >= word) ++member;
    if (member == others) return REACHED;
    int64_t deadline = deadline_after(patience_s);
    uint64_t abort_value = load(g->run_cell) + 1;
    Patience p = patience();
    enum Outcome outcome = LOOK_AT_SIGNALS;
    while (outcome == LOOK_AT_SIGNALS) {
        Py_BEGIN_ALLOW_THREADS
        outcome = until_all(g->cells, &member, others, word, g->abort_cell, abort_value, deadline, &p);
        Py_END_ALLOW_THREADS
        if (outcome == LOOK_AT_SIGNALS && PyErr_CheckSignals() < 0) break;
    }
    g->missing = outcome == TIMED_OUT ? g->awaited[member] : -1;
    return outcome;
}

/* ------------------------------------------------------------------ one call */

typedef struct {
    const Work *work;
    const char *digest;
    uint64_t number;
    int64_t sim_now_ps;
    Py_buffer input, output; /* .buf is NULL where there is none */
} Call;

static int64_t place_of(const Group *g, const Py_buffer *tensor) {
    const char *heap = g->bases[g->index] + g->heap_at, *data = tensor->buf;
    if (data < heap || data + tensor->len > heap + g->heap_bytes) return OUT_OF_REACH;
    return data - g->bases[g->index];
}

static void copy_bytes(void *to, const void *from, Py_ssize_t num_bytes) {
    if (num_bytes == 0) return; /* and there may be no tensor */
    if (num_bytes <= HOLD_GIL_BYTES) {
        memcpy(to, from, (size_t)num_bytes);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, from, (size_t)num_bytes);
    Py_END_ALLOW_THREADS
}

/* Fill the slot of `word`: the header, and the input where that is not in reach otherwise. */
static int write_slot(Group *g, const Call *call, uint64_t word) {
    char *slot = slot_of(g, g->index, word);
    const Work *work = call->work;
    Py_ssize_t room = g->slot_bytes - HEADER_BYTES;
    Header header = {.number = call->number, .sim_now_ps = call->sim_now_ps, .input_bytes = call->input.len,
                     .output_bytes = call->output.len, .input_at = OUT_OF_REACH, .output_at = OUT_OF_REACH};
    memcpy(header.digest, call->digest, DIGEST_BYTES);
    int64_t slot_at = g->slots_at[word & 1] + HEADER_BYTES, next_at = g->slots_at[(word + 1) & 1] + HEADER_BYTES;
    g->staged_output = 0;
    if (work->small) {
        if (call->input.len > room) return bad("small work whose input does not fit a slot");
        header.input_at = slot_at;
    } else {
        header.input_at = call->input.len && work->shares_input ? place_of(g, &call->input) : slot_at;
        header.output_at = call->output.len && work->shares_output ? place_of(g, &call->output) : next_at;
        if (header.input_at == OUT_OF_REACH && call->input.len <= room) header.input_at = slot_at;
        if (header.output_at == OUT_OF_REACH && call->output.len <= room) header.output_at = next_at, g->staged_output = 1;
        if (!g->sees_heaps) header.input_at = OUT_OF_REACH;
    }
    if (header.input_at == slot_at && (work->small || work->shares_input))
        copy_bytes(slot + HEADER_BYTES, call->input.buf, call->input.len);
    memcpy(slot, &header, sizeof header);
    return 1;
}

/* After the first meeting: 0 if all called the same and all tensors are in reach. */
static enum Answer compare(Group *g, const Call *call, uint64_t word) {
    enum Answer answer = call->work->elsewhere ? NOT_SHARED : 0;
    g->all_enter_with_me = 1;
    for (int m = 0; m < g->num_members; m++) {
        const Header *theirs = (const Header *)slot_of(g, m, word);
        if (memcmp(theirs->digest, call->digest, DIGEST_BYTES) || theirs->number != call->number) return MISMATCH;
        g->entries[m] = theirs->sim_now_ps;
        g->all_enter_with_me &= theirs->sim_now_ps == call->sim_now_ps;
        if (!call->work->small && (theirs->input_at == OUT_OF_REACH || theirs->output_at == OUT_OF_REACH))
            answer = NOT_SHARED;
    }
    return answer;
}

/* Where member m's tensor begins; NULL if less than `needed` bytes of it lie in its buffer. */
static char *tensor_at(const Group *g, int m, int64_t at, int64_t num_bytes, int64_t needed) {
    if (needed == 0) return g->bases[m];
    int fits = at >= 0 && needed <= num_bytes && needed <= g->views[m].len && at <= g->views[m].len - needed;
    return fits ? g->bases[m] + at : NULL;
}

static int compute(Group *g, const Call *call, uint64_t word) {
    const Work *work = call->work;
    const RunList *list = work->small ? &work->all : &work->shared;
    int num_outputs = work->small ? 1 : work->num_targets;
    for (int m = 0; m < g->num_members; m++) {
        const Header *theirs = (const Header *)slot_of(g, m, word);
        g->inputs[m] = m == g->index && !work->small && call->input.buf && list->reads_to[m] <= call->input.len
                           ? call->input.buf
                           : tensor_at(g, m, theirs->input_at, theirs->input_bytes, list->reads_to[m]);
        if (!g->inputs[m]) return bad("a run reads beyond a member's input");
    }
    for (int i = 0; i < num_outputs; i++) { /* each chip begins with another target */
        int m = work->small ? g->index : work->targets[(i + g->index) % num_outputs];
        const Header *theirs = (const Header *)slot_of(g, m, word);
        int direct = m == g->index && !g->staged_output && call->output.buf && list->writes_to <= call->output.len;
        g->outputs[i] = direct ? call->output.buf
                               : tensor_at(g, m, theirs->output_at, theirs->output_bytes, list->writes_to);
        if (!g->outputs[i]) return bad("a run writes beyond a member's output");
    }
    int to_own = work->small || (num_outputs == 1 && work->targets[0] == g->index);
    int stream = list->written_bytes * num_outputs >= (to_own ? STREAM_TO_OWN_BYTES : STREAM_TO_OTHERS_BYTES);
    Site site = {work, g->inputs, g->outputs, num_outputs, stream, g->rooms};
    if (list->moved_bytes <= HOLD_GIL_BYTES) {
        do_runs(&site, list);
        return 1;
    }
    Py_BEGIN_ALLOW_THREADS
    do_runs(&site, list);
    Py_END_ALLOW_THREADS
    return 1;
}

/* The call from `g->phase` on: 0 when done, an Answer, or -1 with an exception. */
static int perform(Group *g, const Call *call, double patience_s) {
    uint64_t word = last_word(g);
    for (;;) {
        if (g->phase == 0) {
            if (!write_slot(g, call, ++word)) return -1;
            publish(g, word);
            g->phase = 1;
        }
        enum Outcome outcome = wait_for_all(g, word, patience_s);
        if (outcome != REACHED) return outcome == ABORTED ? GROUP_ABORTED : outcome == TIMED_OUT ? STALLED : -1;
        if (g->phase == 2) break;
        enum Answer answer = compare(g, call, word);
        if (answer) return answer;
        if (!compute(g, call, word)) return -1;
        if (call->work->small) return 0;
        publish(g, ++word);
        g->phase = 2;
    }
    if (g->staged_output) copy_bytes(call->output.buf, slot_of(g, g->index, word) + HEADER_BYTES, call->output.len);
    return 0;
}

static PyObject *entries_of(const Group *g) {
    if (g->all_enter_with_me) Py_RETURN_NONE;
    PyObject *entries = PyTuple_New(g->num_members);
    for (int m = 0; entries && m < g->num_members; m++) {
        PyObject *entry = PyLong_FromLongLong(g->entries[m]);
        if (!entry) Py_CLEAR(entries);
        else PyTuple_SET_ITEM(entries, m, entry);
    }
    return entries;
}

static int take_tensor(PyObject *tensor, Py_buffer *view, int64_t num_bytes, int flags) {
    memset(view, 0, sizeof *view);
    if (tensor != Py_None && PyObject_GetBuffer(tensor, view, flags) < 0) return 0;
    if (view->len == num_bytes) return 1;
    PyErr_Format(PyExc_ValueError, "a tensor has %zd bytes, the work %lld", view->len, (long long)num_bytes);
    return 0;
}

static void hold(Group *g, PyObject *input, PyObject *output) {
    PyObject *before[2] = {g->held_input, g->held_output};
    g->held_input = Py_XNewRef(input);
    g->held_output = Py_XNewRef(output);
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
}

PyDoc_STRVAR(run_doc, "run(work, digest, number, sim_now_ps, input, output, phase, patience_s)\n\n"
                      "One collective call; see _direct.pyi.");
static PyObject *group_run(Group *g, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 8 || !Py_IS_TYPE(args[0], work_type) || !PyBytes_Check(args[1]) ||
        PyBytes_GET_SIZE(args[1]) != DIGEST_BYTES)
        return PyErr_SetString(PyExc_TypeError, "run takes 8 arguments, of which a Work and 16 bytes come first"), NULL;
    const Work *work = (const Work *)args[0];
    Call call = {.work = work, .digest = PyBytes_AS_STRING(args[1]), .number = PyLong_AsUnsignedLongLong(args[2]),
                 .sim_now_ps = PyLong_AsLongLong(args[3])};
    long phase = PyLong_AsLong(args[6]);
    double patience_s = PyFloat_AsDouble(args[7]);
    if (PyErr_Occurred()) return NULL;
    if (phase < 0 || phase > 2 || work->format.num_members != g->num_members)
        return bad("phase must be 0..2, and the work of as many members as the group"), NULL;
    int answer = -1;
    if (take_tensor(args[4], &call.input, work->input_bytes, PyBUF_SIMPLE) &&
        take_tensor(args[5], &call.output, work->output_bytes, PyBUF_WRITABLE) && make_rooms(g, work->depth)) {
        g->phase = (int)phase;
        if (phase == 0 && load(g->abort_cell) == load(g->run_cell) + 1) {
            answer = GROUP_ABORTED; /* what was published last may be of a call that was given up */
        } else {
            if (!work->small) hold(g, args[4], args[5]);
            answer = perform(g, &call, patience_s);
        }
        if (answer == 0) hold(g, NULL, NULL);
    }
    if (call.input.obj) PyBuffer_Release(&call.input);
    if (call.output.obj) PyBuffer_Release(&call.output);
    return answer < 0 ? NULL : answer == 0 ? entries_of(g) : PyLong_FromLong(answer);
}

static PyObject *get_phase(Group *g, void *Py_UNUSED(nothing)) { return PyLong_FromLong(g->phase); }
static PyObject *get_missing(Group *g, void *Py_UNUSED(nothing)) { return PyLong_FromLong(g->missing); }

static PyMethodDef group_methods[] = {{"run", (PyCFunction)(void (*)(void))group_run, METH_FASTCALL, run_doc},
                                      {NULL, NULL, 0, NULL}};
static PyGetSetDef group_fields[] = {
    {"phase", (getter)get_phase, NULL, "Where the last call stood: 1 or 2, the meeting.", NULL},
    {"missing", (getter)get_missing, NULL, "Whom the last call that STALLED waited for: an index.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
PyDoc_STRVAR(group_doc, "Group(*window.layout())\n\nA window as compiled code sees it; for one thread at a time.");
static PyType_Slot group_slots[] = {{Py_tp_new, group_new}, {Py_tp_dealloc, group_dealloc}, {Py_tp_methods, group_methods},
                                    {Py_tp_getset, group_fields}, {Py_tp_doc, (void *)group_doc}, {0, NULL}};
static PyType_Spec group_spec = {"meshtwin.collectives._direct.Group", sizeof(Group), 0, Py_TPFLAGS_DEFAULT, group_slots};

/* ------------------------------------------------------------------ module */

static PyObject *py_isa(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(nothing)) {
    return PyUnicode_FromString(instruction_set);
}

static PyObject *py_use_isa(PyObject *Py_UNUSED(self), PyObject *name) {
    const char *wanted = PyUnicode_AsUTF8(name);
    if (!wanted) return NULL;
    if (!choose(wanted)) return PyErr_Format(PyExc_ValueError, "this processor has no %s", wanted);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"isa", py_isa, METH_NOARGS, "The instruction set in use."},
                                {"use_isa", py_use_isa, METH_O, "Choose one, for tests; ValueError where it is missing."},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_direct", "Whole collectives in shared memory.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__direct(void) {
    choose(NULL);
    PyObject *self = PyModule_Create(&module), *group = PyType_FromSpec(&group_spec);
    work_type = (PyTypeObject *)PyType_FromSpec(&work_spec);
    if (!self || !group || !work_type || PyModule_AddObjectRef(self, "Group", group) < 0 ||
        PyModule_AddObjectRef(self, "Work", (PyObject *)work_type) < 0 ||
        PyModule_AddIntConstant(self, "MISMATCH", MISMATCH) < 0 || PyModule_AddIntConstant(self, "NOT_SHARED", NOT_SHARED) < 0 ||
        PyModule_AddIntConstant(self, "STALLED", STALLED) < 0 || PyModule_AddIntConstant(self, "ABORTED", GROUP_ABORTED) < 0 ||
        PyModule_AddIntConstant(self, "HEADER_BYTES", HEADER_BYTES) < 0)
        Py_CLEAR(self);
    Py_XDECREF(group);
    return self;
}
