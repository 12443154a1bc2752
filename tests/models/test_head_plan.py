"""Dealing heads to chips, whatever the counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.models.head_plan import plan_heads


@given(kv=st.integers(1, 12), group=st.integers(1, 12), tp_size=st.integers(1, 33))
def test_every_query_head_is_on_one_chip_beside_its_own_kv_head(
    kv: int, group: int, tp_size: int
) -> None:
    plan = plan_heads(kv * group, kv, tp_size)
    seen = []
    for rank in range(tp_size):
        for slot in plan.slots[rank]:
            for head in slot.query_heads:
                if head is not None:
                    seen.append(head)
                    assert slot.kv_head == head // group
    assert sorted(seen) == list(range(kv * group))


@given(kv=st.integers(1, 12), group=st.integers(1, 12), tp_size=st.integers(1, 33))
def test_all_chips_hold_equally_many_heads(kv: int, group: int, tp_size: int) -> None:
    plan = plan_heads(kv * group, kv, tp_size)
    for rank in range(tp_size):
        assert len(plan.query_heads(rank)) == plan.num_query_heads
        assert len(plan.kv_heads(rank)) == plan.num_kv_heads
    assert plan.num_query_heads % plan.num_kv_heads == 0


@pytest.mark.parametrize(
    ("tp_size", "query", "kv", "idle"),
    [(1, 9, 3, 0), (2, 6, 2, 0), (3, 3, 1, 0), (4, 3, 1, 1), (9, 1, 1, 0), (32, 1, 1, 23)],
)
def test_smollm2_heads_on_known_meshes(tp_size: int, query: int, kv: int, idle: int) -> None:
    plan = plan_heads(9, 3, tp_size)
    assert (plan.num_query_heads, plan.num_kv_heads) == (query, kv)
    padding = sum(set(plan.query_heads(rank)) == {None} for rank in range(tp_size))
    assert padding == idle


def test_llama_70b_on_a_galaxy_has_no_padding() -> None:
    plan = plan_heads(64, 8, 32)
    assert (plan.num_query_heads, plan.num_kv_heads) == (2, 1)
    assert all(None not in plan.query_heads(rank) for rank in range(32))


def test_heads_that_do_not_group_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_heads \(=9\) must be a multiple"):
        plan_heads(9, 2, 4)
