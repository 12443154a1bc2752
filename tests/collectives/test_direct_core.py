"""The compiled collective: right bits on every path, and waits that end as they should."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip import kernels
from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport

from ..fabric.fabric_harness import Site, run_in_processes, run_in_threads

direct = pytest.importorskip("meshtwin.collectives._direct")

DIGEST = bytes(range(16))
WAIT_S = 30.0
F32, BF16, F16, I32, U32, I8, U8 = range(7)
STORED = (np.float32, np.uint16, np.float16, np.int32, np.uint32, np.int8, np.uint8)
OPS = SUM, MIN, MAX, PROD = range(4)
PUSH, COMBINE, ROUND, DIVIDE = 0, -1, -2, -3
COMBINED: Sequence[Callable[[Any, Any], Any]] = (
    lambda a, b: a + b,
    lambda a, b: np.where((a < b) | (a != a), a, b),
    lambda a, b: np.where((a > b) | (a != a), a, b),
    lambda a, b: a * b,
)
Array = np.ndarray[Any, np.dtype[Any]]
Job = dict[str, Any]


def widened(words: Array, dtype: int) -> Array:
    """As numbers to compute with."""
    if dtype != BF16:
        return words.astype(np.float32) if dtype == F16 else words
    wide = np.empty(words.shape, np.float32)
    kernels.widen(np.ascontiguousarray(words), wide)
    return wide


def narrowed(x: Array, dtype: int) -> Array:
    if dtype == BF16:
        words = np.empty(x.shape, np.uint16)
        kernels.round_words(x, words)
        return words
    if dtype == F16:
        return np.where(np.isnan(x), np.float16(np.nan), x.astype(np.float16))
    return x


def sharing(x: Array, block: DType) -> Array:
    """Each 16 with one exponent; no denormals, and one NaN."""
    x = np.where(np.isnan(x), np.float32(np.nan), x)
    rows = np.pad(x, (0, -len(x) % 16)).reshape(-1, 16)
    x = decode(encode(rows, block), block).reshape(-1)[: len(x)]
    x = np.where(np.abs(x) < 2.0**-126, np.float32(0), x)
    return np.where(np.isnan(x), np.float32(np.nan), x)


def evaluate(program: Sequence[int], parts: Sequence[Array], job: Job) -> Array:
    """The oracle: the stack program in numpy; the result as stored."""
    dtype, wire = job["dtype"], {1: BF16, 2: F16}.get(job["wire"], F32)
    block = {3: DType.BFP8_B, 4: DType.BFP4_B}.get(job["wire"])
    if len(program) == 1:
        return parts[program[0]]
    stack: list[Array] = []
    with np.errstate(all="ignore"):
        for code in program:
            if code >= 0:
                stack.append(widened(parts[code], dtype))
                continue
            b = stack.pop()
            if code == ROUND:
                x = sharing(b, block) if block else widened(narrowed(b, wire), wire)
            elif code == DIVIDE:
                x = b / np.float32(len(parts))
            else:
                x = COMBINED[job["op"]](stack.pop(), b)
            stack.append(widened(narrowed(x, dtype), dtype))
        (result,) = stack
        if dtype == F32 and (job["op"] in (SUM, PROD) or program[-1] == DIVIDE):
            result = np.where(np.isnan(result), np.float32(np.nan), result)
        return narrowed(result, dtype)


def tensors(dtype: int, num_members: int, num_items: int, seed: int) -> list[Array]:
    """Random bits for all but f32 and bf16; those of all sizes, with NaNs and infinities."""
    dice = np.random.default_rng(seed)
    item_bytes = np.dtype(STORED[dtype]).itemsize
    bits = dice.integers(0, 256, (num_members, num_items * item_bytes), np.uint8)
    arrays = list(bits.view(STORED[dtype]))
    if dtype == F32 and seed % 2:
        arrays = [dice.standard_normal(num_items).astype(np.float32) for _ in arrays]
    return arrays


def left_fold(order: Sequence[int]) -> list[int]:
    return [order[0], *itertools.chain(*((member, COMBINE) for member in order[1:]))]


def job_of(dtype: int, op: int, num_members: int, **others: Any) -> Job:
    empty = np.zeros((0, 7), np.int64)
    job = dict(dtype=dtype, op=op, wire=0, num_members=num_members, programs=(), small=False)
    job |= dict(all_runs=empty, shared_runs=empty, targets=(), shares_input=True)
    return job | {"shares_output": True} | others


def all_reduce(rank: int, x: Array, programs: Sequence[Sequence[int]], **others: Any) -> Job:
    """Program p makes piece p; chip p makes it for all, or every chip makes all pieces."""
    cuts = np.cumsum([0, *(len(c) for c in np.array_split(x, len(programs)))]) * x.itemsize
    runs = np.array(
        [(-1 - p, 1, cuts[p + 1] - cuts[p], cuts[p], 0, cuts[p], 0) for p in range(len(programs))],
        np.int64,
    )
    codes = [np.array(program, np.int16).tobytes() for program in programs]
    targets = range(others["num_members"])
    job = job_of(programs=codes, all_runs=runs, targets=targets, **others)
    return (
        job
        | {"shared_runs": runs[rank : rank + 1], "input_bytes": x.nbytes}
        | {"output_bytes": x.nbytes}
    )


def started(site: Site) -> Any:
    site.transport.begin_run(1)
    site.transport.install_heap()
    window = site.transport.window(tuple(range(site.num_chips)), 0)
    return direct.Group(*window.layout())


def run_all(
    inputs: Sequence[Array | None],
    jobs: Sequence[Job],
) -> list[Array]:
    """Run each member's job on its input in a thread; their outputs, as bytes."""

    def task(site: Site) -> Array:
        group, job = started(site), jobs[site.rank]
        given = inputs[site.rank]
        x = None if given is None else given.copy()
        output = np.full(job["output_bytes"], 0xAA, np.uint8)
        answer = group.run(direct.Work(**job), DIGEST, 1, 7, x, output, 0, WAIT_S)
        assert answer is None
        return output

    return run_in_threads(task, SharedMemoryTransport, len(jobs))


@pytest.fixture(params=["avx512", "avx2", "portable"])
def each_isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = direct.isa()
    try:
        direct.use_isa(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield
    direct.use_isa(before)


@st.composite
def programs(draw: st.DrawFn, num_members: int, extras: Sequence[int]) -> list[int]:
    """Any tree over a few members, with roundings and divisions anywhere."""
    code, depth = [draw(st.integers(0, num_members - 1))], 1
    for _ in range(draw(st.integers(0, 12))):
        choice = draw(st.sampled_from([PUSH, COMBINE, *extras]))
        if choice == PUSH:
            code.append(draw(st.integers(0, num_members - 1)))
            depth += 1
        elif choice != COMBINE:
            code.append(choice)
        elif depth > 1:
            code.append(COMBINE)
            depth -= 1
    return code + [COMBINE] * (depth - 1)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_program_gives_the_bits_of_numpy(data: st.DataObject) -> None:
    dtype, op = data.draw(st.integers(0, 6)), data.draw(st.sampled_from(OPS))
    wire = data.draw(st.integers(1, 4))
    direct.use_isa(data.draw(st.sampled_from(ISAS)))
    extras = [ROUND, DIVIDE] if dtype <= F16 else []
    pieces = [data.draw(programs(3, extras)) for _ in range(3)]
    size = data.draw(st.sampled_from([0, 1, 2, 5, 1000, 2049, 9000]))
    inputs = tensors(dtype, 3, size, data.draw(st.integers(0, 99)))
    parts = [np.array_split(x, 3) for x in inputs]
    small = data.draw(st.booleans())
    common = dict(dtype=dtype, op=op, wire=wire, num_members=3, small=small)
    outputs = run_all(inputs, [all_reduce(r, inputs[r], pieces, **common) for r in range(3)])
    direct.use_isa(ISAS[0])
    expected = [
        evaluate(program, [cut[p] for cut in parts], common) for p, program in enumerate(pieces)
    ]
    for output in outputs:
        assert output.tobytes() == b"".join(piece.tobytes() for piece in expected)


def isas() -> list[str]:
    names = ["avx512", "avx2", "portable"]
    return names[names.index(direct.isa()) :]


ISAS = isas()


@pytest.mark.parametrize("num_members", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("dtype", [F32, BF16, I32])
def test_left_folds_have_the_bits_of_the_kernels(
    dtype: int, num_members: int, each_isa: None
) -> None:
    inputs = tensors(dtype, num_members, 10_001, dtype)
    orders = [[(p + 1 + i) % num_members for i in range(num_members)] for p in range(num_members)]
    jobs = [
        all_reduce(
            r, inputs[r], [*map(left_fold, orders)], dtype=dtype, op=SUM, num_members=num_members
        )
        for r in range(num_members)
    ]
    cut = [np.array_split(x, num_members) for x in inputs]
    with np.errstate(all="ignore"):
        expected = b"".join(
            kernels.fold([np.ascontiguousarray(x[p]) for x in cut], order).tobytes()
            for p, order in enumerate(orders)
        )
    for small in (False, True):
        outputs = run_all(inputs, [job | {"small": small} for job in jobs])
        assert {output.tobytes() for output in outputs} == {expected}


def test_every_half_survives_the_way_to_float_and_back(each_isa: None) -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    zeros = np.full(x.shape, np.float16(-0.0))
    jobs = [
        all_reduce(r, x, [[0, 1, COMBINE]] * 2, dtype=F16, op=SUM, num_members=2) for r in range(2)
    ]
    output = run_all([x, zeros], jobs)[0].view(np.float16)
    assert np.array_equal(output, x, equal_nan=True)
    finite = np.isfinite(x)
    assert np.array_equal(output[finite].view(np.uint16), x[finite].view(np.uint16))


def test_floats_are_rounded_to_halves_as_numpy_does(each_isa: None) -> None:
    dice = np.random.default_rng(3)
    x = (dice.standard_normal(200_000) * 2.0 ** dice.integers(-30, 20, 200_000)).astype(np.float32)
    jobs = [
        all_reduce(r, x, [[0, ROUND]] * 2, dtype=F32, op=SUM, wire=2, num_members=2)
        for r in range(2)
    ]
    with np.errstate(all="ignore"):
        expected = x.astype(np.float16).astype(np.float32)
    assert run_all([x, x], jobs)[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("small", [True, False])
def test_strided_uneven_and_empty_parts_are_gathered(small: bool) -> None:
    """Member m has m columns of 5 rows; all get them side by side."""
    widths, rows = [0, 1, 2, 3], 5
    parts = [np.full((rows, width), m + 1, np.int32) for m, width in enumerate(widths)]
    starts = np.cumsum([0, *widths])
    runs = np.array(
        [(m, rows, 4 * w, 0, 4 * w, 4 * starts[m], 4 * starts[-1]) for m, w in enumerate(widths)],
        np.int64,
    )
    jobs = [
        job_of(I32, SUM, 4, all_runs=runs, shared_runs=runs, targets=[m], small=small)
        | {"input_bytes": parts[m].nbytes, "output_bytes": 4 * rows * 6, "shares_output": False}
        for m in range(4)
    ]
    for output in run_all([None, *parts[1:]], jobs):
        assert np.array_equal(output.view(np.int32).reshape(rows, 6), np.hstack(parts))


@pytest.mark.parametrize("num_bytes", [1000, 100_000, 5_000_000])
def test_only_the_root_needs_an_output_and_others_write_it(num_bytes: int) -> None:
    inputs = [np.arange(num_bytes, dtype=np.uint8) + m for m in range(3)]
    jobs = []
    for m in range(3):
        job = all_reduce(m, inputs[m], [left_fold([0, 1, 2])] * 3, dtype=U8, op=SUM, num_members=3)
        empty = np.zeros((0, 7), np.int64)
        no_output: Job = {} if m == 2 else {"all_runs": empty, "output_bytes": 0}
        jobs.append(job | no_output | {"targets": [2]})
    outputs = run_all(inputs, jobs)
    assert [output.size for output in outputs] == [0, 0, num_bytes]
    assert np.array_equal(outputs[2], inputs[0] + inputs[1] + inputs[2])


def test_all_learn_that_one_tensor_is_out_of_reach() -> None:
    num_bytes = 3 << 20

    def task(site: Site) -> Any:
        group = started(site)
        x = np.ones(num_bytes, np.uint8)
        if site.rank == 1:
            x = np.frombuffer(bytes(num_bytes), np.uint8)
        work = direct.Work(
            **all_reduce(site.rank, x, [[0, 1, COMBINE]] * 2, dtype=U8, op=SUM, num_members=2)
        )
        output = np.empty_like(x)
        first = group.run(work, DIGEST, 1, 0, x, output, 0, WAIT_S)
        return first, group.run(work, DIGEST, 2, 0, output.copy(), output, 0, WAIT_S)

    answers = run_in_threads(task, SharedMemoryTransport, 2)
    assert answers == [(direct.NOT_SHARED, None)] * 2


def test_without_heaps_the_slots_suffice_for_a_megabyte() -> None:
    def task(site: Site) -> Any:
        group, x = started(site), np.full(200_000, 1 + site.rank, np.int32)
        job = all_reduce(site.rank, x, [[0, 1, COMBINE]] * 2, dtype=I32, op=SUM, num_members=2)
        output = np.zeros_like(x)
        answer = group.run(direct.Work(**job), DIGEST, 1, 0, x, output, 0, WAIT_S)
        return answer, site.transport.offset_of(x), output.min(), output.max()

    def opener(rank: int, num_chips: int) -> SharedMemoryTransport:
        return SharedMemoryTransport(rank, num_chips, heap_bytes=0)

    assert run_in_threads(task, opener, 2) == [(None, -1, 3, 3)] * 2


def test_a_chip_that_cannot_map_a_heap_tells_all() -> None:
    def task(site: Site) -> Any:
        started(site)
        window, x = site.transport.window((0, 1), 0), np.ones(100_000, np.int32)
        group = direct.Group(*window.layout()._replace(sees_heaps=site.rank != 1))
        job = all_reduce(site.rank, x, [[0, 1, COMBINE]] * 2, dtype=I32, op=SUM, num_members=2)
        return group.run(direct.Work(**job), DIGEST, 1, 0, x, x, 0, WAIT_S)

    assert run_in_threads(task, SharedMemoryTransport, 2) == [direct.NOT_SHARED] * 2


@pytest.mark.parametrize("small", [True, False])
def test_other_calls_are_a_mismatch_for_all_and_entry_times_are_told(small: bool) -> None:
    def task(site: Site) -> list[Any]:
        group, x = started(site), np.zeros(6, np.int32)
        common = dict(dtype=I32, op=SUM, num_members=3, small=small)
        work = direct.Work(**all_reduce(site.rank, x, [left_fold([0, 1, 2])] * 3, **common))
        other = bytes(16) if site.rank == 1 else DIGEST
        return [
            group.run(work, other, 1, 0, x, x.copy(), 0, WAIT_S),
            group.run(work, DIGEST, 2 + site.rank // 2, 0, x, x.copy(), 0, WAIT_S),
            group.run(work, DIGEST, 4, 10 * site.rank, x, x.copy(), 0, WAIT_S),
            group.run(work, DIGEST, 5, -3, x, x.copy(), 0, WAIT_S),
        ]

    answers = run_in_threads(task, SharedMemoryTransport, 3)
    assert answers == [[direct.MISMATCH, direct.MISMATCH, (0, 10, 20), None]] * 3


def stalls_and_goes_on(site: Site) -> None:
    """Member 0 comes late; the others look around meanwhile."""
    group, x = started(site), np.full(50_000, site.rank, np.int32)
    for small in (False, True):
        job = all_reduce(
            site.rank, x, [left_fold([2, 1, 0])] * 3, dtype=I32, op=SUM, num_members=3, small=small
        )
        work, output = direct.Work(**job), np.zeros_like(x)
        site.meet()
        if site.rank == 0:
            time.sleep(0.2)
        answer = group.run(work, DIGEST, 1, 0, x, output, 0, 0.01)
        if site.rank:
            assert answer == direct.STALLED
            assert (group.phase, group.missing) == (1, 0)
        while answer == direct.STALLED:
            answer = group.run(work, DIGEST, 1, 0, x, output, group.phase, 0.01)
        assert answer is None and (output == 3).all()
        site.meet()


def aborts_and_starts_again(site: Site) -> None:
    group, x = started(site), np.full(50_000, site.rank, np.int32)
    job = all_reduce(site.rank, x, [left_fold([0, 1, 2])] * 3, dtype=I32, op=SUM, num_members=3)
    work, output = direct.Work(**job), np.zeros_like(x)
    if site.rank == 0:
        time.sleep(0.1)
        site.transport.abort(1)
    else:
        assert group.run(work, DIGEST, 1, 0, x, output, 0, WAIT_S) == direct.ABORTED
    site.meet()
    site.transport.begin_run(2)
    window = site.transport.window((0, 1, 2), 0)
    for number in range(1, 6):  # the window and the compiled call in turn
        assert group.run(work, DIGEST, number, 0, x, output, 0, WAIT_S) is None
        assert (output == 3).all()
        window.buffer()[200] = site.rank + number
        window.publish()
        window.wait_all(WAIT_S)
        assert [slot[200] for slot in window.slots()] == [number, 1 + number, 2 + number]


def many_calls_in_a_row(site: Site) -> None:
    """Sizes from nothing to megabytes on one channel, checked against the kernels."""
    group, n = started(site), site.num_chips
    orders = [[(p + 1 + i) % n for i in range(n)] for p in range(n)]
    for number, size in enumerate([0, 1, 7, 1024, 5000, 70_000, 300_001, 1_000_003] * 4):
        inputs = [np.random.default_rng(number * n + m).standard_normal(size) for m in range(n)]
        floats = [x.astype(np.float32) for x in inputs]
        x = floats[site.rank].copy()
        common = dict(dtype=F32, op=SUM, num_members=n, small=size <= 5000 and number % 2 == 0)
        job = all_reduce(site.rank, x, [*map(left_fold, orders)], **common)
        output = x if number % 3 == 0 else np.empty_like(x)  # in place, now and then
        assert group.run(direct.Work(**job), DIGEST, number, 0, x, output, 0, WAIT_S) is None
        cut = [np.array_split(x, n) for x in floats]
        folded = [kernels.fold([x[p] for x in cut], order) for p, order in enumerate(orders)]
        assert np.array_equal(output, np.concatenate(folded))


@pytest.mark.parametrize("task", [stalls_and_goes_on, aborts_and_starts_again])
def test_waits_end_between_threads_and_between_processes(task: Any) -> None:
    run_in_threads(task, SharedMemoryTransport, 3)
    run_in_processes(task, SharedMemoryTransport, 3)


def test_many_calls_in_a_row_are_right_in_every_process() -> None:
    run_in_processes(many_calls_in_a_row, SharedMemoryTransport, 4)


def test_more_processes_than_cores_agree() -> None:
    run_in_processes(many_calls_in_a_row, SharedMemoryTransport, 7)


@pytest.mark.parametrize(
    "wrong, why",
    [
        ({"programs": [[0, COMBINE]]}, "pushed"),
        ({"programs": [[0, 1]]}, "one result"),
        ({"programs": [[2]]}, "no member"),
        ({"programs": [[0, DIVIDE]]}, "mean"),
        ({"programs": [[0, ROUND]]}, "round"),
        ({"all_runs": [(-2, 1, 4, 0, 0, 0, 0)]}, "no program"),
        ({"all_runs": [(2, 1, 4, 0, 0, 0, 0)]}, "no member"),
        ({"all_runs": [(-1, 1, 2, 0, 0, 0, 0)]}, "items apart"),
        ({"all_runs": [(0, 1, 9, 0, 0, 0, 0)]}, "beyond the output"),
        ({"all_runs": [(0, 1, -4, 0, 0, 0, 0)]}, "2\\*\\*40"),
        ({"all_runs": [(0, 1 << 39, 4, 0, 1 << 39, 0, 0)]}, "2\\*\\*40"),
        ({"targets": [2]}, "target"),
        ({"dtype": 7}, "out of range"),
    ],
)
def test_work_that_makes_no_sense_is_refused(wrong: Job, why: str) -> None:
    job = job_of(I32, SUM, 2, programs=[[0]], input_bytes=8, output_bytes=8) | wrong
    job["programs"] = [np.array(program, np.int16) for program in job["programs"]]
    job["all_runs"] = np.array(job["all_runs"], np.int64)
    with pytest.raises(ValueError, match=why):
        direct.Work(**job)


def test_tensors_of_another_size_are_refused_before_anything_is_published() -> None:
    def task(site: Site) -> None:
        group, x = started(site), np.zeros(6, np.int32)
        work = direct.Work(**all_reduce(0, x, [[0]], dtype=I32, op=SUM, num_members=1))
        for a, b in ((x[1:], x), (x, None), (x[::2], x)):
            with pytest.raises((ValueError, BufferError)):
                group.run(work, DIGEST, 1, 0, a, b, 0, WAIT_S)
        with pytest.raises(TypeError):
            group.run(work, b"short", 1, 0, x, x, 0, WAIT_S)
        assert group.run(work, DIGEST, 1, 0, x, x, 0, WAIT_S) is None

    run_in_threads(task, SharedMemoryTransport, 1)
