"""Moving a tensor between memories and layouts: DRAM, L1, interleaved, in shards."""

from ..memory.config import MemoryConfig
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec, tensor_spec
from .shared import move_plan


def _to_memory_rule(memory: MemoryConfig, x: TensorSpec) -> Plan:
    return move_plan(tensor_spec(x.shape, x.dtype, x.layout, memory), x.padded_bytes)


def _to_memory_values(memory: MemoryConfig, x: Array) -> Array:
    return x.copy()


TO_MEMORY_CONFIG = Op("to_memory_config", _to_memory_rule, _to_memory_values, any_dtype=True)


def to_memory_config(chip: ChipState, x: Tensor, memory: MemoryConfig) -> Tensor:
    """Copy a tensor to where `memory` says; a tensor that lies there already is given back.

    Raises:
        ShapeError: the shards do not hold such a tensor; names the nearest that do.
        InvalidArgument: a shard lies on a core or bank that the chip does not have.
        OutOfMemory: there is no room.
    """
    if memory is x.memory:
        return x
    return chip.run(TO_MEMORY_CONFIG, (x,), (memory,))
