"""Choosing the next token from logits: greedy, or seeded sampling."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose. temperature 0 is greedy; top_k 0 and top_p 1 mean no limit.

    The same seed gives the same tokens on any mesh whose logits are equal: the choice at position
    p of a sequence depends on (seed, p) and on the logits only.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise ValueError(f"temperature (={self.temperature}) must be from 0 to 100")
        if self.top_k < 0:
            raise ValueError(f"top_k (={self.top_k}) must be >= 0 (0: no limit)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p (={self.top_p}) must be over 0 and at most 1")
        if self.seed < 0:
            raise ValueError(f"seed (={self.seed}) must be >= 0")

    @property
    def is_greedy(self) -> bool:
        """Is the best token always taken?"""
        return self.temperature == 0 or self.top_k == 1


def choose(
    logits_V: NDArray[np.float32],
    token_ids_V: NDArray[np.integer],
    sampling: Sampling,
    position: int,
) -> int:
    """One token id, drawn from the candidates as `sampling` says.

    Temperature first, then the top_k best, then the smallest set of best tokens whose probability
    reaches top_p. Candidates are ordered by logit and then by id, so equal logits never make the
    result depend on the order in which chips sent them.

    Args:
        logits_V: the candidates' logits, float32 [V].
        token_ids_V: their token ids [V], distinct; negative ids are padding and never drawn.
        position: of the token in its sequence; with the seed it fixes the random number.
    """
    real = token_ids_V >= 0
    logits_V, token_ids_V = logits_V[real].astype(np.float64), token_ids_V[real]
    order = np.lexsort((token_ids_V, -logits_V))
    if sampling.is_greedy:
        return int(token_ids_V[order[0]])
    if sampling.top_k:
        order = order[: sampling.top_k]
    scaled = logits_V[order] / sampling.temperature
    weights = np.exp(np.maximum(scaled - scaled[0], -700.0))
    probabilities = weights / weights.sum()
    before = np.cumsum(probabilities) - probabilities
    kept = before < sampling.top_p
    kept[0] = True
    probabilities = np.where(kept, probabilities, 0.0)
    draw = np.random.default_rng((sampling.seed, position)).random()
    cumulative = np.cumsum(probabilities)
    index = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
    return int(token_ids_V[order[min(index, int(kept.sum()) - 1)]])
