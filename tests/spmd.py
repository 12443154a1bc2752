"""Running a program on all chips of a box in threads of this process: no Ray, the real fabric."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshtwin.collectives.communicator import Communicator
from meshtwin.fabric.errors import PeerAborted
from meshtwin.fabric.topology import Box, load_box
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.mesh.program import MeshChip

TIMEOUT_S = 60.0


def run_spmd(
    box: str | Box,
    program: Callable[..., Any],
    args_of_rank: Callable[[int], tuple[Any, ...]] = lambda rank: (),
    transport: str = "auto",
) -> list[Any]:
    """The results of `program(chip, *args_of_rank(rank))`, by rank.

    An error is raised: that of the lowest chip that did not merely hear of another one's.
    """
    ends = endings(box, program, args_of_rank, transport)
    for error in sorted((e for e in ends if isinstance(e, BaseException)), key=_is_echo):
        raise error
    return ends


def endings(
    box: str | Box,
    program: Callable[..., Any],
    args_of_rank: Callable[[int], tuple[Any, ...]] = lambda rank: (),
    transport: str = "auto",
) -> list[Any]:
    """What the program returned or raised on each chip, by rank."""
    where = load_box(box) if isinstance(box, str) else box
    ends = [open_transport(rank, where.num_chips, transport) for rank in range(where.num_chips)]
    try:
        for end in ends:
            end.connect([other.address for other in ends])
        chips = [_chip(where, rank, end) for rank, end in enumerate(ends)]
        with ThreadPoolExecutor(where.num_chips) as pool:
            futures = [
                pool.submit(_guarded, ends[rank], program, chip, args_of_rank(rank))
                for rank, chip in enumerate(chips)
            ]
            return [future.exception(TIMEOUT_S) or future.result() for future in futures]
    finally:
        for end in ends:
            end.close()


def _is_echo(error: BaseException) -> bool:
    """Did the chip only hear of another one's error?"""
    return isinstance(error, PeerAborted)


def _chip(box: Box, rank: int, transport: Any) -> MeshChip:
    chip = MeshChip.open(box.product, rank=rank)
    chip.box = box
    chip.communicator = Communicator(box, rank, transport, TIMEOUT_S)
    return chip


def _guarded(
    transport: Any, program: Callable[..., Any], chip: MeshChip, args: tuple[Any, ...]
) -> Any:
    """The program's result; an error wakes the other chips."""
    transport.install_heap()
    transport.begin_run(1)
    chip.communicator.begin_run()
    try:
        result = program(chip, *args)
    except BaseException as error:
        chip.communicator.end_run(error)
        transport.abort(1)
        raise
    chip.communicator.end_run()
    return result
