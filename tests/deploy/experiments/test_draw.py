"""Which pictures rows give."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.experiments.draw import figures, front, label_of
from meshtwin.deploy.experiments.figures import Bars, Chart, Figure, HeatMap, number_text

from .pictures import PLANS


def drawn(rows: Sequence[dict[str, Any]], *names: str) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(rows, names)}


def test_plans_give_all_pictures_each_with_simulated_in_its_title() -> None:
    found = drawn(PLANS, "model", "tp", "batch", "prompt")
    assert list(found) == [
        *("sim_tokens_per_s-chips", "sim_ttft_ms-prompt", "pareto", "breakdown", "links")
    ]  # fmt: skip
    assert all("simulated" in figure.title.lower() for figure in found.values())


def test_rows_without_the_names_give_no_picture() -> None:
    assert figures([{"n": 1, "error": ""}, {"n": 2, "error": ""}], ["n"]) == []
    assert figures([], []) == []
    failed = [{**row, "error": "no"} for row in PLANS]
    assert figures(failed, ["tp"]) == []


def test_a_series_has_the_values_that_tell_it_apart() -> None:
    chart = drawn(PLANS, "model", "tp", "batch", "prompt")["sim_tokens_per_s-chips"]
    assert isinstance(chart, Chart)
    assert [series.label for series in chart.series] == ["a, batch 1", "a, batch 32", "b, batch 1",
                                                         "b, batch 32"]  # fmt: skip
    assert chart.series[0].x == (1, 2, 4, 8)
    assert chart.log_x
    times = drawn(PLANS, "model", "tp", "batch", "prompt")["sim_ttft_ms-prompt"]
    assert isinstance(times, Chart)  # the batch does not matter to the first token
    assert {series.label for series in times.series} >= {"a, tp 1", "b, tp 8"}


def test_names_that_some_rows_lack_tell_series_apart_together() -> None:
    rows = [
        {"tp": tp, "chips": tp, "sim_tokens_per_s": tp * users, "error": "", **named}
        for tp in (1, 2, 4)
        for named, users in (({"batch": 8}, 8), ({"batch_per_chip": 8}, 8 * tp + 1))
    ]
    chart = drawn(rows, "tp", "batch", "batch_per_chip")["sim_tokens_per_s-chips"]
    assert isinstance(chart, Chart)
    assert [series.label for series in chart.series] == ["batch 8", "batch per chip 8"]


def test_of_too_many_series_the_best_are_drawn_and_what_they_share_is_said_once() -> None:
    rows = [
        {"m": m, "n": n, "x": x, "sim_rate": rate, "sim_step_ms": rate, "error": ""}
        for m in (0, 1)
        for n in range(10)
        for x in (1, 2)
        for rate in [(100 * m + n + 1) * x]
    ]
    high, low = figures(rows, ["m", "n", "x"], [("x", "sim_rate"), ("x", "sim_step_ms")])
    assert isinstance(high, Chart) and isinstance(low, Chart)
    assert [series.label for series in high.series] == [f"n {n}" for n in range(2, 10)]
    assert high.note == "8 of 20 series: the highest; all m 1"
    assert [series.label for series in low.series] == [f"n {n}" for n in range(8)]
    assert low.note == "8 of 20 series: the lowest; all m 0"


def test_a_band_is_drawn_where_all_rows_have_one() -> None:
    rows = [{**row, "sim_tokens_per_s_low": 1, "sim_tokens_per_s_high": 2} for row in PLANS]
    chart = drawn(rows, "model", "tp", "batch", "prompt")["sim_tokens_per_s-chips"]
    assert isinstance(chart, Chart)
    assert chart.series[0].band == ((1, 2),) * 4


def test_links_are_those_of_the_row_with_the_most_tokens() -> None:
    heat = drawn(PLANS, "model", "tp", "batch", "prompt")["links"]
    assert isinstance(heat, HeatMap)
    assert heat.size == 8
    assert heat.cells[7, 0] == 100
    assert heat.note.startswith("a, tp 8, batch 32")


def test_bars_add_up_and_are_not_too_many() -> None:
    bars = drawn(PLANS, "model", "tp", "batch", "prompt")["breakdown"]
    assert isinstance(bars, Bars)
    assert bars.note == "14 of 16: the most tokens/s"
    assert list(bars.parts) == ["compute", "dram"]
    assert len(bars.labels) == 14
    assert all(abs(sum(shares) - 1) < 1e-9 for shares in zip(*bars.parts.values(), strict=True))


def test_workloads_have_fronts_of_their_own() -> None:
    chart = drawn(PLANS, "model", "tp", "batch", "prompt")["pareto"]
    assert isinstance(chart, Chart)
    assert "of their colour and prompt beats" in chart.note
    for series in chart.series:
        assert len(series.fronts) == 2
        for line in series.fronts:
            assert len({prompt_of(series.hints[i]) for i in line}) == 1
            spots = [(series.x[i], series.y[i]) for i in line]
            assert front(spots) == tuple(range(len(spots)))


def prompt_of(hint: str) -> str:
    return next(part for part in hint.split(", ") if part.startswith("prompt"))


def test_the_same_deployment_is_drawn_once() -> None:
    rows = [
        {
            **row, **named, "mesh": f"1x{row['tp']}", "users": row["batch"],
        }
        for row in PLANS
        for named in ({}, {"batch": None, "batch_per_chip": row["batch"] / row["tp"]})
    ]  # fmt: skip
    names = ("model", "tp", "batch", "batch_per_chip", "prompt")
    chart = drawn(rows, *names)["pareto"]
    assert isinstance(chart, Chart)
    assert sum(len(series.x) for series in chart.series) == len(PLANS)
    bars = drawn(rows, *names)["breakdown"]
    assert isinstance(bars, Bars)
    assert len(set(bars.labels)) == len(bars.labels)


SPOTS = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(st.lists(SPOTS, min_size=1))
def test_a_front_beats_all_others_and_none_of_its_own(spots: list[tuple[float, float]]) -> None:
    kept = [spots[i] for i in front(spots)]
    assert kept == sorted(kept)
    assert [y for _, y in kept] == sorted({y for _, y in kept}, reverse=True)
    for x, y in spots:
        assert any(a >= x and b >= y for a, b in kept)


def test_labels_have_their_units() -> None:
    assert label_of("sim_ttft_ms") == "time to first token (ms)"
    assert label_of("sim_busbw_GB_per_s") == "busbw (GB/s)"
    assert label_of("packets_per_s") == "packets (per s)"
    assert label_of("wall_s") == "wall (s)"
    assert label_of("hops") == "hops"
    assert [number_text(x) for x in (0.25, 1024, 16777216, 2.5e9)] == [
        *("0.25", "1,024", "16.78M", "2.5G")
    ]  # fmt: skip
