"""The vocabulary, cut over the chips: token embedding, and the LM head that may share it.

Legend: B batch, S sequence, D model, V vocabulary (Vc: the chip's part, padded).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip

PADDING_LOGIT = -1e30
"""Far below every logit of a model, and finite in bfloat16 too."""


@dataclass(frozen=True, slots=True)
class VocabularyEmbedding:
    """Each chip holds Vc rows; a token's row comes from the one chip that has it.

    The other chips contribute zeros to the all_reduce, so the sum is exact.
    """

    table_VcD: Tensor
    first_row: int
    scale: float = 1.0

    def __call__(self, chip: MeshChip, ids_BS: Tensor) -> Tensor:
        """ids [B, S] to embeddings [B, S, D], the same on every chip."""
        x_BSD = chip.all_reduce(chip.embedding(ids_BS, self.table_VcD, self.first_row))
        return x_BSD if self.scale == 1.0 else chip.mul(x_BSD, self.scale)


@dataclass(frozen=True, slots=True)
class VocabularyHead:
    """Logits of the chip's part of the vocabulary.

    Where the vocabulary does not divide, every chip adds a mask that puts padding rows far below
    every real logit.
    """

    weight_VcD: Tensor
    mask_Vc: Tensor | None
    compute: ComputeConfig | None = None

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to the chip's own logits [B, S, Vc]; no exchange."""
        logits = chip.linear(x_BSD, self.weight_VcD, compute=self.compute)
        return logits if self.mask_Vc is None else chip.add(logits, self.mask_Vc)


def padding_mask(num_real: int, width: int) -> NDArray[np.float32]:
    """0 for the first `num_real` of `width` rows, PADDING_LOGIT for the rest; float32 [width]."""
    mask = np.zeros(width, np.float32)
    mask[num_real:] = PADDING_LOGIT
    return mask
