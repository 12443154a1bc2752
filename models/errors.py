"""What can be wrong with a checkpoint, its tokenizer or a request to a model."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from ..chip.errors import MeshtwinError


class ModelError(MeshtwinError):
    """The checkpoint or the request to the model is at fault, not the mesh."""


class CheckpointNotFound(ModelError):
    """A folder or one of its files is missing; the folder was given by the user."""

    def __init__(self, path: str | Path, missing: str) -> None:
        super().__init__(path, missing)
        self.path, self.missing = path, missing

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.missing}; a checkpoint is a folder in Hugging Face's layout "
            "(config.json, model.safetensors, tokenizer.json)"
        )


class CorruptCheckpoint(ModelError):
    """A file of the checkpoint is there, but is not what its format or the config says."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class UnsupportedModel(ModelError):
    """The checkpoint is sound, but has an architecture or a part that is not built here."""

    def __init__(self, architecture: str, supported: Sequence[str]) -> None:
        super().__init__(architecture, tuple(supported))
        self.architecture, self.supported = architecture, tuple(supported)

    def __str__(self) -> str:
        return f"{self.architecture} is not supported; supported: {', '.join(self.supported)}"


class TokenizerError(ModelError):
    """The tokenizer's files, a chat template or the messages given to it are at fault."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class TokenError(ModelError):
    """A prompt's token ids are none, or not in the vocabulary."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


class ContextOverflow(ModelError):
    """The prompt and the tokens asked for do not fit in the model's context."""

    def __init__(self, num_prompt_tokens: int, max_new_tokens: int, context: int) -> None:
        super().__init__(num_prompt_tokens, max_new_tokens, context)
        self.num_prompt_tokens = num_prompt_tokens
        self.max_new_tokens = max_new_tokens
        self.context = context

    def __str__(self) -> str:
        room = max(0, self.context - self.num_prompt_tokens)
        advice = f"at most {room} new tokens fit after this prompt"
        if not room and self.max_new_tokens < self.context:
            longest = self.context - self.max_new_tokens
            advice = f"the largest prompt before {self.max_new_tokens} new tokens is {longest}"
        return (
            f"{self.num_prompt_tokens} prompt tokens + {self.max_new_tokens} new ones > the "
            f"context of {self.context}; {advice}"
        )


class SequenceReplaced(ModelError):
    """A generation was taken up again after another had begun on its Generator."""

    def __init__(self, num_new_tokens: int) -> None:
        super().__init__(num_new_tokens)
        self.num_new_tokens = num_new_tokens

    def __str__(self) -> str:
        return (
            f"another sequence began after {self.num_new_tokens} new tokens of this one, and the "
            "chips keep one cache: finish one sequence first, or make two Generators"
        )


def nearest(name: str, known: Sequence[str]) -> str:
    """The closest of the known names as the end of an error text, or the first few of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"the nearest is {close[0]!r}"
    return f"there are {', '.join(map(repr, known[:6]))}" if known else "there are none"


class UnknownShape(ModelError):
    """No model of that name is in the catalogue of shapes, and no file has it."""

    def __init__(self, name: str, nearest_known: str, known: Sequence[str]) -> None:
        super().__init__(name, nearest_known, tuple(known))
        self.name, self.nearest_known, self.known = name, nearest_known, tuple(known)

    def __str__(self) -> str:
        hint = f": did you mean {self.nearest_known!r}?" if self.nearest_known else "."
        what = f"unknown model {self.name!r}{hint}" if self.name.strip() else "the model is empty."
        return (
            f"{what} Known: {', '.join(self.known)}; or give a Hugging Face folder or a config.json"
        )


class UnknownShapePath(UnknownShape):
    """What was given for a model looks like a path, and nothing is there."""

    def __str__(self) -> str:
        hint = f"; of the known models the nearest is {self.nearest_known!r}"
        return f"there is no file or folder {self.name!r}{hint if self.nearest_known else ''}"


class PlanError(ModelError, ValueError):
    """A plan that cannot be: says why, and what could."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
