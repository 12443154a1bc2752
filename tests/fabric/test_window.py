"""Windows: publishes meet, slots keep, aborts wake."""

import time

import numpy as np
import pytest

from meshtwin.fabric.errors import PeerAborted, RecvTimeout
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport

from .fabric_harness import Site, run_in_processes, run_in_threads

WAIT_S = 30.0


def many_rounds(site: Site) -> None:
    """The whole mesh in turn with halves of it, over two runs."""
    everybody = tuple(range(site.num_chips))
    half = tuple(rank for rank in everybody if rank % 2 == site.rank % 2)
    for run_id in (1, 2):
        site.transport.begin_run(run_id)
        for number in range(200):
            channel, group = ((0, everybody), (1, half))[number % 3 == 0]
            window = site.transport.window(group, channel)
            words = window.buffer().view(np.uint32)
            words[:512] = site.rank * 1000 + number
            window.publish()
            window.wait_all(WAIT_S)
            for index, rank in enumerate(group):
                assert (window.slot(index).view(np.uint32)[:512] == rank * 1000 + number).all()
        site.meet()


def reduce_in_place(site: Site) -> float:
    """A direct all_reduce, as collectives do it: two publishes, no barrier."""
    window = site.transport.window(tuple(range(site.num_chips)), 0)
    share = 64
    for number in range(100):
        mine = np.arange(share * site.num_chips, dtype=np.float32) + site.rank + number
        window.buffer().view(np.float32)[: mine.size] = mine
        window.publish()
        window.wait_all(WAIT_S)
        chunk = slice(share * site.rank, share * (site.rank + 1))
        total = sum(slot.view(np.float32)[chunk] for slot in window.slots())
        window.buffer().view(np.float32)[:share] = total
        window.publish()
        window.wait_all(WAIT_S)
        result = np.concatenate([slot.view(np.float32)[:share] for slot in window.slots()])
        others = site.num_chips * number + sum(range(site.num_chips))
        assert np.array_equal(result, site.num_chips * (mine - site.rank - number) + others)
    return float(result[0])


def waits_end_as_they_should(site: Site) -> None:
    site.transport.begin_run(1)
    window = site.transport.window(tuple(range(site.num_chips)), 0)
    last = site.num_chips - 1
    if site.rank == last:
        time.sleep(0.2)
        site.transport.abort(1)
    else:
        window.publish()
        with pytest.raises(PeerAborted) as aborted:
            window.wait_all(WAIT_S)
        assert aborted.value.peer == last
    site.meet()
    site.transport.begin_run(2)  # counts from zero again, on every chip
    site.meet()
    for _ in range(3):
        window.publish()
        window.wait_all(WAIT_S)
    site.meet()
    if site.rank != 0:
        window.publish()
        with pytest.raises(RecvTimeout, match=r"publish 4 of window channel 0 from chip 0") as late:
            window.wait_all(0.05)
        assert late.value.src == 0
    site.meet()


@pytest.mark.parametrize("num_chips", [2, 3, 8])
def test_what_each_chip_publishes_is_what_all_read(num_chips: int) -> None:
    run_in_processes(many_rounds, SharedMemoryTransport, num_chips)


def test_windows_work_between_threads_too() -> None:
    run_in_threads(many_rounds, SharedMemoryTransport, 4)


def test_windows_work_without_the_compiled_words() -> None:
    run_in_processes(many_rounds, SharedMemoryTransport, 4, portable=True)


@pytest.mark.parametrize("num_chips", [2, 4])
def test_a_direct_all_reduce_is_right_on_every_chip(num_chips: int) -> None:
    answers = run_in_processes(reduce_in_place, SharedMemoryTransport, num_chips)
    assert len(set(answers)) == 1


@pytest.mark.parametrize("portable", [False, True])
def test_waits_end_by_abort_or_limit_and_a_new_run_starts_afresh(portable: bool) -> None:
    run_in_processes(waits_end_as_they_should, SharedMemoryTransport, 4, portable)


def test_the_slots_of_others_are_read_only() -> None:
    transport = SharedMemoryTransport(0, 1)
    transport.connect([transport.address])
    window = transport.window((0,), 0)
    assert window is not None and window.slot_bytes == 1 << 20
    window.publish()
    window.wait_all(0.0)
    with pytest.raises(ValueError, match="read-only"):
        window.slot(0)[0] = 1
    transport.close()


def test_a_channel_belongs_to_one_group_at_a_time() -> None:
    ends = [SharedMemoryTransport(rank, 2) for rank in range(2)]
    for end in ends:
        end.connect([peer.address for peer in ends])
    window = ends[0].window((0, 1), 0)
    assert ends[0].window((0, 1), 0) is window
    assert window is not None
    window.publish()
    with pytest.raises(ValueError, match="belongs to group"):
        ends[0].window((0,), 0)
    ends[0].begin_run(1)
    assert ends[0].window((0,), 0) is not None
    for group, channel in (((1,), 0), ((0, 0), 0), ((0, 1), 3)):
        with pytest.raises(ValueError, match="must"):
            ends[0].window(group, channel)
    for end in ends:
        end.close()


def test_there_is_no_window_onto_another_host() -> None:
    alone = SharedMemoryTransport(0, 2)
    alone.connect([alone.address])
    assert alone.window((0, 1), 0) is None
    alone.close()
