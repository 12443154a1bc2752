"""Text to token ids and back, and conversations to prompts, as a checkpoint's folder says."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from .chat import ChatTemplate, Message
from .config import read_json
from .detokenizer import StreamDecoder, strips_first_space, token_bytes
from .errors import CheckpointNotFound, TokenizerError

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class Tokenizer:
    """The tokenizer of a Hugging Face folder (tokenizer.json, tokenizer_config.json).

    Raises:
        CheckpointNotFound: no folder, or no tokenizer.json in it.
        TokenizerError: a file is not what it should be.
        CorruptCheckpoint: tokenizer_config.json is not JSON.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointNotFound(self.folder, "no tokenizer.json")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(path, f"no tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        config_path = self.folder / "tokenizer_config.json"
        self._config = read_json(config_path) if config_path.is_file() else {}

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included; a model's own may be padded beyond it."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @cached_property
    def special_tokens(self) -> Mapping[str, str]:
        """bos_token, eos_token, unk_token and pad_token, as far as the config names them."""
        named = {}
        for name in SPECIAL_TOKENS:
            token = self._config.get(name)
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str):
                named[name] = text
        return named

    @property
    def bos_id(self) -> int | None:
        """The id of bos_token, if there is one."""
        return self.token_id(self.special_tokens.get("bos_token"))

    @property
    def eos_id(self) -> int | None:
        """The id of eos_token, if there is one; a model may end with others too."""
        return self.token_id(self.special_tokens.get("eos_token"))

    def token_id(self, token: str | None) -> int | None:
        """The id of a token by its own text, None where there is none."""
        return None if token is None else self._tokenizer.token_to_id(token)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text.

        Special tokens that are written out in the text become their ids, as in transformers:
        do not pass foreign text where that must not be.

        Args:
            add_special_tokens: put those before and after that the tokenizer asks for (a bos).
        Raises: TokenizerError where the text holds half a surrogate pair, so is no text.
        """
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)
        except (TypeError, UnicodeEncodeError) as error:
            raise TokenizerError(self.folder, f"the text cannot be encoded: {error}") from error

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of token ids; ids beyond the vocabulary (rows that pad a model's) are skipped.

        Raises: TokenizerError for a negative id.
        """
        try:
            return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        except OverflowError as error:
            raise TokenizerError(self.folder, f"token ids must be >= 0: {error}") from error

    def stream(self, skip_special_tokens: bool = True) -> StreamDecoder:
        """A decoder for one sequence, token by token, that hands out whole characters only.

        Raises: UnsupportedModel where tokens do not stand for bytes.
        """
        skipped = self._special_ids if skip_special_tokens else frozenset[int]()
        return StreamDecoder(self._pieces, skipped, strips_first_space(self._decoder))

    def chat_text(
        self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The prompt of a conversation as text, by the checkpoint's chat template."""
        return self._chat_template.render(messages, add_generation_prompt, **variables)

    def chat(
        self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any
    ) -> list[int]:
        """The prompt of a conversation as token ids; the template writes the special tokens.

        Raises: TokenizerError where there is no template, or it refuses the messages.
        """
        text = self.chat_text(messages, add_generation_prompt, **variables)
        return self.encode(text, add_special_tokens=False)

    @cached_property
    def _chat_template(self) -> ChatTemplate:
        path = self.folder / "chat_template.jinja"
        if path.is_file():
            source: Any = path.read_text(encoding="utf-8")
        else:
            path = self.folder / "tokenizer_config.json"
            source = self._config.get("chat_template")
        if isinstance(source, list):  # several, by name
            named = {entry.get("name"): entry.get("template") for entry in source}
            source = named.get("default")
        if not isinstance(source, str):
            raise TokenizerError(path, "no chat template: give a prompt, not messages")
        return ChatTemplate(source, path, self.special_tokens)

    @cached_property
    def _decoder(self) -> Any:
        return json.loads(self._tokenizer.to_str())["decoder"]

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        added = self._tokenizer.get_added_tokens_decoder()
        return frozenset(token_id for token_id, token in added.items() if token.special)

    @cached_property
    def _pieces(self) -> Mapping[int, bytes]:
        to_bytes = token_bytes(self._decoder)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        return {token_id: to_bytes(token) for token, token_id in vocabulary.items()}
