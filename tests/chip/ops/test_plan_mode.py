"""Plan mode and value mode run the same code: shapes, formats, layouts, time, DRAM and records."""

from collections.abc import Callable

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.memory.config import MemoryConfig
from meshtwin.chip.tensor import Tensor

Program = Callable[[Chip], "Tensor | tuple[Tensor, ...] | None"]


def zeros(chip: Chip, *shape: int, dtype: str = "bfloat16") -> Tensor:
    return chip.tensor(np.zeros(shape, np.int32 if dtype == "int32" else np.float32), dtype)


def floats(chip: Chip, *shape: int) -> Tensor:
    return zeros(chip, *shape, dtype="float32")


def attend(chip: Chip) -> Tensor:
    k, v = zeros(chip, 1, 2, 9, 16), zeros(chip, 1, 2, 9, 16)
    return chip.attention(zeros(chip, 1, 4, 3, 16), k, v, 4)


def update(chip: Chip) -> Tensor:
    cache = zeros(chip, 1, 2, 40, 16)
    chip.update_cache(cache, zeros(chip, 1, 2, 3, 16), 5)
    return cache


PROGRAMS: dict[str, Program] = {
    "matmul": lambda c: c.matmul(zeros(c, 2, 3, 40), zeros(c, 40, 5)),
    "linear": lambda c: c.linear(zeros(c, 1, 3, 40), zeros(c, 70, 40)),
    "linear with bias": lambda c: c.linear(floats(c, 3, 40), zeros(c, 70, 40), zeros(c, 70)),
    "embedding": lambda c: c.embedding(zeros(c, 1, 7, dtype="int32"), zeros(c, 9, 40), 2),
    "rms_norm": lambda c: c.rms_norm(zeros(c, 1, 3, 40), zeros(c, 40), 1e-5),
    "rotary": lambda c: c.rotary_embedding(
        zeros(c, 1, 2, 3, 16), floats(c, 3, 16), floats(c, 3, 16)
    ),
    "attention": attend,
    "float32 attention": lambda c: c.attention(
        floats(c, 1, 2, 3, 10), floats(c, 1, 2, 3, 10), floats(c, 1, 2, 3, 10), 0
    ),
    "update_cache": update,
    "add": lambda c: c.add(zeros(c, 3, 1, 40), zeros(c, 2, 40)),
    "mul": lambda c: c.mul(floats(c, 3, 40), zeros(c, 3, 40)),
    "integer add": lambda c: c.add(zeros(c, 3, dtype="int32"), zeros(c, 3, dtype="int32")),
    "silu": lambda c: c.silu(zeros(c, 3, 40)),
    "softmax": lambda c: c.softmax(floats(c, 3, 40), 0),
    "argmax": lambda c: c.argmax(zeros(c, 3, 40), 0),
    "argmax of a vector": lambda c: c.argmax(zeros(c, 40)),
    "topk": lambda c: c.topk(zeros(c, 3, 40), 5),
    "reshape": lambda c: c.reshape(zeros(c, 1, 1, 128), (1, 1, 2, 64)),
    "reshape as a view": lambda c: c.reshape(zeros(c, 3, 40), (1, 3, -1)),
    "permute": lambda c: c.permute(zeros(c, 2, 3, 40), (2, 0, 1)),
    "slice": lambda c: c.slice(zeros(c, 3, 40), (1, 2), (3, 40)),
    "concat": lambda c: c.concat([floats(c, 3, 40), floats(c, 3, 2)], -1),
    "to_memory_config": lambda c: c.to_memory_config(zeros(c, 3, 40), MemoryConfig.L1),
    "typecast to int32": lambda c: c.typecast(zeros(c, 3, 40), "int32"),
    "typecast to bfloat16": lambda c: c.typecast(zeros(c, 3, 40, dtype="int32"), "bf16"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_plan_tells_what_a_run_does(name: str) -> None:
    run, plan = Chip.open("p300c"), Chip.open("p300c", plan=True)
    outputs = [PROGRAMS[name](chip) for chip in (run, plan)]
    valued, planned = ((out,) if isinstance(out, Tensor) else out for out in outputs)
    assert valued is not None and planned is not None
    assert [tensor.spec for tensor in valued] == [tensor.spec for tensor in planned]
    for tensor in valued:
        assert tensor.storage is not None
        assert tensor.storage.shape == tensor.shape
        assert tensor.storage.dtype == tensor.dtype.numpy
        assert tensor.storage.flags.c_contiguous
    assert all(tensor.storage is None for tensor in planned)
    assert run.clock.now_ps == plan.clock.now_ps
    assert run.dram.used_bytes == plan.dram.used_bytes
    assert run.dram.peak_bytes == plan.dram.peak_bytes
    assert run.recorder.records() == plan.recorder.records()


def test_every_op_of_a_chip_is_tried_here() -> None:
    tried = set()
    for program in PROGRAMS.values():
        chip = Chip.open("p300c", plan=True)
        program(chip)
        tried |= {record.name for record in chip.recorder.records()}
    elsewhere = {"create_heads", "concat_heads"}  # test_heads.py
    state = {"run", "run_many", "tensor", "empty", "adopt", "open"}
    ops = {name for name in vars(Chip) if not name.startswith("_")} - state
    assert ops - elsewhere == tried
