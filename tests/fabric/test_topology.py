"""Boxes: the data says what the documents say, and rings and lines are what they claim."""

import itertools
import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import UnknownBox, UnknownRank
from meshtwin.fabric.topology import Box, boxes, load_box

every_box = pytest.mark.parametrize("box", boxes().values(), ids=lambda box: box.name)
any_box = st.sampled_from(sorted(boxes())).map(load_box)


@st.composite
def groups(draw: st.DrawFn) -> tuple[Box, list[int]]:
    box = draw(any_box)
    ranks = st.lists(st.integers(0, box.num_chips - 1), min_size=1, max_size=10, unique=True)
    return box, draw(ranks)


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[Box, list[int]]:
    box = draw(any_box)
    top, left = draw(st.integers(0, box.shape[0] - 1)), draw(st.integers(0, box.shape[1] - 1))
    bottom = draw(st.integers(top, box.shape[0] - 1))
    right = draw(st.integers(left, box.shape[1] - 1))
    cells = [(r, c) for r in range(top, bottom + 1) for c in range(left, right + 1)]
    return box, [box.rank_at(cell) for cell in cells]


def adjacent(box: Box, path: tuple[int, ...]) -> bool:
    return all(b in box.neighbours(a) for a, b in itertools.pairwise(path))


def test_every_constant_says_its_value_unit_kind_and_source() -> None:
    text = resources.files("meshtwin.fabric").joinpath("data/boxes.toml").read_text("utf-8")
    data = tomllib.loads(text)
    entries = [e for link in data["links"].values() for e in link.values()]
    entries += [box["links_per_edge"] for box in data["boxes"].values()]
    for entry in entries:
        assert set(entry) == {"value", "unit", "kind", "source"}
        assert entry["kind"] in {"documented", "measured", "inferred"}
        assert entry["unit"] and len(entry["source"]) >= 7


@every_box
def test_every_chip_of_a_box_is_reachable_and_on_one_board(box: Box) -> None:
    seen = {0}
    frontier = [0]
    for rank in frontier:
        fresh = set(box.neighbours(rank)) - seen
        seen |= fresh
        frontier += fresh
    assert seen == set(range(box.num_chips))
    assert sorted(rank for board in box.boards for rank in board) == list(range(box.num_chips))


@every_box
def test_mesh_neighbours_are_joined_in_every_box(box: Box) -> None:
    assert box.is_grid
    for axis in (0, 1):
        for group in box.axis_groups(axis):
            assert adjacent(box, group)
            assert box.line(group) == group
            if box.wrap[axis] and len(group) > 2:
                assert box.ring(group) == group


@every_box
def test_boards_are_joined_inside(box: Box) -> None:
    for board in box.boards:
        assert adjacent(box, box.line(board))


def test_quietbox_2_is_the_ring_0_1_3_2_without_diagonals() -> None:
    box = load_box("quietbox2")
    assert box.ring((0, 1, 2, 3)) == (0, 1, 3, 2)
    assert [(e.a, e.b, e.num_links) for e in box.edges] == [
        (0, 1, 2),
        (0, 2, 2),
        (1, 3, 2),
        (2, 3, 2),
    ]
    assert box.num_links(0, 3) == 0
    assert box.boards == ((0, 1), (2, 3))
    assert box.product == "p300c"


def test_the_quietbox_keeps_the_cables_of_its_chip_ids() -> None:
    box = load_box("quietbox")
    cables = {tuple(sorted((box.chip_ids[e.a], box.chip_ids[e.b]))) for e in box.edges}
    assert cables == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert {e.num_links for e in box.edges} == {4}


def test_the_loudbox_is_a_cube_of_twelve_pairs() -> None:
    box = load_box("loudbox")
    assert len(box.edges) == 12
    assert all(len(box.neighbours(rank)) == 3 for rank in range(8))
    cables = {tuple(sorted((box.chip_ids[e.a], box.chip_ids[e.b]))) for e in box.edges}
    assert {b for a, b in cables if a == 0} == {1, 2, 4}


@pytest.mark.parametrize(
    ("name", "num_edges"),
    [("galaxy", 52), ("galaxy_torus_x", 60), ("galaxy_torus_y", 56), ("galaxy_torus_xy", 64)],
)
def test_the_galaxy_and_its_wraps(name: str, num_edges: int) -> None:
    box = load_box(name)
    assert (box.num_chips, box.shape, len(box.edges)) == (32, (8, 4), num_edges)
    assert box.link.line_rate.value == 25e9


def test_coordinates_go_row_by_row() -> None:
    box = load_box("galaxy")
    assert box.coords(7) == (1, 3)
    assert [box.rank_at(box.coords(rank)) for rank in range(32)] == list(range(32))
    assert box.axis_groups(1)[1] == (4, 5, 6, 7)
    assert box.axis_groups(0)[3] == (3, 7, 11, 15, 19, 23, 27, 31)


@every_box
def test_the_whole_box_is_a_ring_when_it_has_a_cycle(box: Box) -> None:
    ring = box.ring(range(box.num_chips))
    if min(box.shape) > 1 or box.num_chips <= 2:
        assert ring is not None


@given(groups() | rectangles())
def test_a_ring_is_a_hamiltonian_cycle_in_its_canonical_direction(
    case: tuple[Box, list[int]],
) -> None:
    box, ranks = case
    ring = box.ring(ranks)
    if ring is not None:
        assert sorted(ring) == sorted(ranks)
        assert ring[0] == min(ranks)
        assert len(ring) == 1 or adjacent(box, (*ring, ring[0]))
        assert len(ring) < 3 or ring[1] < ring[-1]
        assert box.ring(ranks[::-1]) == ring


@given(groups() | rectangles())
def test_a_line_visits_each_rank_once_over_adjacent_chips_or_in_rank_order(
    case: tuple[Box, list[int]],
) -> None:
    box, ranks = case
    line = box.line(ranks)
    assert sorted(line) == sorted(ranks)
    assert adjacent(box, line) or line == tuple(sorted(ranks))
    if (ring := box.ring(ranks)) is not None and len(ring) > 1:
        assert adjacent(box, line)


@given(rectangles())
def test_every_even_rectangle_of_a_mesh_has_a_ring(case: tuple[Box, list[int]]) -> None:
    box, ranks = case
    rows = {box.coords(rank)[0] for rank in ranks}
    columns = {box.coords(rank)[1] for rank in ranks}
    if len(ranks) % 2 == 0 and min(len(rows), len(columns)) > 1:
        assert box.ring(ranks) is not None


@pytest.mark.parametrize("name", ["QuietBox2", "quiet-box-2", "QB2", "p300_x2", "P300X2"])
def test_case_dashes_and_aliases_do_not_matter(name: str) -> None:
    assert load_box(name).name == "quietbox2"


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("quietbx2", "quietbox2"),
        ("galxy", "galaxy"),
        ("loudbux", "loudbox"),
        ("tk3", "t3k"),
        ("p150x", "p150x2"),
    ],
)
def test_a_bad_name_gives_the_nearest_box(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownBox) as caught:
        load_box(wrong)
    assert caught.value.nearest == nearest
    assert repr(nearest) in str(caught.value) and "galaxy_torus_xy" in str(caught.value)


def test_a_rank_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownRank, match=r"rank \(=4\) must be in 0..3"):
        load_box("quietbox2").neighbours(4)
    with pytest.raises(UnknownRank):
        load_box("quietbox2").ring((0, 9))
    with pytest.raises(ValueError, match="distinct"):
        load_box("quietbox2").ring((0, 0))
    with pytest.raises(ValueError, match="axis"):
        load_box("quietbox2").axis_groups(2)
