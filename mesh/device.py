"""A mesh of emulated chips: open it, put arrays on it, run programs on it."""

from __future__ import annotations

import atexit
import itertools
import pickle
import reprlib
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn, cast

import numpy as np
import ray
from numpy.typing import ArrayLike
from ray import cloudpickle

from ..chip.cost import DEFAULT_STACK, check_stack
from ..chip.dtype import DType
from ..chip.errors import InvalidArgument, did_you_mean, nearest_name
from ..chip.record import ChipRecords
from ..chip.tensor import Layout
from ..fabric.faults import FaultPlan
from ..fabric.topology import Box, load_box
from .errors import ChipDown, MeshClosed, PlacementError, ResultMismatch, UnreceivedTensors
from .launch import Chips, launch
from .messages import ChipReport, Failure, ObjectRef, Success, TensorInfo, TensorRef
from .placement import (
    Array,
    Axis,
    Local,
    Placement,
    Replicate,
    Shard,
    assemble,
    axis_index,
    check_same,
    check_shardable,
    global_shape,
    shard_of,
)
from .remote import collect
from .session import RaySession, open_session
from .tree import TreesDiffer, map_leaves, zip_leaves

Program = Callable[..., Any]
TRANSPORTS = ("auto", "shared_memory", "zeromq", "routed")


class MeshTensor:
    """A tensor on the chips of a mesh; its values are there, not here.

    Attributes:
        shape: of the global array, or of each chip's part when the placement is Local.
        dtype: element type on the chips.
        placement: how the parts make the global array.
    """

    def __init__(
        self,
        mesh: MeshDevice,
        number: int,
        shape: tuple[int, ...],
        dtype: DType,
        placement: Placement,
    ) -> None:
        self.mesh, self.number = mesh, number
        self.shape, self.dtype, self.placement = shape, dtype, placement
        self._finalizer = weakref.finalize(self, mesh._drop, number)
        self._finalizer.atexit = False

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} stays here: pass it to a program as an argument of mesh.run")

    def __repr__(self) -> str:
        return f"MeshTensor(shape={self.shape}, dtype={self.dtype.label}, {self.placement})"


class MeshObject:
    """What a program left on every chip (`mesh.run(..., keep=True)`): pass it to later programs."""

    def __init__(self, mesh: MeshDevice, number: int) -> None:
        self.mesh, self.number = mesh, number
        self._finalizer = weakref.finalize(self, mesh._drop, number)
        self._finalizer.atexit = False


def open_mesh(
    box: str | Box = "quietbox2",
    *,
    address: str | None = None,
    transport: str = "auto",
    collective_timeout_s: float = 120.0,
    start_timeout_s: float = 300.0,
    spread: bool = False,
    faults: FaultPlan | None = None,
    checked: bool = False,
    stack: str = DEFAULT_STACK,
) -> MeshDevice:
    """Start one Ray actor for every chip of `box` and join them by the fabric.

    Args:
        box: a name from `meshtwin boxes`, such as "quietbox2" (4 chips) or "galaxy" (32).
        address: of a Ray cluster ("auto", "host:port"); None starts a local Ray that ends with
            the mesh, or uses the Ray that this process has initialised.
        transport: "auto" (shared memory between chips on one host, ZeroMQ between hosts),
            "shared_memory" or "zeromq" for every pair; "routed" cuts everything in packets that go
            hop by hop over the links of the box. Values and simulated times are the same.
        collective_timeout_s: wall time that a chip waits for the others in a collective.
        start_timeout_s: wall time for all chips to start.
        spread: put the boards on all hosts of the cluster in turn, not on as few as hold them.
        faults: what goes wrong with links and chips (fabric.faults.FaultPlan), at simulated times
            since the mesh was opened. Everything then goes over the links, in packets.
        checked: reading elements of a tensor that nothing has written raises UninitializedRead.
        stack: the generation of the software whose time is simulated: "ttnn" (bare ops), "tuned" (a
            port written for its box) or "tt_transformers" (the general library).
    Returns:
        The mesh, a context manager: leaving it ends every process and frees all memory.
    Raises:
        UnknownBox: names the nearest box.
        LaunchError: no cluster, no room, or the chips did not start in time.
        InvalidArgument: there is no such transport or stack, or the box has no such link or chip as
            the faults name.
    Example:
        with open_mesh("quietbox2") as mesh:
            x = mesh.shard(np.arange(8, dtype=np.float32), dim=0)
            y = mesh.run(lambda chip, x: chip.all_reduce(x), x)
    """
    where = load_box(box) if isinstance(box, str) else box
    if transport not in TRANSPORTS:
        hint = did_you_mean(nearest_name(transport, TRANSPORTS))
        raise InvalidArgument(f"transport {transport!r}{hint} Known: {', '.join(TRANSPORTS)}")
    check_stack(stack)
    if faults is not None:
        faults.check(where)
    session = open_session(where.name, address, where.num_chips)
    try:
        chips = launch(
            where, transport, collective_timeout_s, start_timeout_s, spread, faults, checked, stack
        )
    except BaseException:
        session.close()
        raise
    return MeshDevice(where, chips, session)


class MeshDevice:
    """An open mesh. `box`, `shape` (rows, columns) and `num_chips` say what it is.

    Several threads may use it: their calls take turns.
    """

    def __init__(self, box: Box, chips: Chips, session: RaySession) -> None:
        self.box, self.shape, self.num_chips = box, box.shape, box.num_chips
        self._chips, self._session = chips, session
        self._numbers = itertools.count(-1, -1)  # results of runs are numbered from 0 upward
        self._lock = threading.RLock()  # calls reach all chips in one order
        self._run_ids = itertools.count(1)
        self._dropped: list[int] = []
        self._closed_because: str | None = None
        self._sim_now_ps = 0
        atexit.register(self.close)  # after Ray's own: so it runs before

    def __enter__(self) -> MeshDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether it can be used: it has not been closed, and no chip has been found dead."""
        return self._closed_because is None

    @property
    def sim_now_ps(self) -> int:
        """The latest chip's clock after the last run, in simulated picoseconds."""
        return self._sim_now_ps

    def shard(
        self,
        array: ArrayLike,
        dim: int,
        axis: Axis = None,
        *,
        dtype: DType | str | None = None,
        layout: Layout | None = None,
    ) -> MeshTensor:
        """Cut an array along tensor dim `dim` and put part i on chip i (or along a mesh axis).

        Args:
            axis: None cuts over all chips in rank order; 0 or "row", 1 or "col" cuts over that
                mesh axis and replicates over the other.
            dtype: of the tensor on the chips; None keeps float32, int32, uint32 and makes
                float64 and float16 float32, int64 int32.
        Raises:
            PlacementError: the dim does not exist or does not divide; names the nearest sizes.
        """
        return self._put(np.asarray(array), Shard(dim, axis_index(axis)), dtype, layout)

    def replicate(
        self,
        array: ArrayLike,
        *,
        dtype: DType | str | None = None,
        layout: Layout | None = None,
    ) -> MeshTensor:
        """Put the whole array on every chip."""
        return self._put(np.asarray(array), Replicate(), dtype, layout)

    def to_numpy(self, tensor: MeshTensor, placement: Placement | None = None) -> Array:
        """The global array of a tensor, as float32, int32 or uint32.

        Args:
            placement: how to put the parts together; None takes the tensor's own. Local stacks
                the parts of all chips in a new leading dim [num_chips, ...].
        Raises:
            PlacementError: two chips that should hold the same values do not.
        """
        self._check_mine(tensor)
        placement = tensor.placement if placement is None else placement
        parts = cast(list[Array], self._call_all("fetch", [(tensor.number,)] * self.num_chips))
        return assemble(self.box, parts, placement, repr(tensor))

    def run(
        self, program: Program, *args: Any, out: Placement | None = None, keep: bool = False
    ) -> Any:
        """Run `program(chip, *args)` on every chip and wait for all of them.

        Args:
            program: a plain function; its first argument is a `MeshChip`.
            args: the same for every chip; a MeshTensor becomes the chip's own part, a MeshObject
                what the chip kept, also inside tuples, lists and dicts. Use `PerChip(list)` for
                values that differ from chip to chip.
            out: how the returned tensors make global arrays; None says Local.
            keep: leave the result on the chips, whatever it is, and return a MeshObject.
        Returns:
            What the program returned, with a MeshTensor for each tensor (the values stay on the
            chips) and a list with every chip's value for everything else.
        Raises:
            the error that the program raised, by its type, with a note that says on which chip
            and after which op; the mesh lives on.
            ResultMismatch: the chips' results differ in nesting, or in what is a tensor.
            PlacementError: `out` does not fit the tensors, or PerChip the chips.
            ChipDown: a process died; the mesh closes.
        """
        trees = self._run_all(program, args, keep)
        if keep:
            return MeshObject(self, cast(ObjectRef, trees[0]).number)
        try:
            return zip_leaves(lambda leaves: self._leaf(leaves, out or Local()), trees)
        except TreesDiffer as error:
            self._forget(trees)
            other = int(error.args[0])
            raise ResultMismatch(0, _brief(trees[0]), other, _brief(trees[other])) from None
        except BaseException:
            self._forget(trees)
            raise

    def reports(self) -> list[ChipReport]:
        """What each chip has done since the mesh was opened, by rank."""
        return cast(list[ChipReport], self._call_all("report", [()] * self.num_chips))

    def records(self) -> list[ChipRecords]:
        """The ops that each chip has run since the mesh was opened, in simulated time, by rank.

        A chip keeps the last 65536; `num_dropped` says how many older ones are gone.
        """
        return cast(list[ChipRecords], self._call_all("records", [()] * self.num_chips))

    def close(self) -> None:
        """End every chip's process and free what they hold. Safe to call twice."""
        self._end("closed", wait_s=5.0)

    def _put(
        self,
        array: Array,
        placement: Placement,
        dtype: DType | str | None,
        layout: Layout | None,
    ) -> MeshTensor:
        kind = DType.parse(dtype) if isinstance(dtype, str) else dtype
        if isinstance(placement, Shard):
            dim = check_shardable(self.box, array.shape, placement, "the array")
            placement = Shard(dim, placement.axis)
        number = next(self._numbers)
        parts = [shard_of(self.box, array, placement, rank) for rank in range(self.num_chips)]
        if isinstance(placement, Replicate):
            shared = ray.put(array)
            calls: list[tuple[Any, ...]] = [(number, shared, kind, layout)] * self.num_chips
        else:
            calls = [(number, part, kind, layout) for part in parts]
        try:
            stored = cast(list[DType], self._call_all("put", calls))
        except Exception:
            self._drop(number)  # the chips that had room drop their part
            raise
        return MeshTensor(self, number, array.shape, stored[0], placement)

    def _run_all(self, program: Program, args: tuple[Any, ...], keep: bool) -> list[Any]:
        """What the program returned on each chip, with TensorInfo for tensors."""
        self._check_open()
        pickled = cloudpickle.dumps(program)
        sent = [self._args_for(args, rank) for rank in range(self.num_chips)]
        with self._lock:
            run_id = next(self._run_ids)
            replies = self._call_all("run", [(run_id, pickled, part, keep) for part in sent])
            if any(isinstance(reply, Failure) for reply in replies):
                self._call_all("take_back", [()] * self.num_chips)
        successes = [reply for reply in replies if isinstance(reply, Success)]
        results = [pickle.loads(success.pickled) for success in successes]
        failures = [reply for reply in replies if isinstance(reply, Failure)]
        if failures:
            self._forget(results)
            raise _first_cause(failures)
        self._sim_now_ps = max(success.sim_now_ps for success in successes)
        unreceived = _unreceived(successes)
        if unreceived:
            warnings.warn(UnreceivedTensors(unreceived), stacklevel=3)
        return results

    def _forget(self, results: list[Any]) -> None:
        """Let the chips drop what stayed there of a result that nobody gets."""
        for result in results:
            map_leaves(self._forget_leaf, result)

    def _forget_leaf(self, leaf: Any) -> None:
        if isinstance(leaf, TensorInfo | ObjectRef):
            self._drop(leaf.number)

    def _args_for(self, args: tuple[Any, ...], rank: int) -> Any:
        """The arguments as chip `rank` gets them: references instead of handles."""
        return map_leaves(lambda leaf: self._to_chip(leaf, rank), args)

    def _to_chip(self, leaf: Any, rank: int) -> Any:
        """An argument as chip `rank` gets it."""
        if isinstance(leaf, MeshTensor):
            self._check_mine(leaf)
            return TensorRef(leaf.number)
        if isinstance(leaf, MeshObject):
            self._check_mine(leaf)
            return ObjectRef(leaf.number)
        if isinstance(leaf, PerChip):
            if len(leaf.values) != self.num_chips:
                raise PlacementError(
                    f"PerChip holds {len(leaf.values)} values, but the mesh has {self.num_chips} "
                    "chips: it must hold one for each"
                )
            return map_leaves(lambda own: self._to_chip(own, rank), leaf.values[rank])
        return leaf

    def _leaf(self, leaves: tuple[Any, ...], placement: Placement) -> Any:
        """One place of the results of all chips: a MeshTensor, or a list of plain values."""
        is_tensor = [isinstance(leaf, TensorInfo) for leaf in leaves]
        if any(is_tensor) and not all(is_tensor):
            raise TreesDiffer(is_tensor.index(not is_tensor[0]))
        if not all(is_tensor):
            return list(leaves)
        first = cast(TensorInfo, leaves[0])
        for rank, leaf in enumerate(leaves):
            if leaf.number != first.number:
                raise TreesDiffer(rank)
        if not isinstance(placement, Local):
            kinds = [(leaf.shape, leaf.dtype.label) for leaf in leaves]
            check_same("a result", "shape and dtype", kinds, range(self.num_chips))
        shape = global_shape(self.box, first.shape, placement)
        return MeshTensor(self, first.number, shape, first.dtype, placement)

    def _call_all(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every chip's actor and wait for all; `args` by rank."""
        with self._lock:
            self._check_open()
            actors = self._chips.actors
            try:
                dropped = []
                while self._dropped:  # finalizers of other threads may go on to add
                    dropped.append(self._dropped.pop())
                if dropped:
                    for actor in actors:
                        actor.free.remote(dropped)
                calls = zip(actors, args, strict=True)
                return collect([getattr(actor, method).remote(*a) for actor, a in calls])
            except ChipDown as error:
                self._end(str(error), wait_s=1.0)
                raise
            except (KeyboardInterrupt, SystemExit):
                self._end("interrupted", wait_s=0.5)
                raise

    def _drop(self, number: int) -> None:
        """The driver no longer holds this tensor or object; the chips hear of it in time."""
        self._dropped.append(number)

    def _end(self, why: str, wait_s: float) -> None:
        if self._closed_because is not None:
            return
        self._closed_because = why
        atexit.unregister(self.close)
        try:
            self._chips.close(wait_s)
        finally:
            self._session.close()

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise MeshClosed(self.box.name, self._closed_because)

    def _check_mine(self, handle: MeshTensor | MeshObject) -> None:
        if handle.mesh is not self:
            raise PlacementError(f"{handle!r} is on another mesh than {self.box.name}")


def _unreceived(successes: list[Success]) -> tuple[tuple[int, int, str], ...]:
    """(src, dst, what) of the tensors that were sent in a run and not received in it."""
    return tuple(
        (src, dst, what)
        for src, success in enumerate(successes)
        for dst, sent in success.sent.items()
        for what in sent[successes[dst].received.get(src, 0) :]
    )


class PerChip:
    """An argument of `mesh.run` that differs from chip to chip: `values[rank]`."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)


def _brief(result: Any) -> str:
    """The nesting of a chip's result, in a line."""
    words = map_leaves(
        lambda leaf: _Word(
            f"tensor {leaf.shape} {leaf.dtype.label}"
            if isinstance(leaf, TensorInfo)
            else type(leaf).__name__
        ),
        result,
    )
    return reprlib.repr(words)


class _Word(str):
    """A string that shows without quotes."""

    __repr__ = str.__str__


def _first_cause(failures: list[Failure]) -> BaseException:
    """The error to raise: of the lowest chip that did not merely hear of another's failure."""
    failure = next((f for f in failures if not f.is_echo), failures[0])
    error = failure.error
    error.add_note(f"raised on chip {failure.chip}, last op: {failure.op}")
    error.add_note(f"traceback on chip {failure.chip}:\n{failure.remote_traceback}")
    return error
