"""Tokens to bytes, and bytes to text as they come: the part of a tokenizer that streams.

A token is a piece of UTF-8, not always of whole characters. Decoding ever longer lists of ids
and comparing texts (the usual way) costs more with each token and breaks where a late byte
changes an earlier character; bytes do not change once they are out, so here each token becomes
bytes, and Python's incremental UTF-8 decoder holds back an unfinished character.

Two families: byte level (GPT-2, Llama 3, SmolLM) and byte fallback (SentencePiece, Llama 2).
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from .errors import UnsupportedModel

FAMILIES = ("ByteLevel", "ByteFallback")
_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(decoder: Any) -> Callable[[str], bytes]:
    """What a token adds to the text: the family's rule, by the `decoder` of tokenizer.json.

    Raises: UnsupportedModel.
    """
    kinds = set(_kinds(decoder))
    if "ByteLevel" in kinds:
        return byte_level
    if "ByteFallback" in kinds:
        return byte_fallback
    raise UnsupportedModel(f"a tokenizer with decoder {sorted(kinds) or None}", FAMILIES)


def strips_first_space(decoder: Any) -> bool:
    """Whether decoding drops the space before the first word, as Llama 2's decoder does."""
    if not isinstance(decoder, dict):
        return False
    if decoder.get("type") == "Strip":
        return bool(decoder.get("content") == " " and decoder.get("start"))
    if decoder.get("type") == "Metaspace":
        return bool(decoder.get("prepend_scheme") != "never")
    return any(strips_first_space(part) for part in decoder.get("decoders") or ())


def _kinds(decoder: Any) -> Iterable[str]:
    if isinstance(decoder, dict):
        yield str(decoder.get("type"))
        for part in decoder.get("decoders") or ():
            yield from _kinds(part)


@cache
def _byte_of_letter() -> Mapping[str, int]:
    """GPT-2's letters for bytes: printable Latin-1 stands for itself, the rest from U+0100 on.

    Source: openai/gpt-2, encoder.py, bytes_to_unicode.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}


def byte_level(token: str) -> bytes:
    """Each letter is a byte; a token with any other letter was added as plain text."""
    table = _byte_of_letter()
    if all(letter in table for letter in token):
        return bytes(table[letter] for letter in token)
    return token.encode("utf-8", "replace")


def byte_fallback(token: str) -> bytes:
    """<0xE4> is a byte; elsewhere U+2581 is a space."""
    match = _FALLBACK.fullmatch(token)
    return bytes([int(match[1], 16)]) if match else token.replace("▁", " ").encode()


class StreamDecoder:
    """Decode one sequence token by token; every text handed out is whole characters.

    The texts joined are what decoding all the ids at once gives. Bytes that are no UTF-8 become
    U+FFFD, and do so only once it is certain that no later byte mends them.
    """

    def __init__(
        self,
        pieces: Mapping[int, bytes],
        skipped_ids: frozenset[int] = frozenset(),
        strip_first_space: bool = False,
    ) -> None:
        self._pieces = pieces
        self._skipped = skipped_ids
        self._strips = strip_first_space
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that this token completes; "" while a character is unfinished.

        Ids that are skipped, or beyond the vocabulary, add nothing.
        """
        if token_id in self._skipped:
            return ""
        return self._text(self._pieces.get(token_id, b""), final=False)

    def finish(self) -> str:
        """What was held back: U+FFFD for an unfinished character, otherwise ""."""
        return self._text(b"", final=True)

    def _text(self, piece: bytes, final: bool) -> str:
        if piece and self._strips:
            piece, self._strips = piece.removeprefix(b" "), False
        return self._utf8.decode(piece, final)
