from meshtwin.chip.record import OpFacts, OpRecord, OpTotals, Recorder

MUL = OpRecord("mul", ((2, 2),), ((2, 2),), ("float32",), 0, 5, 48, 4, "dram")
SUM = OpRecord("all_reduce", ((8,),), ((8,),), ("float32",), 70, 9, 64, 8, "fabric")


def test_records_come_back_in_order_with_their_start() -> None:
    recorder = Recorder()
    facts = OpFacts(MUL)
    recorder.note(facts, 10)
    recorder.note(facts, 20)
    recorder.add(SUM)
    assert recorder.records() == [MUL._replace(sim_start_ps=10), MUL._replace(sim_start_ps=20), SUM]
    assert recorder.last_name() == "all_reduce"


def test_totals_count_ops_whose_records_are_gone() -> None:
    recorder = Recorder(depth=2)
    facts = OpFacts(MUL)
    for start in range(5):
        recorder.note(facts, start)
    assert len(recorder.records()) == 2
    assert recorder.totals() == {"mul": OpTotals(5, 25, 240, 20)}
    recorder.note(facts, 9)
    recorder.add(SUM)
    assert recorder.totals() == {
        "mul": OpTotals(6, 30, 288, 24),
        "all_reduce": OpTotals(1, 9, 64, 8),
    }


def test_a_cleared_or_disabled_recorder_holds_nothing() -> None:
    recorder = Recorder()
    recorder.add(SUM)
    recorder.clear()
    recorder.enabled = False
    recorder.add(SUM)
    assert recorder.records() == []
    assert recorder.totals() == {}
    assert recorder.last_name() == ""


def test_what_is_taken_back_never_was() -> None:
    recorder, facts = Recorder(), OpFacts(MUL)
    recorder.note(facts, 0)
    mark = recorder.last()
    before = recorder.records(), recorder.totals()
    recorder.note(facts, 5)
    recorder.add(SUM)
    recorder.totals()  # which sums up what is then taken back
    recorder.take_back(mark)
    assert (recorder.records(), recorder.totals()["mul"]) == (before[0], before[1]["mul"])
    assert recorder.totals()["all_reduce"] == OpTotals()
    recorder.take_back(None)
    assert recorder.records() == []
    assert recorder.num_dropped == 0


def test_it_says_how_many_records_are_gone() -> None:
    recorder = Recorder(depth=2)
    for start in range(5):
        assert recorder.num_dropped == max(0, start - 2)
        recorder.note(OpFacts(MUL), start)
    recorder.clear()
    assert recorder.num_dropped == 0


def test_a_record_ends_where_the_next_may_begin() -> None:
    assert SUM.sim_end_ps == 79
