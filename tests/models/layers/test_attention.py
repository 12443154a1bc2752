"""Attention, its heads dealt out to the chips, against the whole: prefill, then decode."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig
from meshtwin.models.kv_cache import KvCache
from meshtwin.models.layers.rotary import Rotary
from meshtwin.models.rotary import rotary_tables
from meshtwin.models.step import Decode, Prefill, Step

from ..reference import self_attention
from ..sharded import (
    Array,
    Model,
    Program,
    activations,
    assert_agree,
    broad,
    contribution,
    same_on_all,
)
from ..strategies import dtypes, mesh_sizes, odd_sizes
from ..tiny import random_weights, tiny_config

LAYER = "model.layers.0."


def attention(x_BSD: Array, prompts: Sequence[int]) -> Program:
    """Each user's first positions in a prefill of its own, then the others step by step.

    Users whose prompts are shorter end earlier, and sit out the last steps; the cache has room to
    spare. What comes out of every position: [B, S, D].
    """

    def program(builder: DecoderBuilder) -> Array:
        chip, config, dtype = builder.chip, builder.config, builder.dtype
        batch, length, width = x_BSD.shape
        layer = builder.attention(0)
        shape = (batch, layer.num_kv_heads, length + 2, config.head_dim)
        (cache,) = KvCache.allocate(chip, 1, shape, dtype).layers
        tables = rotary_tables(config, length)
        rotary = Rotary(chip.tensor(tables.cos_SH, dtype), chip.tensor(tables.sin_SH, dtype))
        out = np.zeros_like(x_BSD)

        def run(x: Array, step: Step, rows: int) -> Array:
            given = chip.tensor(np.ascontiguousarray(x), dtype)
            return layer(chip, given, rotary.rows(chip, step, rows), cache, step).to_numpy()

        for user, prompt in enumerate(prompts):
            found = run(x_BSD[user, None, :prompt], Prefill(0, user), prompt)
            out[user, :prompt] = found[0]
        for count in range(length - min(prompts)):
            positions = [prompt + count for prompt in prompts]
            at = [position if position < length else -1 for position in positions]
            x = np.stack([x_BSD[user, position] for user, position in enumerate(at)])
            found = run(x.reshape(1, 1, batch, width), Decode(tuple(at)), batch)
            for user, position in enumerate(at):
                if position >= 0:
                    out[user, position] = found[0, 0, user]
        return out

    return program


def reference(config: DecoderConfig, x_BSD: Array) -> Array:
    weights = random_weights(config)
    layer = {name.removeprefix(LAYER): array for name, array in weights.items()}
    return np.stack([self_attention(config, layer, x_SD) for x_SD in x_BSD])


def check(config: DecoderConfig, num_chips: int, prompts: Sequence[int], dtype: DType) -> None:
    x = activations(len(prompts), max(prompts) + 2, config.hidden_size)
    with Model(config) as model:
        (whole,) = model.run(1, dtype, attention(x, prompts))
        found = same_on_all(model.run(num_chips, dtype, attention(x, prompts)))
    assert_agree(found, whole, num_chips, dtype)
    if dtype is DType.FLOAT32:
        assert_agree(whole, reference(config, x), 1, dtype)


def config_of(kv: int, group: int, head_dim: int, width: int, bias: bool = False) -> DecoderConfig:
    return tiny_config(
        num_layers=1,
        num_heads=kv * group,
        num_kv_heads=kv,
        head_dim=head_dim,
        hidden_size=width,
        attention_bias=bias,
    )


@broad
@given(
    num_chips=mesh_sizes,
    kv=st.integers(1, 5),
    group=st.integers(1, 5),
    head_dim=st.sampled_from([2, 6, 16]),
    width=odd_sizes,
    bias=st.booleans(),
    prompts=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    dtype=dtypes,
)
@example(4, 3, 3, 16, 9, True, [3, 1], DType.FLOAT32)  # SmolLM2's heads: chip 3 has none
def test_sharded_attention_is_that_of_one_chip(
    num_chips: int,
    kv: int,
    group: int,
    head_dim: int,
    width: int,
    bias: bool,
    prompts: list[int],
    dtype: DType,
) -> None:
    check(config_of(kv, group, head_dim, width, bias), num_chips, prompts, dtype)


@pytest.mark.parametrize(("kv", "group"), [(3, 3), (8, 8), (33, 1)])
def test_attention_on_32_chips_is_that_of_one_chip(kv: int, group: int) -> None:
    check(config_of(kv, group, 4, 11, bias=True), 32, [3, 5], DType.FLOAT32)


def test_padded_heads_add_exactly_zero_and_the_bias_is_added_once() -> None:
    config = config_of(kv=3, group=3, head_dim=4, width=5, bias=True)
    x = activations(1, 4, 5)
    with Model(config) as model:
        parts = model.run(8, DType.FLOAT32, contribution(attention(x, [3])))
    idle = [rank for rank, part in enumerate(parts) if not part.any()]
    assert idle == [6, 7]  # 8 // 3 = 2 replicas of each kv head, with 2 and 1 of its query heads
    assert_agree(np.sum(parts, axis=0), reference(config, x), 8, DType.FLOAT32)


def test_prefill_then_decode_gives_what_one_prefill_gives() -> None:
    config, x = config_of(kv=2, group=3, head_dim=8, width=24), activations(1, 9, 24)
    with Model(config) as model:
        at_once = same_on_all(model.run(4, DType.FLOAT32, attention(x, [9])))
        stepwise = same_on_all(model.run(4, DType.FLOAT32, attention(x, [4])))
    assert_agree(stepwise, at_once, 4, DType.FLOAT32)
