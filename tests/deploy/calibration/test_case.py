"""A case times what the chip did, again, under any constants."""

import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.cost import Work
from meshtwin.chip.spec import load_product
from meshtwin.deploy.calibration import llm, table
from meshtwin.deploy.calibration.case import Case, counted, residuals
from meshtwin.deploy.calibration.place import Place
from meshtwin.deploy.calibration.summary import Summary, by_group
from meshtwin.deploy.errors import BadRow

NOTHING = Work("move", 0, 0, 0, 0, 0)


def _case(**fields: object) -> Case:
    known = {
        "group": "g", "label": "l", "spec": load_product("p150"), "stack": "tuned",
        "measured_us": 1.0, "works": ((NOTHING, 3),),
    }  # fmt: skip
    return Case(**{**known, **fields})  # type: ignore[arg-type]


def _us(case: Case, values: dict[Place, float] | None = None) -> float:
    return residuals([case], values or {})[0].predicted_us


def test_a_case_takes_what_its_chip_took() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((64, 512))
    for _ in range(3):
        chip.silu(chip.add(x, x))
    works, fixed_us = counted(chip.recorder.works())
    assert [n for _, n in works] == [3, 3]
    assert fixed_us == 0
    case = _case(stack="ttnn", works=works)
    assert _us(case) == pytest.approx(chip.clock.now_ps / 1e6)


def test_device_time_leaves_out_gaps_and_the_software() -> None:
    start_us = 1e6 * Place("", "any", "kernel_start_clocks").shipped.value / 1.35e9
    assert _us(_case(is_device=True)) == pytest.approx(3 * start_us)
    gap = Place("", "any", "dispatch_gap_us").shipped.value
    own = Place("tuned", "any", "op_start_us").shipped.value
    assert _us(_case()) == pytest.approx(3 * (start_us + gap + own))


def test_a_served_row_takes_what_its_server_adds() -> None:
    place = Place("tuned", "any", "server_step_ms")
    served = _case(added_ms="server_step_ms")
    assert _us(served, {place: 2.0}) == pytest.approx(_us(_case()) + 2000)


def test_a_constant_bears_on_its_own_architecture_and_stack() -> None:
    assert _us(_case(), {Place("ttnn", "any", "op_start_us"): 9.0}) == _us(_case())
    assert _us(_case(), {Place("tuned", "wormhole_b0", "op_start_us"): 9.0}) == _us(_case())
    assert _us(_case(), {Place("tuned", "blackhole", "op_start_us"): 9.0}) > _us(_case())


def test_a_summary_is_of_absolute_errors_and_its_bias_is_signed() -> None:
    found = residuals([_case(measured_us=us, works=(), fixed_us=1.0) for us in (2.0, 0.8)])
    summary = Summary.of("two", found)
    assert (summary.num_rows, summary.worst) == (2, found[0])
    assert summary.median == pytest.approx(0.375)
    assert summary.bias == pytest.approx(-0.125)
    assert [group.name for group in by_group(found)] == ["g"]


def _line(**fields: str) -> table.Line:
    known = {"source": "mine", "model": "llama-3.1-8b", "hardware": "p150"}
    return table.Line("mine.csv", 2, {**known, **fields})


def test_what_a_row_leaves_unsaid_is_as_in_the_demos() -> None:
    found = llm.setup(_line())
    assert (found.stack, found.is_served) == ("tt_transformers", False)
    assert found.deployment.prompt == llm.DEMO_PROMPT
    assert found.positions == llm.DEMO_PROMPT
    assert found.deployment.precision.name == "performance"


def test_a_row_may_say_stack_and_server() -> None:
    found = llm.setup(_line(stack="tuned", served="yes", prompt_len="512", output_len="64"))
    assert (found.stack, found.is_served, found.positions) == ("tuned", True, 544)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hardware": "p51"}, "p51"),
        ({"model": "llama-9"}, "llama-9"),
        ({"precision": "best"}, "must be one of performance, accuracy"),
        ({"stack": "tund"}, "must be one of ttnn"),
        ({"batch_users": "-1"}, "batch_users"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(BadRow, match=f"mine.csv, line 2: .*{reason}"):
        llm.setup(_line(**fields))


def test_many_users_share_a_row_of_tiles() -> None:
    one, many = (llm.setup(_line(batch_users=n, prompt_len="128")) for n in ("1", "32"))
    for (a, _), (b, _) in zip(llm.decode_works(one)[0], llm.decode_works(many)[0], strict=True):
        assert (a.product and a.product.m_tiles) == (b.product and b.product.m_tiles)
        assert not a.product or a.num_tile_ops == b.num_tile_ops
