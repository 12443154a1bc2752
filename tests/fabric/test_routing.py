"""Routes: every hop is an edge, none is too long."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import UnknownRank
from meshtwin.fabric.routing import route
from meshtwin.fabric.topology import Box, boxes, load_box


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Box, int, int]:
    box = load_box(draw(st.sampled_from(sorted(boxes()))))
    rank = st.integers(0, box.num_chips - 1)
    return box, draw(rank), draw(rank)


def distance(box: Box, src: int, dst: int) -> int:
    """Plain breadth-first search: the oracle."""
    seen, ring, steps = {src}, {src}, 0
    while dst not in seen:
        ring = {n for rank in ring for n in box.neighbours(rank)} - seen
        seen |= ring
        steps += 1
    return steps


@given(pairs())
def test_every_hop_is_an_edge_and_no_route_is_longer_than_needed(
    case: tuple[Box, int, int],
) -> None:
    box, src, dst = case
    path = route(box, src, dst)
    assert (path[0], path[-1]) == (src, dst)
    assert all(b in box.neighbours(a) for a, b in itertools.pairwise(path))
    assert len(route(box, src, dst)) - 1 == distance(box, src, dst)


def test_a_mesh_route_goes_along_the_row_first() -> None:
    assert route(load_box("galaxy"), 0, 10) == (0, 1, 2, 6, 10)


def test_a_torus_route_takes_the_wrap_when_it_is_shorter() -> None:
    torus = load_box("galaxy_torus_xy")
    assert route(torus, 0, 31) == (0, 3, 31)
    assert route(torus, 0, 2) == (0, 1, 2)  # a tie goes up


def test_a_wiring_that_is_no_mesh_takes_the_lowest_ranks() -> None:
    torus = load_box("galaxy_torus_xy")
    mesh = load_box("galaxy")
    odd = replace(mesh, name="odd", edges=torus.edges)
    assert not odd.is_grid
    assert route(odd, 0, 31) == (0, 3, 31)
    assert route(odd, 1, 4) == (1, 0, 4)


def test_an_unreachable_chip_is_an_error() -> None:
    box = load_box("quietbox2")
    cut = replace(box, name="cut", edges=box.edges[:1])
    with pytest.raises(ValueError, match="no path from chip 0 to chip 3"):
        route(cut, 0, 3)


def test_a_rank_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownRank, match="32"):
        route(load_box("galaxy"), 0, 32)
