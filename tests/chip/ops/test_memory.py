import numpy as np
from hypothesis import given

from meshtwin.chip.chip import Chip

from .call import Call, put, seen
from .calls.memory import CALLS


@given(CALLS["to_memory_config"])
def test_a_move_keeps_values_and_takes_the_same_time_and_room_in_plan_mode(call: Call) -> None:
    sums = []
    for plan in (False, True):
        chip = Chip.open("p150", plan=plan)
        inputs = [put(chip, given) for given in call.inputs]
        out = call.run(chip, inputs)
        assert not isinstance(out, tuple)
        if not plan:
            assert np.array_equal(seen(out), call.expected(*map(seen, inputs)))
        sums.append((chip.clock.now_ps, chip.dram.used_bytes, chip.l1.used_bytes))
    assert sums[0] == sums[1]
