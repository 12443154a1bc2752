"""Virtual channels: no box and no detour can lock up, and where one channel is too few is named."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.channels import Channel, channels, credit_cycle, describe_cycle
from meshtwin.fabric.routing import route
from meshtwin.fabric.topology import Box, boxes, grid_edges, load_box


def all_routes(box: Box) -> list[tuple[int, ...]]:
    return [route(box, a, b) for a, b in itertools.permutations(range(box.num_chips), 2)]


def paths(box: Box) -> list[tuple[Channel, ...]]:
    return [channels(box, path) for path in all_routes(box)]


def on_one_channel(path: tuple[Channel, ...]) -> tuple[Channel, ...]:
    return tuple((link, 0) for link, _ in path)


@pytest.mark.parametrize("name", sorted(boxes()))
def test_the_routes_of_a_box_have_no_cycle_of_credits(name: str) -> None:
    assert credit_cycle(paths(load_box(name))) is None


@pytest.mark.parametrize("name", sorted(boxes()))
def test_a_mesh_needs_one_channel_and_each_wrap_one_more(name: str) -> None:
    box = load_box(name)
    assert box.is_grid or not box.edges
    wraps = sum(wrap and length > 2 for wrap, length in zip(box.wrap, box.shape, strict=True))
    used = {channel for path in paths(box) for _, channel in path}
    assert used == set(range(wraps + 1)) or not box.edges
    if not wraps and box.edges:
        assert credit_cycle(map(on_one_channel, paths(box))) is None


def ring_of_four() -> Box:
    box = load_box("galaxy")
    pairs = set(grid_edges((1, 4), (False, True)))
    edges = tuple(edge for edge in box.edges + load_box("galaxy_torus_x").edges)
    chosen = tuple({(e.a, e.b): e for e in edges if (e.a, e.b) in pairs}.values())
    ranks = (0, 1, 2, 3)
    return replace(
        box,
        name="ring of four",
        shape=(1, 4),
        edges=chosen,
        wrap=(False, True),
        boards=(ranks,),
        chip_ids=ranks,
    )


def test_a_ring_on_one_channel_locks_up_and_its_links_are_named() -> None:
    """Every chip sends two hops the same way, so that each buffer waits for the next."""
    box = ring_of_four()
    assert box.is_grid
    two_hops = [route(box, rank, (rank + 2) % 4) for rank in range(4)]
    assert two_hops == [(0, 1, 2), (1, 2, 3), (2, 3, 0), (3, 0, 1)]
    cycle = credit_cycle(on_one_channel(channels(box, path)) for path in two_hops)
    assert cycle == tuple((((a, (a + 1) % 4)), 0) for a in range(4))
    text = describe_cycle(cycle)
    assert "0->1 (channel 0) waits for 1->2 (channel 0)" in text
    assert "3->0 (channel 0) waits for 0->1 (channel 0)" in text
    assert credit_cycle(channels(box, path) for path in two_hops) is None


def test_a_wrap_moves_a_packet_to_the_next_channel() -> None:
    box = ring_of_four()
    assert channels(box, (3, 0, 1)) == (((3, 0), 0), ((0, 1), 1))
    assert channels(box, (1, 0, 3)) == (((1, 0), 0), ((0, 3), 0))
    assert channels(box, (0, 3, 2)) == (((0, 3), 0), ((3, 2), 1))
    assert channels(box, (2,)) == ()


@st.composite
def detours(draw: st.DrawFn) -> tuple[Box, list[tuple[int, ...]]]:
    """Walks that go anywhere, to and fro, on any box: the links may be any wiring."""
    box = load_box(draw(st.sampled_from([n for n, b in boxes().items() if b.edges])))
    if draw(st.booleans()):
        box = replace(box, name=f"{box.name} as a wiring", shape=(box.num_chips, 1))
    walks = []
    for _ in range(draw(st.integers(1, 12))):
        walk = [draw(st.integers(0, box.num_chips - 1))]
        for _ in range(draw(st.integers(1, 12))):
            walk.append(draw(st.sampled_from(box.neighbours(walk[-1]))))
        walks.append(tuple(walk))
    return box, walks


@given(detours())
def test_no_detours_on_any_wiring_have_a_cycle_of_credits(
    case: tuple[Box, list[tuple[int, ...]]],
) -> None:
    box, walks = case
    assert credit_cycle(channels(box, walk) for walk in walks) is None


nodes = st.integers(0, 7)


@given(st.lists(st.tuples(nodes, nodes), max_size=16))
def test_a_cycle_is_found_exactly_when_there_is_one(edges: list[tuple[int, int]]) -> None:
    def channel(node: int) -> Channel:
        return (node, node + 1), 0

    cycle = credit_cycle([(channel(a), channel(b)) for a, b in edges])
    reach = {(a, b) for a, b in edges}
    for _ in range(8):  # transitive closure: the oracle
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c}
    assert (cycle is not None) == any(a == b for a, b in reach)
    if cycle is not None:
        held = [link[0] for link, _ in cycle]
        assert all(pair in edges for pair in itertools.pairwise([*held, held[0]]))


def test_a_route_over_a_missing_link_is_refused() -> None:
    with pytest.raises(ValueError, match="no link 0->2"):
        channels(load_box("galaxy"), (0, 2))
