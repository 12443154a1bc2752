"""How much accuracy a format costs a model: agreement with a float32 run, and perplexity.

Both runs are teacher-forced on the same text, cut into windows that know nothing of each other.

Legend: S positions of a window, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.errors import InvalidArgument
from .generator import Generator

NUM_BEST = 5
Progress = Callable[[int, int], None]
"""Called with the windows done and the windows in all."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model makes of a text.

    Attributes:
        best: the five likeliest next tokens at each position, the likeliest first; int64 [n, 5].
        nll: minus the log of the probability of the token that really follows; float64 [n].
    """

    best: NDArray[np.int64]
    nll: NDArray[np.float64]

    @property
    def perplexity(self) -> float:
        """exp of the mean surprise: between how many tokens the model wavers, in effect."""
        return float(np.exp(self.nll.mean()))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A run beside a reference run on the same text.

    Attributes:
        num_tokens: positions compared.
        top1: the share of them where both choose the same token.
        top5: the share where the choice is among the reference's five likeliest.
    """

    num_tokens: int
    top1: float
    top5: float
    perplexity: float
    reference_perplexity: float


def windows_of(token_ids: Sequence[int], size: int) -> list[list[int]]:
    """A text in windows of `size` tokens; the rest, if it is shorter, is left out.

    Raises:
        InvalidArgument: a window has no next token (size < 2), or the text fills none.
    """
    if size < 2:
        raise InvalidArgument(f"size (={size}) of a window must be >= 2")
    windows = [
        [int(token) for token in token_ids[start : start + size]]
        for start in range(0, len(token_ids) - size + 1, size)
    ]
    if not windows:
        raise InvalidArgument(f"{len(token_ids)} tokens fill no window of {size}")
    return windows


def score(
    generator: Generator, windows: Sequence[Sequence[int]], progress: Progress | None = None
) -> Scores:
    """Run a model over windows of tokens, each in one prefill.

    Raises:
        TokenError, ContextOverflow: a window does not fit the model.
    """
    best, nll = [], []
    for done, window in enumerate(windows):
        if progress is not None:
            progress(done, len(windows))
        logits_SV = generator.logits(window)[:-1].astype(np.float64)
        following = np.asarray(window[1:])
        best.append(_best(logits_SV))
        nll.append(_surprise(logits_SV, following))
    if progress is not None:
        progress(len(windows), len(windows))
    return Scores(np.concatenate(best), np.concatenate(nll))


def accuracy(own: Scores, reference: Scores) -> Accuracy:
    """What a run keeps of the reference's choices; both must be of the same windows."""
    choice = own.best[:, :1]
    return Accuracy(
        num_tokens=len(choice),
        top1=float((choice == reference.best[:, :1]).mean()),
        top5=float((choice == reference.best).any(axis=1).mean()),
        perplexity=own.perplexity,
        reference_perplexity=reference.perplexity,
    )


def _best(logits_SV: NDArray[np.float64]) -> NDArray[np.int64]:
    """The likeliest tokens of each position; of equal ones the lowest id first."""
    count = min(NUM_BEST, logits_SV.shape[1])
    return np.argsort(-logits_SV, axis=1, kind="stable")[:, :count]


def _surprise(logits_SV: NDArray[np.float64], following: NDArray[np.int64]) -> NDArray[np.float64]:
    """Minus the log-probability of each following token."""
    shifted = logits_SV - logits_SV.max(axis=1, keepdims=True)
    of_following = shifted[np.arange(len(following)), following]
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - of_following)
