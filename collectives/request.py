"""One call site's collective call, prepared: what is the same each time the program comes by."""

from typing import Any, NamedTuple

from ..chip.dtype import DType
from ..chip.record import OpFacts, OpRecord
from ..chip.tensor import TensorSpec, tensor_spec
from ..fabric.topology import Box
from .algorithm import Algorithm
from .call import Call, Rounding
from .choose import plan_of
from .costs import CollectiveCosts
from .errors import CollectiveError
from .group import Group
from .operation import Operation
from .plan import Plan
from .reduce_op import REDUCIBLE_BLOCKS, ReduceOp
from .site import Site, line_of

WIRES = (DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, *REDUCIBLE_BLOCKS)
"""The formats that values may be rounded to on the way, and be in before."""
NEAREST_WIRES = {
    DType.TF32: DType.FLOAT32, DType.FP8_E4M3: DType.BFP8_B, DType.BFP8_A: DType.BFP8_B,
    DType.BFP4_A: DType.BFP4_B, DType.BFP2_B: DType.BFP4_B, DType.BFP2_A: DType.BFP4_B,
}  # fmt: skip
"""For formats that are none, the one of most alike numbers."""
Axis = int | tuple[int, ...] | None


class Request(NamedTuple):
    """The arguments of a call, as the user gave them, and where: the key of what is prepared.

    `axis` is None (all chips), a mesh axis, or the ranks of a group.
    """

    operation: Operation
    spec: TensorSpec
    site: Site
    axis: Axis = None
    dim: int = 0
    concat_dim: int | None = None
    root: int = 0
    op: str | ReduceOp = ReduceOp.SUM
    algorithm: str | Algorithm = "auto"
    wire_dtype: str | DType | None = None
    rounding: str | Rounding = Rounding.HOP
    sizes: tuple[int, ...] | None = None


class Seat:
    """A chip's place in a group: how many calls it has made there, and its end in shared memory.

    `direct` is the group's executor in shared memory (direct.Direct), None where there is none.
    """

    __slots__ = ("calls_made", "direct", "group")

    def __init__(self, group: Group, direct: Any) -> None:
        self.group, self.direct, self.calls_made = group, direct, 0


class Prepared:
    """A request with everything that follows from it.

    Attributes:
        spec: of the tensor that goes in. result: what this chip gets; None when it gets nothing.
        algorithm: as asked for; the plan has the one that was found.
        line: of the source, where the call is made; text: the call and the line.
        sim_together_ps: what the call takes when all chips enter together, until this one is done.
        work: the plan as compiled code has it, once it is made (direct.make_work).
        count: how often it was carried out since somebody asked.
    """

    __slots__ = (
        "algorithm",
        "count",
        "digest",
        "facts",
        "is_alone",
        "line",
        "name",
        "plan",
        "result",
        "seat",
        "sim_together_ps",
        "spec",
        "text",
        "work",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        seat: Seat,
        spec: TensorSpec,
        result: TensorSpec | None,
        line: str,
        algorithm: str | Algorithm,
    ) -> None:
        self.algorithm = algorithm
        self.plan, self.seat, self.spec, self.result, self.line = plan, seat, spec, result, line
        self.name = plan.call.operation.label
        self.digest = plan.call.digest
        self.text = f"{plan.call.text} at {line}"
        self.is_alone = plan.num_ranks == 1
        self.sim_together_ps = plan.sim_together_ps
        self.facts: dict[int, OpFacts] = {}
        self.work: Any = None
        self.count = 0

    def facts_of(self, sim_duration_ps: int) -> OpFacts:
        """What is recorded of a run of that duration."""
        facts = self.facts[sim_duration_ps] = OpFacts(self._record(sim_duration_ps))
        return facts

    def _record(self, sim_duration_ps: int) -> OpRecord:
        call = self.plan.call
        return OpRecord(
            name=call.operation.label,
            input_shapes=(self.spec.shape,),
            output_shapes=() if self.result is None else (self.result.shape,),
            dtypes=(self.spec.dtype.label,) * 2,
            sim_start_ps=0,
            sim_duration_ps=sim_duration_ps,
            bytes=self.plan.bytes_sent,
            flops=0,
            bound="fabric",
            group=call.ranks,
        )


def prepare(
    box: Box, rank: int, request: Request, seat: Seat, costs: CollectiveCosts | None = None
) -> Prepared:
    """What a request of the group of `seat` comes to on chip `rank`.

    Raises:
        CollectiveError: a group, root, size, reduction or format that cannot be; ChunkError and
            AlgorithmError are kinds of it.
    """
    spec, operation = request.spec, request.operation
    group = seat.group
    dims = len(spec.shape)
    dim = _normal(request.dim, dims)
    concat_dim = dim if request.concat_dim is None else _normal(request.concat_dim, dims)
    op = ReduceOp.parse(request.op, spec.dtype) if operation.reduces else ReduceOp.SUM
    call = Call(
        operation,
        spec.shape,
        spec.dtype,
        group.ranks,
        group.where,
        dim if operation.cuts or operation.joins else 0,
        concat_dim if operation is Operation.ALL_TO_ALL else 0,
        request.root if operation.has_root else 0,
        op,
        request.sizes,
        None if request.wire_dtype is None else wire_of(request.wire_dtype, spec.dtype),
        _rounding(request.rounding),
    )
    plan = plan_of(box, rank, call, request.algorithm, costs)
    result = None
    if not plan.ends_with_nothing:
        ends = plan.result_shape
        result = tensor_spec(ends, spec.dtype, spec.layout, spec.memory_for(ends))
    return Prepared(plan, seat, spec, result, line_of(request.site), request.algorithm)


def _normal(dim: int, dims: int) -> int:
    """The dim counted from the front, if there is such a dim; else as it was given."""
    return dim + dims if -dims <= dim < 0 else dim


def wire_of(name: str | DType, dtype: DType) -> DType | None:
    """The wire dtype of that name for tensors of a format; None when it is just that.

    Raises:
        CollectiveError: there is none of that name for these; names the nearest.
    """
    wire = DType.parse(name)
    if wire is dtype:
        return None
    if wire in WIRES and dtype in WIRES:
        return wire
    if dtype not in WIRES:
        near = NEAREST_WIRES.get(dtype)
        hint = f"typecast to {near.label} first" if near else "leave wire_dtype out"
    else:
        near = NEAREST_WIRES.get(wire)
        hint = f"the nearest is {near.label}" if near else f"the nearest is {dtype.label}"
    raise CollectiveError(
        f"wire_dtype {wire.label} for a {dtype.label} tensor: both must be float formats that are "
        f"added up ({', '.join(kind.label for kind in WIRES)}); {hint}"
    )


def _rounding(name: str | Rounding) -> Rounding:
    try:
        return Rounding(name)
    except ValueError:
        legal = ", ".join(repr(kind.value) for kind in Rounding)
        raise CollectiveError(f"rounding {name!r}: legal are {legal}") from None
