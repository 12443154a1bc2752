"""What a model takes of a chip's memory, found by loading it in plan mode: without its weights.

The code that loads and runs the model is the one that does it with values; only the reading of
weights is left out. So the addresses are those of a run.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..chip.dtype import DType
from ..chip.errors import InvalidArgument
from ..chip.memory.report import MemoryReport
from ..collectives.communicator import Communicator
from ..fabric.topology import Box
from ..mesh.program import MeshChip
from .builder import DecoderBuilder
from .config import LlamaConfig
from .errors import ContextOverflow
from .shapes import weight_shapes
from .weights import NUMPY_DTYPES, Checkpoint, TensorInfo, cuts_of


class ShapesOnly(Checkpoint):
    """The weights of a config by name and shape: zeros that take no memory of the host."""

    def __init__(self, config: LlamaConfig, stored: str = "BF16") -> None:
        self.folder, self._maps = Path("no weights"), {}
        self._zero = np.zeros((), NUMPY_DTYPES[stored])
        self._tensors = {
            name: TensorInfo(stored, shape, self.folder, 0, math.prod(shape) * self._zero.itemsize)
            for name, shape in weight_shapes(config).items()
        }

    def read(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[Any]:
        """Zeros of the shape of that slice; raises as `Checkpoint.read`."""
        shape = self.info(name).shape
        return np.broadcast_to(self._zero, shape)[cuts_of(name, shape, rows, cols)]


def plan_chip(box: Box, rank: int = 0) -> MeshChip:
    """A chip of a box in plan mode: its tensors have no values, its collectives no other chips."""
    chip = MeshChip.open(box.product, rank=rank, plan=True)
    chip.box, chip.communicator = box, Communicator(box, rank, None, timeout_s=0.0)
    return chip


def plan_memory(
    box: Box,
    config: LlamaConfig,
    dtype: DType,
    max_length: int,
    prompt_length: int | None = None,
    batch: int = 1,
) -> MemoryReport:
    """The memory of chip 0 with the model loaded and a sequence under way on it.

    Every chip holds the same but for the biases that only chip 0 has. The peak is that of a prefill
    of `prompt_length` tokens (None: of all but one) and a decode step after it.

    Args:
        max_length: tokens that the cache has room for; at least 2.
    Raises:
        OutOfMemory: it does not fit; names what does not and who holds the rest.
        ContextOverflow: `max_length` is beyond the model's context.
        InvalidArgument: a length that is too small.
    """
    prompt = max_length - 1 if prompt_length is None else prompt_length
    if not 1 <= prompt < max_length:
        raise InvalidArgument(
            f"prompt_length (={prompt}) must be from 1 to max_length - 1 (={max_length - 1})"
        )
    if max_length > config.max_position_embeddings:
        raise ContextOverflow(prompt, max_length - prompt, config.max_position_embeddings)
    chip = plan_chip(box)
    decoder = DecoderBuilder(chip, ShapesOnly(config), config, dtype).decoder()
    decoder.start(chip, batch, max_length)
    for length in (prompt, 1):
        decoder.forward(chip, np.zeros((batch, length), np.int32))
    return chip.memory_report()
