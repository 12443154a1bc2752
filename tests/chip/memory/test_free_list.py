"""Properties of the free list against a plain model: a set of taken intervals."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meshtwin.chip.memory.free_list import FreeList

BASE, SIZE = 64, 64 * 40


class FreeListMachine(RuleBasedStateMachine):
    """Takes and gives back at random; `taken` is what must be in nobody else's hands."""

    def __init__(self) -> None:
        super().__init__()
        self.free_list = FreeList(BASE, SIZE)
        self.taken: dict[int, int] = {}

    def gaps(self) -> list[tuple[int, int]]:
        """What is free, by the model."""
        found, at = [], BASE
        for start, size in sorted(self.taken.items()):
            if start > at:
                found.append((at, start - at))
            at = start + size
        if at < BASE + SIZE:
            found.append((at, BASE + SIZE - at))
        return found

    @rule(pages=st.integers(1, 14), low=st.booleans())
    def take(self, pages: int, low: bool) -> None:
        size = 64 * pages
        fitting = [(at, room) for at, room in self.gaps() if room >= size]
        if low:
            expected = fitting[0][0] if fitting else -1
            got = self.free_list.take_low((size, "x"))
        else:
            expected = sum(fitting[-1]) - size if fitting else -1
            got = self.free_list.take_high((size, "x"))
        assert got == expected
        if got >= 0:
            self.taken[got] = size

    @rule(which=st.integers(0, 1000))
    def give_back(self, which: int) -> None:
        if self.taken:
            start = sorted(self.taken)[which % len(self.taken)]
            del self.taken[start]
            self.free_list.give_back(start)

    @invariant()
    def free_blocks_are_the_gaps_whole_and_merged(self) -> None:
        gaps = self.gaps()
        assert list(self.free_list.blocks()) == gaps
        assert self.free_list.free_bytes == sum(size for _, size in gaps)
        assert self.free_list.holders == {at: (size, "x") for at, size in self.taken.items()}
        assert self.free_list.largest == max((size for _, size in gaps), default=0)
        assert self.free_list.lowest_taken == min(self.taken, default=BASE + SIZE)
        assert all(start % 64 == 0 == size % 64 for start, size in gaps)


TestFreeList = FreeListMachine.TestCase


@given(st.lists(st.integers(1, 8), max_size=20), st.randoms(use_true_random=False))
def test_all_given_back_in_any_order_is_one_block_again(sizes: list[int], order: object) -> None:
    free_list = FreeList(0, 1 << 20)
    taken = [(free_list.take_low((size, "x")), size) for size in sizes]
    order.shuffle(taken)  # type: ignore[attr-defined]
    for start, _ in taken:
        free_list.give_back(start)
    assert list(free_list.blocks()) == [(0, 1 << 20)]


def test_low_takes_the_first_block_that_fits_though_another_fits_better() -> None:
    free_list = FreeList(0, 1000)
    first, kept, second, _ = (free_list.take_low((size, "x")) for size in (300, 10, 100, 10))
    free_list.give_back(first)
    free_list.give_back(second)
    assert free_list.take_low((100, "x")) == first
    assert kept == 300


def test_high_takes_the_end_of_the_last_block_that_fits() -> None:
    free_list = FreeList(0, 1000)
    assert free_list.take_high((100, "x")) == 900
    assert free_list.take_high((900, "x")) == 0
    assert free_list.take_high((1, "x")) == -1 == free_list.take_low((1, "x"))
    assert free_list.lowest_taken == 0
