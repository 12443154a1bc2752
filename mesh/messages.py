"""What the driver and a chip's actor say to each other: small frozen values, no tensors' data."""

from dataclasses import dataclass, field

from ..chip.cost import DEFAULT_STACK
from ..chip.dtype import DType
from ..fabric.faults import FaultPlan
from ..fabric.topology import Box


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor that stays on the chips, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A Python object that stays on the chips, by its number (`mesh.run(..., keep=True)`)."""

    number: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor that a program returned on one chip: it stays there under `number`."""

    number: int
    shape: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Success:
    """A program ended on a chip. `pickled` has TensorInfo where it returned a Tensor.

    `sent` says what each other chip was sent, in words, and `received` how many tensors it took.
    """

    pickled: bytes
    sim_now_ps: int
    sent: dict[int, list[str]]
    received: dict[int, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """A program raised on a chip. `is_echo` says that it only heard of another chip's failure."""

    chip: int
    op: str
    error: BaseException
    remote_traceback: str
    is_echo: bool


@dataclass(frozen=True, slots=True)
class ChipReport:
    """What a chip has done since the mesh was opened. Times are simulated."""

    rank: int
    pid: int
    host: str
    sim_now_ps: int
    dram_used_bytes: int
    dram_peak_bytes: int
    dram_capacity_bytes: int
    num_ops: int
    link_bytes: dict[tuple[int, int], int] = field(default_factory=dict)
    transports: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActorSettings:
    """What an actor needs to become a chip."""

    box: Box
    rank: int
    transport: str
    collective_timeout_s: float
    faults: FaultPlan | None = None
    checked: bool = False
    stack: str = DEFAULT_STACK
