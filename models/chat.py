"""Rendering a conversation with the checkpoint's own chat template.

A template comes from outside, so it runs in Jinja's sandbox, with the names that transformers
gives it (`raise_exception`, `strftime_now`, `tojson` without HTML escapes) and no others.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.sandbox

from .errors import TokenizerError

Message = Mapping[str, Any]


class ChatTemplate:
    """A compiled chat template. Raises: TokenizerError where it does not compile."""

    def __init__(self, source: str, path: str | Path, tokens: Mapping[str, str]) -> None:
        """Compile `source` from `path`; `tokens` are bos_token, eos_token and their like."""
        self.path, self.tokens = path, dict(tokens)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TokenizerError(path, f"the chat template does not compile: {error}") from error

    def render(
        self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The prompt's text for a conversation, ready to be encoded.

        Args:
            messages: each has a `role`, and mostly a `content`.
            add_generation_prompt: end where the assistant is to speak.
            variables: more names for the template, as `tools` or `documents`.
        Raises: TokenizerError, also where the template itself refuses the conversation.
        """
        for index, message in enumerate(messages):
            if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
                raise TokenizerError(self.path, f"message {index} (={message!r}) has no role")
        names = {"tools": None, "documents": None, **self.tokens, **variables}
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=add_generation_prompt, **names
            )
        # A template is a program of its own: a message without content is a TypeError in it.
        except Exception as error:
            raise TokenizerError(self.path, f"the chat template failed: {error}") from error


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
