"""One call site's collective call, prepared: what is the same each time the program comes by."""

from typing import Any, NamedTuple

from ..chip.dtype import DType
from ..chip.record import OpFacts, OpRecord
from ..chip.tensor import TensorSpec, tensor_spec
from ..fabric.topology import Box
from .algorithm import Algorithm
from .call import Call, Rounding, carried
from .choose import plan_of
from .costs import CollectiveCosts
from .errors import CollectiveError
from .group import Group
from .operation import Operation
from .plan import Plan
from .reduce_op import ReduceOp
from .site import Site, line_of

WIRES = (DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16)
"""The formats that values may be rounded to on the way, and be in before."""
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
    _check_blocks(request, dim, concat_dim)
    shape, dtype = carried(spec.shape, spec.dtype)
    op = ReduceOp.parse(request.op, spec.dtype) if operation.reduces else ReduceOp.SUM
    call = Call(
        operation,
        shape,
        dtype,
        group.ranks,
        group.where,
        dim if operation.cuts or operation.joins else 0,
        concat_dim if operation is Operation.ALL_TO_ALL else 0,
        request.root if operation.has_root else 0,
        op,
        request.sizes,
        _wire(request, spec.dtype),
        _rounding(request.rounding),
    )
    plan = plan_of(box, rank, call, request.algorithm, costs)
    result = None
    if not plan.ends_with_nothing:
        ends = plan.result_shape
        if spec.dtype.block and spec.shape:
            ends = (*ends[:-1], spec.shape[-1])
        elif spec.dtype.block:
            ends = ()
        result = tensor_spec(ends, spec.dtype, spec.layout, spec.memory_for(ends))
    return Prepared(plan, seat, spec, result, line_of(request.site), request.algorithm)


def _check_blocks(request: Request, dim: int, concat_dim: int) -> None:
    """Raise if a block float would be cut or joined where numbers share an exponent."""
    operation, spec = request.operation, request.spec
    dims = [dim] if operation.cuts or operation.joins else []
    dims += [concat_dim] if operation is Operation.ALL_TO_ALL else []
    if spec.dtype.block and dims and (not spec.shape or len(spec.shape) - 1 in dims):
        raise CollectiveError(
            f"{operation.label} of {spec.dtype.label} along the last dim, where numbers share "
            "exponents: use another dim, or typecast first"
        )


def _normal(dim: int, dims: int) -> int:
    """The dim counted from the front, if there is such a dim; else as it was given."""
    return dim + dims if -dims <= dim < 0 else dim


def _wire(request: Request, dtype: DType) -> DType | None:
    if request.wire_dtype is None:
        return None
    wire = DType.parse(request.wire_dtype)
    if wire is dtype:
        return None
    if wire not in WIRES or dtype not in WIRES:
        raise CollectiveError(
            f"wire_dtype {wire.label} for a {dtype.label} tensor: both must be float formats "
            "that are added up (float32, bfloat16, float16)"
        )
    return wire


def _rounding(name: str | Rounding) -> Rounding:
    try:
        return Rounding(name)
    except ValueError:
        legal = ", ".join(repr(kind.value) for kind in Rounding)
        raise CollectiveError(f"rounding {name!r}: legal are {legal}") from None
