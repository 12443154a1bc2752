import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.clock import Clock
from meshtwin.chip.errors import InvalidArgument


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**15))))
def test_time_only_goes_forward(steps: list[tuple[bool, int]]) -> None:
    clock = Clock()
    for is_wait, ps in steps:
        before = clock.now_ps
        after = clock.wait_until(ps) if is_wait else clock.advance(ps)
        assert after == clock.now_ps == (max(before, ps) if is_wait else before + ps)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"duration_ps \(=-1\) must be >= 0"):
        Clock().advance(-1)
