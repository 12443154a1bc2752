"""Fixtures for the whole house: one Ray and open meshes (of our plugin), the real checkpoint."""

import os
from pathlib import Path

import pytest

from meshtwin.mesh.device import MeshDevice
from meshtwin.mesh.pool import MeshPool

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")


@pytest.fixture(scope="session")
def ray_session(meshtwin_pool: MeshPool) -> None:
    """The one Ray of the session, which is the pool's; every mesh of a test is opened on it."""


@pytest.fixture(scope="session")
def p150_mesh(meshtwin_pool: MeshPool) -> MeshDevice:
    """One chip."""
    return meshtwin_pool.get("p150")


@pytest.fixture(scope="session")
def p300_mesh(meshtwin_pool: MeshPool) -> MeshDevice:
    """Two chips."""
    return meshtwin_pool.get("p300")


@pytest.fixture(scope="session")
def quietbox2_mesh(meshtwin_pool: MeshPool) -> MeshDevice:
    """Four chips in a ring."""
    return meshtwin_pool.get("quietbox2")


@pytest.fixture(scope="session")
def galaxy_mesh(meshtwin_pool: MeshPool) -> MeshDevice:
    """32 chips, 8 rows of 4."""
    return meshtwin_pool.get("galaxy")


@pytest.fixture(scope="session")
def smollm2_float32() -> Path:
    """The folder of SmolLM2-135M-Instruct in float32, pulled once into the user's cache."""
    from meshtwin.deploy.pull import pull

    return pull("smollm2", dtype="float32")


@pytest.fixture(scope="session")
def smollm2_bfloat16() -> Path:
    """The folder of SmolLM2-135M-Instruct in bfloat16, pulled once into the user's cache."""
    from meshtwin.deploy.pull import pull

    return pull("smollm2", dtype="bfloat16")
