"""The runs of a plan, carried out by numpy on bytes, give what the steps of its schedule give."""

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.collectives.call import Call
from meshtwin.collectives.choose import candidates
from meshtwin.collectives.movement import Run, movement_of
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.plan import Plan, make_plan
from meshtwin.collectives.program import Program, evaluate
from meshtwin.fabric.topology import load_box

from .oracle import expected

BOXES = ("p300", "quietbox2", "loudbox")
OPERATIONS = [operation for operation in Operation if operation is not Operation.BARRIER]


def carry_out(
    plan: Plan, run: Run, programs: tuple[Program, ...], inputs: list[bytes], result: bytearray
) -> None:
    """One run, row by row."""
    dtype = plan.call.dtype.numpy
    for row in range(run.rows):
        start, out = run.in_offset + row * run.in_stride, run.out_offset + row * run.out_stride
        values = [data[start : start + run.num_bytes] for data in inputs]
        if run.which >= 0:
            made = values[run.which]
        else:
            words = [np.frombuffer(value, dtype) for value in values]
            made = evaluate(programs[-1 - run.which], words, plan.call).tobytes()
        assert len(made) == run.num_bytes
        result[out : out + run.num_bytes] = made


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_runs_make_every_result_alone_and_shared(data: st.DataObject) -> None:
    box = load_box(data.draw(st.sampled_from(BOXES)))
    n = box.num_chips
    operation = data.draw(st.sampled_from(OPERATIONS))
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    dim, joint = (data.draw(st.integers(0, len(shape) - 1)) for _ in range(2))
    root = data.draw(st.integers(0, n - 1))
    call = Call(
        operation, shape, DType.INT32, tuple(range(n)),
        dim=dim, concat_dim=joint if operation is Operation.ALL_TO_ALL else 0, root=root,
    )  # fmt: skip
    able = [c.algorithm for c in candidates(box, 0, call) if c.plan is not None]
    algorithm = data.draw(st.sampled_from(able))
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 100, shape).astype(np.int32) for _ in range(n)]
    wanted = expected(operation.label, arrays, dim=dim, concat_dim=joint, root=root)
    plans = [make_plan(box, rank, call, algorithm) for rank in range(n)]
    inputs = [array.tobytes() for array in arrays]
    alone = [bytearray(b"\xff" * (0 if w is None else w.nbytes)) for w in wanted]
    shared = [bytearray(buffer) for buffer in alone]
    for rank, plan in enumerate(plans):
        movement = movement_of(plan)
        for run in movement.all_runs:
            carry_out(plan, run, movement.programs, inputs, alone[rank])
        for run in movement.shared_runs:
            for target in movement.targets:
                carry_out(plan, run, movement.programs, inputs, shared[target])
    for rank, want in enumerate(wanted):
        if want is not None:
            assert plans[rank].result_shape == want.shape
            assert alone[rank] == shared[rank] == want.tobytes()


def test_rows_that_lie_apart_are_one_run() -> None:
    call = Call(Operation.ALL_GATHER, (512, 8), DType.FLOAT32, (0, 1, 2, 3), dim=1)
    plan = make_plan(
        load_box("quietbox2"), 0, call, candidates(load_box("quietbox2"), 0, call)[0].algorithm
    )
    runs = movement_of(plan).all_runs
    assert runs[1] == Run(1, 512, 32, 0, 32, 32, 128)
    assert len(runs) == 4


def test_shares_are_whole_cache_lines() -> None:
    box = load_box("quietbox2")
    call = Call(Operation.ALL_REDUCE, (1000,), DType.BFLOAT16, (0, 1, 2, 3))
    ring = next(c.algorithm for c in candidates(box, 0, call) if c.algorithm.name == "ring")
    for rank in range(4):
        movement = movement_of(make_plan(box, rank, replace(call), ring))
        assert movement.targets == (0, 1, 2, 3)
        assert movement.shared_runs[0].out_offset % 64 == 0
