"""The plain-numpy reference against transformers' own numbers (see tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest

from .reference import ReferenceLlama

GOLDEN = Path(__file__).parent.parent / "golden"

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture(scope="module")
def reference(smollm2_float32: Path) -> ReferenceLlama:
    return ReferenceLlama(smollm2_float32)


def test_logits_are_those_of_transformers(reference: ReferenceLlama) -> None:
    golden = np.load(GOLDEN / "smollm2_135m_logits.npz")
    prompt_ids, forced_ids = golden["prompt_ids"], golden["forced_ids"]
    logits = reference.forward([*prompt_ids, *forced_ids[:-1]])[len(prompt_ids) - 1 :]
    best = np.take_along_axis(logits, golden["f32_top20_ids"].astype(np.int64), axis=1)
    np.testing.assert_allclose(best, golden["f32_top20_logits"], rtol=0, atol=2e-3)
    logsumexp = np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    np.testing.assert_allclose(logsumexp, golden["f32_logsumexp"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("number", range(5))
def test_greedy_tokens_are_those_of_transformers(reference: ReferenceLlama, number: int) -> None:
    golden = json.loads((GOLDEN / "smollm2_135m.json").read_text())[number]
    expected = golden["f32"]["ids"][:12]
    assert reference.greedy(golden["prompt_ids"], 12) == expected
