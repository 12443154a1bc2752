import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import encode
from meshtwin.deploy.errors import CorruptGguf, UnsupportedGguf
from meshtwin.deploy.gguf import convert_gguf
from meshtwin.deploy.pull import check_folder
from meshtwin.models.hugging_face import read_config
from meshtwin.models.tokenizer import Tokenizer
from meshtwin.models.weights import Checkpoint

from ..models.tiny import random_weights, tiny_config
from ..models.tiny_tokenizer import TEXTS, byte_level_tokenizer
from .tiny_gguf import tokenizer_metadata, write_gguf

VOCAB_SIZE = len(tokenizer_metadata()["tokenizer.ggml.tokens"])
CONFIG = tiny_config(
    vocab_size=VOCAB_SIZE,
    rms_norm_eps=1e-5,
    rope_theta=100_000.0,
    bos_token_ids=(1,),
    eos_token_ids=(2,),
)
Q8_0 = gguf.GGMLQuantizationType.Q8_0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 GGUF of CONFIG."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", CONFIG)


def test_weights_come_back_with_q_and_k_in_halves(tiny: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(convert_gguf(tiny, tmp_path, "float32"))
    expected = random_weights(CONFIG)
    assert set(checkpoint.names()) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(checkpoint.read(name), array, err_msg=name)


def test_bfloat16_is_rounded_once(tiny: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(convert_gguf(tiny, tmp_path, "bfloat16"))
    for name, array in random_weights(CONFIG).items():
        assert checkpoint.dtype(name) == "BF16"
        np.testing.assert_array_equal(checkpoint.read(name), encode(array, DType.BFLOAT16))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_config_is_the_gguf_s(tiny: Path, tmp_path: Path, dtype: str) -> None:
    config = read_config(check_folder(convert_gguf(tiny, tmp_path, dtype)))
    expected = {name: getattr(CONFIG, name) for name in CONFIG.__slots__} | {"dtype": dtype}
    assert {name: getattr(config, name) for name in config.__slots__} == expected


def test_quantised_biased_tied_models_convert(tmp_path: Path) -> None:
    config = tiny_config(
        vocab_size=VOCAB_SIZE, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    )
    path = write_gguf(tmp_path / "tiny.gguf", config, kind=Q8_0)
    folder = convert_gguf(path, tmp_path / "made", "float32")
    read = read_config(check_folder(folder))
    assert (read.qkv_bias, read.output_bias, read.mlp_bias) == (True, True, True)
    assert read.tie_word_embeddings
    checkpoint = Checkpoint(folder)
    for name, array in random_weights(config).items():
        step = np.abs(array).max() / 127 if array.ndim == 2 else 0
        np.testing.assert_allclose(checkpoint.read(name), array, rtol=0, atol=step, err_msg=name)


def test_the_tokenizer_is_the_one_the_gguf_was_made_of(tiny: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer(convert_gguf(tiny, tmp_path))
    original = byte_level_tokenizer()
    for text in [*TEXTS, "a<|im_end|>b<tool call>c"]:
        ids = tokenizer.encode(text)
        assert ids == original.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert tokenizer.decode(tokenizer.encode("<|im_end|><tool call>")) == "<tool call>"
    messages = [{"role": "user", "content": "the cat"}]
    assert tokenizer.chat_text(messages).endswith("the cat<|im_end|>\n<|im_start|>assistant\n")


def test_a_bos_is_added_where_the_gguf_says_so(tmp_path: Path) -> None:
    changes = {"tokenizer.ggml.add_bos_token": True}
    path = write_gguf(tmp_path / "tiny.gguf", CONFIG, changes)
    tokenizer = Tokenizer(convert_gguf(path, tmp_path / "made"))
    assert tokenizer.encode("the")[0] == tokenizer.bos_id
    assert tokenizer.encode("the", add_special_tokens=False)[0] != tokenizer.bos_id


def test_smollm_splits_digits_and_gpt2_does_not(tmp_path: Path) -> None:
    for pre, kinds in (("smollm", ["Digits", "ByteLevel"]), ("gpt-2", ["ByteLevel"])):
        path = write_gguf(tmp_path / "tiny.gguf", CONFIG, {"tokenizer.ggml.pre": pre})
        fields = json.loads((convert_gguf(path, tmp_path / pre) / "tokenizer.json").read_text())
        parts = fields["pre_tokenizer"].get("pretokenizers", [fields["pre_tokenizer"]])
        assert [part["type"] for part in parts] == kinds
        assert parts[0].get("individual_digits", True)


def test_progress_counts_up_to_all_bytes(tiny: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    convert_gguf(tiny, tmp_path, report=lambda *told: seen.append(told))
    done = [done_bytes for _, done_bytes, _ in seen]
    assert done == sorted(done)
    assert seen[-1][1] == seen[-1][2] > 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"general.architecture": "qwen2"}, "architecture 'qwen2'.*llama"),
        ({"llama.expert_count": 8}, "experts"),
        ({"llama.rope.scaling.type": "linear"}, "linear"),
        ({"llama.rope.dimension_count": 4}, "part of a head"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer model 'llama'.*gpt2"),
        ({"tokenizer.ggml.pre": "qwen2"}, "pre-tokenizer 'qwen2'.*smollm"),
        ({"tokenizer.ggml.pre": None}, "pre-tokenizer 'None'.*smollm"),
    ],
)
def test_what_is_not_converted_is_named(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", CONFIG, changes)
    with pytest.raises(UnsupportedGguf, match=word) as caught:
        convert_gguf(path, tmp_path / "made")
    assert caught.value.supported


def test_rotary_factors_and_unknown_tensors_are_not_converted(tmp_path: Path) -> None:
    for name in (
        "rope_freqs.weight",
        "blk.0.ffn_gate_inp.weight",
        "what",
        "blk.9.attn_norm.weight",
    ):
        more = {name: np.ones(32, np.float32)}
        path = write_gguf(tmp_path / "tiny.gguf", CONFIG, more_tensors=more)
        with pytest.raises(UnsupportedGguf, match=name):
            convert_gguf(path, tmp_path / "made")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"llama.block_count": None}, "llama.block_count"),
        ({"llama.block_count": 3}, "no tensor 'model.layers.2"),
        ({"llama.attention.head_count_kv": 4}, "k_proj.* expected shape"),
        ({"llama.attention.head_count_kv": 3}, "num_key_value_heads"),
        ({"llama.attention.head_count": 0}, "head_count"),
        ({"tokenizer.ggml.tokens": None}, "tokens|vocab_size"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "2 token types"),
        ({"tokenizer.ggml.merges": ["never seen"]}, "'never seen'"),
        ({"tokenizer.ggml.merges": ["one"]}, "'one'"),
        ({"tokenizer.ggml.eos_token_id": 10_000}, "eos_token_id 10000"),
        ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": None}, "add_bos"),
    ],
)
def test_what_a_gguf_lacks_is_named(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", CONFIG, changes)
    with pytest.raises(CorruptGguf, match=word):
        convert_gguf(path, tmp_path / "made")


def test_tokens_that_come_twice_are_corrupt(tmp_path: Path) -> None:
    tokens = tokenizer_metadata()["tokenizer.ggml.tokens"]
    changes = {"tokenizer.ggml.tokens": [*tokens[:-1], tokens[-2]]}
    path = write_gguf(tmp_path / "tiny.gguf", CONFIG, changes)
    with pytest.raises(CorruptGguf, match="1 tokens come twice"):
        convert_gguf(path, tmp_path / "made")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_gguf_is_corrupt(tiny: Path, tmp_path: Path, share: float) -> None:
    whole = tiny.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CorruptGguf, match=r"cut\.gguf"):
        convert_gguf(path, tmp_path / "made")


def test_another_dtype_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float16"):
        convert_gguf(tiny, tmp_path, "float16")
