"""Rebuilding a byte-level BPE tokenizer from a GGUF's metadata, as Hugging Face's files."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from .errors import CorruptGguf, UnsupportedGguf

# Source: gguf-py, constants.TokenType.
CONTROL, USER_DEFINED = 3, 4


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _smollm() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


PRE_TOKENIZERS: Final[Mapping[str, Callable[[], pre_tokenizers.PreTokenizer]]] = {
    "gpt-2": _gpt2,
    "smollm": _smollm,  # as HuggingFaceTB/SmolLM2-135M-Instruct, tokenizer.json
}


def build_tokenizer(path: Path, metadata: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer that `tokenizer.ggml.*` describes.

    Args:
        path: the GGUF, for error texts.
        metadata: the GGUF's keys and values.
    Raises: UnsupportedGguf for another tokenizer model or pre-tokenizer; CorruptGguf.
    """
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        found = metadata.get("tokenizer.ggml.model")
        raise UnsupportedGguf(path, f"tokenizer model {found!r}", ("gpt2",))
    pre = str(metadata.get("tokenizer.ggml.pre"))
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedGguf(path, f"pre-tokenizer {pre!r}", tuple(PRE_TOKENIZERS))
    tokens = _strings(path, metadata, "tokenizer.ggml.tokens")
    tokenizer = tokenizers.Tokenizer(_bpe(path, tokens, metadata))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    _add_special_tokens(path, tokenizer, tokens, metadata)
    if metadata.get("tokenizer.ggml.add_bos_token"):
        bos = named_tokens(path, metadata).get("bos_token")
        if bos is None:
            raise CorruptGguf(path, "add_bos_token without a bos_token_id")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, tokens.index(bos))],
        )
    return tokenizer


def write_tokenizer(path: Path, metadata: Mapping[str, Any], context: int, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json (with the chat template) into a folder."""
    build_tokenizer(path, metadata).save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **named_tokens(path, metadata),
    }
    template = metadata.get("tokenizer.chat_template")
    if isinstance(template, str):
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def named_tokens(path: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token and so on, as text, as far as the metadata has their ids."""
    tokens = _strings(path, metadata, "tokenizer.ggml.tokens")
    named = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if token_id is None:
            continue
        if not isinstance(token_id, int) or not 0 <= token_id < len(tokens):
            raise CorruptGguf(path, f"{key}_token_id {token_id} is not one of {len(tokens)} tokens")
        named[f"{name}_token"] = tokens[token_id]
    return named


def _bpe(path: Path, tokens: Sequence[str], metadata: Mapping[str, Any]) -> models.BPE:
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise CorruptGguf(path, f"{len(tokens) - len(vocabulary)} tokens come twice")
    merges: list[tuple[str, str]] = []
    for merge in _strings(path, metadata, "tokenizer.ggml.merges"):
        first, space, second = merge.partition(" ")
        if not space or not {first, second, first + second} <= vocabulary.keys():
            raise CorruptGguf(path, f"merge {merge!r} is not of two tokens into one")
        merges.append((first, second))
    return models.BPE(vocab=vocabulary, merges=merges)


def _add_special_tokens(
    path: Path, tokenizer: tokenizers.Tokenizer, tokens: Sequence[str], metadata: Mapping[str, Any]
) -> None:
    """Keep control tokens (special) and user-defined ones whole wherever a text has them."""
    kinds = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    if len(kinds) != len(tokens):
        raise CorruptGguf(path, f"{len(tokens)} tokens, but {len(kinds)} token types")
    added = [
        tokenizers.AddedToken(token, special=kind == CONTROL, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in (CONTROL, USER_DEFINED)
    ]
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])


def _strings(path: Path, metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise CorruptGguf(path, f"{key} is missing, or no list of strings")
    return value
