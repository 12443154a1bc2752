"""Both ways to convert: the compiled loops on each instruction set that is here, and numpy's."""

from collections.abc import Iterator
from typing import Any

import pytest

from meshtwin.chip.formats import loops, plain

WAYS = ["numpy", "portable", "avx2", "avx512"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Conversions of a test go this way."""
    if request.param == "numpy":
        monkeypatch.setattr(loops, "chosen", plain)
        yield request.param
        return
    compiled: Any = compiled_loops(request.param)
    yield request.param
    compiled.use_isa(best_isa(compiled))


def compiled_loops(isa: str) -> Any:
    """The compiled loops, set to an instruction set; skips where there is none."""
    if not loops.COMPILED:
        pytest.skip("no compiled loops")
    try:
        loops.chosen.use_isa(isa)
    except ValueError as error:
        pytest.skip(str(error))
    return loops.chosen


def best_isa(compiled: Any) -> str:
    """Set the best instruction set again."""
    for isa in reversed(WAYS[1:]):
        try:
            compiled.use_isa(isa)
        except ValueError:
            continue
        return isa
    raise AssertionError("no instruction set at all")
