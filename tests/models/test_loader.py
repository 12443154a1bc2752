"""Each chip reads its own slices, and together the chips hold the whole."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import OutOfMemory
from meshtwin.chip.tensor import Tensor, decode, encode
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig
from meshtwin.models.errors import CorruptCheckpoint
from meshtwin.models.head_plan import HeadPlan, plan_heads
from meshtwin.models.loader import Loader, part_of, width_of
from meshtwin.models.shapes import weight_shapes
from meshtwin.models.weights import Checkpoint
from meshtwin.models.weights_writer import write_weights

from .sharded import BOXES, Array, Model, broad
from .strategies import dtypes, odd_sizes
from .tiny import random_weights, tiny_config

all_sizes = st.sampled_from(sorted(BOXES))
ODD = tiny_config(
    vocab_size=101,
    hidden_size=35,
    intermediate_size=13,
    num_layers=1,
    num_heads=9,
    num_kv_heads=3,
    attention_bias=True,
    mlp_bias=True,
)


class CountingCheckpoint(Checkpoint):
    """Counts the elements that are read of each tensor."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.num_read: Counter[str] = Counter()

    def read(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[Any]:
        part = super().read(name, rows, cols)
        self.num_read[name] += part.size
        return part


def chips(num_chips: int) -> list[MeshChip]:
    """The chips of a box, without a fabric: loading needs none."""
    box = load_box(BOXES[num_chips])
    found = [MeshChip.open(box.product, rank=rank) for rank in range(num_chips)]
    for chip in found:
        chip.box = box
    return found


def loaders(folder: Path, num_chips: int, dtype: DType) -> list[Loader]:
    return [Loader(chip, Checkpoint(folder), dtype) for chip in chips(num_chips)]


def values(tensors: list[Tensor]) -> list[Array]:
    assert len({tensor.shape for tensor in tensors}) == 1, "all chips do the same work"
    return [tensor.to_numpy() for tensor in tensors]


@broad
@given(num_chips=all_sizes, size=st.integers(1, 70), other=odd_sizes, dtype=dtypes)
def test_the_chips_parts_side_by_side_are_the_whole_and_then_zeros(
    tmp_path_factory: pytest.TempPathFactory, num_chips: int, size: int, other: int, dtype: DType
) -> None:
    whole = np.random.default_rng(size).standard_normal((size, other), dtype=np.float32)
    arrays = {"rows": whole, "cols": np.ascontiguousarray(whole.T)}
    folder = tmp_path_factory.mktemp("parts")
    shapes = {name: array.shape for name, array in arrays.items()}
    write_weights(folder / "model.safetensors", "F32", shapes, arrays.values())
    given_to = loaders(folder, num_chips, dtype)
    rows = np.concatenate(values([load.rows("rows") for load in given_to]))
    cols = np.concatenate(values([load.cols("cols") for load in given_to]), axis=1)
    np.testing.assert_array_equal(rows[:size], decode(encode(whole, dtype), dtype))
    assert not rows[size:].any() and len(rows) == width_of(size, num_chips) * num_chips
    np.testing.assert_array_equal(cols, rows.T)


@broad
@given(num_chips=all_sizes, kv=st.integers(1, 9), group=st.integers(1, 5))
def test_every_head_is_on_a_chip_whole_and_padded_heads_are_zero(
    num_chips: int, kv: int, group: int
) -> None:
    config = tiny_config(
        num_layers=1, num_heads=kv * group, num_kv_heads=kv, head_dim=4, attention_bias=True
    )
    plan = plan_heads(kv * group, kv, num_chips)
    weights = random_weights(config)
    with Model(config) as model:
        for load in loaders(model.folder, num_chips, DType.FLOAT32):
            check_heads(config, load, plan, weights)


def check_heads(
    config: DecoderConfig, load: Loader, plan: HeadPlan, weights: dict[str, Array]
) -> None:
    """The chip's q, k, v and o hold the plan's heads, each as in the checkpoint; None is zeros."""
    name, dim = "model.layers.0.self_attn.", config.head_dim
    query, kv = plan.query_heads(load.chip.rank), plan.kv_heads(load.chip.rank)

    def head_of(tensor: str, head: int | None) -> Array:
        whole = weights[tensor].reshape(-1, dim, *weights[tensor].shape[1:])
        return np.zeros_like(whole[0]) if head is None else whole[head]

    for kind in ("weight", "bias"):
        names = [f"{name}{which}_proj.{kind}" for which in "qkv"]
        expected = [
            head_of(tensor, head)
            for tensor, heads in zip(names, (query, kv, kv), strict=True)
            for head in heads
        ]
        found = load.head_rows(names, (query, kv, kv), dim)
        np.testing.assert_array_equal(found.to_numpy(), np.concatenate(expected))
    weights = {**weights, "o": weights[name + "o_proj.weight"].T}
    output = load.head_cols(name + "o_proj.weight", query, dim).to_numpy()
    np.testing.assert_array_equal(output.T, np.concatenate([head_of("o", head) for head in query]))


@pytest.mark.parametrize("num_chips", sorted(BOXES))
def test_a_chip_reads_its_own_slices_and_nothing_else(num_chips: int) -> None:
    with Model(ODD, "BF16") as model:
        read = Counter[str]()
        for chip in chips(num_chips):
            checkpoint = CountingCheckpoint(model.folder)
            DecoderBuilder(chip, checkpoint, ODD, DType.BFLOAT16).decoder()
            assert checkpoint.num_read == expected_reads(chip)
            read += checkpoint.num_read
    for name, shape in weight_shapes(ODD).items():
        if name.endswith(("norm.weight", "k_proj.weight", "k_proj.bias", "v_proj.weight")):
            continue  # norms are on every chip, kv heads on as many as read them
        if not name.endswith("v_proj.bias"):
            assert read[name] == int(np.prod(shape)), name


def expected_reads(chip: MeshChip) -> Counter[str]:
    """How many elements of each tensor of ODD a chip keeps, padding left out."""
    rank, tp_size, dim, width = chip.rank, chip.num_chips, ODD.head_dim, ODD.hidden_size
    plan = plan_heads(ODD.num_heads, ODD.num_kv_heads, tp_size)
    num_query = sum(head is not None for head in plan.query_heads(rank)) * dim
    num_kv = sum(head is not None for head in plan.kv_heads(rank)) * dim
    vocab, inner = (
        len(range(size)[part_of(size, rank, tp_size)])
        for size in (ODD.vocab_size, ODD.intermediate_size)
    )
    once = width if rank == 0 else 0
    layer = {
        "input_layernorm.weight": width,
        "post_attention_layernorm.weight": width,
        "self_attn.q_proj.weight": num_query * width,
        "self_attn.k_proj.weight": num_kv * width,
        "self_attn.v_proj.weight": num_kv * width,
        "self_attn.o_proj.weight": num_query * width,
        "self_attn.q_proj.bias": num_query,
        "self_attn.k_proj.bias": num_kv,
        "self_attn.v_proj.bias": num_kv,
        "self_attn.o_proj.bias": once,
        "mlp.gate_proj.weight": inner * width,
        "mlp.up_proj.weight": inner * width,
        "mlp.down_proj.weight": inner * width,
        "mlp.gate_proj.bias": inner,
        "mlp.up_proj.bias": inner,
        "mlp.down_proj.bias": once,
    }
    names = {f"model.layers.0.{name}": count for name, count in layer.items()}
    ends = {"model.embed_tokens.weight": vocab * width, "lm_head.weight": vocab * width}
    return Counter({**names, **ends, "model.norm.weight": width})


def test_tied_embeddings_are_read_and_charged_once() -> None:
    used = []
    for tied in (True, False):
        config = tiny_config(tie_word_embeddings=tied, vocab_size=128)
        with Model(config) as model:
            (chip,) = chips(1)
            checkpoint = CountingCheckpoint(model.folder)
            decoder = DecoderBuilder(chip, checkpoint, config, DType.FLOAT32).decoder()
            assert (decoder.head.weight_VcD is decoder.embedding.table_VcD) == tied
            assert checkpoint.num_read["model.embed_tokens.weight"] == 128 * 32
            used.append(chip.dram.used_bytes)
    assert used[1] - used[0] == 8 * 32 * 32 * 4  # four tiles: a page of each of the 8 banks


def test_a_weight_in_the_models_dtype_is_used_where_the_file_is_mapped() -> None:
    for stored, dtype in (("F32", DType.FLOAT32), ("BF16", DType.BFLOAT16)):
        with Model(tiny_config(), stored) as model:
            for load in loaders(model.folder, 4, dtype):
                storage = load.rows("model.embed_tokens.weight").storage
                assert storage is not None
                assert not storage.flags.owndata and not storage.flags.writeable


def test_a_checkpoint_is_rounded_once_or_widened_exactly() -> None:
    name, config = "model.embed_tokens.weight", tiny_config()
    whole = random_weights(config)[name]
    rounded = decode(encode(whole, DType.BFLOAT16), DType.BFLOAT16)
    for stored, dtype, expected in (
        ("F32", DType.BFLOAT16, rounded),
        ("BF16", DType.FLOAT32, rounded),
        ("BF16", DType.BFLOAT16, rounded),
        ("F32", DType.FLOAT32, whole),
    ):
        with Model(config, stored) as model:
            (load,) = loaders(model.folder, 1, dtype)
            tensor = load.whole(name)
            assert tensor.dtype is dtype
            np.testing.assert_array_equal(tensor.to_numpy(), expected)


def test_a_full_chip_and_a_missing_tensor_are_named() -> None:
    with Model(tiny_config()) as model:
        (load,) = loaders(model.folder, 1, DType.FLOAT32)
        with pytest.raises(CorruptCheckpoint, match=r"nearest is 'model\.norm\.weight'"):
            load.whole("model.norm.weigh")
        dram = load.chip.dram
        hog = dram.allocate(dram.free_bytes // dram.num_banks - 64, "hog")
        with pytest.raises(OutOfMemory, match=r"no room for 'lm_head\.weight'.*Held by: hog"):
            load.rows("lm_head.weight")
        hog.free()


@given(size=st.integers(0, 500), tp_size=st.integers(1, 33))
def test_parts_follow_each_other_and_fit(size: int, tp_size: int) -> None:
    parts = [part_of(size, rank, tp_size) for rank in range(tp_size)]
    assert [i for part in parts for i in range(size)[part]] == list(range(size))
    assert all(part.stop - part.start <= width_of(size, tp_size) for part in parts)
