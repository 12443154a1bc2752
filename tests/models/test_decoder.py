"""The whole decoder on every chip against the plain-numpy reference, on tiny random checkpoints."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.models import programs
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig
from meshtwin.models.rope_scaling import Llama3Scaling
from meshtwin.models.sampling import Sampling

from .reference import ReferenceLlama
from .sharded import Array, Model, Program, broad, same_on_all
from .strategies import mesh_sizes
from .tiny import tiny_config

SCALING = Llama3Scaling(8.0, 1.0, 4.0, 16)
VARIANTS: dict[str, dict[str, Any]] = {
    "untied": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "llama3 rope": {"rope_scaling": SCALING, "rope_theta": 500.0},
    "nothing divides": {
        "vocab_size": 101,
        "hidden_size": 35,
        "intermediate_size": 13,
        "num_heads": 9,
        "num_kv_heads": 3,
        "attention_bias": True,
    },
}
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9]


def all_logits(ids: list[int]) -> Program:
    """Logits of every position in one prefill."""

    def program(builder: DecoderBuilder) -> Array | None:
        return programs.all_logits(builder.chip, builder.decoder(), ids)

    return program


def stepwise(ids: list[int], prefill: int) -> Program:
    """Logits of the last position of a prefill, then of each decode step: [steps, V]."""

    def program(builder: DecoderBuilder) -> Array:
        chip, decoder = builder.chip, builder.decoder()
        decoder.start(chip, batch=1, max_length=len(ids))
        starts = [0, *range(prefill, len(ids))]
        rows = []
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            append = decoder.prefill if end - start > 1 else decoder.decode
            logits = append(chip, np.array(ids[start:end], np.int32))
            rows.append(chip.all_gather(logits, dim=-1).to_numpy().ravel())
        return np.stack(rows)[:, : builder.config.vocab_size]

    return program


def generate(ids: list[int], count: int, sampling: Sampling) -> Program:
    """The tokens that this chip chooses."""

    def program(builder: DecoderBuilder) -> list[int]:
        chip, decoder = builder.chip, builder.decoder()
        tokens = [programs.step(chip, decoder, ids, sampling, len(ids) + count)]
        while len(tokens) < count:
            tokens.append(programs.step(chip, decoder, tokens[-1:], sampling))
        return tokens

    return program


def configs(variant: str) -> DecoderConfig:
    return tiny_config(**{"eos_token_ids": (), **VARIANTS[variant]})


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_chips", [1, 2, 4, 8, 32])
def test_logits_are_those_of_the_reference(num_chips: int, variant: str) -> None:
    with Model(configs(variant)) as model:
        expected = ReferenceLlama(model.folder).forward(IDS)
        logits, *others = model.run(num_chips, DType.FLOAT32, all_logits(IDS))
    assert others == [None] * (num_chips - 1)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_prefill_and_decode_give_the_logits_of_one_prefill(variant: str) -> None:
    with Model(configs(variant)) as model:
        expected = ReferenceLlama(model.folder).forward(IDS)
        found = same_on_all(model.run(4, DType.FLOAT32, stepwise(IDS, prefill=7)))
    np.testing.assert_allclose(found, expected[6:], rtol=0, atol=5e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_logits_stay_near_the_reference(variant: str) -> None:
    """Logits are about 1 in size, and each of some 20 ops in a row rounds to 8 bits."""
    with Model(configs(variant), "BF16") as model:
        expected = ReferenceLlama(model.folder).forward(IDS)
        for num_chips in (1, 4):
            logits = model.run(num_chips, DType.BFLOAT16, all_logits(IDS))[0]
            assert np.abs(logits - expected).mean() < 0.01
            assert np.abs(logits - expected).max() < 0.08


@broad
@given(
    num_chips=mesh_sizes,
    variant=st.sampled_from(sorted(VARIANTS)),
    temperature=st.sampled_from([0.0, 1.0]),
    top_k=st.sampled_from([0, 1, 5]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([DType.FLOAT32, DType.BFLOAT16]),
)
def test_all_chips_choose_the_same_tokens(
    num_chips: int, variant: str, temperature: float, top_k: int, seed: int, dtype: DType
) -> None:
    sampling = Sampling(temperature, top_k, seed=seed)
    with Model(configs(variant), seed=seed) as model:
        same_on_all(model.run(num_chips, dtype, generate(IDS[:5], 4, sampling)))


@pytest.mark.parametrize("num_chips", [1, 2, 4, 8, 32])
def test_greedy_tokens_are_those_of_the_reference(num_chips: int) -> None:
    with Model(configs("nothing divides")) as model:
        expected = ReferenceLlama(model.folder).greedy(IDS[:6], 5)
        tokens = model.run(num_chips, DType.FLOAT32, generate(IDS[:6], 5, Sampling()))
    assert tokens == [expected] * num_chips


def test_a_new_sequence_frees_the_old_cache() -> None:
    def program(builder: DecoderBuilder) -> tuple[list[int], list[list[int]]]:
        chip, decoder = builder.chip, builder.decoder()
        used, tokens = [], []
        for length in (600, 9, 9):
            tokens.append([programs.step(chip, decoder, IDS[:8], Sampling(), length)])
            used.append(chip.dram.used_bytes)
        return used, tokens

    with Model(configs("untied")) as model:
        ((used, tokens),) = model.run(1, DType.FLOAT32, program)
    assert used[0] > used[1] == used[2]
    assert tokens[0] == tokens[1] == tokens[2]
