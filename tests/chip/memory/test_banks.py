import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument, OutOfMemory
from meshtwin.chip.memory.banks import (
    Allocation,
    BankedMemory,
    group_of_layers,
    layers_together,
)
from meshtwin.chip.memory.config import Buffer
from meshtwin.chip.memory.report import bank_report


def dram(bank_bytes: int = 64 + 1024, num_banks: int = 4) -> BankedMemory:
    return BankedMemory(Buffer.DRAM, 3, (num_banks, 1), bank_bytes, 64, 64, 64)


def l1(columns: int = 3, rows: int = 2) -> BankedMemory:
    return BankedMemory(Buffer.L1, 3, (columns, rows), 4096, 1024, 16, 64)


def test_what_is_freed_can_be_used_again() -> None:
    memory = dram()
    first = memory.allocate(640, "weights")
    assert (memory.used_bytes, memory.free_bytes, memory.peak_bytes) == (2560, 1536, 2560)
    first.free()
    first.free()
    assert (memory.used_bytes, memory.peak_bytes) == (0, 2560)
    assert memory.allocate(1024, "cache").address == 64


def test_an_allocation_frees_itself_when_nothing_refers_to_it() -> None:
    memory = dram()
    held = memory.allocate(600, "weights")
    assert memory.used_bytes == 4 * 640  # a multiple of the alignment in each bank
    del held
    gc.collect()
    assert memory.used_bytes == 0
    assert memory.holders() == []


def test_dram_is_filled_from_the_bottom_and_l1_from_the_top() -> None:
    low, high = dram(), l1()
    assert [low.allocate(64, "a").address, low.allocate(64, "a").address] == [64, 64]
    kept = [low.allocate(64, "a"), low.allocate(128, "b")]
    assert [piece.address for piece in kept] == [64, 128]
    tops = [high.allocate(64, "a"), high.allocate(100, "b")]
    assert [piece.address for piece in tops] == [4096 - 64, 4096 - 64 - 128]


def test_a_full_memory_names_what_is_free_and_the_largest_holders() -> None:
    memory = dram()
    sizes = [("cache", 320), ("w", 192), ("gap", 128), ("w", 192)]
    held = [memory.allocate(size, what) for what, size in sizes]
    held[2].free()
    with pytest.raises(OutOfMemory) as caught:
        memory.allocate(300, "linear")
    error = caught.value
    assert (error.chip, error.buffer, error.what) == (3, "DRAM", "linear")
    assert (error.asked_bank_bytes, error.asked_bytes) == (320, 1280)
    assert (error.free_bank_bytes, error.largest_free_block_bytes) == (320, 192)
    assert error.fragmentation == pytest.approx(0.4)
    assert (error.bank_bytes, error.num_banks) == (1024, 4)
    assert error.holders == (("w", 1536), ("cache", 1280))
    assert memory.used_bytes == 4 * (320 + 192 + 192)


def test_no_bytes_take_no_room() -> None:
    memory = dram()
    nothing = memory.allocate(0, "empty")
    assert (nothing.address, nothing.is_freed, memory.used_bytes) == (-1, False, 0)
    nothing.free()


def test_a_memory_needs_room_beside_what_is_reserved() -> None:
    for reserved in (-64, 100, 4096):
        with pytest.raises(InvalidArgument, match=r"reserved_bytes .* multiple of 64 below"):
            BankedMemory(Buffer.L1, 0, (1, 1), 4096, reserved, 16, 64)


STEPS = st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.sampled_from("abc")), max_size=60)


@given(STEPS, st.booleans())
def test_figures_blocks_and_holders_always_agree(
    steps: list[tuple[int, bool, str]], in_l1: bool
) -> None:
    memory = l1() if in_l1 else dram()
    alive: list[Allocation] = []
    peak = 0
    for nbytes, is_free, what in steps:
        if is_free and alive:
            alive.pop(nbytes % len(alive)).free()
        else:
            try:
                alive.append(memory.allocate(nbytes, what))
            except OutOfMemory as error:
                assert error.largest_free_block_bytes < nbytes
        held = sorted((a.address, a.nbytes, a.what) for a in alive if a.nbytes)
        total = sum(size for _, size, _ in held)
        peak = max(peak, total)
        banks = memory.num_banks
        assert memory.used_bytes == banks * total
        assert memory.used_bytes + memory.free_bytes == memory.capacity_bytes
        assert memory.peak_bytes == banks * peak
        report = bank_report(memory)
        assert [(b.address, b.nbytes, b.what) for b in report.blocks if not b.is_free] == held
        ends = [report.reserved_bytes, *(b.address + b.nbytes for b in report.blocks)]
        assert ends[:-1] == [b.address for b in report.blocks]  # no gap, no overlap
        assert ends[-1] == report.reserved_bytes + report.capacity_bytes
        assert all(b.address % 64 == 0 for b in report.blocks)
        free = [b.nbytes for b in report.blocks if b.is_free]
        assert (report.free_bytes, report.largest_free_bytes) == (sum(free), max(free, default=0))
        assert 0 <= report.fragmentation < 1
        assert sum(size for _, size in report.holders) == report.used_bytes == total
    alive.clear()
    assert memory.used_bytes == 0
    assert len(memory.free_list.blocks()) == 1


def test_labels_of_layers_are_summed_up() -> None:
    holders = [("embed", 5), ("layers.0.mlp.w", 3), ("layers.11.mlp.w", 4), ("layer 3", 1)]
    assert layers_together(holders) == [("layers.*.mlp.w", 7), ("embed", 5), ("layer *", 1)]
    assert [group_of_layers(label) for label in ("conv2d", "k 12", "12")] == ["conv2d", "k *", "12"]
