"""The compiled loops, with one instruction set after the other."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from meshtwin.chip import kernels


@pytest.fixture(params=["avx512bf16", "avx512", "avx2", "portable"])
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    if not kernels.COMPILED:
        pytest.skip("the compiled core is not built")
    module = importlib.import_module("meshtwin.chip.kernels._core")
    best = module.isa()
    try:
        module.use_isa(request.param)
    except ValueError:
        pytest.skip(f"this processor has no {request.param}")
    yield module
    module.use_isa(best)
