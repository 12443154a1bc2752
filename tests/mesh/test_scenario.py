"""Scenarios: what each change does, and that none leaks into another."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.cost import stacks
from meshtwin.chip.spec import load_product
from meshtwin.collectives.costs import costs_of
from meshtwin.fabric.errors import SubmeshError
from meshtwin.fabric.submesh import submesh
from meshtwin.fabric.topology import Box, boxes, load_box
from meshtwin.mesh.errors import UnknownPlace, UnknownSetting, WrongSetting
from meshtwin.mesh.plan import plan_chip
from meshtwin.mesh.scenario import Scenario

QUIETBOX2, GALAXY = load_box("quietbox2"), load_box("galaxy")
EIGHT = submesh(GALAXY, (4, 2))
SMALL = st.sampled_from([QUIETBOX2, EIGHT, load_box("t3k"), load_box("p150")])


def sim_ps(scenario: Scenario, rank: int = 0, rows: int = 256) -> int:
    """Simulated time of a product and its sum over all chips, and of a move in DRAM."""
    chip = plan_chip(scenario.base, rank, scenario)
    x, w = chip.empty((rows, 2048)), chip.empty((2048, 1024))
    chip.all_reduce(chip.matmul(x, w))
    chip.all_gather(x, dim=1)
    chip.add(x, x)
    return chip.clock.now_ps


def steps(scenario: Scenario, name: str) -> tuple[float, float]:
    """The value of a setting, and one that is higher and legal, or else lower."""
    setting = scenario.settings[name]
    value = float(setting.constant.value)
    is_whole = setting.range.is_whole
    higher, lower = (value + 1, value - 1) if is_whole else (value * 1.1, value * 0.9)
    return value, higher if setting.range.has(higher) else lower


@pytest.mark.parametrize("name", sorted(boxes()))
def test_a_box_as_it_is_is_the_box(name: str) -> None:
    box = load_box(name)
    scenario = Scenario.of(box)
    assert scenario.box is box and scenario.chip is load_product(box.product)
    assert scenario.collective_costs is costs_of(box) and not scenario.cost_changes
    assert scenario.name == name


@pytest.mark.parametrize("name", sorted(Scenario.of(GALAXY).settings))
def test_every_setting_can_be_changed_and_says_so(name: str) -> None:
    for box in (GALAXY, load_box("t3k")):
        scenario = Scenario.of(box)
        value, other = steps(scenario, name)
        changed = scenario.but(name, other)
        assert changed.settings[name].constant.value == pytest.approx(other, rel=1e-6, abs=1e-9)
        assert changed.but(name, value).settings == pytest.approx(scenario.settings)
        same = {"dram.gib"} if name == "dram.banks" else set()
        for unchanged in scenario.settings.keys() - {name, *same}:
            assert changed.settings[unchanged] == scenario.settings[unchanged]


@pytest.mark.parametrize("stack", stacks())
@pytest.mark.parametrize("name", ["galaxy", "t3k"])  # one of each architecture
def test_a_value_as_it_is_is_a_legal_one(name: str, stack: str) -> None:
    for setting in Scenario.of(load_box(name), stack=stack).settings.values():
        assert setting.range.has(setting.constant.value), setting


@settings(deadline=None, max_examples=25)
@given(SMALL, st.data())
def test_a_value_set_to_what_it_is_changes_no_time(box: Box, data: st.DataObject) -> None:
    scenario = Scenario.of(box)
    names = data.draw(st.lists(st.sampled_from(sorted(scenario.settings)), unique=True))
    same = scenario
    for name in names:
        value = scenario.settings[name].constant.value
        if scenario.settings[name].range.has(value):  # not so: the 0 links of a box of one chip
            same = same.but(name, value)
    assert sim_ps(same) == sim_ps(scenario)


@settings(deadline=None)
@given(st.permutations(["link.gbps", "link.per_edge", "dram.banks", "dram.gib", "slow_chip.1"]))
def test_the_order_of_changes_does_not_matter(names: list[str]) -> None:
    values = dict(zip(sorted(names), (3, 16, 100, 3, 0.5), strict=True))
    scenario = Scenario.of(GALAXY)
    for name in names:
        scenario = scenario.but(name, values[name])
    for name in sorted(names):
        assert scenario.settings[name].constant.value == pytest.approx(values[name], rel=1e-6)
    in_order = Scenario.of(GALAXY)
    for name, value in values.items():
        in_order = in_order.but(name, value)
    assert scenario == in_order and scenario.box == in_order.box
    assert scenario.but("link.gbps", 300) == in_order.but("link.gbps", 300)


GOOD = ["link.gbps", "link.packets_per_s", "chip.clock_mhz", "dram.gb_per_s", "chip.grid_columns",
        "chip.grid_rows", "collective.reduce_gb_per_s", "collective.copy_gb_per_s",
        "cost.dram_efficiency", "cost.compute_efficiency"]  # fmt: skip
BAD = ["link.first_hop_ns", "link.hop_ns", "link.packet_header_bytes", "cost.dispatch_gap_us",
       "link.frame_overhead_bytes", "collective.startup_us", "collective.step_overhead_cycles",
       "collective.reduce_overhead_cycles", "cost.matmul_tile_clocks"]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(
    SMALL,
    st.sampled_from([*GOOD, *BAD]),
    st.floats(1, 8),
    st.sampled_from([32, 256, 2048]),
)
def test_more_of_a_good_thing_is_never_slower(
    box: Box, name: str, factor: float, rows: int
) -> None:
    scenario = Scenario.of(box)
    setting = scenario.settings[name]
    more, less = setting.constant.value * factor, setting.constant.value / factor
    if setting.range.is_whole:
        more, less = math.ceil(more), max(1, math.floor(less))
    if not setting.range.has(more):
        more = setting.constant.value
    times = [sim_ps(scenario.but(name, value), rows=rows) for value in (less, more)]
    before = sim_ps(scenario, rows=rows)
    if name in BAD:
        times.reverse()
    assert times[0] >= before >= times[1]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 8), SMALL)
def test_more_links_are_never_slower_where_copies_are_not_hidden(links: int, box: Box) -> None:
    # With much to send over a link several workers hide the copy; more links can take that away.
    scenario = Scenario.of(box).but("collective.copy_hidden_above_bytes", 0)
    fewer, more = scenario.but("link.per_edge", links), scenario.but("link.per_edge", links + 1)
    assert sim_ps(fewer) >= sim_ps(more)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([(e.a, e.b) for e in EIGHT.edges]), st.floats(0.05, 1))
def test_a_slow_link_is_never_quicker(link: tuple[int, int], share: float) -> None:
    scenario = Scenario.of(EIGHT)
    slow = scenario.but(f"slow_link.{link[0]}-{link[1]}", share)
    slower = scenario.but("slow_link", f"{link[1]}-{link[0]}:{share / 2}")
    assert sim_ps(scenario) <= sim_ps(slow) <= sim_ps(slower)


def test_a_slow_link_slows_the_collectives_over_it_and_no_others() -> None:
    slow = Scenario.of(QUIETBOX2).but("slow_link", "0-1:0.1")
    chip, usual = plan_chip(QUIETBOX2, 0, slow), plan_chip(QUIETBOX2)
    for axis, is_slow in ((0, False), (1, True), (None, True)):
        before = chip.clock.now_ps, usual.clock.now_ps
        chip.all_reduce(chip.empty((512, 512)), axis)
        usual.all_reduce(usual.empty((512, 512)), axis)
        difference = chip.clock.now_ps - before[0] - (usual.clock.now_ps - before[1])
        assert (difference > 0) == is_slow


def test_a_slow_chip_is_as_slow_as_if_all_were() -> None:
    scenario = Scenario.of(GALAXY)
    slow = scenario.but("slow_chip.5", 0.5).but("slow_chip.7", 0.8)
    clock_mhz = scenario.settings["chip.clock_mhz"].constant.value
    assert sim_ps(slow) == sim_ps(scenario.but("chip.clock_mhz", clock_mhz / 2)) > sim_ps(scenario)
    assert slow.settings["chip.clock_mhz"].constant.value == clock_mhz
    assert slow.settings["slow_chip.5"].constant.value == 0.5


def test_a_change_of_one_box_is_none_of_another() -> None:
    scenario = Scenario.of(QUIETBOX2)
    before = sim_ps(scenario)
    for name in scenario.settings:
        changed = scenario.but(name, steps(scenario, name)[1])
        first = sim_ps(changed)
        assert sim_ps(scenario) == before  # whatever was remembered of the changed one
        assert sim_ps(changed) == first
        assert (changed.box == QUIETBOX2) == (not name.startswith("link."))
        assert changed.box.name == QUIETBOX2.name or changed.box != QUIETBOX2
    assert plan_chip(QUIETBOX2).box is QUIETBOX2


def test_boxes_that_differ_in_a_rate_only_have_routes_and_plans_of_their_own() -> None:
    # The same name and so the same hash: equality is of all fields.
    edges = tuple(replace(edge, rate=0.5) for edge in QUIETBOX2.edges)
    twin = replace(QUIETBOX2, edges=edges)
    assert hash(twin) == hash(QUIETBOX2)
    assert sim_ps(Scenario.of(twin)) > sim_ps(Scenario.of(QUIETBOX2))


def test_a_part_has_the_slow_places_that_lie_in_it() -> None:
    scenario = Scenario.of(GALAXY).but("slow_link", "30-31:0.5").but("link.gbps", 100)
    assert scenario.part((2, 2), 8).changes == (("link.gbps", 100), ("slow_link.2-3", 0.5))
    assert scenario.part((2, 2), 7).changes == (("link.gbps", 100),)
    assert scenario.part((4, 4), 2).changes == (("link.gbps", 100), ("slow_link.14-15", 0.5))
    assert scenario.part((4, 4), 1).changes == (("link.gbps", 100),)
    chips = Scenario.of(GALAXY).but("slow_chip.9", 0.5).but("slow_chip.31", 0.4)
    assert chips.part((2, 4), 4).changes == (("slow_chip.7", 0.4),)
    assert chips.part((2, 4), 2).changes == (("slow_chip.1", 0.5),)
    assert chips.part((8, 4)).changes == chips.changes
    with pytest.raises(SubmeshError):
        chips.part((1, 8))


def test_memory_has_the_size_that_was_set() -> None:
    scenario = Scenario.of(QUIETBOX2).but("dram.gib", 16).but("l1.kib", 1024)
    chip = plan_chip(QUIETBOX2, 0, scenario)
    assert chip.spec.dram_banks * chip.spec.dram_bank_bytes == 16 << 30
    assert chip.dram.free_bytes == chip.spec.dram_capacity_bytes
    assert chip.spec.l1_bytes == 1 << 20
    usual = load_product(QUIETBOX2.product)
    wider = Scenario.of(QUIETBOX2).but("dram.banks", 2 * usual.dram_banks).chip
    assert wider.dram_capacity_bytes == 2 * usual.dram_capacity_bytes


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("link.gps", 1, "no constant 'link.gps': did you mean 'link.gbps'?"),
        ("dispatch_gap_us", 1, "did you mean 'cost.dispatch_gap_us'?"),
        ("cost.silu_passes", 1, "no constant 'cost.silu_passes'"),
        ("cost.topk_split_cores", 1, "no constant 'cost.topk_split_cores'"),
        ("cost.server_step_ms", 1, "no constant 'cost.server_step_ms'"),
        ("slow_lnk.0-1", 1, "did you mean 'slow_link'?"),
        ("LINK.GBPS", 200, "did you mean 'link.gbps'?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, value: float, what: str) -> None:
    with pytest.raises(UnknownSetting) as caught:
        Scenario.of(QUIETBOX2).but(name, value)
    assert what in str(caught.value) and "`meshtwin constants` lists them" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("link.gbps", 0, "link.gbps (=0) must be a number, 0.001 or more"),
        ("link.gbps", 1e308, "link.gbps (=1e+308) must be a number, 0.001 or more, 1e+12 at most"),
        ("link.gbps", "200Gbps", "link.gbps (=200Gbps) must be a number in Gbit/s"),
        ("chip.grid_columns", 15, "must be a whole number from 1 to 14"),
        ("chip.grid_rows", 11, "must be a whole number from 1 to 10"),
        ("link.gbps", math.inf, "must be a number"),
        ("link.gbps", math.nan, "must be a number"),
        ("link.gbps", "fast", "link.gbps (=fast) must be a number"),
        ("link.per_edge", 1.5, "must be a whole number, 1 or more"),
        ("cost.dram_efficiency", 1.2, "must be a number from 0.001 to 1"),
        ("cost.dispatch_gap_us", -1, "must be a number, 0 or more"),
        ("cost.matmul_overlap", 1.1, "must be a number from 0 to 1"),
        ("cost.row_cores", 0.3, "must be a whole number, 1 or more"),
        ("l1.kib", 64, "(=64) must be a number, 110 or more"),
        ("slow_link.0-1", 2, "must be a number from 0.001 to 1"),
        ("slow_link", "0-1", "a place and a share of its rate, as 3-7:0.25"),
        ("slow_chip", 0.5, "a place and a share of its rate, as 5:0.8"),
    ],
)
def test_a_wrong_value_is_answered_with_the_legal_ones(
    name: str, value: float | str, what: str
) -> None:
    with pytest.raises(WrongSetting) as caught:
        Scenario.of(QUIETBOX2).but(name, value)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("slow_chip.9", "no 'slow_chip.9': quietbox2 has chips 0 to 3"),
        ("slow_link.1-9", "no 'slow_link.1-9': quietbox2 has chips 0 to 3"),
        ("slow_link.3-0", "0 and 3 are not neighbours in quietbox2; those of 0 are: 1, 2"),
    ],
)
def test_a_place_that_is_not_there_is_answered_with_those_that_are(name: str, why: str) -> None:
    with pytest.raises(UnknownPlace) as caught:
        Scenario.of(QUIETBOX2).but(name, 0.5)
    assert why in str(caught.value)


def test_a_setting_to_the_value_that_it_has_is_no_change() -> None:
    scenario = Scenario.of(QUIETBOX2)
    for name, setting in scenario.settings.items():
        assert scenario.but(name, setting.constant.value) is scenario
    changed = scenario.but("link.gbps", 300).but("slow_chip.1", 0.5)
    assert changed.but("slow_chip", "1:0.5") == changed.but("link.gbps", 300) == changed
    assert changed.but("link.gbps", 400).but("slow_chip", "1:1") == scenario
    same = [("dram.gib", scenario.settings["dram.gib"].constant.value), ("dram.banks", 16)]
    in_order = Scenario.of(QUIETBOX2, same)
    assert in_order == Scenario.of(QUIETBOX2, same[::-1])
    assert in_order.settings["dram.gib"].constant.value == same[0][1]


def test_a_stack_has_constants_of_its_own() -> None:
    bare, tuned = Scenario.of(QUIETBOX2), Scenario.of(QUIETBOX2, stack="tuned")
    assert sim_ps(bare) < sim_ps(tuned) < sim_ps(tuned.but("cost.op_start_us", 100))
    assert tuned.part((1, 2)).cost_model().stack == tuned.but("l1.kib", 1000).stack == "tuned"


def test_a_scenario_is_of_its_box() -> None:
    with pytest.raises(ValueError, match=r"scenario .*galaxy.* must be of the box .*quietbox2"):
        plan_chip(QUIETBOX2, 0, Scenario.of(GALAXY))


def test_names_say_what_is_changed() -> None:
    scenario = Scenario.of(GALAXY).but("link.gbps", 400).but("cost.dispatch_gap_us", 0.5)
    assert scenario.name == "galaxy with cost.dispatch_gap_us=0.5, link.gbps=400"
    assert scenario.box.name == "galaxy with link.gbps=400"
