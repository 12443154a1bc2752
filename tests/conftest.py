"""Fixtures for the whole house: the real checkpoint, pulled once into the user's cache."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smollm2_float32() -> Path:
    """The folder of SmolLM2-135M-Instruct in float32."""
    from meshtwin.deploy.pull import pull

    return pull("smollm2", dtype="float32")


@pytest.fixture(scope="session")
def smollm2_bfloat16() -> Path:
    """The folder of SmolLM2-135M-Instruct in bfloat16."""
    from meshtwin.deploy.pull import pull

    return pull("smollm2", dtype="bfloat16")
