"""One point of a plan."""

import pytest

from meshtwin.chip.errors import MeshtwinError
from meshtwin.deploy.experiments.evaluate import RESULTS, check, evaluate

pytest.importorskip("meshtwin.models.plan")


def test_a_point_has_times_rates_memory_and_shares() -> None:
    point = {"model": "llama-3.2-1b", "box": "quietbox2", "tp": 2, "dp": 2, "batch": 8}
    found = evaluate({**point, "prompt": 64, "output": 32, "precision": "bfloat16"})
    assert (found["fits"], found["chips"], found["users"]) == (True, 4, 8)
    assert found["sim_tokens_per_s"] == pytest.approx(8 * found["sim_tokens_per_s_per_user"])
    assert found["sim_tokens_per_s_per_chip"] == pytest.approx(found["sim_tokens_per_s"] / 4)
    assert found["sim_ttft_ms"] > 0 and found["dram_bytes"] > 0 and found["dram_free_bytes"] > 0
    assert tuple(found) == RESULTS
    shares = [value for name, value in found.items() if name.startswith("share_")]
    assert sum(shares) == pytest.approx(1)


def test_the_batch_can_grow_with_the_chips() -> None:
    point = {"model": "llama-3.2-1b", "tp": 4, "precision": "bfloat16"}
    assert evaluate({**point, "batch_per_chip": 2}) == evaluate({**point, "batch": 8})


def test_what_does_not_fit_says_why() -> None:
    found = evaluate({"model": "llama-3.1-70b", "box": "p150", "precision": "bfloat16"})
    assert not found["fits"]
    assert "DRAM has no room" in found["why_not"]
    assert "sim_ttft_ms" not in found


def test_what_is_no_deployment_is_an_error() -> None:
    with pytest.raises(MeshtwinError, match="the largest dp is 2"):
        evaluate({"model": "llama-3.2-1b", "tp": 2, "dp": 3})


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("modell", "x", "no 'modell': did you mean 'model'?"),
        ("model", "llama-3.1-7b", "llama-3.1-8b"),
        ("model", 8, "must be a name in quotes"),
        ("box", "galxy", "galaxy"),
        ("precision", "performence", "'performance'"),
        ("batch", 0, "1 or more"),
        ("batch", True, "1 or more"),
        ("tp", "4", "must be a whole number"),
    ],
)
def test_a_wrong_value_names_the_nearest(name: str, value: object, what: str) -> None:
    with pytest.raises((ValueError, MeshtwinError)) as caught:
        check(name, value)
    assert what in str(caught.value)
