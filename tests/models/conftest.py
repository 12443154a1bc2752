"""Open meshes for the tests of models, each opened once; the first one's Ray serves them all."""

from collections.abc import Iterator

import pytest

from meshtwin.mesh.device import MeshDevice, open_mesh


@pytest.fixture(scope="session")
def p150_mesh() -> Iterator[MeshDevice]:
    """One chip."""
    with open_mesh("p150") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def p300_mesh(p150_mesh: MeshDevice) -> Iterator[MeshDevice]:
    """Two chips."""
    with open_mesh("p300") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def quietbox2_mesh(p150_mesh: MeshDevice) -> Iterator[MeshDevice]:
    """Four chips."""
    with open_mesh("quietbox2") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def galaxy_mesh(p150_mesh: MeshDevice) -> Iterator[MeshDevice]:
    """32 chips."""
    with open_mesh("galaxy") as mesh:
        yield mesh
