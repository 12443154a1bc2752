"""Generating text: prefill in one pass, then one decode step a token, on an open mesh.

A decode step is one message to each chip and brings back a token id. Wall times are of this
machine, `sim_` times of the emulated chips; a simulated step ends when the last chip ends it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..mesh.device import MeshDevice
from . import programs
from .config import LlamaConfig
from .errors import ContextOverflow, TokenError
from .sampling import Sampling

PS_PER_S = 1e12


@dataclass(slots=True)
class GenerationStatistics:
    """What one generation took. TTFT is the time to the first token: the prefill."""

    num_prompt_tokens: int
    num_new_tokens: int = 0
    wall_ttft_s: float = 0.0
    wall_decode_s: float = 0.0
    sim_ttft_s: float = 0.0
    sim_decode_s: float = 0.0
    stopped_by: str = "max_tokens"
    token_ids: list[int] = field(default_factory=list)

    @property
    def num_decode_steps(self) -> int:
        """Tokens after the first one."""
        return max(0, self.num_new_tokens - 1)

    @property
    def wall_tokens_per_s(self) -> float | None:
        """Decode steps per second of this machine; None before the second token."""
        return self.num_decode_steps / self.wall_decode_s if self.wall_decode_s else None

    @property
    def sim_tokens_per_s_per_user(self) -> float | None:
        """Decode steps per simulated second; None before the second token."""
        return self.num_decode_steps / self.sim_decode_s if self.sim_decode_s else None


class Generator:
    """A model on a mesh, ready to generate.

    Args:
        mesh: an open mesh; the model is cut over all its chips.
        folder: a Hugging Face folder of a Llama-like model.
        dtype: float32 or bfloat16; None takes bfloat16 unless the checkpoint is float32.
    Raises:
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: the folder is not a model of ours.
        OutOfMemory: the model does not fit the chips' DRAM.
    """

    def __init__(self, mesh: MeshDevice, folder: str | Path, dtype: DType | None = None) -> None:
        self.mesh, self.folder = mesh, Path(folder).resolve()
        self.config = LlamaConfig.from_folder(self.folder)
        if dtype is None:
            dtype = DType.FLOAT32 if self.config.dtype == "float32" else DType.BFLOAT16
        self.dtype = dtype
        self.statistics = GenerationStatistics(0)
        self._decoder = mesh.run(programs.load, str(self.folder), self.config, dtype, keep=True)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int = 64,
        sampling: Sampling | None = None,
        stop_ids: Sequence[int] | None = None,
    ) -> Iterator[int]:
        """Yield new token ids one by one, the end-of-sequence token included.

        `statistics` holds what it took, and is complete when the iterator ends.

        Args:
            prompt_ids: at least one token.
            sampling: None is greedy.
            stop_ids: tokens that end the text; None takes the model's end-of-sequence tokens.
        Raises:
            ContextOverflow: prompt and new tokens are more than the model's context.
            TokenError: a prompt id is not in the vocabulary.
        """
        prompt = [int(token) for token in prompt_ids]
        self._check(prompt, max_new_tokens)
        stop = set(self.config.eos_token_ids if stop_ids is None else stop_ids)
        return self._tokens(prompt, max_new_tokens, sampling or Sampling(), stop)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Teacher-forced logits of every position, float32 [S, V], in one prefill."""
        tokens = [int(token) for token in token_ids]
        self._check(tokens, 0)
        answers = self.mesh.run(programs.all_logits, self._decoder, tokens)
        result: NDArray[np.float32] = answers[0]
        return result

    def _tokens(
        self, prompt: list[int], max_new_tokens: int, sampling: Sampling, stop: set[int]
    ) -> Iterator[int]:
        self.statistics = statistics = GenerationStatistics(len(prompt))
        room: int | None = len(prompt) + max_new_tokens
        tokens = prompt
        while statistics.num_new_tokens < max_new_tokens:
            wall_start_s, sim_start_ps = time.perf_counter(), self.mesh.sim_now_ps
            choices = self.mesh.run(programs.step, self._decoder, tokens, sampling, room)
            wall_s = time.perf_counter() - wall_start_s
            sim_s = (self.mesh.sim_now_ps - sim_start_ps) / PS_PER_S
            if len(set(choices)) != 1:
                raise TokenError(f"the chips chose different tokens: {choices}")
            if statistics.num_new_tokens == 0:
                statistics.wall_ttft_s, statistics.sim_ttft_s = wall_s, sim_s
            else:
                statistics.wall_decode_s += wall_s
                statistics.sim_decode_s += sim_s
            statistics.num_new_tokens += 1
            statistics.token_ids.append(choices[0])
            if choices[0] in stop:
                statistics.stopped_by = "end_of_sequence"
            yield choices[0]
            if choices[0] in stop:
                return
            tokens, room = [choices[0]], None

    def _check(self, prompt: list[int], max_new_tokens: int) -> None:
        if not prompt:
            raise TokenError("the prompt is empty: give at least one token")
        if max_new_tokens < 0:
            raise ValueError(f"max_new_tokens (={max_new_tokens}) must be >= 0")
        for token in prompt:
            if not 0 <= token < self.config.vocab_size:
                raise TokenError(
                    f"token id {token} is not in the vocabulary (0 to {self.config.vocab_size - 1})"
                )
        context = self.config.max_position_embeddings
        if len(prompt) + max_new_tokens > context:
            raise ContextOverflow(len(prompt), max_new_tokens, context)
