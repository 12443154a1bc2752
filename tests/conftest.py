"""Fixtures for the whole house: one Ray for the session, open meshes on it, the real checkpoint."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshtwin.mesh.device import MeshDevice, open_mesh

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """The one Ray of the session; every mesh of a test is opened on it."""
    import ray

    ray.init(address="local", include_dashboard=False, num_cpus=8, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def p150_mesh(ray_session: None) -> Iterator[MeshDevice]:
    """One chip."""
    with open_mesh("p150") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def p300_mesh(ray_session: None) -> Iterator[MeshDevice]:
    """Two chips."""
    with open_mesh("p300") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def quietbox2_mesh(ray_session: None) -> Iterator[MeshDevice]:
    """Four chips in a ring."""
    with open_mesh("quietbox2") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def galaxy_mesh(ray_session: None) -> Iterator[MeshDevice]:
    """32 chips, 8 rows of 4."""
    with open_mesh("galaxy") as mesh:
        yield mesh


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
