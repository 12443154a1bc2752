import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument, OutOfMemory
from meshtwin.chip.memory import Allocation, DramLedger


def test_what_is_freed_can_be_used_again() -> None:
    ledger = DramLedger(100, chip=0)
    first = ledger.allocate(60, "weights")
    assert (ledger.used_bytes, ledger.free_bytes, ledger.peak_bytes) == (60, 40, 60)
    first.free()
    first.free()
    assert (ledger.used_bytes, ledger.peak_bytes) == (0, 60)
    assert ledger.allocate(100, "cache").nbytes == 100


def test_an_allocation_frees_itself_when_nothing_refers_to_it() -> None:
    ledger = DramLedger(100, chip=0)
    held = ledger.allocate(60, "weights")
    assert ledger.used_bytes == 60
    del held
    gc.collect()
    assert ledger.used_bytes == 0
    assert ledger.holders() == []


def test_a_full_dram_names_the_largest_holders_and_holds_nothing_more() -> None:
    ledger = DramLedger(1000, chip=3)
    held = [ledger.allocate(size, what) for what, size in [("cache", 300), ("w", 250), ("w", 250)]]
    with pytest.raises(OutOfMemory) as caught:
        ledger.allocate(201, "linear")
    error = caught.value
    assert (error.chip, error.asked_bytes, error.free_bytes, error.what) == (3, 201, 200, "linear")
    assert error.holders == (("w", 500), ("cache", 300))
    assert ledger.used_bytes == sum(piece.nbytes for piece in held)


def test_a_ledger_needs_some_memory() -> None:
    with pytest.raises(InvalidArgument, match="must be > 0"):
        DramLedger(0, chip=0)


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.sampled_from("abc")), max_size=60))
def test_the_ledger_always_equals_the_sum_of_what_lives(
    steps: list[tuple[int, bool, str]],
) -> None:
    ledger = DramLedger(1000, chip=0)
    alive: list[Allocation] = []
    for size, is_free, what in steps:
        if is_free and alive:
            alive.pop(size % len(alive)).free()
        elif size <= ledger.free_bytes:
            alive.append(ledger.allocate(size, what))
        else:
            with pytest.raises(OutOfMemory):
                ledger.allocate(size, what)
        total = sum(piece.nbytes for piece in alive)
        assert ledger.used_bytes == total <= ledger.peak_bytes
        assert sum(size for _, size in ledger.holders()) == total
