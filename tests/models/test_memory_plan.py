"""Models of every size against the memory of real products, to the byte where it can be said."""

import math

import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument, OutOfMemory
from meshtwin.chip.memory.config import MemoryConfig
from meshtwin.chip.memory.footprint import Pages, footprint
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.plan import plan_chip
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig
from meshtwin.models.errors import ContextOverflow
from meshtwin.models.memory_plan import plan_memory
from meshtwin.models.shapes import weight_shapes
from meshtwin.models.shapes_only import ShapesOnly

from .tiny import tiny_config

BF16 = DType.BFLOAT16
BFP8_TILE = 1088  # 1024 mantissas and 64 exponents
LLAMA_8B = DecoderConfig(128256, 4096, 14336, 32, 32, 8, 128, 131072, dtype="bfloat16")
LLAMA_70B = DecoderConfig(128256, 8192, 28672, 80, 64, 8, 128, 131072, dtype="bfloat16")


def tiles(shape: tuple[int, ...]) -> int:
    """Tiles of a tensor; a vector is one row of them."""
    *batch, rows, columns = (1, *shape)
    return math.prod(batch) * -(-rows // 32) * -(-columns // 32)


def test_a_plan_holds_what_a_run_of_the_same_model_holds() -> None:
    config, box = tiny_config(max_position_embeddings=128), load_box("quietbox2")
    report = plan_memory(box, config, BF16, max_length=96, prompt_length=40)
    chip = plan_chip(box)
    decoder = DecoderBuilder(chip, ShapesOnly(config), config, BF16).decoder()
    decoder.start(chip, 1, 96)
    held = dict(chip.memory_report().dram.holders)
    assert dict(report.dram.holders) == held
    assert report.dram.used_bytes == sum(held.values()) < report.dram.peak_bytes
    assert report.l1.used_bytes == 0


def test_weights_of_llama_8b_in_bfloat16_fit_a_p150_to_the_byte() -> None:
    report = plan_memory(load_box("p150"), LLAMA_8B, BF16, max_length=2048, prompt_length=128)
    holders = dict(report.dram.holders)
    cache = holders.pop("kv_cache")
    assert cache == 2 * 32 * 8 * (2048 // 32) * 4 * 2048 // 8  # K and V, layers, heads, tiles
    rotary = holders.pop("rotary cos") + holders.pop("rotary sin")
    assert rotary == 2 * (2048 // 32) * 4 * 2048 // 8
    qkv = [name for name in weight_shapes(LLAMA_8B) if "k_proj" in name or "v_proj" in name]
    others = {n: s for n, s in weight_shapes(LLAMA_8B).items() if n not in qkv}
    per_bank = 0
    for name, shape in others.items():
        rows = shape[0] + (2 * 1024 if "q_proj" in name else 0)  # q, k and v are one weight
        per_bank += -(-tiles((rows, *shape[1:])) // 8) * 2048
    assert sum(holders.values()) == per_bank
    assert report.dram.used_bytes == per_bank + cache + rotary
    assert 15.0 < 8 * report.dram.used_bytes / 2**30 < 15.5
    assert report.dram.peak_bytes < report.dram.capacity_bytes


def test_weights_of_llama_8b_in_bfp8_take_1088_of_2048_bytes() -> None:
    chip = Chip.open("p150", plan=True)
    held = []
    for name, shape in weight_shapes(LLAMA_8B).items():
        pages = Pages(tiles(shape), 1, 32, 32, BFP8_TILE)
        taken = footprint(pages, MemoryConfig.DRAM, chip.dram)
        held.append(chip.dram.allocate(taken.bank_bytes, name))
    norms, width = 65, 4096  # a norm is one row of tiles, of which one row in 32 is used
    matrices = sum(map(math.prod, weight_shapes(LLAMA_8B).values())) - norms * width
    assert chip.dram.used_bytes == matrices // 1024 * BFP8_TILE + norms * width // 32 * BFP8_TILE
    assert chip.dram.used_bytes == sum(a.nbytes for a in held) * 8 == 8_540_921_856


def test_llama_70b_does_not_fit_one_chip_and_the_error_says_why() -> None:
    with pytest.raises(OutOfMemory) as caught:
        plan_memory(load_box("p150"), LLAMA_70B, BF16, max_length=2048)
    text = str(caught.value)
    assert text.startswith("chip 0: DRAM has no room for 'model.layers.")
    assert "MiB in each of 8 banks, where " in text and "3.98 GiB are free" in text
    assert "Held by: model.layers.*.mlp.gate_proj.weight 8.31 GiB, " in text
    report = plan_memory(load_box("galaxy"), LLAMA_70B, BF16, max_length=2048, prompt_length=128)
    assert report.dram.used_bytes < report.dram.capacity_bytes // 4


def test_a_token_of_llama_8b_takes_2176_bytes_of_each_chip_of_a_galaxy() -> None:
    """What a chip takes, on average over the box, for one token of one user.

    A tile of bfp8 holds 32 tokens x 32 numbers in 1088 B. Keys and values of a head (128 numbers)
    are 8 tiles for 32 tokens: 272 B a token, layer and head. On a Galaxy (8 x 4 chips), as
    tt-transformers places it, the 8 kv heads go to the 8 chips along one axis, and the batch of 32
    users is split over the 4 along the other. So a token of a user takes 32 layers x 272 B = 8704 B
    of each of the 8 chips that hold this user, and nothing of the other 24: 8704 / 4 = 2176 B. What
    a chip can hold is then its free DRAM / 2176 B in tokens of all users together.
    """
    layers, heads, chips_of_heads, chips_of_batch, users, room = 32, 8, 8, 4, 32, 1024
    chip = Chip.open("galaxy_bh", plan=True)
    shape = (users // chips_of_batch, heads // chips_of_heads, room, 128)
    pages = Pages(math.prod(shape[:2]) * room // 32, 128 // 32, 32, 32, BFP8_TILE)
    taken = footprint(pages, MemoryConfig.DRAM, chip.dram)
    held = [
        chip.dram.allocate(taken.bank_bytes, f"layer {layer} {kind}")
        for layer in range(layers)
        for kind in ("keys", "values")
    ]
    per_token = 2 * 4 * BFP8_TILE // 32
    assert per_token == 272
    assert chip.dram.used_bytes == layers * per_token * room * users // chips_of_batch
    assert chip.dram.used_bytes * chips_of_batch // users == layers * per_token * room  # 8704 B
    assert chip.dram.used_bytes / (room * users) == 2176 == layers * per_token / chips_of_batch
    assert taken.padding_bytes == 0 == len(held) - 2 * layers


def test_lengths_that_cannot_be_are_refused() -> None:
    box, config = load_box("p150"), tiny_config()
    with pytest.raises(InvalidArgument, match=r"prompt_length \(=0\) must be from 1 to"):
        plan_memory(box, config, BF16, max_length=1)
    with pytest.raises(InvalidArgument, match=r"prompt_length \(=9\)"):
        plan_memory(box, config, BF16, max_length=9, prompt_length=9)
    with pytest.raises(ContextOverflow):
        plan_memory(box, config, BF16, max_length=65)


def test_weights_without_values_have_the_shapes_of_the_config() -> None:
    config = tiny_config()
    source = ShapesOnly(config)
    shapes = weight_shapes(config)
    assert {name: source.shape(name) for name in shapes} == shapes
    with pytest.raises(AssertionError, match="a plan reads lm_head"):
        source.read("lm_head.weight")
