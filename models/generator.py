"""Generating text: prefill in one pass, then one decode step a token, on an open mesh.

A decode step is one message to each chip and brings back a token id. Wall times are of this
machine, `sim_` times of the emulated chips; a simulated step ends when the last chip ends it.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.errors import InvalidArgument, OpError
from ..chip.units import PS_PER_S
from ..mesh.device import MeshDevice
from . import programs
from .config import DecoderConfig
from .errors import ContextOverflow, SequenceReplaced, TokenError
from .precision import Precision
from .sampling import Sampling
from .shapes import open_folder


@dataclass(slots=True)
class GenerationStatistics:
    """What one generation took so far. TTFT is the time to the first token: the prefill.

    Attributes:
        token_ids: the new tokens, the end-of-sequence token included.
        stopped_by: "end_of_sequence" or "max_tokens".
    """

    num_prompt_tokens: int
    token_ids: list[int] = field(default_factory=list)
    stopped_by: str = "max_tokens"
    wall_ttft_s: float = 0.0
    wall_decode_s: float = 0.0
    sim_ttft_s: float = 0.0
    sim_decode_s: float = 0.0

    @property
    def num_new_tokens(self) -> int:
        """Tokens generated."""
        return len(self.token_ids)

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

    def add(self, token: int, wall_s: float, sim_s: float) -> None:
        """Note a step: the first is the prefill, the others are decode."""
        if not self.token_ids:
            self.wall_ttft_s, self.sim_ttft_s = wall_s, sim_s
        else:
            self.wall_decode_s += wall_s
            self.sim_decode_s += sim_s
        self.token_ids.append(token)


class Generator:
    """A model on a mesh, ready to generate, one sequence at a time.

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

    def _tokens(
        self, prompt: list[int], max_new_tokens: int, sampling: Sampling, stop: Collection[int]
    ) -> Iterator[int]:
        self.statistics = statistics = GenerationStatistics(len(prompt))
        tokens, room = prompt, len(prompt) + max_new_tokens
        while statistics.num_new_tokens < max_new_tokens:
            if self.statistics is not statistics:  # the chips' cache holds another sequence now
                raise SequenceReplaced(statistics.num_new_tokens)
            is_first = not statistics.token_ids
            token = self._step(statistics, tokens, sampling, room if is_first else None)
            if token in stop:
                statistics.stopped_by = "end_of_sequence"
            yield token
            if token in stop:
                return
            tokens = [token]

    def _step(
        self,
        statistics: GenerationStatistics,
        tokens: list[int],
        sampling: Sampling,
        new_length: int | None,
    ) -> int:
        """Append tokens to the sequence on the chips; the next one, noted with its times."""
        wall_start_s, sim_start_ps = time.perf_counter(), self.mesh.sim_now_ps
        choices = self.mesh.run(programs.step, self._decoder, tokens, sampling, new_length)
        wall_s = time.perf_counter() - wall_start_s
        token: int = choices[0]
        for rank, choice in enumerate(choices):
            if choice != token:
                raise OpError(rank, "choose", f"chose token {choice}, but chip 0 chose {token}")
        statistics.add(token, wall_s, (self.mesh.sim_now_ps - sim_start_ps) / PS_PER_S)
        return token

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
