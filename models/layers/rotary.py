"""The rotary tables on the chip, and the rows of them that a step needs.

Legend: B users, S positions, H head dim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...chip.dtype import DType
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..step import Decode, Step


@dataclass(frozen=True, slots=True)
class Rotary:
    """cos and sin: whole tables [positions, H], or the rows of a step."""

    cos: Tensor
    sin: Tensor

    def rows(self, chip: MeshChip, step: Step, length: int) -> Rotary:
        """Of whole tables: [S, H] from a prefill's start on, or [1, B, 1, H] of a decode step."""
        if isinstance(step, Decode):
            places = np.maximum(step.positions, 0).astype(np.int32).reshape(1, -1, 1)
            ids = chip.tensor(places, DType.INT32, what="positions")
            return Rotary(chip.embedding(ids, self.cos), chip.embedding(ids, self.sin))
        begin, end = (step.start, 0), (step.start + length, self.cos.shape[1])
        return Rotary(chip.slice(self.cos, begin, end), chip.slice(self.sin, begin, end))
