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
    assert found["dram_free_bytes"] < 0 < 130e9 < found["dram_bytes"]  # were there room
    small = evaluate({"model": "llama-3.2-1b", "box": "p150", "set.dram.gib": 1})
    assert small["dram_bytes"] + small["dram_free_bytes"] < 1 << 30
    tight = evaluate({"model": "llama-3.1-70b", "box": "p150", "set.l1.kib": 120})
    assert "DRAM has no room" in tight["why_not"] and "dram_bytes" not in tight


def test_constants_can_be_changed_one_by_one_or_in_a_table() -> None:
    point = {"model": "llama-3.2-1b", "precision": "bfloat16"}
    usual, half = (evaluate({**point, **more}) for more in ({}, {"set.dram.gb_per_s": 256}))
    assert half["sim_step_ms"] > 1.1 * usual["sim_step_ms"]
    assert evaluate({**point, "set": {"dram.gb_per_s": 256}}) == half
    assert evaluate({**point, "set": {}}) == usual
    slow = evaluate({**point, "set": {"slow_link": "0-1:0.01"}, "set.chip.clock_mhz": 1000})
    assert slow["share_fabric"] > usual["share_fabric"]


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
        ("set", 5, "set must be a table"),
        ("set", {"link.gps": 5}, "did you mean 'link.gbps'?"),
        ("set.link.gps", 5, "did you mean 'link.gbps'?"),
        ("set.link.gbps", 0, "link.gbps (=0) must be a number, 0.001 or more"),
        ("set.link.gbps", True, "set.link.gbps must be a number, and is True"),
        ("set.slow_link.30-31", 2, "must be a number from 0.001 to 1"),
    ],
)
def test_a_wrong_value_names_the_nearest(name: str, value: object, what: str) -> None:
    with pytest.raises((ValueError, MeshtwinError)) as caught:
        check(name, value)
    assert what in str(caught.value)
