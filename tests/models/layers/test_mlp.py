"""The MLP, its intermediate dim cut over the chips, against the whole."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig

from ..reference import linear, sigmoid
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

NAME = "model.layers.0.mlp."


def mlp(x: Array) -> Program:
    def program(builder: DecoderBuilder) -> object:
        chip = builder.chip
        return builder.mlp(NAME)(chip, chip.tensor(x, builder.dtype))

    return program


def reference(config: DecoderConfig, x: Array) -> Array:
    layer = random_weights(config)
    gate = linear(layer, NAME + "gate_proj", x)
    gated: Array = gate * sigmoid(gate) * linear(layer, NAME + "up_proj", x)
    return linear(layer, NAME + "down_proj", gated)


def check(num_chips: int, inner: int, width: int, bias: bool, dtype: DType) -> None:
    config = tiny_config(hidden_size=width, intermediate_size=inner, num_layers=1, mlp_bias=bias)
    x = activations(2, 3, width)
    with Model(config) as model:
        (whole,) = model.run(1, dtype, mlp(x))
        found = same_on_all(model.run(num_chips, dtype, mlp(x)))
    assert_agree(found, whole, num_chips, dtype)
    if dtype is DType.FLOAT32:
        assert_agree(whole, reference(config, x), 1, dtype)


@broad
@given(num_chips=mesh_sizes, inner=odd_sizes, width=odd_sizes, bias=st.booleans(), dtype=dtypes)
@example(num_chips=8, inner=3, width=5, bias=True, dtype=DType.FLOAT32)
def test_a_sharded_mlp_is_that_of_one_chip(
    num_chips: int, inner: int, width: int, bias: bool, dtype: DType
) -> None:
    check(num_chips, inner, width, bias, dtype)


@pytest.mark.parametrize("inner", [9, 65])
def test_an_mlp_on_32_chips_is_that_of_one_chip(inner: int) -> None:
    check(32, inner, 33, True, DType.FLOAT32)


def test_padding_adds_exactly_zero_and_the_bias_is_added_once() -> None:
    x = activations(1, 2, 7)
    config = tiny_config(hidden_size=7, intermediate_size=5, num_layers=1, mlp_bias=True)
    with Model(config) as model:
        parts = model.run(4, DType.FLOAT32, contribution(mlp(x)))  # rows 0:2, 2:4, 4:5 and none
    assert not parts[3].any()
    assert_agree(np.sum(parts, axis=0), reference(config, x), 4, DType.FLOAT32)
