"""What a model takes of a chip's memory, found by loading it in plan mode: without its weights.

The code that loads and runs the model is the one that does it with values; only the reading of
weights is left out. So the addresses are those of a run.
"""

import numpy as np

from ..chip.dtype import DType
from ..chip.errors import InvalidArgument
from ..chip.memory.report import MemoryReport
from ..fabric.topology import Box
from ..mesh.plan import plan_chip
from .builder import DecoderBuilder
from .config import DecoderConfig
from .errors import ContextOverflow
from .precision import Precision
from .shapes_only import ShapesOnly


def plan_memory(
    box: Box,
    config: DecoderConfig,
    precision: Precision | DType | str,
    max_length: int,
    prompt_length: int | None = None,
    batch: int = 1,
) -> MemoryReport:
    """The memory of chip 0 with the model loaded and the sequences of `batch` users under way.

    Every chip holds the same but for the biases that only chip 0 has. The peak is that of a prefill
    of `prompt_length` tokens (None: of all but one) and a decode step of all users after it.

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
    decoder = DecoderBuilder(chip, ShapesOnly(config), config, precision).decoder()
    decoder.start(chip, batch, max_length)
    for user in range(batch):
        decoder.prefill(chip, np.zeros(prompt, np.int32), user)
    decoder.decode(chip, np.zeros(batch, np.int32))
    return chip.memory_report()
