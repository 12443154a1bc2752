/* A heap in a chip's shared memory, from which numpy takes the data of its arrays (NEP 49).
 *
 * So a tensor lies where the peers can read it from its birth, and a collective need only publish an
 * offset. Arrays of less than `min_bytes`, and all arrays once the heap is full, come from numpy's
 * own allocator; each goes back to the one it came from.
 *
 * Blocks are whole pages. What is known of them is kept outside of the heap, where no peer can
 * scribble: an entry a page, of which a block uses the first and the last (boundary tags), so that
 * neighbours are found and joined at once. Free blocks are in lists by size, four a power of two,
 * last in first out: a block that was just in use is warm. Nothing at or above the page `high` was
 * ever handed out, so it reads as zero. When more than `keep_bytes` of touched memory is free, its
 * pages go back to the system, the largest blocks first.
 *
 * numpy keeps the handler's capsule with every array that came from it; the capsule keeps the state
 * here and the mapping. So arrays may outlive the mesh. After a fork the child has this state but
 * shares the memory: there the heap gives out nothing and takes nothing back.
 *
 * numpy's headers are not needed: the two functions and the one struct are part of its stable ABI,
 * found as its own import_array() does.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if !defined(__linux__)
#error "MADV_REMOVE: Linux; elsewhere there is no shared memory"
#endif

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { /* numpy/ndarraytypes.h, version 1 */
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t num, size_t size);
    void *(*realloc)(void *context, void *pointer, size_t size);
    void (*free)(void *context, void *pointer, size_t size);
} Allocator;

typedef struct {
    char name[127];
    uint8_t version;
    Allocator allocator;
} Handler;

enum { SET_HANDLER = 304, DEFAULT_HANDLER = 306 }; /* places in numpy's table of functions */
static PyObject *(*set_handler)(PyObject *capsule);
static Allocator numpy_own;

#define PAGE ((size_t)4096)
#define NONE UINT32_MAX
enum { NUM_CLASSES = 128, MOST_TRIES = 16 };
enum State { INSIDE, FREE, USED };

typedef struct {
    uint32_t pages;      /* of the block that starts here */
    uint32_t head;       /* of the block that ends here */
    uint32_t prev, next; /* in its list, of a free block that starts here */
    uint32_t dirty;      /* at most so many pages of a free block were touched */
    uint32_t state;
} Page;

typedef struct {
    Handler handler;
    Py_buffer view;
    char *base;
    uint32_t num_pages, high;
    size_t min_bytes, keep_pages, dirty_pages, used_pages, used_blocks;
    Page *page;
    size_t map_bytes; /* of `page` */
    uint32_t lists[NUM_CLASSES];
    pthread_mutex_t mutex;
    int forks; /* as many as when it was made, or this is a child */
} State;

static int num_forks = 0;
static void count_fork(void) { num_forks++; }

/* ------------------------------------------------------------------ free blocks */

static int class_of(uint32_t pages) {
    int log2 = 31 - __builtin_clz(pages);
    return 4 * log2 + (log2 >= 2 ? (int)(pages >> (log2 - 2)) & 3 : 0);
}

static void unlist(State *s, uint32_t at) {
    Page *page = s->page, *block = &page[at];
    if (block->prev != NONE) page[block->prev].next = block->next;
    else s->lists[class_of(block->pages)] = block->next;
    if (block->next != NONE) page[block->next].prev = block->prev;
    s->dirty_pages -= block->dirty;
}

static void mark(State *s, uint32_t at, uint32_t pages, enum State state) {
    s->page[at].pages = pages;
    s->page[at].state = state;
    s->page[at + pages - 1].head = at;
}

static void enlist(State *s, uint32_t at, uint32_t pages, uint32_t dirty) {
    uint32_t below_high = at < s->high ? s->high - at : 0;
    if (dirty > pages) dirty = pages;
    if (dirty > below_high) dirty = below_high;
    mark(s, at, pages, FREE);
    uint32_t *list = &s->lists[class_of(pages)];
    s->page[at].prev = NONE;
    s->page[at].next = *list;
    s->page[at].dirty = dirty;
    if (*list != NONE) s->page[*list].prev = at;
    *list = at;
    s->dirty_pages += dirty;
}

/* A free block of at least `pages`, or NONE. Of its own class a few are tried; of a higher one any will do. */
static uint32_t find(const State *s, uint32_t pages) {
    int class = class_of(pages), tries = 0;
    for (uint32_t at = s->lists[class]; at != NONE && tries < MOST_TRIES; at = s->page[at].next, tries++)
        if (s->page[at].pages >= pages) return at;
    while (++class < NUM_CLASSES)
        if (s->lists[class] != NONE) return s->lists[class];
    return NONE;
}

static void give_pages_back(State *s) {
    for (int class = NUM_CLASSES; class-- && s->dirty_pages > s->keep_pages / 2;)
        for (uint32_t at = s->lists[class]; at != NONE; at = s->page[at].next) {
            Page *block = &s->page[at];
            uint32_t end = at + block->pages < s->high ? at + block->pages : s->high;
            if (!block->dirty) continue;
            if (madvise(s->base + at * PAGE, (end - at) * PAGE, MADV_REMOVE)) return;
            s->dirty_pages -= block->dirty;
            block->dirty = 0;
        }
}

/* ------------------------------------------------------------------ blocks */

/* A block of `size` bytes, or NULL. `dirty`: how many of its first bytes may be other than zero. */
static void *take(State *s, size_t size, size_t *dirty) {
    if (size < s->min_bytes || size > s->num_pages * PAGE || s->forks != num_forks) return NULL;
    uint32_t pages = (uint32_t)((size + PAGE - 1) / PAGE);
    pthread_mutex_lock(&s->mutex);
    uint32_t at = find(s, pages);
    if (at == NONE) {
        pthread_mutex_unlock(&s->mutex);
        return NULL;
    }
    uint32_t whole = s->page[at].pages, touched = s->page[at].dirty;
    unlist(s, at);
    mark(s, at, pages, USED);
    *dirty = !touched || at >= s->high ? 0 : (s->high - at < pages ? s->high - at : pages) * PAGE;
    if (s->high < at + pages) s->high = at + pages;
    if (whole > pages) enlist(s, at + pages, whole - pages, touched);
    s->used_pages += pages;
    s->used_blocks++;
    pthread_mutex_unlock(&s->mutex);
    return s->base + at * PAGE;
}

static int owns(const State *s, const void *pointer) {
    size_t offset = (size_t)((const char *)pointer - s->base);
    return (const char *)pointer >= s->base && offset < s->num_pages * PAGE;
}

static size_t bytes_of(State *s, const void *pointer) {
    return s->page[((const char *)pointer - s->base) / PAGE].pages * PAGE;
}

static void give(State *s, void *pointer) {
    if (s->forks != num_forks) return;
    pthread_mutex_lock(&s->mutex);
    uint32_t at = (uint32_t)(((char *)pointer - s->base) / PAGE), pages = s->page[at].pages, dirty = pages;
    s->used_pages -= pages;
    s->used_blocks--;
    uint32_t after = at + pages;
    if (after < s->num_pages && s->page[after].state == FREE) {
        pages += s->page[after].pages;
        dirty += s->page[after].dirty;
        unlist(s, after);
    }
    uint32_t before = at ? s->page[at - 1].head : 0;
    if (at && s->page[before].state == FREE) {
        pages += s->page[before].pages;
        dirty += s->page[before].dirty;
        unlist(s, before);
        at = before;
    }
    enlist(s, at, pages, dirty);
    if (s->dirty_pages > s->keep_pages) give_pages_back(s);
    pthread_mutex_unlock(&s->mutex);
}

/* ------------------------------------------------------------------ what numpy calls */

static void *heap_malloc(void *context, size_t size) {
    size_t dirty;
    void *block = take(context, size, &dirty);
    return block ? block : numpy_own.malloc(numpy_own.context, size);
}

static void *heap_calloc(void *context, size_t num, size_t size) {
    size_t dirty, total;
    void *block = __builtin_mul_overflow(num, size, &total) ? NULL : take(context, total, &dirty);
    if (!block) return numpy_own.calloc(numpy_own.context, num, size);
    return memset(block, 0, dirty < total ? dirty : total);
}

static void heap_free(void *context, void *pointer, size_t size) {
    if (pointer && owns(context, pointer)) give(context, pointer);
    else numpy_own.free(numpy_own.context, pointer, size);
}

static void *heap_realloc(void *context, void *pointer, size_t size) {
    if (!pointer || !owns(context, pointer)) return numpy_own.realloc(numpy_own.context, pointer, size);
    size_t old = bytes_of(context, pointer);
    void *block = heap_malloc(context, size);
    if (!block) return NULL;
    memcpy(block, pointer, old < size ? old : size);
    heap_free(context, pointer, old);
    return block;
}

/* ------------------------------------------------------------------ Python */

typedef struct {
    PyObject_HEAD
    PyObject *capsule;
    State *state; /* lives as long as the capsule */
} Heap;

static void capsule_gone(PyObject *capsule) {
    Handler *handler = PyCapsule_GetPointer(capsule, "mem_handler");
    State *s = handler->allocator.context;
    munmap(s->page, s->map_bytes);
    pthread_mutex_destroy(&s->mutex);
    PyBuffer_Release(&s->view);
    PyMem_Free(s);
}

static State *new_state(PyObject *buffer, Py_ssize_t offset, Py_ssize_t num_bytes) {
    State *s = PyMem_Calloc(1, sizeof *s);
    if (!s) return (State *)PyErr_NoMemory();
    if (PyObject_GetBuffer(buffer, &s->view, PyBUF_WRITABLE) < 0) {
        PyMem_Free(s);
        return NULL;
    }
    s->base = (char *)s->view.buf + offset;
    s->num_pages = (uint32_t)((size_t)num_bytes / PAGE);
    s->map_bytes = s->num_pages * sizeof(Page);
    int fits = offset >= 0 && num_bytes >= (Py_ssize_t)PAGE && num_bytes <= s->view.len - offset &&
               (uintptr_t)s->base % PAGE == 0 && (size_t)num_bytes / PAGE < NONE;
    if (!fits) PyErr_Format(PyExc_ValueError, "a heap of %zd bytes at %zd must be pages of the buffer (%zd bytes)",
                            num_bytes, offset, s->view.len);
    s->page = fits ? mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                   : MAP_FAILED;
    if (s->page == MAP_FAILED) {
        if (fits) PyErr_NoMemory();
        PyBuffer_Release(&s->view);
        PyMem_Free(s);
        return NULL;
    }
    return s;
}

static PyObject *heap_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"buffer", "offset", "num_bytes", "min_bytes", "keep_bytes", NULL};
    PyObject *buffer;
    Py_ssize_t offset, num_bytes, min_bytes, keep_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Onnnn", names, &buffer, &offset, &num_bytes, &min_bytes, &keep_bytes))
        return NULL;
    State *s = new_state(buffer, offset, num_bytes);
    if (!s) return NULL;
    s->handler = (Handler){"meshtwin", 1, {s, heap_malloc, heap_calloc, heap_realloc, heap_free}};
    s->min_bytes = min_bytes > 1 ? (size_t)min_bytes : 1;
    s->keep_pages = (size_t)keep_bytes / PAGE;
    s->forks = num_forks;
    pthread_mutex_init(&s->mutex, NULL);
    for (int class = 0; class < NUM_CLASSES; class++) s->lists[class] = NONE;
    enlist(s, 0, s->num_pages, 0);
    PyObject *capsule = PyCapsule_New(&s->handler, "mem_handler", capsule_gone);
    Heap *self = capsule ? (Heap *)type->tp_alloc(type, 0) : NULL;
    if (!self) {
        Py_XDECREF(capsule);
        return NULL;
    }
    self->capsule = capsule;
    self->state = s;
    return (PyObject *)self;
}

static void heap_dealloc(Heap *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->capsule);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *use(PyObject *capsule) {
    PyObject *before = set_handler(capsule);
    if (!before) return NULL;
    Py_DECREF(before);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(install_doc, "install()\n\nnumpy's arrays of this thread (this context) come from this heap from now on.");
static PyObject *heap_install(Heap *self, PyObject *Py_UNUSED(nothing)) { return use(self->capsule); }

PyDoc_STRVAR(uninstall_doc,
             "uninstall()\n\nnumpy's arrays of this thread no longer come from this heap but from numpy's own allocator.");
static PyObject *heap_uninstall(Heap *self, PyObject *Py_UNUSED(nothing)) {
    PyObject *before = set_handler(NULL);
    if (!before) return NULL;
    PyObject *done = before == self->capsule ? Py_NewRef(Py_None) : use(before);
    Py_DECREF(before);
    return done;
}

PyDoc_STRVAR(offset_of_doc,
             "offset_of(array) -> int\n\n"
             "Where in the segment the data of a C-contiguous array begins, or -1: not in this heap.");
static PyObject *heap_offset_of(Heap *self, PyObject *array) {
    Py_buffer view;
    if (PyObject_GetBuffer(array, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear(); /* not contiguous, or of a type that buffers do not know */
        return PyLong_FromLong(-1);
    }
    State *s = self->state;
    Py_ssize_t offset = owns(s, view.buf) ? (char *)view.buf - (char *)s->view.buf : -1;
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(offset);
}

PyDoc_STRVAR(statistics_doc,
             "statistics() -> tuple[int, int, int]\n\nBlocks in use, their bytes, and touched bytes that are free.");
static PyObject *heap_statistics(Heap *self, PyObject *Py_UNUSED(nothing)) {
    State *s = self->state;
    pthread_mutex_lock(&s->mutex);
    size_t blocks = s->used_blocks, used = s->used_pages, kept = s->dirty_pages;
    pthread_mutex_unlock(&s->mutex);
    return Py_BuildValue("(nnn)", (Py_ssize_t)blocks, (Py_ssize_t)(used * PAGE), (Py_ssize_t)(kept * PAGE));
}

static PyMethodDef heap_methods[] = {
    {"install", (PyCFunction)heap_install, METH_NOARGS, install_doc},
    {"uninstall", (PyCFunction)heap_uninstall, METH_NOARGS, uninstall_doc},
    {"offset_of", (PyCFunction)heap_offset_of, METH_O, offset_of_doc},
    {"statistics", (PyCFunction)heap_statistics, METH_NOARGS, statistics_doc},
    {NULL, NULL, 0, NULL}};

PyDoc_STRVAR(heap_doc,
             "Heap(buffer, offset, num_bytes, min_bytes, keep_bytes)\n\n"
             "A heap in pages of a shared, writable buffer whose heap nobody has used yet.");
static PyType_Slot heap_slots[] = {{Py_tp_new, heap_new}, {Py_tp_dealloc, heap_dealloc}, {Py_tp_methods, heap_methods},
                                   {Py_tp_doc, (void *)heap_doc}, {0, NULL}};
static PyType_Spec heap_spec = {"meshtwin.fabric.transport._heap.Heap", sizeof(Heap), 0, Py_TPFLAGS_DEFAULT, heap_slots};

static int find_numpy(void) {
    PyObject *numpy = PyImport_ImportModule("numpy._core._multiarray_umath");
    PyObject *capsule = numpy ? PyObject_GetAttrString(numpy, "_ARRAY_API") : NULL;
    void **table = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    if (table) {
        set_handler = (PyObject * (*)(PyObject *)) table[SET_HANDLER];
        Handler *handler = PyCapsule_GetPointer(*(PyObject **)table[DEFAULT_HANDLER], "mem_handler");
        if (handler) numpy_own = handler->allocator;
    }
    Py_XDECREF(capsule);
    Py_XDECREF(numpy);
    return PyErr_Occurred() ? -1 : 0;
}

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_heap", "A heap in shared memory for numpy's arrays.", -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__heap(void) {
    if (find_numpy() < 0 || pthread_atfork(NULL, NULL, count_fork)) return NULL;
    PyObject *self = PyModule_Create(&module), *type = PyType_FromSpec(&heap_spec);
    if (!self || !type || PyModule_AddObjectRef(self, "Heap", type) < 0) Py_CLEAR(self);
    Py_XDECREF(type);
    return self;
}
