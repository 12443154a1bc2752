/* Words in shared memory that processes set, read and sleep on: for signal.c and collectives/direct.c.
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
 * time slice, so a wait with a yield longer than SLOW_NS makes the next waits of the thread sleep at
 * once: MIN_CALM of them, and twice as many each time that a yield is slow again, up to MAX_CALM. One
 * hiccup of a quiet machine so costs little, and a busy one is soon left in peace. Sleeps last at most SLICE_NS, then Python's signals are looked at.
 */

#ifndef MESHTWIN_SIGNAL_H
#define MESHTWIN_SIGNAL_H

#if !defined(__linux__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "futexes: Linux, little endian; elsewhere portable_signal.py is used"
#endif

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CELL_BYTES = 16, MAX_YIELDS = 200, MIN_CALM = 4, MAX_CALM = 512 };
#define SLOW_NS 200000LL
#define SLICE_NS 50000000LL

typedef struct {
    uint64_t value;
    uint32_t waiters;
    uint32_t unused;
} Cell;

enum Outcome { REACHED, TIMED_OUT, ABORTED, LOOK_AT_SIGNALS };

static __thread int waits_without_yield = 0, calm = MIN_CALM;

/* ------------------------------------------------------------------ cells */

static inline uint64_t load(const Cell *cell) { return __atomic_load_n(&cell->value, __ATOMIC_SEQ_CST); }

static inline void store(Cell *cell, uint64_t value) {
    __atomic_store_n(&cell->value, value, __ATOMIC_SEQ_CST);
}

static inline void wake_sleepers(Cell *cell) {
    if (__atomic_load_n(&cell->waiters, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, (uint32_t *)&cell->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static inline void sleep_while(Cell *cell, uint32_t seen, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000LL, nanoseconds % 1000000000LL};
    __atomic_fetch_add(&cell->waiters, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, (uint32_t *)&cell->value, FUTEX_WAIT, seen, &limit, NULL, 0);
    __atomic_fetch_sub(&cell->waiters, 1, __ATOMIC_SEQ_CST);
}

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline int64_t deadline_after(double timeout_s) {
    if (!(timeout_s > 0)) return now_ns();
    return now_ns() + (int64_t)(fmin(timeout_s, 1e8) * 1e9);
}

/* ------------------------------------------------------------------ waiting */

typedef struct {
    int yields;
    int may_yield;
} Patience;

static inline Patience patience(void) {
    static __thread int quick_waits = 0;
    Patience p = {0, waits_without_yield == 0};
    quick_waits = p.may_yield ? quick_waits + 1 : 0; /* in a row, since the last slow one */
    if (quick_waits > MAX_CALM && calm > MIN_CALM) calm = MIN_CALM;
    if (waits_without_yield > 0) waits_without_yield--;
    return p;
}

/* Yield once more if that is still promising; 0 when it is time to sleep. */
static inline int yielded(Patience *p) {
    if (!p->may_yield) return 0;
    if (p->yields++ < MAX_YIELDS) {
        int64_t before = now_ns();
        sched_yield();
        if (now_ns() - before < SLOW_NS) return 1;
        waits_without_yield = calm;
        calm = calm < MAX_CALM ? 2 * calm : MAX_CALM;
    }
    p->may_yield = 0;
    return 0;
}

/* Sleep until the cell may have changed; says why to stop, or REACHED to look again. */
static inline enum Outcome nap(Cell *cell, uint32_t seen, int64_t deadline) {
    int64_t left = deadline - now_ns();
    if (left <= 0) return TIMED_OUT;
    sleep_while(cell, seen, left < SLICE_NS ? left : SLICE_NS);
    return errno == EINTR ? LOOK_AT_SIGNALS : REACHED;
}

static inline enum Outcome until_changed(Cell *cell, uint32_t seen, int64_t deadline, Patience *p) {
    for (int naps = 0; (uint32_t)load(cell) == seen;) {
        if (yielded(p)) continue;
        errno = 0;
        enum Outcome outcome = nap(cell, seen, deadline);
        if (outcome != REACHED) return outcome;
        if (++naps % 4 == 0) return LOOK_AT_SIGNALS;
    }
    return REACHED;
}

static inline enum Outcome until_all(Cell **cells, ptrdiff_t *member, ptrdiff_t num_members,
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

#endif
