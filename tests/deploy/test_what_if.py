"""What if: --set, the constants that it takes, and sensitivities."""

import argparse
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from meshtwin.chip.cost import MODEL_STACK, constants, stacks
from meshtwin.deploy.cli import main
from meshtwin.deploy.experiments.sweep import read_sweep
from meshtwin.deploy.plan_band import band_of
from meshtwin.deploy.what_if import (
    Sensitivity,
    add_sensitivity_option,
    add_set_options,
    scenario_of,
    sensitivities,
    sensitivity_table,
    times_ps,
)
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.scenario import Scenario
from meshtwin.models.catalogue import model_shape
from meshtwin.models.model_plan import plan_model
from meshtwin.models.plan import Deployment
from meshtwin.models.precision import Precision

BOX = load_box("quietbox2")
PAGE = (Path(__file__).parents[2] / "docs" / "what-if.md").read_text(encoding="utf-8")
BFLOAT16 = Precision.parse("bfloat16")


def deployment(scenario: Scenario | None = None) -> Deployment:
    """A small model on all of a QuietBox 2."""
    config = model_shape("llama-3.2-1b")
    return Deployment(config, BOX, (2, 2), 1, 8, 128, 128, BFLOAT16, scenario=scenario)


def scenario(*argv: str) -> Scenario:
    """The scenario of some arguments."""
    parser = argparse.ArgumentParser()
    add_set_options(parser)
    add_sensitivity_option(parser)
    return scenario_of(parser.parse_args(argv), BOX)


def test_set_changes_the_box_whatever_the_order() -> None:
    assert scenario() == Scenario.of(BOX)
    argv = ["--set", "link.gbps=200", "--set", "slow_link=3-1:0.25", "--set", "slow_chip = 2:0.5"]
    changes = (("link.gbps", 200.0), ("slow_chip.2", 0.5), ("slow_link.1-3", 0.25))
    assert scenario(*argv).changes == changes
    again = [word for pair in (argv[4:], argv[2:4], argv[:2]) for word in pair]
    assert scenario(*again).changes == changes


def test_a_constant_set_to_what_it_is_widens_no_band() -> None:
    bands = [
        band_of(plan_model(deployment(scenario(*argv))))
        for argv in ((), ("--set", "link.gbps=400"), ("--set", "link.gbps=401"))
    ]
    assert bands[0] == bands[1] != bands[2]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("link.gps=200", "argument --set: no constant 'link.gps': did you mean 'link.gbps'?"),
        ("link.gbps=-1", "link.gbps (=-1) must be a number, 0.001 or more"),
        ("link.gbps=200Gbps", "link.gbps (=200Gbps) must be a number in Gbit/s"),
        ("LINK.GBPS=200", "did you mean 'link.gbps'?"),
        ("slow_chip=9:0.5", "quietbox2 has chips 0 to 3"),
        ("link.gbps", "'link.gbps' must be NAME=VALUE, as link.gbps=200"),
        ("slow_link=3-7:0.25", "no 'slow_link.3-7': quietbox2 has chips 0 to 3"),
    ],
)
def test_a_mistake_is_misuse_and_names_what_is_right(
    text: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        scenario("--set", text)
    assert caught.value.code == 2
    assert what in capsys.readouterr().err


def test_constants_are_listed_with_value_unit_kind_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["constants", "--box", "galaxy", "--set", "link.gbps=300", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    settings = Scenario.of(load_box("galaxy"), stack=MODEL_STACK).settings
    assert list(rows) == list(settings)
    assert (rows["link.gbps"]["value"], rows["link.gbps"]["kind"]) == (300, "set")
    for name, row in rows.items():
        assert row["unit"] and row["kind"] and row["source"]
        if name != "link.gbps":
            assert row["value"] == settings[name].constant.value


def test_constants_are_those_of_a_stack(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for stack in stacks():
        assert main(["constants", "cost.op_start_us", "--stack", stack, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["value"] == constants(stack=stack)["op_start_us"].value
        found.append(row["value"])
    assert len({*found}) > 1


def test_constants_are_a_table_and_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constants"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 + len(Scenario.of(BOX).settings)  # a line each, head and note
    assert "slow_link=0-1:0.25" in lines[-1] and "documented" in lines[2]
    assert main(["constants", "dram", "link.gbps"]) == 0
    out = capsys.readouterr().out
    assert "dram.gib" in out and "400" in out and "collective" not in out
    assert main(["constants", "STARTUP"]) == 0
    assert "collective.startup_us = " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["constants", "dram.gb", "link.gps"])
    assert "no constant has 'link.gps' in its name: did you mean 'link.gbps'?" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("argv", [(), ("--sources",), ("link",)])
def test_constants_keep_to_the_width_of_the_terminal(
    width: int,
    argv: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["constants", *argv]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= width for line in lines if "=" not in line)
    sources = [setting.constant.source for setting in Scenario.of(BOX).settings.values()]
    text = " ".join(" ".join(line.split()) for line in lines)
    assert (sources[0] in text) == bool(argv)  # whole, whatever the width


def test_a_sensitivity_is_what_the_plan_with_that_change_says() -> None:
    found = {one.name: one for one in sensitivities(deployment())}
    before = times_ps(deployment())
    for name in ("dram.gb_per_s", "chip.grid_columns", "link.packets_per_s"):
        one = found[name]
        after = times_ps(deployment(Scenario.of(BOX).but(name, one.changed)))
        assert one.sim_ttft_change == pytest.approx(after[0] / before[0] - 1)
        assert one.sim_step_change == pytest.approx(after[1] / before[1] - 1)
        grown = one.changed / one.value
        assert grown**one.sim_step_elasticity == pytest.approx(after[1] / before[1])
    assert found["dram.gb_per_s"].changed == pytest.approx(1.1 * found["dram.gb_per_s"].value)
    assert found["chip.grid_columns"].changed == found["chip.grid_columns"].value + 1


def test_sensitivities_come_the_weightiest_first_and_have_every_constant_that_is_not_zero() -> None:
    found = sensitivities(deployment())
    assert [one.weight for one in found] == sorted((one.weight for one in found), reverse=True)
    settings = deployment().conditions.settings.values()
    assert {one.name for one in found} == {s.name for s in settings if s.constant.value}
    by_name = {one.name: one for one in found}
    assert by_name["dram.gib"].weight == by_name["l1.kib"].weight == 0


def test_elasticities_of_all_that_is_a_rate_or_a_time_add_up() -> None:
    # Twice as quick in everything is twice as quick: the elasticities of all rates and times, with
    # the sign of what is quicker, add up to about one.
    rates = ["chip.clock_mhz", "dram.gb_per_s", "link.packets_per_s", "link.gbps",
             "collective.reduce_gb_per_s", "collective.copy_gb_per_s"]  # fmt: skip
    times = ["link.first_hop_ns", "link.hop_ns", "collective.startup_us"]
    found = {one.name: one for one in sensitivities(deployment())}
    settings = Scenario.of(BOX).settings.values()
    times += [s.name for s in settings if s.constant.unit.split()[0] in ("us", "ms", "ns")]
    total = sum(found[name].sim_step_elasticity for name in {*times} & found.keys()) - sum(
        found[name].sim_step_elasticity for name in rates
    )
    assert total == pytest.approx(1, abs=0.1)


def test_what_cannot_go_up_goes_down() -> None:
    slow = Scenario.of(BOX).but("slow_link", "0-1:0.95").but("cost.compute_efficiency", 1)
    found = {one.name: one for one in sensitivities(deployment(slow))}
    assert found["cost.compute_efficiency"].changed == pytest.approx(1 / 1.1)
    assert found["slow_link.0-1"].changed == pytest.approx(0.95 / 1.1)
    assert found["cost.compute_efficiency"].sim_ttft_change >= 0
    assert found["slow_link.0-1"].sim_step_change > 0


def test_the_table_has_what_matters() -> None:
    small = Sensitivity("small", "us", 1, 1.1, 0, 1e-5, 0, 1e-4)
    large = Sensitivity("large", "us", 2, 2.2, 0.05, 0.1, math.log(1.05) / math.log(1.1), 1)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(sensitivity_table([large, small], most=5))
    lines = captured.get().splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["large", "2", "2.2", "+5.00%", "+10.00%"]


def test_a_sensitivity_is_of_a_value_that_can_be() -> None:
    found = {one.name: one for one in sensitivities(deployment())}
    assert found["cost.matmul_compute_share"].changed <= 1
    assert found["cost.row_cores"].changed == int(found["cost.row_cores"].changed)


def test_no_digit_of_the_table_is_cut_off_at_80_columns() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(sensitivity_table(sensitivities(deployment()), most=50))
    assert "…" not in captured.get()


def test_a_mistake_is_named_as_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    ((command, answer),) = re.findall(r"```\n\$ meshtwin (.*?)\n(.*?)```", PAGE, re.DOTALL)
    with pytest.raises(SystemExit):
        main(command.split())
    assert capsys.readouterr().err.endswith(answer)


def test_the_page_names_constants_that_there_are_and_its_sweep_is_legal(tmp_path: Path) -> None:
    table = PAGE[: PAGE.index("## In Python")]
    names = re.findall(r"`((?:link|chip|dram|l1|collective|cost)\.\w+)`", table)
    assert len(names) > 15 and set(names) <= set(Scenario.of(BOX).settings)
    of_hardware = {n for n in Scenario.of(BOX).settings if not n.startswith(("coll", "cost"))}
    assert of_hardware <= set(names)
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "page.toml").write_text(text)
    assert len(read_sweep(tmp_path / "page.toml").points) == 12


def test_a_constant_is_changed_from_the_one_of_the_stack_that_is_planned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0 is what bare ops have, and so no change of theirs; of the general library it is one."""
    rates = []
    for changes in ([], ["--set", "cost.op_start_us=0"]):
        assert main(["plan", "llama-3.2-1b", "--no-ops", "--json", *changes]) == 0
        rates.append(json.loads(capsys.readouterr().out)["sim_tokens_per_s_per_user"])
    assert rates[1] > 1.2 * rates[0]
