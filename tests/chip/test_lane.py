import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.clock import Clock
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.lane import LaneName, Lanes
from meshtwin.chip.memory.config import MemoryConfig

times = st.integers(0, 10**9)
lanes = st.sampled_from(["fabric", "dram", "host"])


def test_what_runs_beside_the_ops_costs_only_what_they_do_not_hide() -> None:
    clock = Clock(100)
    with Lanes(clock).beside("fabric") as pending:
        clock.advance(50)
    assert (clock.now_ps, pending.done_ps) == (100, 150)
    clock.advance(30)
    assert pending.wait() == clock.now_ps == 150
    clock.advance(1)
    assert pending.wait() == 151


@given(st.lists(st.tuples(lanes, times, times), min_size=1))
def test_time_is_between_the_longest_engine_and_the_sum_of_all(
    steps: list[tuple[LaneName, int, int]],
) -> None:
    clock = Clock()
    engines = Lanes(clock)
    busy_ps: dict[str, int] = {}
    for lane, beside_ps, own_ps in steps:
        with engines.beside(lane) as pending:
            clock.advance(beside_ps)
        assert pending.done_ps >= busy_ps.get(lane, 0) + beside_ps
        busy_ps[lane] = busy_ps.get(lane, 0) + beside_ps
        clock.advance(own_ps)
    own_ps = sum(step[2] for step in steps)
    assert clock.now_ps == own_ps
    assert max(own_ps, *busy_ps.values()) <= engines.join() <= own_ps + sum(busy_ps.values())


def test_an_error_inside_leaves_the_clock_where_it_was() -> None:
    chip = Chip.open("p150", plan=True)
    with pytest.raises(KeyError), chip.beside():
        chip.add(chip.empty((32, 32)), 1.0)
        raise KeyError
    assert chip.clock.now_ps == 0 < chip.lanes.join()


def test_an_unknown_lane_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'fabric'"):
        Chip.open("p150").beside("fabrik").__enter__()  # type: ignore[arg-type]


def test_weights_fetched_ahead_leave_the_product_nothing_to_read() -> None:
    in_turn, ahead = (Chip.open("p150", plan=True) for _ in range(2))
    for chip in (in_turn, ahead):
        x = chip.empty((32, 4096))
        weights = [chip.empty((4096, 4096), "bfp4_b") for _ in range(3)]
        if chip is in_turn:
            for weight in weights:
                chip.linear(x, weight)
            continue
        for weight in weights:
            with chip.beside("dram") as pending:
                near = chip.to_memory_config(weight, MemoryConfig.L1)
            chip.softmax(x)
            pending.wait()
            chip.linear(x, near)
    names = [record.name for record in ahead.recorder.records()]
    assert names == ["to_memory_config", "softmax", "linear"] * 3
    starts = [record.sim_start_ps for record in ahead.recorder.records()]
    assert starts[0] == starts[1] < starts[2]
    linears = {chip: chip.recorder.totals()["linear"].sim_duration_ps for chip in (in_turn, ahead)}
    assert linears[ahead] < linears[in_turn]
