"""Every op of a chip can be compared: each output has a row, and a shadow of its size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.mesh.compare import lone_chip
from meshtwin.mesh.shadow import ShadowWatcher

from ..chip.ops.call import put
from ..chip.ops.test_every_op import CALLS, as_tuple


@pytest.mark.parametrize("name", sorted(CALLS))
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_every_output_of_an_op_has_a_row_and_a_shadow(name: str, data: st.DataObject) -> None:
    call = data.draw(CALLS[name])
    chip = lone_chip("p300c")
    inputs = [put(chip, given) for given in call.inputs]
    watcher = chip.watcher = ShadowWatcher(chip)
    outputs = as_tuple(call.run(chip, inputs))
    assert [row.op for row in watcher.rows if not row.output] == [
        record.name
        for record in chip.recorder.records()
        if record.name != "upload"  # takes time, and computes nothing that could be wrong
    ]
    for tensor in outputs:
        shadow = watcher.shadows.get(tensor)
        if shadow is not None:  # integers have none, nor views of what came from outside
            assert shadow.values.size == tensor.spec.size
