"""Who waits for ever, against reachability by brute force; and the proof is a proof."""

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import FabricHang
from meshtwin.fabric.waits import Activity, ChipStatus, hopeless, verdict

GONE = (Activity.ENDED, Activity.STALLED, Activity.CLOSED)
RUNNING = ChipStatus(Activity.RUNNING)


def waiting(*awaited: int, what: str = "recv", any_of: bool = False) -> ChipStatus:
    return ChipStatus(Activity.WAITING, awaited, what, any_of=any_of)


@st.composite
def meshes(draw: st.DrawFn, choices: bool) -> dict[int, ChipStatus]:
    """The statuses of up to seven chips; chip 7 has none."""
    num_chips = draw(st.integers(1, 7))
    awaited = st.lists(st.integers(0, 7), unique=True, max_size=4).map(tuple)
    statuses = {}
    for chip in range(num_chips):
        activity = draw(st.sampled_from([*Activity, *[Activity.WAITING] * 6]))
        if activity is Activity.WAITING:
            any_of = choices and draw(st.booleans())
            statuses[chip] = ChipStatus(activity, draw(awaited), f"call {chip}", 1, any_of)
        else:
            statuses[chip] = ChipStatus(activity)
    return statuses


def reaches_an_end_or_a_cycle(chip: int, statuses: dict[int, ChipStatus], path: set[int]) -> bool:
    """By walking every path of waits."""
    if chip in path:
        return True
    status = statuses.get(chip, RUNNING)
    if status.activity is not Activity.WAITING:
        return status.activity in GONE
    return any(reaches_an_end_or_a_cycle(c, statuses, path | {chip}) for c in status.awaited)


def can_be_served(statuses: dict[int, ChipStatus]) -> set[int]:
    """By playing on: every chip with hope runs until nothing changes any more."""
    free = {c for c in range(8) if statuses.get(c, RUNNING).activity in set(Activity) - {*GONE}}
    free -= {c for c, s in statuses.items() if s.activity is Activity.WAITING}
    for _ in statuses:
        for chip, status in statuses.items():
            if status.activity is Activity.WAITING:
                served = [c in free for c in status.awaited]
                if any(served) if status.any_of else all(served):
                    free.add(chip)
    return free


@given(meshes(choices=False))
def test_a_chip_waits_for_ever_when_its_waits_lead_to_an_end_or_a_cycle(
    statuses: dict[int, ChipStatus],
) -> None:
    expected = {
        chip
        for chip, status in statuses.items()
        if status.activity is Activity.WAITING and reaches_an_end_or_a_cycle(chip, statuses, set())
    }
    assert hopeless(statuses) == expected
    assert (verdict(statuses) is None) == (not expected)


@given(meshes(choices=True))
def test_a_chip_waits_for_ever_when_nobody_ever_serves_it(statuses: dict[int, ChipStatus]) -> None:
    waiters = {c for c, s in statuses.items() if s.activity is Activity.WAITING}
    assert hopeless(statuses) == waiters - can_be_served(statuses)


@given(meshes(choices=True))
def test_a_proof_stands_by_itself(statuses: dict[int, ChipStatus]) -> None:
    """With every chip that it does not name running, its chips still wait for ever."""
    found = verdict(statuses)
    if found is None:
        return
    edges, why = found
    named = {chip for chip, _, _ in edges} | {c for _, awaited, _ in edges for c in awaited}
    alone = {c: s for c, s in statuses.items() if c in named}
    assert {chip for chip, _, _ in edges} <= hopeless(alone)
    assert all(set(awaited) <= set(statuses[chip].awaited) for chip, awaited, _ in edges)
    assert all(what == statuses[chip].what for chip, _, what in edges)
    assert why


@given(meshes(choices=False))
def test_a_cycle_is_named_in_order_from_its_lowest_chip(statuses: dict[int, ChipStatus]) -> None:
    found = verdict(statuses)
    if found is not None and found[1].startswith("a cycle"):
        chips = [chip for chip, _, _ in found[0]]
        assert [awaited for _, awaited, _ in found[0]] == [(c,) for c in [*chips[1:], chips[0]]]
        assert chips[0] == min(chips)
        assert len(set(chips)) == len(chips)


def test_two_chips_that_wait_for_each_other_are_a_cycle() -> None:
    statuses = {0: waiting(2, what="recv at a.py:3"), 1: RUNNING, 2: waiting(1, 0)}
    edges, why = verdict(statuses) or ((), "")
    assert edges == ((0, (2,), "recv at a.py:3"), (2, (0,), "recv"))
    assert why == "a cycle of waits: chip 0 -> 2 -> 0"
    text = str(FabricHang(0, edges, why))
    assert "chip 0 waits for chip 2 in recv at a.py:3" in text


def test_a_chip_that_has_ended_is_named_with_all_that_wait_for_it() -> None:
    ended = ChipStatus(Activity.ENDED)
    statuses = {0: waiting(1), 1: waiting(3), 2: waiting(3, 0), 3: ended, 4: RUNNING}
    assert verdict(statuses) == (
        ((1, (3,), "recv"), (2, (3,), "recv")),
        "chip 3 has ended its program",
    )


def test_a_running_chip_gives_hope_to_all_that_lead_to_it() -> None:
    assert verdict({0: waiting(1), 1: waiting(2), 2: RUNNING}) is None
    assert verdict({0: waiting(1), 1: ChipStatus(Activity.IDLE)}) is None
    assert verdict({0: waiting(5)}) is None


def test_a_chip_that_takes_from_anybody_has_hope_while_one_runs() -> None:
    ended, stalled = ChipStatus(Activity.ENDED), ChipStatus(Activity.STALLED)
    assert verdict({0: waiting(1, 2, any_of=True), 1: ended, 2: RUNNING}) is None
    assert verdict({0: waiting(1, 2, any_of=True), 1: ended, 2: stalled}) == (
        ((0, (1, 2), "recv"),),
        "chip 1 has ended its program; chip 2 is stalled by a fault",
    )


def test_chips_that_all_take_from_anybody_wait_only_for_each_other() -> None:
    statuses = {c: waiting(*({0, 1, 2} - {c}), any_of=True) for c in range(3)}
    edges, why = verdict(statuses) or ((), "")
    assert [chip for chip, _, _ in edges] == [0, 1, 2]
    assert why == "chips 0, 1, 2 wait only for each other"


def test_a_chip_alone_that_takes_from_anybody_has_nobody() -> None:
    edges = ((0, (), "recv"),)
    assert verdict({0: waiting(any_of=True)}) == (edges, "chip 0 has nobody to wait for")
