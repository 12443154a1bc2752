"""The algorithms that come with meshtwin, on paper."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.collectives.algorithm import Algorithm, Layout, Team, algorithms, find, register
from meshtwin.collectives.algorithms.grid import grid
from meshtwin.collectives.algorithms.halving import halving
from meshtwin.collectives.algorithms.line import line
from meshtwin.collectives.algorithms.ring import ring
from meshtwin.collectives.algorithms.tree import tree
from meshtwin.collectives.errors import AlgorithmError
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Sum

few = settings(max_examples=25, deadline=None)
PAIRS = [
    (known, operation)
    for known in algorithms().values()
    for operation in sorted(known.operations, key=lambda operation: operation.label)
]


def left_fold(order: list[int]) -> Sum:
    """((a + b) + c) + ..."""
    total: Sum = order[0]
    for position in order[1:]:
        total = (total, position)
    return total


def shapes_of(num_ranks: int, layout: Layout) -> list[tuple[int, int]]:
    if layout is not Layout.GRID:
        return [(1, num_ranks)]
    return [(r, num_ranks // r) for r in range(1, num_ranks + 1) if num_ranks % r == 0]


@pytest.mark.parametrize(
    ("known", "operation"), PAIRS, ids=[f"{a.name}-{o.label}" for a, o in PAIRS]
)
@few
@given(data=st.data())
def test_every_position_ends_with_every_contribution_exactly_once(
    known: Algorithm, operation: Operation, data: st.DataObject
) -> None:
    num_ranks = data.draw(
        st.sampled_from([1, 2, 4, 8, 16, 32]) if known is halving else st.integers(1, 33)
    )
    shape = data.draw(st.sampled_from(shapes_of(num_ranks, known.layout)))
    wraps = data.draw(st.tuples(st.booleans(), st.booleans()))
    root = data.draw(st.integers(0, num_ranks - 1)) if operation.has_root else 0
    schedule = known.schedule(operation, Team(num_ranks, shape, wraps), root)
    assert len(schedule.contributions) == num_ranks  # a wrong end raises
    assert schedule.num_chunks % schedule.num_parts == 0


@few
@given(num_ranks=st.integers(2, 32))
def test_a_ring_all_reduce_adds_each_chunk_in_ring_order_from_its_own_start(num_ranks: int) -> None:
    ends = ring.schedule(Operation.ALL_REDUCE, Team(num_ranks, (1, num_ranks))).contributions
    for chunk in range(num_ranks):
        order = [(chunk + 1 + step) % num_ranks for step in range(num_ranks)]
        for end in ends:
            assert end[chunk] == left_fold(order)


@few
@given(num_ranks=st.integers(2, 32))
def test_a_ring_sends_only_to_the_next_position_and_takes_the_known_number_of_rounds(
    num_ranks: int,
) -> None:
    schedule = ring.schedule(Operation.ALL_REDUCE, Team(num_ranks, (1, num_ranks)))
    assert len(schedule.rounds) == 2 * (num_ranks - 1)
    for steps in schedule.rounds:
        assert sorted(step.src for step in steps) == list(range(num_ranks))
        assert all(step.dst == (step.src + 1) % num_ranks for step in steps)


@few
@given(num_ranks=st.integers(2, 32), operation=st.sampled_from(sorted(line.operations, key=str)))
def test_a_line_sends_only_to_neighbours(num_ranks: int, operation: Operation) -> None:
    schedule = line.schedule(operation, Team(num_ranks, (1, num_ranks)), num_ranks // 2)
    for steps in schedule.rounds:
        assert all(abs(step.src - step.dst) == 1 for step in steps)


def test_a_line_adds_the_right_part_first_and_then_the_left_part() -> None:
    ends = line.schedule(Operation.REDUCE_SCATTER, Team(5, (1, 5))).contributions
    assert ends[2][2] == ((0, 1), ((4, 3), 2))


def test_a_grid_moves_along_rows_and_columns_only() -> None:
    schedule = grid.schedule(Operation.ALL_REDUCE, Team(12, (3, 4), (False, True)))
    for steps in schedule.rounds:
        for step in steps:
            (r, c), (to_r, to_c) = divmod(step.src, 4), divmod(step.dst, 4)
            assert (r == to_r and (c - to_c) % 4 in (1, 3)) or (c == to_c and abs(r - to_r) == 1)


def test_trees_and_halving_take_logarithmically_many_rounds() -> None:
    team = Team(32, (1, 32))
    assert len(tree.schedule(Operation.BROADCAST, team, 5).rounds) == 5
    assert len(halving.schedule(Operation.ALL_REDUCE, team).rounds) == 10


def test_halving_of_six_chips_names_the_nearest_numbers() -> None:
    with pytest.raises(AlgorithmError, match="the nearest to 6 are 4 and 8"):
        halving.schedule(Operation.ALL_REDUCE, Team(6, (1, 6)))


def test_an_operation_that_an_algorithm_cannot_do_is_refused_with_those_it_can() -> None:
    with pytest.raises(AlgorithmError, match="it does all_gather, all_reduce"):
        halving.schedule(Operation.SCATTER, Team(4, (1, 4)))


def test_a_misspelt_algorithm_gets_a_suggestion() -> None:
    with pytest.raises(AlgorithmError, match="did you mean 'halving'"):
        find("halvin", Operation.ALL_REDUCE)


def test_a_name_can_be_registered_once() -> None:
    assert register(ring) is ring
    with pytest.raises(AlgorithmError, match="of that name is registered"):
        register(Algorithm("ring", Layout.RING, ring.operations, ring.steps))


def test_an_algorithm_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(tree))
    assert again == tree
