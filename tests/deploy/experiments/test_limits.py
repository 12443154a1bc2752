"""Limits of results."""

import pytest

from meshtwin.deploy.experiments.limits import Limit, WrongLimit, broken, read_limits


def test_a_row_says_what_it_breaks() -> None:
    limits = read_limits({"sim_ttft_ms": {"below": 500}, "rate": {"above": 2, "below": 4.0}})
    assert broken(limits, {"sim_ttft_ms": 500, "rate": 2}) == ""
    assert broken(limits, {"sim_ttft_ms": 500.5, "rate": 1}) == (
        "sim_ttft_ms 500.5 is not below 500; rate 1 is not above 2"
    )
    assert broken(limits, {"rate": 5}) == "rate 5 is not below 4"
    assert Limit("rate").broken_by({"rate": 1e9}) == ""


@pytest.mark.parametrize(
    ("bounds", "what"),
    [
        (500, "expected { below = 500 }"),
        ({"bellow": 500}, "unknown bound 'bellow': did you mean 'below'?"),
        ({"below": "much"}, "below (='much') must be a number"),
    ],
)
def test_a_wrong_limit_is_named(bounds: object, what: str) -> None:
    with pytest.raises(WrongLimit) as caught:
        read_limits({"rate": bounds})
    assert caught.value.name == "rate"
    assert what in str(caught.value)
