"""Generating text: prefill in one pass, then one decode step a token, on an open mesh.

A decode step is one message to each chip and brings back a token id. Wall times are of this
machine, `sim_` times of the emulated chips; a simulated step ends when the last chip ends it.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.errors import InvalidArgument, OpError
from ..chip.units import PS_PER_S
from ..mesh.device import MeshDevice, Program
from . import programs
from .config import DecoderConfig
from .errors import ContextOverflow, SequenceReplaced, TokenError
from .generation_statistics import GenerationStatistics
from .precision import Precision
from .sampling import Sampling
from .shapes import open_folder


class Generator:
    """A model on a mesh, ready to generate, one sequence or one batch at a time.

    The folder is checked here, in the driver, before any chip reads a weight.

    Args:
        mesh: an open mesh; the model is cut over all its chips.
        folder: a Hugging Face folder of a Llama-like model.
        precision: of weights, activations and cache: float32, bfloat16, "performance", "accuracy"
            or a format of the weights such as bfp8_b; None takes bfloat16 unless the checkpoint is
            float32.
        compute: what the linear layers and attention are computed with; None: see compute.py.
    Raises:
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: the folder is not a model of ours.
        DTypeError: there is no such precision.
        OutOfMemory: the model does not fit the chips' DRAM.
    """

    def __init__(
        self,
        mesh: MeshDevice,
        folder: str | Path,
        precision: Precision | DType | str | None = None,
        compute: ComputeConfig | None = None,
    ) -> None:
        self.mesh, self.folder = mesh, Path(folder).resolve()
        self.config, _ = open_folder(self.folder)
        self.precision = _precision(self.config, precision)
        self.statistics = GenerationStatistics(0)
        self._decoder = mesh.run(
            programs.load, str(self.folder), self.config, self.precision, compute, keep=True
        )

    @property
    def dtype(self) -> DType:
        """The format of the activations."""
        return self.precision.activations

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int = 64,
        sampling: Sampling | None = None,
        stop_ids: Collection[int] | None = None,
    ) -> Iterator[int]:
        """Yield new token ids one by one, the end-of-sequence token included.

        `statistics` holds what it took, and is complete when the iterator ends. The sequence
        begins with the first token taken, and ends any earlier one of this Generator.

        Args:
            prompt_ids: at least one token.
            sampling: None is greedy.
            stop_ids: tokens that end the text; None takes the model's end-of-sequence tokens.
        Raises:
            TokenError: the prompt is empty, or one of its ids is not in the vocabulary.
            InvalidArgument: max_new_tokens is negative.
            ContextOverflow: prompt and new tokens are more than the model's context.
            OutOfMemory: (at the first token) the cache does not fit the chips' DRAM.
            SequenceReplaced: (at a later token) another sequence began on this Generator.
        """
        prompt = [int(token) for token in prompt_ids]
        self._check(prompt, max_new_tokens)
        stop = frozenset(self.config.eos_token_ids if stop_ids is None else stop_ids)
        return self._tokens(prompt, max_new_tokens, sampling or Sampling(), stop)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Teacher-forced logits of every position, float32 [S, V], in one prefill.

        Raises as `generate` does; like a generation, it ends any earlier one.
        """
        tokens = [int(token) for token in token_ids]
        self._check(tokens, 0)
        self.statistics = GenerationStatistics(len(tokens))
        answers = self.mesh.run(programs.all_logits, self._decoder, tokens)
        result: NDArray[np.float32] = answers[0]
        return result

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int = 64,
        sampling: Sampling | None = None,
        stop_ids: Collection[int] | None = None,
    ) -> list[GenerationStatistics]:
        """Generate for many users at once: what each took, its `token_ids` among it, by prompt.

        The prompts are prefilled one after another; then every step decodes a token of each user,
        until each has met its own end. A user's tokens are those of its prompt alone: to the last
        bit of the logits on one or two chips; on more, where a sum's order depends on how many rows
        an all_reduce has, up to its rounding.

        Args:
            prompts: one or more; they may differ in length.
            max_new_tokens, sampling, stop_ids: of each user; see `generate`.
        Raises:
            as `generate` does; like a generation, it ends any earlier one.
        """
        wanted = [[int(token) for token in prompt] for prompt in prompts]
        if not wanted:
            raise TokenError("there are no prompts: give at least one")
        for prompt in wanted:
            self._check(prompt, max_new_tokens)
        stop = frozenset(self.config.eos_token_ids if stop_ids is None else stop_ids)
        self.statistics = GenerationStatistics(sum(map(len, wanted)))
        users = [GenerationStatistics(len(prompt)) for prompt in wanted]
        if max_new_tokens:
            self._prefill_all(users, wanted, max_new_tokens, sampling or Sampling(), stop)
        while any(user.may_go_on(max_new_tokens) for user in users):
            going = [user.may_go_on(max_new_tokens) for user in users]
            last = [
                user.token_ids[-1] if goes else -1 for user, goes in zip(users, going, strict=True)
            ]
            tokens, wall_s, sim_s = self._run(programs.decode, last, sampling or Sampling())
            for user, token, goes in zip(users, tokens.tolist(), going, strict=True):
                if goes:
                    user.add(token, wall_s, sim_s, stop)
        return users

    def _prefill_all(
        self,
        users: list[GenerationStatistics],
        prompts: list[list[int]],
        max_new_tokens: int,
        sampling: Sampling,
        stop: Collection[int],
    ) -> None:
        """Begin new sequences and append each user's prompt."""
        new: tuple[int, int] | None = (len(users), max(map(len, prompts)) + max_new_tokens)
        all_wall_s = all_sim_s = 0.0
        for number, (user, prompt) in enumerate(zip(users, prompts, strict=True)):
            token, wall_s, sim_s = self._run(programs.prefill, prompt, sampling, number, new)
            all_wall_s, all_sim_s, new = all_wall_s + wall_s, all_sim_s + sim_s, None
            user.add(token, all_wall_s, all_sim_s, stop)

    def _tokens(
        self, prompt: list[int], max_new_tokens: int, sampling: Sampling, stop: Collection[int]
    ) -> Iterator[int]:
        self.statistics = statistics = GenerationStatistics(len(prompt))
        tokens, room = prompt, len(prompt) + max_new_tokens
        while statistics.may_go_on(max_new_tokens):
            if self.statistics is not statistics:  # the chips' cache holds another sequence now
                raise SequenceReplaced(statistics.num_new_tokens)
            new_length = None if statistics.token_ids else room
            token, wall_s, sim_s = self._run(programs.step, tokens, sampling, new_length)
            statistics.add(token, wall_s, sim_s, stop)
            yield token
            tokens = [token]

    def _run(self, program: Program, *args: Any) -> tuple[Any, float, float]:
        """What every chip chose in a step on the decoder, and its wall and simulated seconds."""
        wall_start_s, sim_start_ps = time.perf_counter(), self.mesh.sim_now_ps
        choices = self.mesh.run(program, self._decoder, *args)
        wall_s = time.perf_counter() - wall_start_s
        for rank, choice in enumerate(choices):
            if not np.array_equal(choice, choices[0]):
                what = f"chose token {choice}, but chip 0 chose {choices[0]}"
                raise OpError(rank, "choose", what)
        return choices[0], wall_s, (self.mesh.sim_now_ps - sim_start_ps) / PS_PER_S

    def _check(self, prompt: list[int], max_new_tokens: int) -> None:
        if not prompt:
            raise TokenError("the prompt is empty: give at least one token")
        if max_new_tokens < 0:
            raise InvalidArgument(f"max_new_tokens (={max_new_tokens}) must be >= 0")
        for token in prompt:
            if not 0 <= token < self.config.vocab_size:
                raise TokenError(
                    f"token id {token} is not in the vocabulary (0 to {self.config.vocab_size - 1})"
                )
        context = self.config.max_position_embeddings
        if len(prompt) + max_new_tokens > context:
            raise ContextOverflow(len(prompt), max_new_tokens, context)


def _precision(config: DecoderConfig, asked: Precision | DType | str | None) -> Precision:
    if asked is None:
        asked = DType.FLOAT32 if config.dtype == "float32" else DType.BFLOAT16
    return Precision.parse(asked)
