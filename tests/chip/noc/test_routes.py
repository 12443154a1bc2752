"""Routes: links that follow one another, in the directions of the NoC, and hops of a round trip."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.grid import Grid, Xy, load_grid
from meshtwin.chip.noc.routes import multicast_tree, round_trip_hops, route

BLACKHOLE, WORMHOLE = load_grid("blackhole"), load_grid("wormhole_b0")


@st.composite
def ways(draw: st.DrawFn) -> tuple[Grid, int, Xy, Xy]:
    """A die, a NoC and two places."""
    grid = draw(st.sampled_from([BLACKHOLE, WORMHOLE]))
    src, dst = (draw(st.sampled_from(grid.everywhere())) for _ in range(2))
    return grid, draw(st.sampled_from([0, 1])), src, dst


@given(ways())
def test_a_route_is_a_chain_of_steps_of_one_in_the_direction_of_its_noc(
    way: tuple[Grid, int, Xy, Xy],
) -> None:
    grid, noc, src, dst = way
    links = route(grid, noc, src, dst)
    places = [src, *(link.dst for link in links)]
    assert [link.src for link in links] == places[:-1]
    assert places[-1] == dst
    step = 1 if noc == 0 else -1
    steps = [
        ((b[0] - a[0]) * step % grid.columns, (b[1] - a[1]) * step % grid.rows)
        for a, b in pairwise(places)
    ]
    first = (1, 0) if noc == 0 else (0, 1)
    assert set(steps) <= {(1, 0), (0, 1)}
    assert steps == sorted(steps, key=lambda at: at != first)  # turns at most once


@given(ways())
def test_there_and_back_is_once_around_each_axis_that_differs(
    way: tuple[Grid, int, Xy, Xy],
) -> None:
    grid, noc, src, dst = way
    there, back = route(grid, noc, src, dst), route(grid, noc, dst, src)
    assert len(there) + len(back) == round_trip_hops(grid, src, dst)
    assert not set(there) & set(back)


def test_round_trips_are_of_29_17_and_12_hops() -> None:
    assert round_trip_hops(BLACKHOLE, (1, 2), (2, 3)) == 29
    assert round_trip_hops(BLACKHOLE, (1, 2), (16, 2)) == 17
    assert round_trip_hops(BLACKHOLE, (1, 2), (1, 3)) == 12
    assert round_trip_hops(BLACKHOLE, (1, 2), (1, 2)) == 0
    assert round_trip_hops(WORMHOLE, (1, 1), (2, 2)) == 22


def test_noc0_goes_right_then_down_and_noc1_up_then_left() -> None:
    noc0 = [link.dst for link in route(BLACKHOLE, 0, (15, 10), (1, 0))]
    assert noc0 == [(16, 10), (0, 10), (1, 10), (1, 11), (1, 0)]
    noc1 = [link.dst for link in route(BLACKHOLE, 1, (1, 1), (16, 11))]
    assert noc1 == [(1, 0), (1, 11), (0, 11), (16, 11)]


@given(ways(), ways())
def test_a_multicast_reaches_every_place_of_its_rectangle_over_a_tree(
    way: tuple[Grid, int, Xy, Xy], corners: tuple[Grid, int, Xy, Xy]
) -> None:
    grid, noc, src, _ = way
    a, b = grid.clamp(corners[2]), grid.clamp(corners[3])
    first = (min(a[0], b[0]), min(a[1], b[1]))
    last = (max(a[0], b[0]), max(a[1], b[1]))
    links, depth = multicast_tree(grid, noc, src, first, last)
    steps = {src: 0}
    for link in links:  # in the order of the packet
        assert link.src in steps
        steps.setdefault(link.dst, steps[link.src] + 1)
    assert len(set(links)) == len(links)
    xs, ys = range(first[0], last[0] + 1), range(first[1], last[1] + 1)
    assert {(x, y) for x in xs for y in ys} <= set(steps)
    assert depth >= max(steps[x, y] for x in xs for y in ys)


def test_a_third_noc_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="must be 0 or 1"):
        route(BLACKHOLE, 2, (0, 0), (1, 1))
