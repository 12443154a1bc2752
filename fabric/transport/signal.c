/* Words in shared memory to set, read and sleep on, for Python: see signal.h. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "signal.h"

enum { MAX_MEMBERS = 1024 };

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
