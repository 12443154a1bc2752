"""Ops of several chips that are one, found by the order of calls."""

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.record import ChipRecords
from meshtwin.deploy.reports.joins import Join, Place, joins

from .runs import Run, few, runs, sample


def test_a_sum_and_a_message_are_joined() -> None:
    assert joins(sample().chips) == [
        Join((Place(0, 1), Place(1, 1)), is_message=False),
        Join((Place(0, 3), Place(1, 2)), is_message=True),
    ]


@few
@given(runs())
def test_every_call_is_found_once_with_all_its_chips(run: Run) -> None:
    chips = run.chips
    found = joins(chips)
    assert len(found) == run.num_joins
    places = [place for join in found for place in join.places]
    assert len(set(places)) == len(places)
    for join in found:
        records = [chips[rank].records[number] for rank, number in join.places]
        assert {record.group for record in records} == {records[0].group}
        if join.is_message:
            assert [record.name for record in records] == ["send", "recv"]
            assert tuple(rank for rank, _ in join.places) == records[0].group
        else:
            assert {rank for rank, _ in join.places} == set(records[0].group)
            starts = [record.sim_start_ps for record in records]
            assert starts == sorted(starts)
            assert max(starts) <= min(record.sim_end_ps for record in records)


@few
@given(runs(), st.data())
def test_what_is_dropped_at_the_front_moves_no_other_pair(run: Run, data: st.DataObject) -> None:
    cuts = [data.draw(st.integers(0, len(own))) for own in run.records]
    kept = [
        ChipRecords(chip.rank, chip.product, chip.records[cut:], cut)
        for chip, cut in zip(run.chips, cuts, strict=True)
    ]
    whole = {
        frozenset((rank, number - cuts[rank]) for rank, number in join.places)
        for join in joins(run.chips)
    }
    expected = {frozenset(place for place in join if place[1] >= 0) for join in whole}
    found = {frozenset(tuple(place) for place in join.places) for join in joins(kept)}
    assert found == {join for join in expected if len(join) > 1}


def test_a_planned_chip_alone_is_joined_to_nothing() -> None:
    assert joins(sample().chips[:1]) == []
