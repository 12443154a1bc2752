"""The vocabulary cut over the chips against the whole."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.layers.embedding import PADDING_LOGIT, padding_mask
from meshtwin.models.programs import choose_next
from meshtwin.models.sampling import Sampling

from ..sharded import Array, Model, Program, activations, assert_agree, broad, same_on_all
from ..strategies import dtypes, mesh_sizes, odd_sizes
from ..tiny import random_weights, tiny_config

vocabularies = st.integers(1, 70)


def lookup(ids: Array) -> Program:
    def program(builder: DecoderBuilder) -> object:
        chip = builder.chip
        return builder.embedding()(chip, chip.tensor(ids, DType.INT32))

    return program


def head(x: Array) -> Program:
    def program(builder: DecoderBuilder) -> object:
        chip = builder.chip
        return builder.head(builder.embedding())(chip, chip.tensor(x, builder.dtype))

    return program


def check_embedding(num_chips: int, vocab: int, width: int, dtype: DType) -> None:
    config = tiny_config(vocab_size=vocab, hidden_size=width, num_layers=1)
    ids = np.random.default_rng(vocab).integers(0, vocab, (2, 5))
    ids[0, 0], ids[0, 1] = 0, vocab - 1
    table = random_weights(config)["model.embed_tokens.weight"]
    with Model(config) as model:
        found = same_on_all(model.run(num_chips, dtype, lookup(ids)))
    np.testing.assert_array_equal(found, decode(encode(table, dtype), dtype)[ids])


@broad
@given(num_chips=mesh_sizes, vocab=vocabularies, width=odd_sizes, dtype=dtypes)
@example(num_chips=8, vocab=3, width=5, dtype=DType.FLOAT32)
def test_a_sharded_embedding_is_the_whole_one_exactly(
    num_chips: int, vocab: int, width: int, dtype: DType
) -> None:
    check_embedding(num_chips, vocab, width, dtype)


@pytest.mark.parametrize("vocab", [5, 33, 96])
def test_an_embedding_on_32_chips_is_the_whole_one_exactly(vocab: int) -> None:
    check_embedding(32, vocab, 7, DType.BFLOAT16)


def check_head(num_chips: int, vocab: int, width: int, tied: bool, dtype: DType) -> None:
    config = tiny_config(
        vocab_size=vocab, hidden_size=width, num_layers=1, tie_word_embeddings=tied
    )
    x = activations(1, 3, width)
    with Model(config) as model:
        (whole,) = model.run(1, dtype, head(x))
        parts = model.run(num_chips, dtype, head(x))
    weights = random_weights(config)
    name = "model.embed_tokens.weight" if tied else "lm_head.weight"
    if dtype is DType.FLOAT32:
        assert_agree(whole, x @ weights[name].T, 1, dtype)
    logits = np.concatenate(parts, axis=-1)
    assert_agree(logits[..., :vocab], whole, num_chips, dtype)
    np.testing.assert_allclose(logits[..., vocab:], PADDING_LOGIT, rtol=2.0**-8)


@broad
@given(num_chips=mesh_sizes, vocab=vocabularies, width=odd_sizes, tied=st.booleans(), dtype=dtypes)
@example(num_chips=8, vocab=3, width=5, tied=True, dtype=DType.FLOAT32)
def test_the_chips_logits_side_by_side_are_those_of_one_chip_and_then_padding(
    num_chips: int, vocab: int, width: int, tied: bool, dtype: DType
) -> None:
    check_head(num_chips, vocab, width, tied, dtype)


@pytest.mark.parametrize("vocab", [5, 33, 96])
def test_a_head_on_32_chips_is_that_of_one_chip(vocab: int) -> None:
    check_head(32, vocab, 7, False, DType.FLOAT32)


@broad
@given(
    num_chips=st.sampled_from([1, 2, 4, 8]),
    vocab=vocabularies,
    top_k=st.integers(0, 80),
    seed=st.integers(0, 99),
)
def test_every_chip_chooses_the_token_that_one_chip_would(
    num_chips: int, vocab: int, top_k: int, seed: int
) -> None:
    config = tiny_config(vocab_size=vocab, num_layers=1)
    # Every real logit is negative, so that padding would win were it not masked.
    logits = -1 - np.abs(activations(vocab, seed=seed))
    sampling = Sampling(temperature=float(seed % 2), top_k=top_k, seed=seed)

    def program(builder: DecoderBuilder) -> int:
        chip, part = builder.chip, builder._vocabulary()
        width = -(-vocab // chip.num_chips)
        own = padding_mask(part.stop - part.start, width)
        own[: part.stop - part.start] = logits[part]
        row = chip.tensor(own.reshape(1, 1, width))
        return choose_next(chip, builder.decoder(), row, sampling, [seed])[0]

    with Model(config) as model:
        tokens = model.run(num_chips, DType.FLOAT32, program)
        (expected,) = model.run(1, DType.FLOAT32, program)
    assert tokens == [expected] * num_chips
    if sampling.is_greedy:
        assert expected == int(np.argmax(logits))


def test_the_padding_mask_is_finite_in_bfloat16_too() -> None:
    mask = decode(encode(padding_mask(2, 4), DType.BFLOAT16), DType.BFLOAT16)
    assert mask[:2].tolist() == [0, 0]
    assert np.isfinite(mask).all() and (mask[2:] < -1e29).all()
