import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import EXACT, ComputeConfig, Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.fidelity import attention_operands
from meshtwin.chip.tensor import Array

FLOATS = st.sampled_from([DType.FLOAT32, DType.BFLOAT16])


def oracle(q: Array, k: Array, v: Array, start: int, scale: float) -> Array:
    """Attention in float64, one query at a time."""
    batch, heads, positions, _ = q.shape
    group = heads // k.shape[1]
    out = np.empty(q.shape)
    for b, head, row in np.ndindex(batch, heads, positions):
        seen = start + row + 1
        scores = k[b, head // group, :seen].astype(float) @ q[b, head, row] * scale
        powers = np.exp(scores - scores.max())
        out[b, head, row] = powers / powers.sum() @ v[b, head // group, :seen].astype(float)
    return out


@given(
    FLOATS,
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 20),
    st.integers(0, 5),
    st.sampled_from([6, 16, 64]),
)
def test_attention_agrees_with_float64_for_prefill_and_decode(
    dtype: DType,
    batch: int,
    kv_heads: int,
    group: int,
    positions: int,
    start: int,
    spare: int,
    width: int,
) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(start)
    cache_shape = (batch, kv_heads, start + positions + spare, width)
    q = chip.tensor(rng.standard_normal((batch, kv_heads * group, positions, width)), dtype)
    k, v = (chip.tensor(rng.standard_normal(cache_shape), dtype) for _ in range(2))
    out = chip.attention(q, k, v, start)
    exact = oracle(q.to_float32(), k.to_float32(), v.to_float32(), start, width**-0.5)
    step = 2.0**-8 if dtype is DType.BFLOAT16 else 1e-6
    assert (out.shape, out.dtype) == (q.shape, dtype)
    assert np.allclose(out.to_float32(), exact, rtol=step, atol=1e-5)


def test_the_scale_can_be_given() -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    q, k = (chip.tensor(rng.standard_normal((1, 1, 4, 16))) for _ in range(2))
    exact = oracle(q.to_float32(), k.to_float32(), k.to_float32(), 0, 0.5)
    assert np.allclose(chip.attention(q, k, k, 0, scale=0.5).to_float32(), exact, atol=1e-5)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
def test_a_cache_filled_step_by_step_gives_what_prefill_gives(dtype: DType) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, heads, 6, 16)) for heads in (4, 2, 2))
    caches = [chip.empty((1, 2, 9, 16), dtype) for _ in range(2)]
    all_of = [chip.tensor(x, dtype) for x in (q, k, v)]
    whole = chip.attention(all_of[0], all_of[1], all_of[2], 0).to_float32()
    for start, stop in [(0, 3), (3, 4), (4, 6)]:
        for cache, x in zip(caches, (k, v), strict=True):
            chip.update_cache(cache, chip.tensor(x[:, :, start:stop], dtype), start)
        out = chip.attention(chip.tensor(q[:, :, start:stop], dtype), caches[0], caches[1], start)
        assert np.allclose(out.to_float32(), whole[:, :, start:stop], rtol=1e-6, atol=1e-6)


def test_what_does_not_fit_the_cache_is_refused() -> None:
    chip = Chip.open("p150")
    cache = chip.empty((1, 2, 4, 16))
    x = chip.empty((1, 2, 3, 16))
    with pytest.raises(InvalidArgument, match=r"positions 2 \.\. 4"):
        chip.attention(x, cache, cache, 2)
    with pytest.raises(ShapeError, match="3 query heads over 2 key-value heads"):
        chip.attention(chip.empty((1, 3, 1, 16)), cache, cache, 0)
    with pytest.raises(ShapeError, match=r"expected k \[1, K, L, 8\]"):
        chip.attention(chip.empty((1, 2, 1, 8)), cache, cache, 0)
    with pytest.raises(DTypeError, match="expected k and v alike"):
        chip.attention(chip.empty((1, 2, 1, 16), DType.FLOAT32), cache, cache, 0)


def test_a_longer_history_takes_longer() -> None:
    chip = Chip.open("p300c", plan=True)
    q, cache = chip.empty((1, 32, 1, 128)), chip.empty((1, 8, 8192, 128))
    for start in (0, 4000, 8000):
        chip.attention(q, cache, cache, start)
    short, middle, long = (record.sim_duration_ps for record in chip.recorder.records())
    assert short < middle < long


@pytest.mark.parametrize("fidelity", ["LoFi", "HiFi2", "HiFi4"])
def test_a_fidelity_cuts_what_is_multiplied_and_takes_its_phases(fidelity: str) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    q, k, v = (chip.tensor(rng.standard_normal((1, n, 40, 64)), "bf16") for n in (4, 2, 2))
    config = ComputeConfig(Fidelity.parse(fidelity))
    arrays = [tensor.storage for tensor in (q, k, v)]
    cut = attention_operands(config.fidelity, *[array for array in arrays if array is not None])
    in0, keys, values = (chip.tensor(array, "bf16") for array in cut)
    found = chip.attention(q, k, v, 0, compute=config)
    assert np.array_equal(found.to_numpy(), chip.attention(in0, keys, values, 0).to_numpy())
    first, second = chip.recorder.records()[-2:]
    assert first.fidelity_phases == config.fidelity.phases
    assert second.fidelity_phases == 2  # of ttnn's default, HiFi2


def test_without_a_config_attention_is_that_of_whole_operands() -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    for dtype, config in (("bf16", ComputeConfig(Fidelity.HIFI4)), ("float32", EXACT)):
        q, k = (chip.tensor(rng.standard_normal((1, n, 9, 32)), dtype) for n in (4, 2))
        plain, configured = chip.attention(q, k, k, 0), chip.attention(q, k, k, 0, compute=config)
        assert np.array_equal(plain.to_numpy(), configured.to_numpy())


def test_an_approximate_exponential_moves_probabilities_by_a_few_percent() -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    q, k, v = (chip.tensor(rng.standard_normal((2, n, 40, 64))) for n in (4, 2, 2))
    exact = chip.attention(q, k, v, 0).to_numpy()
    approx = chip.attention(q, k, v, 0, compute=EXACT.but(approx=True)).to_numpy()
    assert 1e-3 < np.abs(approx - exact).max() < 0.15
    empty = chip.tensor(np.zeros((0, 4, 40, 64)))
    cache = chip.tensor(np.zeros((0, 2, 40, 64)))
    assert chip.attention(empty, cache, cache, 0, compute=EXACT.but(approx=True)).shape[0] == 0
