"""A tensor from the host's memory, over PCIe, in simulated time."""

import numpy.typing as npt

from ..dtype import DType
from ..memory.config import MemoryConfig
from ..record import OpRecord
from ..state import ChipState
from ..tensor import Layout, Tensor, TensorSpec
from ..units import PS_PER_NS, PS_PER_S

GB = 10**9


def upload(
    chip: ChipState,
    array: npt.ArrayLike,
    dtype: DType | str | None = None,
    layout: Layout | None = None,
    memory: MemoryConfig = MemoryConfig.DRAM,
) -> Tensor:
    """Put a numpy array on the chip as `tensor` does, and let the time of PCIe pass.

    The host writes page by page: pages under 1 KiB (rows of row-major tensors) are limited by their
    number, larger ones (tiles) by the rate. `with chip.beside("host")` hides it behind the ops.

    Raises:
        DTypeError, InvalidArgument, ShapeError, OutOfMemory: see `tensor`.
    Source: tt-metal goldens of rw_buffer on p150 (data/costs.toml: host_page_ns,
        host_upload_gb_per_s).
    """
    tensor = chip.tensor(array, dtype, layout, "upload", memory=memory)
    spec = tensor.spec
    duration_ps = _upload_ps(chip, spec)
    chip.recorder.add(
        OpRecord(
            name="upload",
            input_shapes=(),
            output_shapes=(spec.shape,),
            dtypes=(spec.dtype.label,),
            sim_start_ps=chip.clock.now_ps,
            sim_duration_ps=duration_ps,
            bytes=spec.padded_bytes,
            flops=0,
            bound="dispatch",
        )
    )
    chip.clock.advance(duration_ps)
    return tensor


def _upload_ps(chip: ChipState, spec: TensorSpec) -> int:
    value = chip.cost.value
    pages_ps = spec.pages().count * value["host_page_ns"] * PS_PER_NS
    bytes_ps = spec.padded_bytes * PS_PER_S / (value["host_upload_gb_per_s"] * GB)
    return round(max(pages_ps, bytes_ps))
