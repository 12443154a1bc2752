"""Every kind of fault in every collective, strict and rerouted: right result or right error."""

from typing import Any

import numpy as np
import pytest

from meshtwin.collectives.errors import CollectiveError
from meshtwin.fabric.errors import FabricHang, LinkDown
from meshtwin.fabric.fault_events import (
    ChipKill,
    ChipStall,
    Event,
    LinkCut,
    LinkFlaky,
    LinkRetrain,
    LinkSlow,
)
from meshtwin.fabric.faults import FaultPlan, Policy
from meshtwin.mesh.program import MeshChip

from ..spmd import endings
from .oracle import expected

US = 1_000_000
NAMES = (
    "all_reduce",
    "reduce_scatter",
    "all_gather",
    "all_to_all",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
    "barrier",
)
POLICIES: tuple[Policy, ...] = ("strict", "reroute")
HARMLESS: dict[str, tuple[Event, ...]] = {
    "slow": (LinkSlow((0, 1), 5.0), LinkSlow((0, 2), 5.0)),
    "drop": tuple(LinkFlaky(link, drop=0.2) for link in ((0, 1), (1, 3), (2, 3), (0, 2))),
    "corrupt": tuple(LinkFlaky(link, corrupt=0.2) for link in ((0, 1), (1, 3), (2, 3), (0, 2))),
    "retrain": (LinkRetrain((0, 1), 0, 50 * US), LinkRetrain((0, 2), 0, 50 * US)),
    "stall": (ChipStall(2, 0, 30 * US),),
}


def arrays_of(count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 9, (24, 1000)).astype(np.float32) for _ in range(count)]


def run(
    name: str, faults: FaultPlan | None, algorithm: str = "auto", box: str = "quietbox2"
) -> list[Any]:
    """For each chip the result and the simulated time, or the error."""
    arrays = arrays_of(8 if box == "loudbox" else 4)
    given: dict[str, Any] = {"algorithm": algorithm}
    if name in ("reduce_scatter", "all_gather", "all_to_all", "gather", "scatter"):
        given["dim"] = 0
    if name in ("broadcast", "reduce", "gather", "scatter"):
        given["root"] = 1

    def program(chip: MeshChip) -> tuple[np.ndarray | None, int]:
        if name == "barrier":
            chip.barrier(**given)
            return None, chip.clock.now_ps
        x = chip.tensor(arrays[chip.rank])
        result = getattr(chip, name)(x, **given)
        return None if result is None else result.to_numpy(), chip.clock.now_ps

    return endings(box, program, transport="routed", faults=faults)


def check(name: str, ends: list[Any]) -> int:
    """The results are numpy's; the simulated time of the last chip."""
    root = 1 if name in ("broadcast", "reduce", "gather", "scatter") else 0
    wanted: list[np.ndarray | None] = [None] * len(ends)
    if name != "barrier":
        wanted = expected(name, arrays_of(len(ends)), root=root)
    for (result, _), want in zip(ends, wanted, strict=True):
        if want is None:
            assert result is None
        else:
            np.testing.assert_array_equal(result, want)
    return int(max(sim_ps for _, sim_ps in ends))


@pytest.fixture(scope="module")
def fault_free() -> dict[str, int]:
    """The simulated time of each collective when nothing goes wrong."""
    return {name: check(name, run(name, None)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_fault_that_only_costs_time_leaves_the_values_and_shows_in_simulated_time(
    name: str, kind: str, policy: Policy, fault_free: dict[str, int]
) -> None:
    plan = FaultPlan(HARMLESS[kind], seed=7, policy=policy)
    sim_ps = check(name, run(name, plan))
    assert sim_ps > fault_free[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at_ps", [0, 3 * US], ids=["before", "after they entered"])
def test_a_cut_link_is_gone_round_or_is_an_error_on_every_chip(
    name: str, at_ps: int, fault_free: dict[str, int]
) -> None:
    cut = (LinkCut((0, 1), at_ps),)
    sim_ps = check(name, run(name, FaultPlan(cut, policy="reroute")))
    assert sim_ps >= fault_free[name]
    ends = run(name, FaultPlan(cut, policy="strict"))
    assert {type(end) for end in ends} == {LinkDown}
    for end in ends:
        assert set(end.link) == {0, 1}
        assert 'policy="reroute" would go round it' in str(end)


@pytest.mark.parametrize("name", NAMES)
def test_a_chip_that_stalls_for_ever_is_named_to_all_that_wait(name: str) -> None:
    for policy in POLICIES:
        ends = run(name, FaultPlan((ChipStall(2, 0, None),), policy=policy))
        others = [end for rank, end in enumerate(ends) if rank != 2]
        assert {type(end) for end in others} == {FabricHang}
        assert all("chip 2 is stalled by a fault" in str(end) for end in others)


@pytest.mark.parametrize("name", ["all_reduce", "all_gather"])
@pytest.mark.parametrize("algorithm", ["ring", "bidirectional_ring"])
def test_a_ring_without_a_link_falls_to_what_is_quickest_on_the_rest(
    name: str, algorithm: str
) -> None:
    broken = FaultPlan((LinkCut((0, 1)),), policy="reroute")
    fallen = check(name, run(name, broken, algorithm))
    assert fallen == check(name, run(name, broken))
    assert fallen == min(check(name, run(name, broken, other)) for other in ("line", "direct"))


def test_no_bytes_are_counted_on_a_link_that_was_gone_round() -> None:
    def program(chip: MeshChip) -> dict[tuple[int, int], int]:
        chip.all_reduce(chip.tensor(np.ones((24, 1000), np.float32)), algorithm="ring")
        counted = chip.communicator.counters.statistics()
        return {link: count.num_bytes for link, count in counted.items()}

    ends = endings("quietbox2", program, faults=FaultPlan((LinkCut((0, 1)),), policy="reroute"))
    used = {link for end in ends for link, num_bytes in end.items() if num_bytes}
    assert used == {(0, 2), (2, 0), (2, 3), (3, 2), (1, 3), (3, 1)}


def test_a_torus_goes_the_other_way_round() -> None:
    ends = run("all_reduce", FaultPlan((LinkCut((3, 7)),), policy="reroute"), box="loudbox")
    check("all_reduce", ends)


def test_a_link_that_loses_everything_counts_as_down() -> None:
    dead = (LinkFlaky((0, 1), drop=1.0),)
    assert {type(end) for end in run("all_reduce", FaultPlan(dead))} == {LinkDown}
    check("all_reduce", run("all_reduce", FaultPlan(dead, policy="reroute")))


def test_a_mesh_that_falls_apart_is_an_error_even_when_rerouted() -> None:
    plan = FaultPlan((LinkCut((0, 1)), LinkCut((0, 2))), policy="reroute")
    assert {type(end) for end in run("all_reduce", plan)} == {LinkDown}


def test_the_same_seed_gives_the_same_times_and_another_seed_others() -> None:
    def times(seed: int) -> list[int]:
        plan = FaultPlan(HARMLESS["drop"], seed=seed)
        return [sim_ps for _, sim_ps in run("all_reduce", plan)]

    assert times(1) == times(1)
    assert times(1) != times(2)


def test_faults_begin_at_their_simulated_time() -> None:
    def program(chip: MeshChip) -> list[float]:
        sums = []
        for _ in range(3):
            x = chip.all_reduce(chip.tensor(np.ones(2, np.float32)))
            sums.append(float(x.to_numpy()[0]))
            chip.clock.advance(100 * US)
        return sums

    plan = FaultPlan((LinkCut((0, 1), 150 * US),))
    for end in endings("quietbox2", program, faults=plan):
        assert type(end) is LinkDown
        assert end.sim_ps > 200 * US


def test_point_to_point_messages_go_round_a_cut_link() -> None:
    def program(chip: MeshChip) -> tuple[float, int]:
        if chip.rank == 0:
            chip.send(chip.tensor(np.full(4, 5, np.float32)), dst=1)
        if chip.rank == 1:
            return float(chip.recv(src=0).to_numpy()[0]), chip.clock.now_ps
        return 5.0, 0

    direct = endings("quietbox2", program)[1]
    cut = (LinkCut((0, 1)),)
    round_about = endings("quietbox2", program, faults=FaultPlan(cut, policy="reroute"))[1]
    assert direct[0] == round_about[0] == 5.0
    assert round_about[1] > direct[1]
    ends = endings("quietbox2", program, faults=FaultPlan(cut))
    assert type(ends[0]) is LinkDown


def test_a_chip_in_this_process_cannot_be_killed() -> None:
    ends = run("all_reduce", FaultPlan((ChipKill(1, 0),)))
    assert isinstance(ends[1], CollectiveError)
    assert "not in a process of its own" in str(ends[1])
