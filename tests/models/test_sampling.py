"""Choosing the next token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meshtwin.models.sampling import Sampling, choose

LOGITS = hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-50, 50, width=16))


@given(LOGITS)
def test_greedy_takes_the_best_and_of_equals_the_lowest_id(logits: np.ndarray) -> None:
    ids = np.arange(logits.size)
    assert choose(logits, ids, Sampling(), 0) == int(np.argmax(logits))


@given(LOGITS, st.integers(0, 1000), st.floats(0.1, 5), st.integers(0, 10), st.floats(0.05, 1))
def test_the_order_of_candidates_does_not_matter(
    logits: np.ndarray, seed: int, temperature: float, top_k: int, top_p: float
) -> None:
    sampling = Sampling(temperature, top_k, top_p, seed)
    ids = np.arange(logits.size)
    shuffled = np.random.default_rng(seed).permutation(logits.size)
    expected = choose(logits, ids, sampling, 3)
    assert choose(logits[shuffled], ids[shuffled], sampling, 3) == expected


@given(LOGITS, st.integers(1, 5), st.integers(0, 100))
def test_top_k_never_takes_a_token_below_the_k_best(
    logits: np.ndarray, top_k: int, seed: int
) -> None:
    token = choose(logits, np.arange(logits.size), Sampling(1.0, top_k, 1.0, seed), 0)
    assert int((logits > logits[token]).sum()) < top_k


@given(LOGITS, st.integers(0, 100))
def test_a_tiny_top_p_is_greedy(logits: np.ndarray, seed: int) -> None:
    token = choose(logits, np.arange(logits.size), Sampling(1.0, 0, 1e-9, seed), 0)
    assert token == int(np.argmax(logits))


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    draws = [choose(logits, np.arange(3), Sampling(1.0, seed=7), p) for p in range(4000)]
    shares = np.bincount(draws) / 4000
    assert np.abs(shares - [0.5, 0.3, 0.2]).max() < 0.03


def test_the_same_seed_and_position_give_the_same_token_and_others_differ() -> None:
    logits = np.zeros(1000, np.float32)
    ids = np.arange(1000)
    first = [choose(logits, ids, Sampling(1.0, seed=1), p) for p in range(8)]
    assert first == [choose(logits, ids, Sampling(1.0, seed=1), p) for p in range(8)]
    assert first != [choose(logits, ids, Sampling(1.0, seed=2), p) for p in range(8)]


def test_padding_is_never_drawn() -> None:
    logits = np.array([100.0, 1.0], np.float32)
    assert choose(logits, np.array([-1, 5]), Sampling(), 0) == 5


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"temperature": -1.0}, r"temperature \(=-1.0\) must be from 0 to 100"),
        ({"top_k": -1}, r"top_k \(=-1\) must be >= 0"),
        ({"top_p": 0.0}, r"top_p \(=0.0\) must be over 0"),
        ({"seed": -1}, r"seed \(=-1\) must be >= 0"),
    ],
)
def test_parameters_out_of_range_name_the_bound(kwargs: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Sampling(**kwargs)  # type: ignore[arg-type]
