/* Words in shared memory that processes set, read and sleep on.
 *
 * A cell is 16 bytes at an 8-byte aligned offset of a writable buffer:
 *
 *     offset + 0   u64  the value; futexes sleep on its low half
 *     offset + 8   u32  how many sleep on it right now
 *
 * Whoever changes a value looks at the count and calls the kernel only when somebody sleeps. All
 * accesses are sequentially consistent: the sleeper counts itself, then looks at the value; the
 * publisher sets the value, then looks at the count; one of them sees the other. The futexes are
 * shared ones, since each process has the page at its own address.
 *
 * Waiting: first give the processor away (sched_yield) and look again, up to MAX_YIELDS times:
 * on a quiet machine the word comes in a few microseconds. On a busy one each yield can cost a
 * time slice, so a wait with a yield longer than SLOW_NS makes the next CALM_WAITS waits of the
 * thread sleep at once. Sleeps last at most SLICE_NS, then Python's signals are looked at.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if !defined(__linux__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "futexes: Linux, little endian; elsewhere portable_signal.py is used"
#endif

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CELL_BYTES = 16, MAX_YIELDS = 200, CALM_WAITS = 256, MAX_MEMBERS = 1024 };
#define SLOW_NS 200000LL
#define SLICE_NS 50000000LL

typedef struct {
    uint64_t value;
    uint32_t waiters;
    uint32_t unused;
} Cell;

enum Outcome { REACHED, TIMED_OUT, ABORTED, LOOK_AT_SIGNALS };

static __thread int waits_without_yield = 0;

/* ------------------------------------------------------------------ cells */

static Cell *cell_at(PyObject *buffer, Py_ssize_t offset, Py_buffer *view) {
    if (PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE) < 0) return NULL;
    if (offset < 0 || offset % 8 || offset > view->len - CELL_BYTES) {
        PyErr_Format(PyExc_ValueError, "offset (=%zd) must be a multiple of 8 in 0..%zd", offset,
                     view->len - CELL_BYTES);
        PyBuffer_Release(view);
        return NULL;
    }
    return (Cell *)((char *)view->buf + offset);
}

static uint64_t load(const Cell *cell) { return __atomic_load_n(&cell->value, __ATOMIC_SEQ_CST); }

static void store(Cell *cell, uint64_t value) {
    __atomic_store_n(&cell->value, value, __ATOMIC_SEQ_CST);
}

static void wake_sleepers(Cell *cell) {
    if (__atomic_load_n(&cell->waiters, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, (uint32_t *)&cell->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void sleep_while(Cell *cell, uint32_t seen, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000LL, nanoseconds % 1000000000LL};
    __atomic_fetch_add(&cell->waiters, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, (uint32_t *)&cell->value, FUTEX_WAIT, seen, &limit, NULL, 0);
    __atomic_fetch_sub(&cell->waiters, 1, __ATOMIC_SEQ_CST);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t deadline_after(double timeout_s) {
    if (!(timeout_s > 0)) return now_ns();
    return now_ns() + (int64_t)(fmin(timeout_s, 1e8) * 1e9);
}

/* ------------------------------------------------------------------ waiting */

typedef struct {
    int yields;
    int may_yield;
} Patience;

static Patience patience(void) {
    Patience p = {0, waits_without_yield == 0};
    if (waits_without_yield > 0) waits_without_yield--;
    return p;
}

/* Yield once more if that is still promising; 0 when it is time to sleep. */
static int yielded(Patience *p) {
    if (!p->may_yield) return 0;
    if (p->yields++ < MAX_YIELDS) {
        int64_t before = now_ns();
        sched_yield();
        if (now_ns() - before < SLOW_NS) return 1;
        waits_without_yield = CALM_WAITS;
    }
    p->may_yield = 0;
    return 0;
}

/* Sleep until the cell may have changed; says why to stop, or REACHED to look again. */
static enum Outcome nap(Cell *cell, uint32_t seen, int64_t deadline) {
    int64_t left = deadline - now_ns();
    if (left <= 0) return TIMED_OUT;
    sleep_while(cell, seen, left < SLICE_NS ? left : SLICE_NS);
    return errno == EINTR ? LOOK_AT_SIGNALS : REACHED;
}

static enum Outcome until_changed(Cell *cell, uint32_t seen, int64_t deadline, Patience *p) {
    for (int naps = 0; (uint32_t)load(cell) == seen;) {
        if (yielded(p)) continue;
        errno = 0;
        enum Outcome outcome = nap(cell, seen, deadline);
        if (outcome != REACHED) return outcome;
        if (++naps % 4 == 0) return LOOK_AT_SIGNALS;
    }
    return REACHED;
}

static enum Outcome until_all(Cell **cells, Py_ssize_t *member, Py_ssize_t num_members,
                              uint64_t target, Cell *abort_cell, uint64_t abort_value,
                              int64_t deadline, Patience *p) {
    for (int naps = 0; *member < num_members; ++*member) {
        uint64_t seen;
        while ((seen = load(cells[*member])) < target) {
            if (load(abort_cell) == abort_value) return ABORTED;
            if (yielded(p)) continue;
            errno = 0;
            enum Outcome outcome = nap(cells[*member], (uint32_t)seen, deadline);
            if (outcome != REACHED) return outcome;
            if (++naps % 64 == 0) return LOOK_AT_SIGNALS;
        }
    }
    return REACHED;
}

/* ------------------------------------------------------------------ Python */

static int arguments(PyObject *const *args, Py_ssize_t got, Py_ssize_t want) {
    if (got == want) return 1;
    PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", want, got);
    return 0;
}

static int parse_offset(PyObject *object, Py_ssize_t *offset) {
    *offset = PyLong_AsSsize_t(object);
    return !(*offset == -1 && PyErr_Occurred());
}

static int parse_u64(PyObject *object, uint64_t *value) {
    *value = PyLong_AsUnsignedLongLong(object);
    return !(*value == (uint64_t)-1 && PyErr_Occurred());
}

PyDoc_STRVAR(load64_doc, "load64(buffer, offset) -> int\n\nThe value of a cell.");
static PyObject *py_load64(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t offset;
    Py_buffer view;
    if (!arguments(args, nargs, 2) || !parse_offset(args[1], &offset)) return NULL;
    Cell *cell = cell_at(args[0], offset, &view);
    if (!cell) return NULL;
    uint64_t value = load(cell);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *set_cell(PyObject *const *args, Py_ssize_t nargs, int wake) {
    Py_ssize_t offset;
    uint64_t value;
    Py_buffer view;
    if (!arguments(args, nargs, 3) || !parse_offset(args[1], &offset) || !parse_u64(args[2], &value))
        return NULL;
    Cell *cell = cell_at(args[0], offset, &view);
    if (!cell) return NULL;
    store(cell, value);
    if (wake) wake_sleepers(cell);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(store64_doc, "store64(buffer, offset, value)\n\nSet a cell; wakes nobody.");
static PyObject *py_store64(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    return set_cell(args, nargs, 0);
}

PyDoc_STRVAR(publish_doc, "publish(buffer, offset, value)\n\nSet a cell and wake its sleepers.");
static PyObject *py_publish(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    return set_cell(args, nargs, 1);
}

PyDoc_STRVAR(ring_doc, "ring(buffer, offset)\n\nAdd one to a cell and wake its sleepers.");
static PyObject *py_ring(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t offset;
    Py_buffer view;
    if (!arguments(args, nargs, 2) || !parse_offset(args[1], &offset)) return NULL;
    Cell *cell = cell_at(args[0], offset, &view);
    if (!cell) return NULL;
    __atomic_fetch_add(&cell->value, 1, __ATOMIC_SEQ_CST);
    wake_sleepers(cell);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wake_doc, "wake(buffer, offset)\n\nWake the sleepers of a cell without changing it.");
static PyObject *py_wake(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t offset;
    Py_buffer view;
    if (!arguments(args, nargs, 2) || !parse_offset(args[1], &offset)) return NULL;
    Cell *cell = cell_at(args[0], offset, &view);
    if (!cell) return NULL;
    wake_sleepers(cell);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wait_change_doc,
             "wait_change(buffer, offset, seen, timeout_s) -> bool\n\n"
             "Wait until the low 32 bits of a cell differ from those of `seen`, or the time is out;\n"
             "may also return True early. Says whether to look again (False: time out).");
static PyObject *py_wait_change(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t offset;
    uint64_t seen;
    Py_buffer view;
    if (!arguments(args, nargs, 4) || !parse_offset(args[1], &offset) || !parse_u64(args[2], &seen))
        return NULL;
    double timeout_s = PyFloat_AsDouble(args[3]);
    if (timeout_s == -1.0 && PyErr_Occurred()) return NULL;
    Cell *cell = cell_at(args[0], offset, &view);
    if (!cell) return NULL;
    enum Outcome outcome = (uint32_t)load(cell) != (uint32_t)seen ? REACHED : LOOK_AT_SIGNALS;
    int64_t deadline = outcome == REACHED ? 0 : deadline_after(timeout_s);
    Patience p = {0, 0};
    if (outcome != REACHED) p = patience();
    while (outcome == LOOK_AT_SIGNALS) {
        Py_BEGIN_ALLOW_THREADS
        outcome = until_changed(cell, (uint32_t)seen, deadline, &p);
        Py_END_ALLOW_THREADS
        if (outcome == LOOK_AT_SIGNALS && PyErr_CheckSignals() < 0) break;
    }
    PyBuffer_Release(&view);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(outcome == REACHED);
}

static Py_ssize_t member_cells(PyObject *buffers, Py_ssize_t offset, Py_buffer *views,
                               Cell **cells) {
    if (!PyTuple_Check(buffers) || PyTuple_GET_SIZE(buffers) > MAX_MEMBERS) {
        PyErr_Format(PyExc_TypeError, "buffers must be a tuple of at most %d", MAX_MEMBERS);
        return -1;
    }
    Py_ssize_t num_members = PyTuple_GET_SIZE(buffers);
    for (Py_ssize_t i = 0; i < num_members; ++i) {
        cells[i] = cell_at(PyTuple_GET_ITEM(buffers, i), offset, &views[i]);
        if (cells[i]) continue;
        while (i--) PyBuffer_Release(&views[i]);
        return -1;
    }
    return num_members;
}

PyDoc_STRVAR(wait_all_doc,
             "wait_all(buffers, offset, target, abort_buffer, abort_offset, abort_value, timeout_s)"
             " -> int\n\n"
             "Wait until the cell at `offset` of every buffer is at least `target`: -1.\n"
             "Otherwise the index of the first that is not, when the time is out; or -2, when the\n"
             "cell at `abort_offset` of `abort_buffer` became `abort_value`.");
static PyObject *py_wait_all(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t offset, abort_offset, member = 0;
    uint64_t target, abort_value;
    Py_buffer abort_view, views[MAX_MEMBERS];
    Cell *cells[MAX_MEMBERS];
    if (!arguments(args, nargs, 7) || !parse_offset(args[1], &offset) ||
        !parse_u64(args[2], &target) || !parse_offset(args[4], &abort_offset) ||
        !parse_u64(args[5], &abort_value))
        return NULL;
    double timeout_s = PyFloat_AsDouble(args[6]);
    if (timeout_s == -1.0 && PyErr_Occurred()) return NULL;
    Cell *abort_cell = cell_at(args[3], abort_offset, &abort_view);
    if (!abort_cell) return NULL;
    Py_ssize_t num_members = member_cells(args[0], offset, views, cells);
    if (num_members < 0) {
        PyBuffer_Release(&abort_view);
        return NULL;
    }
    while (member < num_members && load(cells[member]) >= target) ++member;
    enum Outcome outcome = member == num_members ? REACHED : LOOK_AT_SIGNALS;
    int64_t deadline = outcome == REACHED ? 0 : deadline_after(timeout_s);
    Patience p = {0, 0};
    if (outcome != REACHED) p = patience();
    while (outcome == LOOK_AT_SIGNALS) {
        Py_BEGIN_ALLOW_THREADS
        outcome = until_all(cells, &member, num_members, target, abort_cell, abort_value, deadline,
                            &p);
        Py_END_ALLOW_THREADS
        if (outcome == LOOK_AT_SIGNALS && PyErr_CheckSignals() < 0) break;
    }
    for (Py_ssize_t i = 0; i < num_members; ++i) PyBuffer_Release(&views[i]);
    PyBuffer_Release(&abort_view);
    if (PyErr_Occurred()) return NULL;
    return PyLong_FromSsize_t(outcome == REACHED ? -1 : outcome == ABORTED ? -2 : member);
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, name##_doc}
static PyMethodDef methods[] = {METHOD(load64), METHOD(store64),     METHOD(publish),
                                METHOD(ring),   METHOD(wake),        METHOD(wait_change),
                                METHOD(wait_all), {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_signal", "Words in shared memory to set, read and sleep on.", 0,
    methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__signal(void) { return PyModule_Create(&module); }
