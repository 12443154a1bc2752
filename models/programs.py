"""The programs that a language model runs on the chips: load, start, prefill and decode."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .builder import load_decoder
from .config import DecoderConfig
from .decoder import Decoder
from .precision import Precision
from .sampling import Sampling, choose


def load(
    chip: MeshChip,
    folder: str,
    config: DecoderConfig,
    precision: Precision | DType | str,
    compute: ComputeConfig | None = None,
) -> Decoder:
    """Put the chip's part of the model on the chip; kept there for the other programs."""
    return load_decoder(chip, Path(folder), config, precision, compute)


def load_and_prefill(
    chip: MeshChip,
    folder: str,
    config: DecoderConfig,
    precision: Precision | DType | str,
    token_ids: list[int],
    compute: ComputeConfig | None = None,
) -> NDArray[np.float32] | None:
    """`load`, then `all_logits`: what a comparison runs where no model is loaded."""
    return all_logits(chip, load(chip, folder, config, precision, compute), token_ids)


def step(
    chip: MeshChip,
    decoder: Decoder,
    token_ids: list[int],
    sampling: Sampling,
    new_length: int | None = None,
) -> int:
    """Append tokens to the one sequence and choose the next one; every chip chooses the same.

    Args:
        token_ids: the prompt (prefill) or the one token chosen last (decode).
        new_length: begins a new sequence, with room for so many tokens.
    """
    if new_length is not None:
        return prefill(chip, decoder, token_ids, sampling, new=(1, new_length))
    if len(token_ids) > 1:
        return prefill(chip, decoder, token_ids, sampling)
    return int(decode(chip, decoder, token_ids, sampling)[0])


def prefill(
    chip: MeshChip,
    decoder: Decoder,
    token_ids: list[int],
    sampling: Sampling,
    user: int = 0,
    new: tuple[int, int] | None = None,
) -> int:
    """Append tokens to one user's sequence and choose its next one.

    Args:
        new: begins new sequences: of so many users, each with room for so many tokens.
    """
    if new is not None:
        decoder.start(chip, *new)
    logits = decoder.prefill(chip, np.array(token_ids, np.int32), user)
    assert decoder.cache is not None
    return choose_next(chip, decoder, logits, sampling, [decoder.cache.lengths[user]])[0]


def decode(
    chip: MeshChip, decoder: Decoder, token_ids: list[int], sampling: Sampling
) -> NDArray[np.int64]:
    """Append one token to each user's sequence; the next ones, int64 [B].

    Args:
        token_ids: one for each user; -1 leaves a user as it is, and its next one is -1.
    """
    logits = decoder.decode(chip, np.array(token_ids, np.int32))
    assert decoder.cache is not None
    positions = [
        length if token >= 0 else -1
        for token, length in zip(token_ids, decoder.cache.lengths, strict=True)
    ]
    return np.array(choose_next(chip, decoder, logits, sampling, positions), np.int64)


def all_logits(
    chip: MeshChip, decoder: Decoder, token_ids: list[int]
) -> NDArray[np.float32] | None:
    """Teacher-forced logits of every position, float32 [S, V]; on chip 0 only, to read them out."""
    decoder.start(chip, batch=1, max_length=len(token_ids))
    logits = decoder.prefill(chip, np.array(token_ids, np.int32), every=True)
    whole = chip.all_gather(logits, dim=-1)
    if chip.rank != 0:
        return None
    return whole.to_numpy()[0, :, : decoder.config.vocab_size].astype(np.float32)


def choose_next(
    chip: MeshChip, decoder: Decoder, logits: Tensor, sampling: Sampling, positions: list[int]
) -> list[int]:
    """The next token of each sequence, from every chip's logits: rows [..., Vc], one a sequence.

    Only what the choice needs goes round: the best token of each chip when greedy, its top_k best,
    or all logits when there is no top_k. Every chip then draws with the same seed.

    Args:
        positions: of the next tokens; -1: no token is chosen, -1 stands for it.
    """
    num_rows, width = len(positions), logits.shape[-1]
    count = 1 if sampling.is_greedy else min(sampling.top_k, width)
    if count == 0:
        values = chip.all_gather(logits, dim=-1).to_numpy().reshape(num_rows, -1)
        ids = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    else:
        best, where = best_of_all(chip, logits, count)
        values = best.to_numpy().reshape(num_rows, -1)
        local = where.to_numpy().reshape(num_rows, -1).astype(np.int64)
        ids = local + np.repeat(np.arange(chip.num_chips) * width, count)
    ids = np.where(ids < decoder.config.vocab_size, ids, -1)
    rows = zip(values.astype(np.float32), ids, positions, strict=True)
    return [-1 if at < 0 else choose(row, row_ids, sampling, at) for row, row_ids, at in rows]


def best_of_all(chip: MeshChip, logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of each row of each chip's logits, and where each lies on its chip.

    Both are [..., chips x count]. This is what the chips do for a choice; a plan does it too.
    """
    best, where = chip.topk(logits, count)
    return chip.all_gather(best, dim=-1), chip.all_gather(where, dim=-1)
