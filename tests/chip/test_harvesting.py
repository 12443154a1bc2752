"""Harvesting: what is left has one name in each coordinate system, and every name one core."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument, NoSuchCore
from meshtwin.chip.grid import CoreKind, load_grid
from meshtwin.chip.harvesting import Coords, Floorplan, Harvesting, floorplan_of, load_floorplan
from meshtwin.chip.spec import ChipSpec, products

BLACKHOLE, WORMHOLE = load_grid("blackhole"), load_grid("wormhole_b0")


def mask(bits: set[int]) -> int:
    return sum(1 << bit for bit in bits)


@st.composite
def floorplans(draw: st.DrawFn) -> Floorplan:
    """Any chip of either architecture."""
    if draw(st.booleans()):
        rows = draw(st.sets(st.integers(0, 9), max_size=9))
        return Floorplan(WORMHOLE, Harvesting(mask(rows)))
    columns = draw(st.sets(st.integers(0, 13), max_size=13))
    eth = draw(st.sets(st.integers(0, 13), min_size=2, max_size=2) | st.just(set(range(14))))
    bank = draw(st.sets(st.integers(0, 7), max_size=1))
    pcie = draw(st.integers(0, 3))
    return Floorplan(BLACKHOLE, Harvesting(mask(columns), mask(eth), mask(bank), pcie))


@given(floorplans())
def test_every_name_leads_back_to_its_core(plan: Floorplan) -> None:
    for core in plan.cores:
        for system in Coords:
            name = core.name(system)
            if name is not None:
                kind = core.kind if system is Coords.LOGICAL else None
                assert plan.find(name, system, kind) is core


@given(floorplans())
def test_logical_coordinates_have_no_holes(plan: Floorplan) -> None:
    columns, rows = plan.tensix
    left = [core.logical for core in plan.cores_of(CoreKind.TENSIX) if not core.is_harvested]
    assert left == [(x, y) for y in range(rows) for x in range(columns)]
    for kind in (CoreKind.ETH, CoreKind.DRAM):
        names = [core.logical for core in plan.cores_of(kind) if core.logical is not None]
        places = [(at[1], 0) if kind is CoreKind.ETH else at for at in names]
        ports = 1 if kind is CoreKind.ETH else 3
        assert places == [(i // ports, i % ports) for i in range(len(names))]


@given(floorplans())
def test_translated_tensix_cores_come_first_and_keep_their_order(plan: Floorplan) -> None:
    cores = [core for core in plan.cores_of(CoreKind.TENSIX) if not core.is_harvested]
    by_logical = sorted(cores, key=lambda core: core.logical or (0, 0))
    assert sorted(cores, key=lambda core: core.translated) == by_logical
    off = [core.translated for core in plan.cores_of(CoreKind.TENSIX) if core.is_harvested]
    at = 0 if plan.grid.harvests_columns else 1
    if off:
        assert max(core.translated[at] for core in cores) < min(name[at] for name in off)


@pytest.mark.parametrize("spec", products().values(), ids=lambda spec: spec.name)
def test_a_product_has_the_workers_banks_and_ethernet_of_its_spec(spec: ChipSpec) -> None:
    plan = floorplan_of(spec)
    assert plan.workers == spec.grid
    assert len(plan.worker_cores()) == spec.num_cores
    assert len({core.noc0 for core in plan.worker_cores()}) == spec.num_cores
    ethernet = [core for core in plan.cores_of(CoreKind.ETH) if not core.is_harvested]
    assert len(ethernet) == spec.num_eth_cores
    ports = [plan.dram_port(bank, 0) for bank in range(spec.dram_banks)]
    assert all(port.kind is CoreKind.DRAM and not port.is_harvested for port in ports)
    assert len({port.noc0 for port in ports}) == spec.dram_banks
    with pytest.raises(InvalidArgument, match=f"nearest is {spec.dram_banks - 1}"):
        plan.dram_port(99, 0)


def test_cores_left_over_are_those_that_boards_have() -> None:
    left = {name: load_floorplan(name).tensix for name in products()}
    assert left == {
        "p100a": (12, 10), "p150": (12, 10), "p300c": (12, 10), "galaxy_bh": (13, 10),
        "n150": (8, 9), "n300": (8, 8), "galaxy_wh": (8, 10),
    }  # fmt: skip


def test_a_p150_addresses_columns_1_to_7_and_10_to_14() -> None:
    """Seen on a card: wolfpine nocbench-grid-blackhole.csv."""
    cores = [c for c in load_floorplan("p150").cores_of(CoreKind.TENSIX) if not c.is_harvested]
    assert {core.translated[0] for core in cores} == {1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14}
    assert {core.noc0[0] for core in cores} == {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16}


def test_harvested_columns_go_to_the_right_end_the_earliest_fuse_last() -> None:
    plan = load_floorplan("p150")  # x = 7 is fuse bit 12, x = 10 fuse bit 13
    assert plan.find((7, 2)).translated == (16, 2)
    assert plan.find((10, 2)).translated == (15, 2)


def test_translated_ethernet_pcie_and_dram_are_where_software_looks() -> None:
    plan = load_floorplan("p150")  # channels 5 and 8 are off
    assert [plan.find((20 + i, 25), Coords.TRANSLATED).noc0[0] for i in range(12)] == [
        1, 16, 2, 15, 3, 4, 13, 12, 6, 11, 7, 10
    ]  # fmt: skip
    assert plan.find((14, 1)).translated == (14, 1)
    assert plan.find((19, 24), Coords.TRANSLATED).noc0 == (2, 0)
    for bank in range(8):
        for port in range(3):
            name = (17 + bank // 4, 12 + 3 * (bank % 4) + port)
            assert plan.find(name, Coords.TRANSLATED).noc0 == BLACKHOLE.dram[bank][port]


@pytest.mark.parametrize(
    ("off", "first_column", "second_column"),
    [
        (3, (4, 5, 6, 7), (0, 1, 2, 3)),
        (1, (4, 6, 7, 5), (0, 2, 3, 1)),
        (6, (0, 1, 3, 2), (4, 5, 7, 6)),
    ],
)
def test_the_column_of_a_harvested_bank_comes_second(
    off: int, first_column: tuple[int, ...], second_column: tuple[int, ...]
) -> None:
    plan = Floorplan(BLACKHOLE, Harvesting(eth=3, dram=1 << off))
    for x, banks in ((17, first_column), (18, second_column)):
        found = [plan.find((x, 12 + 3 * i), Coords.TRANSLATED).noc0 for i in range(4)]
        assert found == [BLACKHOLE.dram[bank][0] for bank in banks]


def test_wormhole_translates_to_18_and_up() -> None:
    plan = load_floorplan("n150")  # the row y = 8 is off
    assert plan.find((1, 1)).translated == (18, 18)
    assert plan.find((9, 11)).translated == (25, 26)
    assert plan.find((1, 8)).translated == (18, 27)
    assert plan.find((9, 6)).translated == (25, 17)
    assert plan.find((0, 3)).translated == (0, 3)


@pytest.mark.parametrize(
    ("grid", "harvesting", "text"),
    [
        (BLACKHOLE, Harvesting(tensix=1 << 14, eth=3), "bits 0 to 13 only"),
        (BLACKHOLE, Harvesting(tensix=(1 << 14) - 1, eth=3), "needs a column or row"),
        (BLACKHOLE, Harvesting(eth=1), "2 cores of 14"),
        (BLACKHOLE, Harvesting(eth=3, dram=3), "one bank at most"),
        (WORMHOLE, Harvesting(eth=3), "only Tensix rows"),
    ],
    ids=str,
)
def test_what_no_chip_can_be_is_refused(grid: object, harvesting: Harvesting, text: str) -> None:
    die = BLACKHOLE if grid is BLACKHOLE else WORMHOLE
    with pytest.raises(InvalidArgument, match=text):
        Floorplan(die, harvesting)


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="must fit"):
        Floorplan(BLACKHOLE, Harvesting(tensix=1, eth=3), (14, 10))


def test_a_wrong_place_names_the_nearest_right_one() -> None:
    plan = load_floorplan("p150")
    with pytest.raises(NoSuchCore, match=r"worker .* nearest is \(10, 9\)"):
        plan.worker((11, 40))
    with pytest.raises(NoSuchCore, match=r"dram core in noc0 .* nearest is \(0, 2\)"):
        plan.find((1, 2), kind=CoreKind.DRAM)
    with pytest.raises(NoSuchCore, match=r"usable core .* at \(7, 5\); the nearest is \(6, 5\)"):
        plan.usable((7, 5))
    with pytest.raises(InvalidArgument, match="say which kind"):
        plan.find((0, 0), Coords.LOGICAL)
