"""The die of each architecture: every place once, and two names of it."""

import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.grid import CoreKind, load_grid

BLACKHOLE, WORMHOLE = load_grid("blackhole"), load_grid("wormhole_b0")


def test_a_die_has_the_cores_of_its_soc_descriptor() -> None:
    counts = {kind: len(BLACKHOLE.places(kind)) for kind in CoreKind}
    assert counts == {
        CoreKind.TENSIX: 140, CoreKind.ETH: 14, CoreKind.DRAM: 24, CoreKind.PCIE: 2,
        CoreKind.ARC: 1, CoreKind.SECURITY: 1, CoreKind.L2CPU: 4, CoreKind.ROUTER: 18,
    }  # fmt: skip
    counts = {kind: len(WORMHOLE.places(kind)) for kind in CoreKind}
    assert counts == {
        CoreKind.TENSIX: 80, CoreKind.ETH: 16, CoreKind.DRAM: 18, CoreKind.PCIE: 1,
        CoreKind.ARC: 1, CoreKind.SECURITY: 0, CoreKind.L2CPU: 0, CoreKind.ROUTER: 4,
    }  # fmt: skip


@pytest.mark.parametrize("grid", [BLACKHOLE, WORMHOLE], ids=lambda grid: grid.arch)
def test_every_place_is_of_one_kind(grid: object) -> None:
    assert grid in (BLACKHOLE, WORMHOLE)
    die = BLACKHOLE if grid is BLACKHOLE else WORMHOLE
    places = [xy for kind in CoreKind for xy in die.places(kind)]
    assert sorted(places) == sorted(die.everywhere())
    assert all(die.kind(xy) is kind for kind in CoreKind for xy in die.places(kind))


def test_the_routers_of_wormhole_are_those_of_its_soc_descriptor() -> None:
    assert WORMHOLE.places(CoreKind.ROUTER) == ((0, 2), (0, 4), (0, 8), (0, 9))


def test_ethernet_channels_alternate_between_the_sides() -> None:
    assert [x for x, _ in BLACKHOLE.eth] == [1, 16, 2, 15, 3, 14, 4, 13, 5, 12, 6, 11, 7, 10]
    assert {y for _, y in BLACKHOLE.eth} == {1}


def test_noc1_counts_from_the_other_corner() -> None:
    assert BLACKHOLE.other_noc((0, 0)) == (16, 11)
    assert WORMHOLE.other_noc((1, 2)) == (8, 9)
    for die in (BLACKHOLE, WORMHOLE):
        for xy in die.everywhere():
            assert die.other_noc(die.other_noc(xy)) == xy


def test_fuse_bits_name_columns_on_blackhole_and_rows_on_wormhole() -> None:
    layout = (0, 2, 4, 6, 8, 10, 12, 13, 11, 9, 7, 5, 3, 1)  # tt-umd: LOGICAL_HARVESTING_LAYOUT
    for place, bit in enumerate(layout):
        assert BLACKHOLE.fuse_mask(1 << bit) == 1 << place
    for place, bit in enumerate((1, 3, 5, 7, 9, 8, 6, 4, 2, 0)):
        assert WORMHOLE.fuse_mask(1 << bit) == 1 << place
    assert BLACKHOLE.fuse_mask(0b11 << 12) == 192  # what firmware turns off of a sound p150


def test_a_place_off_the_die_names_the_nearest() -> None:
    with pytest.raises(InvalidArgument, match=r"nearest place is \(16, 11\)"):
        BLACKHOLE.kind((20, 40))


@pytest.mark.parametrize("name", ["grayskull", "harvesting"])
def test_an_unknown_architecture_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Known: blackhole, wormhole_b0"):
        load_grid(name)
