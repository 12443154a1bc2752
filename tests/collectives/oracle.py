"""What collectives must give, by numpy alone: one array a chip in, one (or None) a chip out."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

COMBINE: dict[str, Any] = {
    "sum": np.add, "mean": np.add, "min": np.minimum, "max": np.maximum, "prod": np.multiply,
}  # fmt: skip


def combined(arrays: Sequence[np.ndarray], op: str) -> np.ndarray:
    """All arrays combined; a mean is divided in float32."""
    with np.errstate(over="ignore"):
        total = reduce(COMBINE[op], arrays)
    return total / np.float32(len(arrays)) if op == "mean" else total


def expected(
    name: str,
    arrays: Sequence[np.ndarray],
    *,
    op: str = "sum",
    dim: int = 0,
    concat_dim: int | None = None,
    root: int = 0,
) -> list[np.ndarray | None]:
    """The results by place in the group (`root` is a place too)."""
    n = len(arrays)
    if name in ("all_reduce", "reduce", "reduce_scatter"):
        total = combined(arrays, op)
        if name == "reduce_scatter":
            return list(np.array_split(total, n, axis=dim))
        return [total if name == "all_reduce" or place == root else None for place in range(n)]
    if name == "broadcast":
        return [arrays[root]] * n
    if name == "scatter":
        return list(np.array_split(arrays[root], n, axis=dim))
    if name in ("all_gather", "gather"):
        joined = np.concatenate(arrays, axis=dim)
        return [joined if name == "all_gather" or place == root else None for place in range(n)]
    parts = [np.array_split(array, n, axis=dim) for array in arrays]
    joint = dim if concat_dim is None else concat_dim
    return [np.concatenate([own[place] for own in parts], axis=joint) for place in range(n)]
