"""Generating on real meshes: one Ray actor a chip, tiny random checkpoints."""

import gc
import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshtwin.chip.compute_config import ComputeConfig, Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, MeshtwinError, OutOfMemory
from meshtwin.mesh.device import MeshDevice, open_mesh
from meshtwin.models.config import DecoderConfig
from meshtwin.models.errors import (
    CheckpointNotFound,
    ContextOverflow,
    CorruptCheckpoint,
    SequenceReplaced,
    TokenError,
    UnsupportedModel,
)
from meshtwin.models.generator import Generator
from meshtwin.models.sampling import Sampling
from meshtwin.models.shapes import weight_shapes

from .reference import ReferenceLlama
from .tiny import hf_config, tiny_config, write_tiny

pytestmark = pytest.mark.ray

PROMPT = [3, 1, 4, 1, 5]
BATCH = [PROMPT, [7], [2, 7, 1, 8, 2, 8, 1, 8, 2]]  # users stand at different positions
NUM_NEW = 8
SIZES: dict[str, Any] = {  # 9 heads and 101 tokens divide over none of the meshes
    "vocab_size": 101,
    "num_heads": 9,
    "num_kv_heads": 3,
    "intermediate_size": 50,
    "eos_token_ids": (),
}
SAMPLINGS = {
    "greedy": Sampling(),
    "all": Sampling(1.0, seed=11),
    "top_k": Sampling(1.5, top_k=7, seed=12),
    "top_p": Sampling(2.0, top_p=0.8, seed=13),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"), tiny_config(**SIZES))


@pytest.fixture(scope="module")
def reference(folder: Path) -> ReferenceLlama:
    return ReferenceLlama(folder)


@pytest.fixture(scope="module")
def on_p300(p300_mesh: MeshDevice, folder: Path) -> Generator:
    return Generator(p300_mesh, folder)


@pytest.fixture(params=["p150", "p300", "quietbox2"])
def on_any(request: pytest.FixtureRequest, folder: Path) -> Iterator[Generator]:
    yield Generator(request.getfixturevalue(f"{request.param}_mesh"), folder)


def new_tokens(generator: Generator, count: int = NUM_NEW, **options: Any) -> list[int]:
    return list(generator.generate(PROMPT, count, **options))


def test_greedy_tokens_and_logits_are_the_references_on_every_mesh(
    on_any: Generator, reference: ReferenceLlama
) -> None:
    assert new_tokens(on_any) == reference.greedy(PROMPT, NUM_NEW)
    expected = reference.forward(PROMPT)
    np.testing.assert_allclose(on_any.logits(PROMPT), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_a_seed_gives_the_same_tokens_again_and_on_every_mesh(
    on_any: Generator, on_p300: Generator, kind: str
) -> None:
    first = new_tokens(on_any, sampling=SAMPLINGS[kind])
    assert new_tokens(on_any, sampling=SAMPLINGS[kind]) == first
    assert new_tokens(on_p300, sampling=SAMPLINGS[kind]) == first


def test_another_seed_gives_other_tokens(on_p300: Generator) -> None:
    texts = {tuple(new_tokens(on_p300, sampling=Sampling(2.0, seed=seed))) for seed in range(3)}
    assert len(texts) == 3


def test_a_generation_on_a_used_generator_is_as_on_a_fresh_one(
    on_p300: Generator, folder: Path
) -> None:
    sampled = Sampling(1.0, seed=5)
    used = [new_tokens(on_p300), new_tokens(on_p300, 5, sampling=sampled), new_tokens(on_p300)]
    fresh = [
        new_tokens(Generator(on_p300.mesh, folder)),
        new_tokens(Generator(on_p300.mesh, folder), 5, sampling=sampled),
    ]
    assert used == [*fresh, fresh[0]]


def test_two_models_on_one_mesh_take_turns(on_p300: Generator, folder: Path) -> None:
    expected = new_tokens(on_p300)
    other = Generator(on_p300.mesh, folder)
    turns = list(zip(on_p300.generate(PROMPT, 4), other.generate(PROMPT, 4), strict=True))
    assert turns == [(token, token) for token in expected[:4]]


def test_a_sequence_that_was_replaced_says_so(on_p300: Generator) -> None:
    first = on_p300.generate(PROMPT, NUM_NEW)
    next(first)
    expected = new_tokens(on_p300)
    with pytest.raises(SequenceReplaced, match="after 1 new tokens"):
        next(first)
    second = on_p300.generate(PROMPT, NUM_NEW)
    next(second)
    on_p300.logits(PROMPT)
    with pytest.raises(SequenceReplaced):
        next(second)
    assert new_tokens(on_p300) == expected


def test_a_stop_token_ends_the_text_and_is_its_last(on_p300: Generator) -> None:
    free = new_tokens(on_p300)
    assert on_p300.statistics.stopped_by == "max_tokens"
    stop = free[3]
    assert new_tokens(on_p300, stop_ids=[stop]) == free[: free.index(stop) + 1]
    assert on_p300.statistics.stopped_by == "end_of_sequence"


def test_the_models_own_end_token_stops_unless_other_stops_are_given(
    on_p300: Generator, tmp_path: Path
) -> None:
    free = new_tokens(on_p300)
    config = tiny_config(**{**SIZES, "eos_token_ids": (100, free[2])})
    stopping = Generator(on_p300.mesh, write_tiny(tmp_path, config))
    assert new_tokens(stopping) == free[: free.index(free[2]) + 1]
    assert new_tokens(stopping, stop_ids=()) == free


def test_each_prompt_of_a_batch_gets_the_tokens_that_it_gets_alone(
    on_any: Generator, reference: ReferenceLlama
) -> None:
    users = on_any.generate_batch(BATCH, NUM_NEW)
    assert [user.token_ids for user in users] == [reference.greedy(p, NUM_NEW) for p in BATCH]
    assert [user.num_prompt_tokens for user in users] == [5, 1, 9]
    assert [user.stopped_by for user in users] == ["max_tokens"] * 3


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_a_seed_gives_each_prompt_of_a_batch_the_tokens_that_it_gets_alone(
    on_p300: Generator, kind: str
) -> None:
    sampling = SAMPLINGS[kind]
    together = on_p300.generate_batch(BATCH, NUM_NEW, sampling)
    for user, prompt in zip(together, BATCH, strict=True):
        assert user.token_ids == list(on_p300.generate(prompt, NUM_NEW, sampling))


def test_each_prompt_of_a_batch_ends_at_its_own_stop_token(on_p300: Generator) -> None:
    free = [user.token_ids for user in on_p300.generate_batch(BATCH, NUM_NEW)]
    stops = {free[0][0], free[1][3]}
    users = on_p300.generate_batch(BATCH, NUM_NEW, stop_ids=stops)
    for user, tokens in zip(users, free, strict=True):
        end = next((place for place, token in enumerate(tokens) if token in stops), None)
        assert user.token_ids == tokens[: NUM_NEW if end is None else end + 1]
        assert user.stopped_by == ("max_tokens" if end is None else "end_of_sequence")
    assert users[0].num_new_tokens == 1 and users[0].sim_decode_s == 0


def test_the_times_of_a_batch_are_each_users_own(on_p300: Generator) -> None:
    alone = on_p300.generate_batch([BATCH[0]], NUM_NEW)[0]
    assert alone.sim_ttft_s > 0 and alone.wall_ttft_s > 0
    users = on_p300.generate_batch(BATCH, NUM_NEW)
    ttft = [user.sim_ttft_s for user in users]
    assert alone.sim_ttft_s == pytest.approx(ttft[0]) and ttft == sorted(ttft)
    assert len({user.sim_decode_s for user in users}) == 1
    assert alone.sim_decode_s < users[0].sim_decode_s < 1.5 * alone.sim_decode_s


def test_a_batch_ends_an_earlier_sequence_and_may_be_of_no_tokens(on_p300: Generator) -> None:
    first = on_p300.generate(PROMPT, NUM_NEW)
    next(first)
    users = on_p300.generate_batch([PROMPT, PROMPT], 0)
    assert [user.token_ids for user in users] == [[], []]
    with pytest.raises(SequenceReplaced):
        next(first)
    with pytest.raises(TokenError, match="there are no prompts"):
        on_p300.generate_batch([])
    with pytest.raises(TokenError, match="the prompt is empty"):
        on_p300.generate_batch([PROMPT, []], 1)


def test_the_config_asked_for_is_what_the_chips_compute_with(
    on_p300: Generator, folder: Path, reference: ReferenceLlama
) -> None:
    lofi = Generator(on_p300.mesh, folder, compute=ComputeConfig(Fidelity.LOFI))
    expected = reference.forward(PROMPT)
    off = [np.abs(generator.logits(PROMPT) - expected).mean() for generator in (on_p300, lofi)]
    assert off[0] < 1e-5 and 1e-3 < off[1] < 0.2


def test_no_tokens_and_one_token_may_be_asked_for(on_p300: Generator) -> None:
    sim_before_ps = on_p300.mesh.sim_now_ps
    assert new_tokens(on_p300, 0) == []
    assert on_p300.mesh.sim_now_ps == sim_before_ps
    assert on_p300.statistics.num_new_tokens == on_p300.statistics.num_decode_steps == 0
    assert len(new_tokens(on_p300, 1)) == 1
    assert on_p300.statistics.num_new_tokens == 1
    assert on_p300.statistics.sim_tokens_per_s_per_user is None
    assert on_p300.statistics.wall_tokens_per_s is None


def test_the_whole_context_may_be_used(on_p300: Generator, reference: ReferenceLlama) -> None:
    prompt = [token % 101 for token in range(62)]
    assert list(on_p300.generate(prompt, 2)) == reference.greedy(prompt, 2)


def test_statistics_are_complete_and_sensible(on_p300: Generator) -> None:
    tokens = new_tokens(on_p300)
    took = on_p300.statistics
    assert took.num_prompt_tokens == len(PROMPT) and took.token_ids == tokens
    assert (took.num_new_tokens, took.num_decode_steps) == (NUM_NEW, NUM_NEW - 1)
    assert took.wall_ttft_s > 0 and took.wall_decode_s > 0
    assert took.wall_tokens_per_s == (NUM_NEW - 1) / took.wall_decode_s
    assert took.sim_tokens_per_s_per_user == (NUM_NEW - 1) / took.sim_decode_s
    # Of 40 to 80 ops, two layers and a head, each takes the host 30 us in a prefill; in a step the
    # chip replays them in a few.
    assert 1e-3 < took.sim_ttft_s < 3e-3
    assert 40e-6 < took.sim_decode_s / (NUM_NEW - 1) < 500e-6


def test_simulated_times_are_those_of_the_run_before_and_of_a_mesh_opened_anew(
    on_any: Generator, folder: Path
) -> None:
    def sim_times(generator: Generator) -> tuple[float, float]:
        new_tokens(generator)
        return generator.statistics.sim_ttft_s, generator.statistics.sim_decode_s

    with open_mesh(on_any.mesh.box) as mesh:
        anew = Generator(mesh, folder)
        times = [sim_times(anew), sim_times(anew)]
    times += [sim_times(on_any), sim_times(on_any)]
    assert times == [times[0]] * 4


def test_the_dtype_is_the_checkpoints_unless_another_is_asked_for(
    p150_mesh: MeshDevice, folder: Path, tmp_path: Path
) -> None:
    narrow = write_tiny(tmp_path, tiny_config(**SIZES, dtype="bfloat16"), "BF16")
    assert Generator(p150_mesh, folder).dtype is DType.FLOAT32
    assert Generator(p150_mesh, narrow).dtype is DType.BFLOAT16
    assert Generator(p150_mesh, narrow, "float32").dtype is DType.FLOAT32
    with pytest.raises(DTypeError, match="a model in int32"):
        Generator(p150_mesh, folder, DType.INT32)


@pytest.mark.parametrize(
    ("prompt", "count", "error", "text"),
    [
        ([], 1, TokenError, "the prompt is empty"),
        ([3, 101], 1, TokenError, "token id 101 is not in the vocabulary"),
        ([-1], 1, TokenError, "token id -1 is not in the vocabulary"),
        ([1], -1, InvalidArgument, r"max_new_tokens \(=-1\) must be >= 0"),
        ([1] * 60, 5, ContextOverflow, "at most 4 new tokens fit"),
        ([1] * 65, 0, ContextOverflow, "the largest prompt before 0 new tokens is 64"),
    ],
)
def test_a_bad_request_is_refused_before_any_chip_hears_of_it(
    on_p300: Generator, prompt: list[int], count: int, error: type[MeshtwinError], text: str
) -> None:
    num_ops = [report.num_ops for report in on_p300.mesh.reports()]
    with pytest.raises(error, match=text):
        on_p300.generate(prompt, count)
    assert [report.num_ops for report in on_p300.mesh.reports()] == num_ops
    assert len(new_tokens(on_p300, 1)) == 1


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = {**hf_config(tiny_config(**SIZES)), **changes}
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (truncate, CorruptCheckpoint, "truncated: expected"),
        (without_weights, CheckpointNotFound, r"neither model\.safetensors nor"),
        (with_config(hidden_size=31), CorruptCheckpoint, "the config says"),
        (with_config(num_hidden_layers=3), CorruptCheckpoint, r"no tensor 'model\.layers\.2"),
        (
            with_config(architectures=["OtherForCausalLM"]),
            UnsupportedModel,
            "architecture OtherForCausalLM is not supported; supported: LlamaForCausalLM",
        ),
    ],
)
def test_a_bad_folder_is_refused_before_any_chip_hears_of_it(
    on_p300: Generator,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    error: type[MeshtwinError],
    text: str,
) -> None:
    write_tiny(tmp_path, tiny_config(**SIZES))
    spoil(tmp_path)
    mesh = on_p300.mesh
    used = [report.dram_peak_bytes for report in mesh.reports()]
    with pytest.raises(error, match=text):
        Generator(mesh, tmp_path)
    assert [report.dram_peak_bytes for report in mesh.reports()] == used
    assert len(new_tokens(on_p300, 1)) == 1


def test_no_folder_is_refused(p300_mesh: MeshDevice, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="absent"):
        Generator(p300_mesh, tmp_path / "absent")


def test_a_cache_that_does_not_fit_names_the_chip_and_the_mesh_lives_on(
    p300_mesh: MeshDevice, tmp_path: Path
) -> None:
    """Heads of 2 numbers are padded to 32 in DRAM: 16 bytes are charged for each of ours."""
    sizes = {"num_heads": 64, "num_kv_heads": 64, "head_dim": 2, "num_layers": 6}
    context = 1 << 20
    config = tiny_config(**{**SIZES, **sizes, "max_position_embeddings": context})
    generator = Generator(p300_mesh, write_tiny(tmp_path, config))
    expected = new_tokens(generator)
    with pytest.raises(OutOfMemory) as caught:
        new_tokens(generator, context - len(PROMPT))
    error = caught.value
    assert (error.chip, error.what) == (0, "kv_cache")
    assert error.asked_bytes == 32 * context * 32 * 4 > error.free_bytes
    assert "kv_cache" in str(error) and "Held by: kv_cache" in str(error)
    assert generator.statistics.num_new_tokens == 0
    assert new_tokens(generator) == expected


def write_sparse(folder: Path, config: DecoderConfig) -> Path:
    """A checkpoint of zeros that takes no room on the disk."""
    header, end = {}, 0
    for name, shape in weight_shapes(config).items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(hf_config(config)))
    return folder


def test_a_model_that_does_not_fit_leaves_no_bytes_behind(
    p300_mesh: MeshDevice, folder: Path, tmp_path: Path
) -> None:
    """The file is sparse and its zeros are mapped: no host memory is touched."""
    gc.collect()  # handles of earlier tests that nobody holds any more
    used = [report.dram_used_bytes for report in p300_mesh.reports()]
    config = tiny_config(vocab_size=1 << 20, hidden_size=8192, intermediate_size=1, num_layers=1)
    with pytest.raises(OutOfMemory, match=r"no room for 'lm_head\.weight'"):
        Generator(p300_mesh, write_sparse(tmp_path, config))
    assert [report.dram_used_bytes for report in p300_mesh.reports()] == used
    assert new_tokens(Generator(p300_mesh, folder), 1)
