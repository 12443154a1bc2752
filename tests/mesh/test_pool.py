"""A pool hands out the same mesh again, as long as it is open."""

import pytest

from meshtwin.fabric.errors import UnknownBox
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.errors import MeshClosed
from meshtwin.mesh.pool import MeshPool

pytestmark = pytest.mark.ray


def test_the_same_box_and_options_are_the_same_mesh(meshtwin_pool: MeshPool) -> None:
    mesh = meshtwin_pool.get("p150")
    assert meshtwin_pool.get("P-150") is mesh
    assert meshtwin_pool.get(load_box("p150")) is mesh
    assert meshtwin_pool.get("p150", collective_timeout_s=3.0) is not mesh


def test_a_mesh_that_was_closed_is_opened_again(meshtwin_pool: MeshPool) -> None:
    first = meshtwin_pool.get("p150", collective_timeout_s=5.0)
    first.close()
    assert not first.is_open
    second = meshtwin_pool.get("p150", collective_timeout_s=5.0)
    assert second is not first
    assert second.run(lambda chip: chip.rank) == [0]


def test_a_pool_closes_its_meshes_and_leaves_a_ray_that_others_use(
    meshtwin_pool: MeshPool,
) -> None:
    with MeshPool() as pool:
        mesh = pool.get("p150")
    with pytest.raises(MeshClosed):
        mesh.run(lambda chip: chip.rank)
    pool.close()
    assert meshtwin_pool.get("p150").run(lambda chip: chip.rank) == [0]


def test_an_unknown_box_opens_nothing(meshtwin_pool: MeshPool) -> None:
    with pytest.raises(UnknownBox, match="Did you mean"):
        meshtwin_pool.get("p151")
