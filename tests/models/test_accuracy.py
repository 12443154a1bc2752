"""Agreement and perplexity: by hand, and of a tiny model against the plain-numpy reference."""

import numpy as np
import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.mesh.device import MeshDevice
from meshtwin.models.accuracy import Scores, accuracy, score, windows_of
from meshtwin.models.generator import Generator

from .reference import ReferenceLlama
from .sharded import Model
from .tiny import tiny_config

TEXT = [int(token) for token in np.random.default_rng(3).integers(0, 96, 70)]


def test_windows_leave_out_the_rest() -> None:
    assert windows_of(range(7), 3) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(("count", "size"), [(5, 1), (5, 6), (0, 2)])
def test_a_window_that_cannot_be_is_refused(count: int, size: int) -> None:
    with pytest.raises(InvalidArgument):
        windows_of(range(count), size)


def test_agreement_by_hand() -> None:
    reference = Scores(np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]]), np.log([2.0] * 4))
    own = Scores(np.array([[1, 2, 3], [5, 4, 6], [9, 8, 7], [6, 2, 3]]), np.log([4.0] * 4))
    result = accuracy(own, reference)
    assert (result.num_tokens, result.top1, result.top5) == (4, 0.25, 0.75)
    assert result.perplexity == pytest.approx(4) and result.reference_perplexity == pytest.approx(2)


@pytest.mark.ray
def test_scores_are_those_of_the_reference(p300_mesh: MeshDevice) -> None:
    windows, seen = windows_of(TEXT, 20), []
    with Model(tiny_config(eos_token_ids=())) as model:
        generator = Generator(p300_mesh, model.folder, "float32")
        scores = score(generator, windows, lambda done, count: seen.append((done, count)))
        logits = [ReferenceLlama(model.folder).forward(window)[:-1] for window in windows]
        low = score(Generator(p300_mesh, model.folder, "bfloat16"), windows)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    every = np.concatenate(logits).astype(np.float64)
    following = np.concatenate([window[1:] for window in windows])
    shares = np.exp(every) / np.exp(every).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.nll, -np.log(shares[np.arange(57), following]), atol=1e-4)
    np.testing.assert_array_equal(scores.best[:, 0], every.argmax(axis=1))
    assert scores.best.shape == (57, 5)
    result = accuracy(low, scores)
    assert 0.8 < result.top1 <= result.top5 <= 1.0
    assert result.perplexity == pytest.approx(result.reference_perplexity, rel=0.02)
    assert accuracy(scores, scores).top1 == 1.0
