"""Which formats collectives move, which they add up, and what they refuse."""

from collections.abc import Callable

import numpy as np
import pytest

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.errors import CollectiveError
from meshtwin.collectives.reduce_op import REDUCIBLE, REDUCIBLE_BLOCKS
from meshtwin.mesh.program import MeshChip

from ..spmd import run_spmd

MOVED = [dtype for dtype in DType if dtype not in REDUCIBLE]
ONLY_MOVED = [dtype for dtype in MOVED if dtype not in REDUCIBLE_BLOCKS]
TRANSPORTS = ("shared_memory", "routed")


def numbers(dtype: DType, rank: int) -> np.ndarray:
    """What the format keeps of a few numbers that differ from chip to chip."""
    given = np.arange(4 * 40).reshape(4, 40) % 7 + rank
    return decode(encode(given, dtype), dtype, given.shape)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("dtype", MOVED, ids=str)
def test_what_is_not_added_up_as_single_numbers_moves_bit_for_bit(
    dtype: DType, transport: str
) -> None:
    def program(chip: MeshChip) -> list[np.ndarray]:
        x = chip.tensor(numbers(dtype, chip.rank), dtype)
        moved = [
            chip.broadcast(x, root=1),
            chip.all_gather(x, dim=0),
            chip.all_to_all(x, dim=0),
            chip.scatter(x, dim=0, root=2),
        ]
        if chip.rank == 0:
            chip.send(x, dst=3)
        if chip.rank == 3:
            moved.append(chip.recv(src=0))
        assert all(tensor.dtype is dtype for tensor in moved)
        assert chip.recorder.records()[0].dtypes == (dtype.label, dtype.label)
        assert chip.recorder.records()[0].input_shapes == (x.shape,)
        return [tensor.to_numpy() for tensor in moved]

    results = run_spmd("quietbox2", program, transport=transport)
    given = [numbers(dtype, rank) for rank in range(4)]
    for rank, (sent, gathered, exchanged, part, *_) in enumerate(results):
        assert sent.tolist() == given[1].tolist()
        assert gathered.tolist() == np.concatenate(given).tolist()
        assert exchanged.tolist() == np.stack([own[rank] for own in given]).tolist()
        assert part.tolist() == given[2][rank : rank + 1].tolist()
    assert results[3][-1].tolist() == given[0].tolist()


def test_a_block_float_takes_the_bytes_of_its_blocks_on_the_links() -> None:
    def program(chip: MeshChip) -> tuple[int, int]:
        for dtype in (DType.BFP8_B, DType.BFLOAT16):
            chip.broadcast(chip.tensor(np.ones((64, 64)), dtype))
        block, words = (record.bytes for record in chip.recorder.records()[-2:])
        return block, words

    block, words = run_spmd("p300", program)[0]
    assert (block, words) == (64 * 4 * 17, 64 * 64 * 2)


@pytest.mark.parametrize("dtype", ONLY_MOVED, ids=str)
def test_what_is_not_added_up_is_refused_with_the_formats_that_are(dtype: DType) -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones((4, 32), np.int32), dtype)
        calls: list[Callable[[], object]] = [
            lambda: chip.all_reduce(x),
            lambda: chip.reduce_scatter(x, dim=0),
            lambda: chip.reduce(x, root=0, op="max"),
        ]
        for call in calls:
            with pytest.raises(CollectiveError, match=rf"of {dtype.label}: collectives add up f"):
                call()

    run_spmd("p300", program)


@pytest.mark.parametrize("wire", [DType.BFP8_A, DType.TF32, DType.FP8_E4M3], ids=str)
def test_only_floats_that_are_added_up_are_wire_dtypes(wire: DType) -> None:
    def program(chip: MeshChip) -> None:
        with pytest.raises(
            CollectiveError, match=rf"wire_dtype {wire.label} .* must be float formats that"
        ):
            chip.all_reduce(chip.tensor(np.ones(4, np.float32)), wire_dtype=wire)

    run_spmd("p300", program)
