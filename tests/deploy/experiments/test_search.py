"""Which deployments a search looks at, and how it judges them."""

import pytest

from meshtwin.deploy.experiments.limits import Limit
from meshtwin.deploy.experiments.outcome import Outcome
from meshtwin.deploy.experiments.search import Search, candidates, judge, quantity
from meshtwin.fabric.topology import load_box

LIMITS = (Limit("sim_ttft_ms", below=50), Limit("sim_tokens_per_s_per_user", above=10))


def search(box: str = "quietbox2", batch_max: int = 4) -> Search:
    return Search(
        "m", load_box(box), 128, 64, ("performance",), batch_max, "sim_tokens_per_s", LIMITS
    )


@pytest.mark.parametrize("box", ["p150", "p300", "quietbox2", "loudbox", "galaxy"])
def test_candidates_fit_the_box_and_are_different(box: str) -> None:
    points = candidates(search(box, batch_max=48))
    chips = load_box(box).num_chips
    assert len({str(point) for point in points}) == len(points)
    for point in points:
        assert chips % (point["tp"] * point["dp"]) == 0
        assert point["dp"] <= point["batch"] <= 48
    assert {point["tp"] for point in points} >= {1, chips}
    assert {48, 32, 1} <= {point["batch"] for point in points}


def outcome(tp: int, batch: int, **found: object) -> Outcome:
    values = {"tp": tp, "dp": 1, "batch": batch, "precision": "performance"}
    return Outcome(values, {"chips": tp, "fits": True, **found}, "", 0.0)


def fast(tokens: float, ttft: float = 1.0, per_user: float = 20.0) -> dict[str, float]:
    return {
        "sim_tokens_per_s": tokens, "sim_ttft_ms": ttft, "sim_tokens_per_s_per_user": per_user,
    }  # fmt: skip


def test_the_best_come_first_and_of_equals_the_one_with_fewer_chips() -> None:
    outcomes = [outcome(4, 1, **fast(5)), outcome(2, 1, **fast(5)), outcome(1, 1, **fast(9))]
    best, reasons = judge(search(), outcomes)
    assert [row["tp"] for row in best] == [1, 2, 4]
    assert not reasons


def test_others_are_out_for_a_reason_and_the_nearest_is_named() -> None:
    no = {"fits": False, "why_not": "no room for w. Held by: much"}
    dram = {**no, "dram_bytes": 40e9, "dram_free_bytes": -8e9}
    outcomes = [
        outcome(1, 1, **fast(1, ttft=90)),
        outcome(2, 1, **fast(1, ttft=51)),
        outcome(2, 2, **fast(1, per_user=9)),
        outcome(1, 1, **dram | {"dram_bytes": 41e9, "dram_free_bytes": -9e9}),
        outcome(1, 4, **dram),
        outcome(1, 2, **dram),
        outcome(4, 2, **no),
        Outcome({"tp": 8, "dp": 1, "batch": 1, "precision": "x"}, None, "PlanError: no", 0.0),
    ]
    best, reasons = judge(search(), outcomes)
    assert not best
    assert [reason.num_cases for reason in reasons] == [4, 2, 1, 1]
    assert [(reason.what, reason.nearest) for reason in reasons] == [
        (
            "does not fit in DRAM",
            "tp 1 dp 1 batch 4 performance (needs 40.0 GB of a chip's 32.0 GB)",
        ),
        ("sim_ttft_ms not below 50 ms", "tp 2 dp 1 batch 1 performance (51 ms)"),
        (
            "sim_tokens_per_s_per_user not above 10 tokens/s",
            "tp 2 dp 1 batch 2 performance (9 tokens/s)",
        ),
        ("PlanError: no", "tp 8 dp 1 batch 1 x"),
    ]


def test_what_misses_nobody_knows_how_much_is_the_nearest_only_where_it_is_alone() -> None:
    unknown = outcome(1, 1, fits=False, why_not="no room for w. Held by: much")
    (reason,) = judge(search(), [unknown])[1]
    assert reason.nearest == "tp 1 dp 1 batch 1 performance (no room for w)"


def test_a_value_beside_a_limit_does_not_look_like_it() -> None:
    (reason,) = judge(search(), [outcome(1, 1, **fast(1, ttft=50.004))])[1]
    assert reason.nearest.endswith("(50.004 ms)")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sim_ttft_ms", 43.4413, "43.4 ms"),
        ("sim_ttft_ms", 12345.6, "12,346 ms"),
        ("sim_tokens_per_s_per_user", 0.123456, "0.123 tokens/s"),
        ("hops", 3, "3"),
    ],
)
def test_numbers_have_few_digits_and_their_unit(name: str, value: float, text: str) -> None:
    assert quantity(name, value) == text
