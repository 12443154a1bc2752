"""The fit: deterministic, and it finds what made the rows."""

import builtins
from dataclasses import replace
from typing import Any

import pytest

from meshtwin.deploy.calibration.case import Case, residuals
from meshtwin.deploy.calibration.family import FAMILIES
from meshtwin.deploy.calibration.fit import fit, leave_one_out
from meshtwin.deploy.calibration.place import Free, Place
from meshtwin.deploy.errors import MissingSolver

MATMUL = FAMILIES["matmul"]
P150 = [case for case in MATMUL.cases() if case.spec.name == "p150"]
FREE = tuple(free for free in MATMUL.free if free.place.arch == "blackhole")


def _made(cases: list[Case], values: dict[Place, float]) -> list[Case]:
    """The cases as if the constants were these."""
    return [replace(r.case, measured_us=r.predicted_us) for r in residuals(cases, values)]


def test_the_same_rows_give_the_same_constants() -> None:
    few = P150[::6]
    assert fit(few, FREE) == fit(few, FREE)


def test_the_fit_finds_the_constants_that_made_the_rows() -> None:
    true = {
        Place("", "blackhole", "matmul_start_clocks"): 9000.0,
        Place("", "blackhole", "matmul_feed_efficiency"): 0.7,
    }
    found = fit(_made(P150, true), FREE)
    assert {place: found[place] for place in true} == pytest.approx(true, rel=0.02)


def test_constants_stay_within_their_bounds() -> None:
    place = Place("", "blackhole", "matmul_feed_efficiency")
    found = fit(_made(P150[:20], {place: 3.0}), [Free(place, 0.05, 1)])
    assert found[place] <= 1


def test_a_constant_that_no_row_bears_on_is_not_fitted() -> None:
    assert fit(P150[:4], [Free(Place("", "wormhole_b0", "matmul_step_clocks"), 0, 5000)]) == {}
    served = Place("tuned", "any", "server_step_ms")
    assert fit(P150[:4], [Free(served, 0, 20)]) == {}


def test_rows_with_a_note_are_not_fitted() -> None:
    noted = [replace(case, measured_us=1e9, note="broken") for case in P150[:3]]
    assert fit([*noted, *P150[::8]], FREE) == fit(P150[::8], FREE)


def test_a_group_is_predicted_without_its_own_rows() -> None:
    group = P150[0].group
    cases = [
        replace(c, measured_us=2 * c.measured_us) if c.group == group else c for c in P150[::5]
    ]
    found = [r for r in leave_one_out(cases, FREE) if r.case.group == group]
    assert found
    assert all(residual.error < -0.3 for residual in found)


def test_what_no_other_group_bears_on_is_taken_as_never_measured() -> None:
    decode = FAMILIES["decode"]
    tuned = [case for case in decode.cases() if case.stack == "tuned" and not case.added_ms]
    start = Place("tuned", "any", "op_start_us")
    (residual, *_) = leave_one_out(tuned, [Free(start, 0, 50)])
    (bare, *_) = residuals(tuned[:1], {start: 0.0})
    assert residual.predicted_us == bare.predicted_us


def test_without_scipy_the_fit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingSolver, match=r"pip install meshtwin\[calibrate\]"):
        fit(P150[:4], FREE)
