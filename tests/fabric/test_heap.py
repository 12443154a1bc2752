"""The heap: arrays are born where peers see them, and go back where they came from."""

import gc
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.fabric.transport import heap as heap_module
from meshtwin.fabric.transport.base import SegmentAddress
from meshtwin.fabric.transport.heap import HEAP_MIN_BYTES, HeapStatistics, SharedHeap
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.segment import HEAP_BYTES, Segment
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport

pytestmark = pytest.mark.skipif(not heap_module.COMPILED, reason="no C compiler at install")

EMPTY = HeapStatistics(0, 0, 0)


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(2, heap_bytes=1 << 28)
    yield segment
    segment.close()


@pytest.fixture
def heap(segment: Segment) -> Iterator[SharedHeap]:
    heap = SharedHeap(segment)
    assert heap.install()
    yield heap
    heap.uninstall()


def read_at(address: SegmentAddress, offset: int, count: int) -> list[int]:
    peer = Segment.open(address)
    numbers: list[int] = np.frombuffer(peer.buffer, np.int32, count, offset).tolist()
    return numbers


def test_an_array_is_seen_by_another_process_where_it_was_born(
    segment: Segment, heap: SharedHeap
) -> None:
    x = np.arange(10_000, dtype=np.int32)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        seen = pool.apply(read_at, (segment.address, heap.offset_of(x), 10_000))
    assert seen == list(range(10_000))


def test_offsets_are_of_contiguous_arrays_of_this_heap_only(heap: SharedHeap) -> None:
    x = np.zeros((256, 256), np.float32)
    at = heap.offset_of(x)
    assert at > 0 and at % 64 == 0
    assert heap.offset_of(x[3:]) == at + 3 * 1024
    assert heap.offset_of(x[:, 1:]) == -1
    assert heap.offset_of(np.zeros(HEAP_MIN_BYTES - 1, np.uint8)) == -1
    assert heap.offset_of(np.frombuffer(bytes(HEAP_MIN_BYTES), np.uint8)) == -1
    heap.uninstall()
    assert heap.offset_of(np.zeros((256, 256), np.float32)) == -1


def test_what_was_freed_is_used_again_and_zeros_are_zeros(heap: SharedHeap) -> None:
    x = np.full(1 << 20, 7, np.uint8)
    at = heap.offset_of(x)
    del x
    again = np.zeros(1 << 20, np.uint8)
    assert heap.offset_of(again) == at
    assert not again.any()
    del again
    assert heap.statistics() == HeapStatistics(0, 0, 1 << 20)


def test_a_resized_array_keeps_its_data(heap: SharedHeap) -> None:
    x = np.arange(8192, dtype=np.int32)
    x.resize(1 << 20, refcheck=False)
    assert heap.offset_of(x) > 0
    assert np.array_equal(x[:8192], np.arange(8192)) and not x[8192:].any()
    x.resize(16, refcheck=False)
    assert heap.offset_of(x) == -1 and x.tolist() == list(range(16))


def test_a_full_heap_leaves_the_rest_to_numpy() -> None:
    segment = Segment.create(1, heap_bytes=1 << 21)
    heap = SharedHeap(segment)
    heap.install()
    arrays = [np.ones(1 << 19, np.uint8) for _ in range(6)]
    heap.uninstall()
    assert [heap.offset_of(x) > 0 for x in arrays] == [True] * 4 + [False] * 2
    arrays.clear()
    assert heap.statistics() == HeapStatistics(0, 0, 1 << 21)
    segment.close()


def test_much_free_memory_goes_back_to_the_system() -> None:
    segment = Segment.create(1, heap_bytes=1 << 28)
    heap = SharedHeap(segment, keep_bytes=1 << 22)
    heap.install()
    arrays = [np.ones(1 << 22, np.uint8) for _ in range(8)]
    before = os.fstat(segment.address.fd).st_blocks * 512
    arrays.clear()
    after = os.fstat(segment.address.fd).st_blocks * 512
    assert before >= 8 << 22 and after <= before - (6 << 22)
    assert heap.statistics().kept_bytes <= 1 << 22
    assert not np.zeros(8 << 22, np.uint8).any()
    heap.uninstall()
    segment.close()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([1 << 20, 1 << 26]))
def test_blocks_never_overlap_and_all_come_back(seed: int, keep_bytes: int) -> None:
    segment = Segment.create(1, heap_bytes=1 << 24)
    heap = SharedHeap(segment, keep_bytes)
    heap.install()
    dice = random.Random(seed)
    live: list[tuple[np.ndarray, int]] = []
    for number in range(300):
        if live and dice.random() < 0.5:
            x, value = live.pop(dice.randrange(len(live)))
            assert (x == value % 251).all()
        size = int(2 ** dice.uniform(10, 21))
        x = np.zeros(size, np.uint8) if dice.random() < 0.5 else np.empty(size, np.uint8)
        x[:] = number % 251
        live.append((x, number))
    assert all((x == value % 251).all() for x, value in live)
    held = sum(heap.offset_of(x) != -1 for x, _ in live)
    assert heap.statistics().num_blocks == held
    live.clear()
    del x
    assert heap.statistics().num_blocks == heap.statistics().used_bytes == 0
    assert heap.offset_of(np.empty(1 << 24, np.uint8)) == segment.heap_at  # in one piece again
    heap.uninstall()
    segment.close()


def test_each_thread_has_a_heap_of_its_own() -> None:
    segments = [Segment.create(4, heap_bytes=1 << 24) for _ in range(4)]
    heaps = [SharedHeap(segment) for segment in segments]
    arrays: list[list[np.ndarray]] = [[] for _ in segments]

    def work(index: int) -> None:
        heaps[index].install()
        for _ in range(50):
            heaps[index].install()
            x = np.full(20_000, index, np.int32)
            assert [heap.offset_of(x) != -1 for heap in heaps] == [i == index for i in range(4)]
        arrays[(index + 1) % 4].append(x)  # somebody else's thread may free it

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heaps[0].offset_of(np.zeros(20_000, np.int32)) == -1
    assert [heap.statistics().num_blocks for heap in heaps] == [1] * 4
    arrays.clear()
    assert [heap.statistics().num_blocks for heap in heaps] == [0] * 4
    for segment in segments:
        segment.close()


def test_an_array_outlives_its_segment_and_its_heap() -> None:
    gc.collect()  # memory of chips that other tests have closed
    before = count_maps()
    segment = Segment.create(2, heap_bytes=1 << 24)
    heap = SharedHeap(segment)
    heap.install()
    x = np.arange(100_000)
    heap.uninstall()
    segment.close()
    del heap, segment
    gc.collect()
    assert count_maps() > before
    assert x.sum() == 99_999 * 50_000
    del x
    gc.collect()
    assert count_maps() == before


def count_maps() -> int:
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sum("memfd:meshtwin" in line and "rw-s" in line for line in maps)


def test_a_forked_child_neither_takes_nor_gives() -> None:
    code = """
import os, numpy as np
from meshtwin.fabric.transport.segment import Segment
from meshtwin.fabric.transport.heap import SharedHeap
segment = Segment.create(1); heap = SharedHeap(segment); heap.install()
x = np.ones(1 << 20, np.uint8)
child = os.fork()
if child == 0:
    y = np.zeros(1 << 20, np.uint8)
    del x
    os._exit(0 if heap.offset_of(y) == -1 and heap.statistics().num_blocks == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
assert x.all() and heap.statistics().num_blocks == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_system_that_refuses_addresses_gets_a_smaller_heap_or_none() -> None:
    code = """
import resource, sys
from meshtwin.fabric.transport.segment import HEAP_BYTES, Segment
from meshtwin.fabric.transport.heap import SharedHeap
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
segment = Segment.create(2)
print(segment.heap_bytes)
assert SharedHeap(segment).install() == (segment.heap_bytes > 0)
"""
    found = []
    for extra_bytes in (3 << 30, 100 << 20, 20 << 20):
        run = [sys.executable, "-c", code, str(extra_bytes)]
        found.append(int(subprocess.run(run, capture_output=True, check=True, timeout=60).stdout))
    assert 1 << 28 <= found[0] < HEAP_BYTES
    assert 0 <= found[2] < found[1] < found[0]


def test_transports_install_the_heap_of_their_segment() -> None:
    alone = SharedMemoryTransport(0, 1)
    before = np.zeros(1 << 16)
    assert alone.install_heap() and alone.offset_of(np.zeros(1 << 16)) > 0
    pair = open_transport(0, 1, "shared_memory")
    assert pair.install_heap()
    x = np.zeros(1 << 16)
    assert alone.offset_of(x) == -1 and pair.offset_of(x) > 0
    alone.close()  # leaves the handler of the other one alone
    assert pair.offset_of(np.zeros(1 << 16)) > 0
    pair.close()
    assert pair.offset_of(np.zeros(1 << 16)) == alone.offset_of(before) == -1
    far = open_transport(0, 1, "zeromq")
    assert not far.install_heap() and far.offset_of(x) == -1
    far.close()


def test_without_the_compiled_heap_there_is_none(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heap_module, "COMPILED", False)
    heap = SharedHeap(segment)
    assert not heap.install() and heap.offset_of(np.zeros(1 << 16)) == -1
    heap.uninstall()
    assert heap.statistics() == EMPTY
