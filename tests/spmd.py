"""Running a program on all chips of a box in threads of this process: no Ray, the real fabric."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshtwin.collectives.communicator import Communicator
from meshtwin.fabric.errors import PeerAborted
from meshtwin.fabric.faults import FaultPlan
from meshtwin.fabric.topology import Box, load_box
from meshtwin.fabric.transport.pair import PairTransport, open_transport
from meshtwin.fabric.transport.routed import RoutedTransport
from meshtwin.mesh.program import MeshChip

TIMEOUT_S = 60.0


def run_spmd(
    box: str | Box,
    program: Callable[..., Any],
    args_of_rank: Callable[[int], tuple[Any, ...]] = lambda rank: (),
    transport: str = "auto",
    faults: FaultPlan | None = None,
) -> list[Any]:
    """The results of `program(chip, *args_of_rank(rank))`, by rank.

    An error is raised: that of the lowest chip that did not merely hear of another one's.
    """
    ends = endings(box, program, args_of_rank, transport, faults)
    for error in sorted((e for e in ends if isinstance(e, BaseException)), key=_is_echo):
        raise error
    return ends


def endings(
    box: str | Box,
    program: Callable[..., Any],
    args_of_rank: Callable[[int], tuple[Any, ...]] = lambda rank: (),
    transport: str = "auto",
    faults: FaultPlan | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Any]:
    """What the program returned or raised on each chip, by rank."""
    where = load_box(box) if isinstance(box, str) else box
    ends = [_open(where, rank, transport, faults) for rank in range(where.num_chips)]
    try:
        for end in ends:
            end.connect([other.address for other in ends])
        chips = [_chip(where, rank, end, faults, timeout_s) for rank, end in enumerate(ends)]
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


def _open(
    box: Box, rank: int, transport: str, faults: FaultPlan | None
) -> PairTransport | RoutedTransport:
    """A chip's end; "routed" and faults take the links of the box, over any road."""
    if transport != "routed" and faults is None:
        return open_transport(rank, box.num_chips, transport)
    inner = open_transport(rank, box.num_chips, "auto" if transport == "routed" else transport)
    return RoutedTransport(inner, box, faults, is_numbered=False)


def _chip(
    box: Box, rank: int, transport: Any, faults: FaultPlan | None, timeout_s: float
) -> MeshChip:
    chip = MeshChip.open(box.product, rank=rank)
    chip.box = box
    chip.communicator = Communicator(box, rank, transport, timeout_s, faults)
    return chip


def _guarded(
    transport: Any, program: Callable[..., Any], chip: MeshChip, args: tuple[Any, ...]
) -> Any:
    """The program's result; an error wakes the other chips."""
    if isinstance(transport, PairTransport):
        transport.install_heap()
    chip.communicator.begin_run()
    transport.begin_run(1)
    try:
        result = program(chip, *args)
    except BaseException as error:
        chip.communicator.end_run(error)
        transport.abort(1)
        raise
    chip.communicator.end_run()
    return result
