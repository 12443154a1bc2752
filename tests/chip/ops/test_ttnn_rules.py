"""Shapes, dtypes and layouts of results are those of ttnn, from calls of the real library."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError
from meshtwin.chip.tensor import TILE, Layout, Tensor

GOLDEN = Path(__file__).parents[2] / "golden" / "ttnn_ops_one_chip.json"
NAMES = {
    "subtract": "sub",
    "multiply": "mul",
    "gather": "gather_elements",
    "unsqueeze_to_4D": "unsqueeze_to_4d",
    "nlp_create_qkv_heads": "create_heads",
    "nlp_create_qkv_heads_decode": "create_heads_decode",
}
LABELS = {"BFLOAT8_B": "bfp8_b", "UINT16": "uint32"}  # indices are uint32 here, however short
OPTIONS = {  # None: it says nothing about shape, dtype or layout
    "input_tensor_a_activations": "a_activations",
    "fast_and_approximate_mode": None,
    "epsilon": "eps",
    "cur_pos_tensor": "cur_pos",
    "page_table_tensor": "page_table",
    "batch_idx": "user",
    "memory_config": None,
    "use_multicore": None,
    "transpose_k_heads": None,
    "is_decode_mode": None,
}


class Ttnn:
    """Calls written for ttnn, made on a chip."""

    UnaryOpType = SimpleNamespace(SILU="silu")
    L1_HEIGHT_SHARDED_MEMORY_CONFIG = None

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self.experimental = self.transformer = self

    def nlp_concat_heads(self, x: Tensor) -> Tensor:
        """[B,N,S,H] -> [B,1,S,N H]."""
        return self._chip.unsqueeze(self._chip.concat_heads(x), 1)

    def embedding(
        self, ids: Tensor, table: Tensor, layout: Layout | None = None, **_: object
    ) -> Tensor:
        """In the table's dtype, which is what is asked for."""
        return self._chip.embedding(ids, table, layout=layout)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = getattr(self._chip, NAMES.get(name, name))

        def call(*args: Any, device: object = None, **options: Any) -> Any:
            renamed = {OPTIONS.get(key, key): value for key, value in options.items()}
            result = op(*args, **{key: value for key, value in renamed.items() if key})
            return args[0] if result is None else result  # what is written into comes out

        return call


def evaluate(expr: str) -> Any:
    """The result of a call."""
    chip = Chip.open("p300c")

    def tensor(
        shape: tuple[int, ...], dtype: str = "bfloat16", lay: Any = Layout.TILE, mc: object = None
    ) -> Tensor:
        return chip.tensor(
            np.zeros(shape, float if DType.parse(dtype).is_float else int), dtype, lay
        )

    names = {"b16": "bfloat16", "b8": "bfp8_b", "f32": "float32", "u32": "uint32", "i32": "int32"}
    layouts = {"TL": Layout.TILE, "RM": Layout.ROW_MAJOR}
    nowhere = dict.fromkeys(("d", "DR", "L1"))  # device and memory say nothing here
    return eval(expr, {"ttnn": Ttnn(chip), "T": tensor, **nowhere, **names, **layouts})


def rows() -> list[Any]:
    """The calls on formats that there are."""
    known = {dtype.label for dtype in DType}
    found = json.loads(GOLDEN.read_text())["rows"]
    return [row for row in found if "b8" not in row["expr"] or "bfp8_b" in known]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["expr"])
def test_a_result_is_like_ttnn_s(row: Any) -> None:
    if "error" in row:
        with pytest.raises(ShapeError):
            evaluate(row["expr"])
        return
    result, expected = evaluate(row["expr"]), row["result"]
    several = isinstance(expected, list)
    for tensor, fields in zip(
        result if several else (result,), expected if several else (expected,), strict=True
    ):
        assert list(tensor.shape) == fields["shape"]
        assert tensor.dtype.label == LABELS.get(fields["dtype"], fields["dtype"].lower())
        assert tensor.layout.name == fields["layout"]
        if tensor.layout is Layout.TILE:
            assert tensor.spec.num_tiles * TILE * TILE == math.prod(fields["padded"])
