"""The actor shell of a chip: it carries out what the driver says, and holds no rules.

One process per chip. It keeps the chip's tensors, runs programs on it, and sends home only what a
program returned (tensors stay, and go home as numbers). Everything imported here is imported by
every chip, so it is little.
"""

import io
import itertools
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import threadpoolctl
from ray import cloudpickle

from ..chip.dtype import DType
from ..chip.errors import MeshtwinError
from ..chip.record import ChipRecords
from ..chip.tensor import Layout, Tensor
from ..collectives.communicator import Communicator
from ..fabric.auth import Keys
from ..fabric.errors import PeerAborted
from ..fabric.transport.base import Address
from ..fabric.transport.pair import PairTransport, open_transport
from ..fabric.transport.routed import RoutedTransport
from .cores import keep_to_core
from .errors import ProgramError
from .messages import (
    ActorSettings,
    ChipReport,
    Failure,
    ObjectRef,
    Success,
    TensorInfo,
    TensorRef,
)
from .placement import Array
from .program import MeshChip
from .tree import map_leaves

Program = Callable[..., Any]
NUM_PROGRAMS = 64
"""How many programs a chip remembers, so that a decode step is not unpickled each time."""
ROUTED = "routed"
"""The transport on which frames go in packets, hop by hop over the links of the box."""
NUMBERS_PER_RUN = 1 << 20
"""Tensors and objects of run r are numbered from r times this; arrays that were put, below it."""


class ChipHost:
    """One chip in a process of its own. A plain class; mesh/launch makes it a Ray actor."""

    def __init__(self, settings: ActorSettings) -> None:
        threadpoolctl.threadpool_limits(1)  # two BLAS threads a chip cost 4 to 190 times
        self.settings = settings
        self.box = settings.box
        self.tensors: dict[int, Tensor] = {}
        self.objects: dict[int, Any] = {}
        self.sim_start_ps = 0  # of the last run
        self.last_op: object = None  # recorded before the last run
        self.unpickle = lru_cache(maxsize=NUM_PROGRAMS)(cloudpickle.loads)
        self.pair: PairTransport | None = None
        self.transport: PairTransport | RoutedTransport | None = None
        self.chip = MeshChip.open(
            self.box.product, settings.rank, checked=settings.checked, stack=settings.stack
        )
        self.chip.box = self.box

    def listen(self, keys: Keys | None) -> Address:
        """Open this chip's end of the fabric; the address is for the other chips.

        `keys` are this chip's own: what goes over the network is encrypted with them.

        Raises:
            SharedMemoryRefused, PortRefused: the host does not let us.
        """
        settings = self.settings
        is_routed = settings.transport == ROUTED or settings.faults is not None
        mode = "auto" if settings.transport == ROUTED else settings.transport
        self.pair = open_transport(settings.rank, self.box.num_chips, mode, keys)
        self.transport = self.pair
        if is_routed and self.box.num_chips > 1:
            self.transport = RoutedTransport(
                self.pair, self.box, settings.faults, is_numbered=False
            )
        return self.transport.address

    def connect(self, addresses: list[Address]) -> None:
        """Attach to the other chips; from now on programs can run."""
        assert self.transport is not None, "listen comes before connect"
        self.transport.connect(addresses)
        keep_to_core(self.settings.rank, addresses)
        self.chip.communicator = Communicator(
            self.box,
            self.settings.rank,
            self.transport,
            self.settings.collective_timeout_s,
            self.settings.faults,
            _die,
        )

    def run(
        self, run_id: int, program: bytes, args: tuple[Any, ...], keep: bool
    ) -> Success | Failure:
        """Run a pickled program as run `run_id`; what it returns gets numbers that start with it.

        With `keep`, the whole result stays on the chip as an object and its number goes home.
        """
        assert self.transport is not None and self.pair is not None, "connect comes before run"
        self.chip.communicator.begin_run()  # first: others that see the new run see it running
        self.transport.begin_run(run_id)
        self.pair.install_heap()  # tensors are born where the other chips see them
        self.sim_start_ps, self.last_op = self.chip.clock.now_ps, self.chip.recorder.last()
        numbers = itertools.count(run_id * NUMBERS_PER_RUN)
        try:
            function: Program = self.unpickle(program)
            result = function(self.chip, *map_leaves(self._resolve, args))
            answer = self._answer(result, keep, numbers)
        except BaseException as error:  # SystemExit too: a program never ends its chip
            self.chip.communicator.end_run(error)
            self.transport.abort(run_id)
            self.free(list(range(run_id * NUMBERS_PER_RUN, next(numbers))))
            is_new = self.chip.recorder.last() is not self.last_op
            op = self.chip.recorder.last_name() if is_new else "start"
            self.take_back()
            return self._failure(error, op)
        self.chip.communicator.end_run()
        self.chip.lanes.join()
        traffic = self.chip.communicator.traffic
        return Success(answer, self.chip.clock.now_ps, traffic.sent, traffic.received)

    def take_back(self) -> None:
        """The last run failed, here or on another chip: it took no simulated time, and no op ran.

        How far a chip came before it heard of the failure, even to the end, is chance.
        """
        self.chip.clock.now_ps = self.sim_start_ps
        self.chip.lanes.clear()
        self.chip.recorder.take_back(self.last_op)

    def put(self, number: int, array: Array, dtype: DType | None, layout: Layout | None) -> DType:
        """Keep an array as tensor `number`; the dtype that it has on the chip.

        Raises:
            OutOfMemory: the chip's DRAM is full.
        """
        if self.pair is not None:
            self.pair.install_heap()
        tensor = self.chip.tensor(array, dtype, layout)
        self.tensors[number] = tensor
        return tensor.dtype

    def fetch(self, number: int) -> Array:
        """The values of a tensor, as `Tensor.to_numpy` gives them."""
        return self.tensors[number].to_numpy()

    def free(self, numbers: list[int]) -> None:
        """Drop tensors and objects that the driver no longer holds."""
        for number in numbers:
            self.tensors.pop(number, None)
            self.objects.pop(number, None)

    def report(self) -> ChipReport:
        """What the chip has done so far."""
        chip = self.chip
        return ChipReport(
            rank=chip.rank,
            pid=os.getpid(),
            host=socket.gethostname(),
            sim_now_ps=chip.clock.now_ps,
            dram_used_bytes=chip.dram.used_bytes,
            dram_peak_bytes=chip.dram.peak_bytes,
            dram_capacity_bytes=chip.dram.capacity_bytes,
            num_ops=sum(total.count for total in chip.recorder.totals().values()),
            link_bytes={
                link: count.num_bytes
                for link, count in chip.communicator.counters.statistics().items()
            },
            transports=self._kinds(),
        )

    def records(self) -> ChipRecords:
        """The chip's ops, as many as its recorder keeps."""
        chip, recorder = self.chip, self.chip.recorder
        records = tuple(recorder.records())
        return ChipRecords(chip.rank, chip.spec.name, records, recorder.num_dropped)

    def _kinds(self) -> dict[int, str]:
        """The road to each other chip."""
        kinds = {} if self.pair is None else self.pair.kinds()
        if isinstance(self.transport, RoutedTransport):
            return {rank: f"{ROUTED} over {kind}" for rank, kind in kinds.items()}
        return kinds

    def close(self) -> None:
        """Give back sockets and shared memory."""
        self.tensors.clear()
        self.objects.clear()
        if self.transport is not None:
            self.transport.close()
            self.transport = self.pair = None

    def _resolve(self, leaf: Any) -> Any:
        if isinstance(leaf, TensorRef):
            return self.tensors[leaf.number]
        if isinstance(leaf, ObjectRef):
            return self.objects[leaf.number]
        return leaf

    def _stay(self, leaf: Any, numbers: Iterator[int]) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        number = next(numbers)
        self.tensors[number] = leaf
        return TensorInfo(number, leaf.shape, leaf.dtype)

    def _answer(self, result: Any, keep: bool, numbers: Iterator[int]) -> bytes:
        """What goes home of a result: its tensors stay here."""
        if keep:
            number = next(numbers)
            self.objects[number] = result
            return dumps(ObjectRef(number))
        return dumps(map_leaves(lambda leaf: self._stay(leaf, numbers), result))

    def _failure(self, error: BaseException, op: str) -> Failure:
        """The error as something that surely survives the trip home."""
        rank = self.settings.rank
        trace = "".join(traceback.format_exception(error))
        is_echo = isinstance(error, PeerAborted)
        error.with_traceback(None)
        try:
            if not isinstance(error, MeshtwinError):
                error.chip, error.op = rank, op  # type: ignore[attr-defined]
            again = cloudpickle.loads(cloudpickle.dumps(error))
            can_travel = isinstance(error, Exception) and type(again) is type(error)
        except Exception:  # whatever the user's exception does when it is changed or pickled
            can_travel = False
        if not can_travel:
            error = ProgramError(rank, op, type(error).__name__, _text(error))
        return Failure(rank, op, error, trace, is_echo)


def _die() -> None:
    """The end of a chip that a plan of faults kills."""
    os.kill(os.getpid(), signal.SIGKILL)


class _HomePickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Pickles results, but no tensor: its data stays on the chip."""

    def reducer_override(self, obj: Any) -> Any:  # cloudpickle's own hook
        if isinstance(obj, Tensor):
            raise TypeError(
                "a program returned a Tensor inside something that is no tuple, list or dict; "
                "return it in one of those, or run with keep=True to leave it on the chip"
            )
        return super().reducer_override(obj)  # type: ignore[no-untyped-call]


def dumps(result: Any) -> bytes:
    """A result as bytes.

    Raises:
        TypeError: it holds a tensor that would travel with its data, or it cannot be pickled.
    """
    buffer = io.BytesIO()
    _HomePickler(buffer).dump(result)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _text(error: BaseException) -> str:
    """What the error says, or that it cannot."""
    try:
        return str(error)
    except Exception as second:
        return f"(its text cannot be made: {type(second).__name__})"
