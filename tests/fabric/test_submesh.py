"""Parts of a box as boxes of their own."""

from dataclasses import replace

import pytest

from meshtwin.fabric.errors import SubmeshError
from meshtwin.fabric.submesh import shapes, submesh
from meshtwin.fabric.topology import load_box


@pytest.mark.parametrize("name", ["galaxy", "galaxy_torus_xy", "loudbox", "t3k", "quietbox2"])
def test_a_submesh_has_the_links_among_its_chips(name: str) -> None:
    box = load_box(name)
    for rows in range(1, box.shape[0] + 1):
        for columns in range(1, box.shape[1] + 1):
            part = submesh(box, (rows, columns))
            assert part.shape == (rows, columns)
            assert sorted(rank for board in part.boards for rank in board) == list(
                range(part.num_chips)
            )
            for a in range(part.num_chips):
                for b in range(part.num_chips):
                    old_a, old_b = (box.rank_at(part.coords(rank)) for rank in (a, b))
                    assert part.num_links(a, b) == box.num_links(old_a, old_b)


@pytest.mark.parametrize("corner", [(0, 2), (4, 0), (6, 2)])
def test_a_submesh_may_begin_anywhere(corner: tuple[int, int]) -> None:
    box = load_box("galaxy")
    part = submesh(box, (2, 2), corner)
    olds = [
        box.rank_at((corner[0] + row, corner[1] + column)) for row in (0, 1) for column in (0, 1)
    ]
    for a in range(4):
        for b in range(4):
            assert part.num_links(a, b) == box.num_links(olds[a], olds[b])
    with pytest.raises(SubmeshError, match=r"galaxy from \(7, 0\)"):
        submesh(box, (2, 2), (7, 0))


def test_a_slow_link_is_slow_in_its_part_and_no_other() -> None:
    box = load_box("galaxy")
    edges = tuple(replace(e, rate=0.5) if (e.a, e.b) == (0, 1) else e for e in box.edges)
    slow = replace(box, name="slow", edges=edges)
    assert slow.rate(1, 0) == slow.rate(0, 1) == 0.5 and slow.rate(0, 4) == 1
    assert submesh(slow, (2, 2)).rate(0, 1) == 0.5
    assert submesh(slow, (2, 2), (2, 0)).rate(0, 1) == 1


def test_the_whole_mesh_is_the_box_itself() -> None:
    box = load_box("galaxy")
    assert submesh(box, box.shape) is box
    assert submesh(box, (8, 1)) is submesh(box, (8, 1))


def test_a_mesh_that_does_not_fit_is_answered_with_those_that_do() -> None:
    box = load_box("galaxy")
    assert shapes(box, 8) == [(8, 1), (4, 2), (2, 4)]
    with pytest.raises(SubmeshError, match=r"1x8 .* galaxy, which is 8x4; .* 8x1, 4x2, 2x4"):
        submesh(box, (1, 8))
    with pytest.raises(SubmeshError, match="of as many chips there are 7x1"):
        submesh(box, (1, 7))
