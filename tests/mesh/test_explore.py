"""Programs under many schedules: right ones pass, planted bugs are found, named and replayed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshtwin.fabric.errors import FabricHang
from meshtwin.mesh.errors import ExplorationFailure
from meshtwin.mesh.explore import explore
from meshtwin.mesh.program import MeshChip

WAIT_S = 1.0  # without meaning in an exploration


def all_collectives(chip: MeshChip) -> dict[str, Any]:
    """Every collective, on both axes and on the whole mesh."""
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8) * (chip.rank + 0.3)
    x = chip.tensor(values)
    results: dict[str, Any] = {}
    for axis in (0, 1, None):
        results[f"reduced {axis}"] = chip.all_reduce(x, axis)
        results[f"gathered {axis}"] = chip.all_gather(x, 0, axis)
        results[f"scattered {axis}"] = chip.reduce_scatter(x, 1, axis)
        chip.barrier(axis)
    results["broadcast"] = chip.broadcast(x, 3).to_numpy()
    results["swapped"] = chip.all_to_all(x, 0, concat_dim=1)
    results["at 5"] = [chip.reduce(x, 5, op="max"), chip.gather(x, 0, 5)]
    results["dealt"] = chip.scatter(x, 0, 2, algorithm="tree")
    results["halved"] = chip.all_reduce(x, algorithm="halving", wire_dtype="bfloat16")
    chip.send(x, dst=(chip.rank + 3) % 8)
    results["from afar"] = chip.recv(src=(chip.rank - 3) % 8)
    return results


def test_collectives_give_the_same_bits_under_two_hundred_schedules() -> None:
    report = explore(all_collectives)
    assert len(report.results) == 8
    assert report.num_schedules == len(report.seeds) == 200
    assert report.num_orders == 1  # no collective takes from whoever comes first
    assert min(report.sim_ends_ps) > 0


def gathered_by_arrival(chip: MeshChip) -> list[int] | None:
    """The planted bug: messages are stored in the order in which they come."""
    transport: Any = chip.communicator.transport
    if chip.rank:
        transport.send(0, b"", bytes([10 * chip.rank]))
        return None
    return [transport.recv_any(WAIT_S)[2][0] for _ in range(7)]  # the culprit


def gathered_by_sender(chip: MeshChip) -> list[int] | None:
    """The same, mended."""
    transport: Any = chip.communicator.transport
    if chip.rank:
        transport.send(0, b"", bytes([10 * chip.rank]))
        return None
    parts = {}
    for _ in range(7):
        src, _, payload = transport.recv_any(WAIT_S)
        parts[src] = payload[0]
    return [parts[src] for src in sorted(parts)]


def line_of(word: str) -> int:
    """The line of this file that ends in a comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.endswith(f"# {word}"))


def test_a_gather_in_the_order_of_arrival_is_found_named_and_replayed() -> None:
    with pytest.raises(ExplorationFailure) as caught:
        explore(gathered_by_arrival)
    failure = caught.value
    assert failure.chip == 0
    assert "the result[" in failure.what
    assert f"in recv_any at test_explore.py:{line_of('the culprit')}" in failure.culprit
    assert failure.events
    assert failure.replay == f"explore(program, seeds=[0, {failure.seed}])"
    with pytest.raises(ExplorationFailure) as again:
        explore(gathered_by_arrival, seeds=[0, failure.seed])
    assert str(again.value) == str(failure)


def test_a_gather_by_sender_passes_in_many_orders() -> None:
    report = explore(gathered_by_sender, seeds=range(50))
    assert report.results[0] == [10, 20, 30, 40, 50, 60, 70]
    assert report.num_orders > 10


def test_a_race_that_needs_a_slow_chip_is_found() -> None:
    """Chip 4 speaks at once, chip 6 after a whole all_reduce: the wrong order is rare."""

    def program(chip: MeshChip) -> int:
        transport: Any = chip.communicator.transport
        if chip.rank == 4:
            transport.send(0, b"user")
        chip.all_reduce(chip.tensor(np.ones(8, np.float32)), 1)
        if chip.rank == 6:
            transport.send(0, b"user")
        if chip.rank:
            return -1
        first: int = transport.recv_any(WAIT_S, lambda header: header == b"user")[0]
        transport.recv_any(WAIT_S, lambda header: header == b"user")
        return first

    with pytest.raises(ExplorationFailure, match="culprit: chip 0 took a message of chip"):
        explore(program)


def test_two_chips_that_each_receive_before_they_send_are_proved_to_hang() -> None:
    def program(chip: MeshChip) -> None:
        transport: Any = chip.communicator.transport
        transport.recv(chip.rank ^ 1, WAIT_S)
        transport.send(chip.rank ^ 1, b"")

    with pytest.raises(ExplorationFailure, match="cycle of waits: chip 0 -> 1 -> 0") as caught:
        explore(program)
    assert isinstance(caught.value.__cause__, FabricHang)
    assert (caught.value.seed, caught.value.chip in (0, 1)) == (0, True)
    assert caught.value.replay == "explore(program, seeds=[0])"


def test_a_collective_that_a_chip_leaves_out_is_proved_to_hang() -> None:
    def program(chip: MeshChip) -> None:
        if chip.rank != 3:
            chip.barrier()

    with pytest.raises(ExplorationFailure, match="chip 3 has ended its program"):
        explore(program, "quietbox2")


def test_the_chip_that_raised_is_named_and_not_those_that_it_woke() -> None:
    def program(chip: MeshChip) -> None:
        chip.barrier()
        if chip.rank == 2:
            raise ArithmeticError("planted")
        chip.barrier()

    with pytest.raises(ExplorationFailure, match="ArithmeticError: planted") as caught:
        explore(program, "quietbox2")
    assert caught.value.chip == 2
    assert isinstance(caught.value.__cause__, ArithmeticError)


def test_chips_that_share_a_variable_are_told_that_no_receive_is_at_fault() -> None:
    finished: list[int] = []

    def program(chip: MeshChip) -> int:
        chip.barrier()
        finished.append(chip.rank)
        return len(finished) % 4

    with pytest.raises(ExplorationFailure, match="variables that chips share"):
        explore(program, "quietbox2")


def test_a_check_of_the_results_fails_a_seed() -> None:
    def raises(results: Any) -> None:
        assert results == [1]

    def program(chip: MeshChip, value: int) -> int:
        return value

    def args(rank: int) -> tuple[int]:
        return (2 * rank,)

    with pytest.raises(ExplorationFailure, match="check of the results raised AssertionError"):
        explore(program, "p300", args, check=raises)
    with pytest.raises(ExplorationFailure, match="check of the results failed"):
        explore(program, "p300", args, check=lambda results: results == [1])
    assert explore(program, "p300", args, range(3), lambda r: r == [0, 2]).results == (0, 2)


def test_no_seed_is_no_exploration() -> None:
    with pytest.raises(ValueError, match="seeds"):
        explore(all_collectives, seeds=[])
