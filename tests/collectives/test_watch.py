"""Chips that wait in vain are told so, with who waits for whom; chips that only wait are not."""

import time
from typing import Any

import numpy as np
import pytest

from meshtwin.collectives.errors import CollectiveMismatch, CollectiveTimeout
from meshtwin.fabric.errors import FabricHang, PeerAborted
from meshtwin.mesh.program import MeshChip

from ..spmd import endings, run_spmd

TRANSPORTS = ("shared_memory", "zeromq")


def texts_of(kind: type[Exception], ends: list[Any]) -> list[str]:
    """What each chip raised, all of one kind."""
    assert {type(end) for end in ends} == {kind}
    return [str(end) for end in ends]


def test_a_chip_that_ended_its_program_is_named_to_all_that_wait_for_it() -> None:
    def program(chip: MeshChip) -> str:
        x = chip.tensor(np.ones(4, np.float32))
        chip.all_reduce(x)
        if chip.rank != 2:
            chip.all_reduce(x)
        return "left early"

    started = time.monotonic()
    ends = endings("quietbox2", program)
    assert time.monotonic() - started < 20  # the limit of a wait is 60 s
    assert ends.pop(2) == "left early"
    texts = dict(zip((0, 1, 3), texts_of(FabricHang, ends), strict=True))
    for rank in texts:
        assert "chip 2 has ended its program" in texts[rank]
        assert (
            f"chip {rank} waits for chip 2 in all_reduce(shape (4,), float32, op sum)"
            in (texts[rank])
        )
        assert "test_watch.py:" in texts[rank]
        assert "last calls of chip 2: #0 all_reduce" in texts[rank]


def test_a_cycle_of_waits_over_two_axes_is_proved() -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones(4, np.float32))
        for axis in (0, 1) if chip.rank in (0, 3) else (1, 0):
            chip.all_reduce(x, axis=axis)

    for text in texts_of(CollectiveMismatch, endings("quietbox2", program)):
        assert "collective 0: chip 0 called all_reduce(shape (4,), float32, op sum, axis 0)" in text
        assert "chip 1 called all_reduce(shape (4,), float32, op sum, axis 1)" in text


def test_one_chip_on_another_axis_is_a_mismatch_that_names_both_lines() -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones(4, np.float32))
        if chip.rank == 5:
            chip.all_gather(x, 0, axis="row")
        else:
            chip.all_gather(x, 0, axis="col")
        chip.barrier()

    for text in texts_of(CollectiveMismatch, endings("loudbox", program)):
        assert "chip 5 called all_gather(shape (4,), float32, dim 0, axis 0) at test_watch" in text


def test_two_chips_that_each_receive_first_wait_for_each_other() -> None:
    def program(chip: MeshChip) -> None:
        chip.recv(src=0 if chip.rank > 1 else 1 - chip.rank)

    for text in texts_of(FabricHang, endings("quietbox2", program)):
        assert "a cycle of waits: chip 0 -> 1 -> 0" in text
        assert "chip 0 waits for chip 1 in recv(1) at test_watch.py:" in text


def test_a_recv_without_a_send_names_the_chip_that_ended() -> None:
    def program(chip: MeshChip) -> None:
        if chip.rank == 0:
            chip.send(chip.tensor(np.ones(2, np.float32)), dst=1)
        if chip.rank == 1:
            chip.recv(src=0)
            chip.recv(src=0)

    (text,) = texts_of(FabricHang, endings("quietbox2", program)[1:2])
    assert "chip 0 has ended its program" in text
    assert "last calls of chip 0: #-1 send to 1 at test_watch.py" in text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_slow_chip_is_waited_for(transport: str) -> None:
    def program(chip: MeshChip) -> float:
        if chip.rank == 3:
            time.sleep(1.5)
        return float(chip.all_reduce(chip.tensor(np.ones(1, np.float32))).to_numpy()[0])

    assert run_spmd("quietbox2", program, transport=transport) == [4.0] * 4


def test_a_hang_in_an_earlier_run_does_not_reach_into_the_next() -> None:
    def program(chip: MeshChip) -> float:
        x = chip.tensor(np.ones(1, np.float32))
        for _ in range(70):  # more than a recorder holds
            chip.all_reduce(x)
        if chip.rank:
            time.sleep(0.4)
        return float(chip.all_reduce(x).to_numpy()[0])

    assert run_spmd("quietbox2", program) == [4.0] * 4


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wait_that_is_over_is_no_part_of_a_hang(transport: str) -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones(1, np.float32))
        if chip.rank == 0:
            time.sleep(0.4)
        chip.all_reduce(x)  # all but chip 0 wait for it, and it ends its program
        if chip.rank == 1:
            chip.recv(2)
        if chip.rank == 2:
            time.sleep(1.0)
            chip.send(x, 1)
        if chip.rank == 3:
            time.sleep(0.5)
            raise ValueError("of its own")

    ends = endings("quietbox2", program, transport=transport)
    assert [type(end) for end in ends] == [type(None), PeerAborted, type(None), ValueError]


@pytest.mark.parametrize("axis", [None, 1])
def test_groups_that_differ_in_their_calls_are_not_blamed_for_a_chip_that_ended(
    axis: int | None,
) -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones(1, np.float32))
        if axis is None:
            chip.all_reduce(x, axis=(0, 1) if chip.rank < 2 else (2, 3))
        elif chip.rank < 2:
            chip.all_reduce(x, axis=axis)
        if chip.rank:
            chip.barrier()

    for text in texts_of(FabricHang, endings("quietbox2", program)[1:]):
        assert "chip 0 has ended its program" in text


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_chip_that_comes_after_the_limit_gets_no_half_done_result(size: int) -> None:
    def program(chip: MeshChip) -> type[BaseException] | set[float]:
        x = chip.tensor(np.full(size, 1.0 + chip.rank, np.float32))
        if chip.rank == 1:
            time.sleep(2.0)
        try:
            return set(chip.all_reduce(x).to_numpy().tolist())
        except CollectiveTimeout:
            with pytest.raises(PeerAborted):
                chip.all_reduce(x)
            time.sleep(2.0)
            return CollectiveTimeout
        except PeerAborted:
            return PeerAborted

    assert endings("p300", program, timeout_s=1.0) == [CollectiveTimeout, PeerAborted]


def test_a_call_that_was_given_up_meets_no_later_call() -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.full(1, chip.rank, np.float32))
        with pytest.raises((FabricHang, CollectiveMismatch)):
            chip.all_reduce(x, axis=1 if chip.rank in (0, 3) else 0)
        with pytest.raises((PeerAborted, FabricHang, CollectiveMismatch)):
            chip.all_reduce(x, axis=1)

    assert endings("quietbox2", program) == [None] * 4
