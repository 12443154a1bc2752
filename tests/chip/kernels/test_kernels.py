"""The compiled loops against plain.py, and both against numbers worked out another way."""

import importlib
import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip import kernels
from meshtwin.chip.kernels import plain

from .words import any_words, random_words, to_float64, to_words

Array = npt.NDArray[Any]

SPECIAL_FLOATS = [0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00001]
SPECIAL_FLOATS += [0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x3F808000, 0x3F818000]
SPECIAL_WORDS = [bits >> 16 for bits in SPECIAL_FLOATS] + [0x7FFF, 0xFFA5, 0x0001, 0x807F]

needs_core = pytest.mark.skipif(not kernels.COMPILED, reason="the compiled core is not built")

words_lists = st.lists(st.integers(0, 0xFFFF) | st.sampled_from(SPECIAL_WORDS), max_size=100)
bits_lists = st.lists(st.integers(0, 0xFFFFFFFF) | st.sampled_from(SPECIAL_FLOATS), max_size=100)


def both(core: Any, name: str, out: Array, *args: Any, after: tuple[Any, ...] = ()) -> list[bytes]:
    """The bytes that each of the two implementations writes."""
    results = []
    for module in (core, plain):
        written = np.zeros_like(out)
        getattr(module, name)(*args, written, *after)
        results.append(written.tobytes())
    return results


def test_conversions_agree_bit_by_bit_on_all_words_and_many_floats(core: Any) -> None:
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    first, second = both(core, "widen", np.empty(every.size, np.float32), every)
    assert first == second
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, 300_001, dtype=np.uint32)
    bits[: len(SPECIAL_FLOATS)] = SPECIAL_FLOATS
    bits[1000:2000] = (bits[1000:2000] & 0xFFFF0000) | 0x8000  # ties
    first, second = both(core, "round_words", np.empty(bits.size, np.uint16), bits.view(np.float32))
    assert first == second


@needs_core
@given(bits_lists)
def test_rounding_agrees_bit_by_bit_on_any_floats(bits: list[int]) -> None:
    floats = np.array(bits, np.uint32).view(np.float32)
    compiled = np.empty(floats.size, np.uint16)
    kernels.round_words(floats, compiled)
    assert compiled.tobytes() == to_words(floats).tobytes()


@pytest.mark.parametrize("size", [0, 1, 31, 512, 513, 2000])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_folds_agree_bit_by_bit_on_any_bits(core: Any, size: int, rows: int) -> None:
    words = any_words((rows, size), seed=size)
    first, second = both(core, "fold", words[0], list(words), after=(False,))
    assert first == second
    bits = np.random.default_rng(size).integers(0, 1 << 32, (rows, size), dtype=np.uint32)
    floats = bits.view(np.float32)
    first, second = both(core, "fold", floats[0], list(floats), after=(True,))
    assert first == second


@given(st.lists(words_lists, min_size=1, max_size=5), st.randoms())
def test_a_fold_of_words_rounds_at_every_addition_in_the_order_given(
    rows: list[list[int]], random: Any
) -> None:
    length = min(map(len, rows))
    parts = [np.array(row[:length], np.uint16) for row in rows]
    order = list(range(len(parts)))
    random.shuffle(order)
    with np.errstate(all="ignore"):
        expected = parts[order[0]].copy()
        expected = np.where(np.isnan(to_float64(expected)), np.uint16(0x7FC0), expected)
        for index in order[1:]:
            total = to_float64(expected).astype(np.float32) + to_float64(parts[index]).astype(
                np.float32
            )
            expected = to_words(total)
    assert kernels.fold(parts, order).tolist() == expected.tolist()


def test_a_fold_may_write_over_a_part_and_takes_integers() -> None:
    parts = [np.array([1.0, 2.0], np.float32), np.array([10.0, 20.0], np.float32)]
    assert kernels.fold(parts, out=parts[0]) is parts[0]
    assert parts[0].tolist() == [11, 22]
    whole = [np.array([2**31 - 1, 5], np.int32), np.array([1, 6], np.int32)]
    assert kernels.fold(whole).tolist() == [-(2**31), 11]
    with pytest.raises(ValueError, match="fold of float64"):
        kernels.fold([np.zeros(2)])
    with pytest.raises(ValueError, match="one part or more"):
        kernels.fold([])


def test_the_order_of_a_fold_changes_the_bits_as_it_must() -> None:
    parts = [np.array([value], np.float32) for value in (1.0, 1e8, -1e8)]
    assert kernels.fold(parts).tolist() == [0.0]
    assert kernels.fold(parts, [1, 2, 0]).tolist() == [1.0]


@pytest.mark.parametrize("name", ["add", "mul"])
@pytest.mark.parametrize(("shape", "tail"), [((3, 100), (3, 100)), ((4, 64), (64,)), ((0,), (0,))])
def test_sums_and_products_agree_bit_by_bit_on_any_bits(
    core: Any, name: str, shape: tuple[int, ...], tail: tuple[int, ...]
) -> None:
    a, b = any_words(shape, 1), any_words(tail, 2)
    first, second = both(core, name, a, a, b)
    assert first == second


def test_a_lookup_takes_each_word_from_the_table(core: Any) -> None:
    table, x = any_words((1 << 16,), 1), any_words((77,), 2)
    first, second = both(core, "lookup", x, table, x)
    assert first == second == table[x].tobytes()


@pytest.mark.parametrize("width", [1, 15, 16, 64, 100, 576])
def test_rms_norm_agrees_bit_by_bit(core: Any, width: int) -> None:
    x = random_words((5, width), width)
    x[0] = any_words((width,), 3)
    weight = np.random.default_rng(1).standard_normal(width).astype(np.float32)
    first, second = both(core, "rms_norm", x, x, weight, after=(1e-5,))
    assert first == second


def test_no_rows_are_normed_or_rotated_without_complaint(core: Any) -> None:
    nothing = np.zeros((0, 2, 16), np.uint16)
    table = np.zeros((2, 16), np.float32)
    assert both(core, "rms_norm", nothing, nothing, table[0], after=(1e-5,)) == [b"", b""]
    assert both(core, "rotary", nothing, nothing, table, table, after=(2, 16)) == [b"", b""]
    assert both(core, "add", nothing, nothing, nothing) == [b"", b""]


@pytest.mark.parametrize("width", [1, 15, 16, 64, 100, 576])
def test_layer_norm_agrees_bit_by_bit_and_with_float64(core: Any, width: int) -> None:
    x = random_words((5, width), width)
    x[0] = any_words((width,), 3)
    weight, bias = np.random.default_rng(1).standard_normal((2, width)).astype(np.float32)
    first, second = both(core, "layer_norm", x, x, weight, bias, after=(1e-5,))
    assert first == second
    rows = to_float64(x[1:])
    centred = rows - rows.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    got = to_float64(np.frombuffer(first, np.uint16).reshape(x.shape)[1:])
    assert np.allclose(got, centred * scale * weight + bias, rtol=2.0**-7, atol=1e-5)


@pytest.mark.parametrize("n", [1, 15, 16, 33, 512])
def test_softmax_agrees_with_float64(core: Any, n: int) -> None:
    x = (np.random.default_rng(n).standard_normal((3, n)) * 20).astype(np.float32)
    powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True)
    for module in (core, plain):
        out = np.empty_like(x)
        module.softmax(x, out, n)
        assert np.allclose(out, exact, rtol=1e-5, atol=1e-37)


def test_softmax_gives_no_subnormal_powers(core: Any) -> None:
    x = np.array([[0, -87, -87.5, -103, -np.inf]], np.float32)
    for module in (core, plain):
        out = np.empty_like(x)
        module.softmax(x, out, 5)
        assert out[0, 1] > 0 and out[0, 2:].tolist() == [0, 0, 0]


def test_softmax_of_nan_is_nan_and_of_no_rows_nothing(core: Any) -> None:
    out = np.empty((2, 3), np.float32)
    for module in (core, plain):
        module.softmax(np.array([[1, np.nan, 2], [0, 0, 0]], np.float32), out, 3)
        assert np.isnan(out[0]).all()
        assert np.allclose(out[1], 1 / 3)
        module.softmax(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32), 3)


@pytest.mark.parametrize("name", ["rotary", "rotary_pairs"])
@pytest.mark.parametrize(("positions", "width"), [(1, 64), (3, 32), (2, 6), (4, 2)])
def test_rotary_agrees_bit_by_bit(core: Any, name: str, positions: int, width: int) -> None:
    x = random_words((2, 3, positions, width), width)
    x[0, 0, 0] = any_words((width,), 3)
    angles = np.random.default_rng(1).uniform(0, 7, (positions, width))
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    first, second = both(core, name, x, x, cosine, sine, after=(positions, width))
    assert first == second


def test_rotary_pairs_is_rotary_of_halves_dealt_out(core: Any) -> None:
    x = random_words((3, 16), 5)
    angles = np.random.default_rng(1).uniform(0, 7, (3, 8))
    halves = [np.tile(f(angles), 2).astype(np.float32) for f in (np.cos, np.sin)]
    pairs = [np.repeat(f(angles), 2, axis=1).astype(np.float32) for f in (np.cos, np.sin)]
    dealt = np.ascontiguousarray(x.reshape(3, 8, 2).swapaxes(1, 2)).reshape(3, 16)
    out, expected = np.empty_like(x), np.empty_like(x)
    core.rotary_pairs(x, *pairs, out, 3, 16)
    core.rotary(dealt, *halves, expected, 3, 16)
    assert out.tolist() == expected.reshape(3, 2, 8).swapaxes(1, 2).reshape(3, 16).tolist()


LINEAR_SHAPES = [
    (1, 4, 16),
    (1, 7, 33),
    (2, 9, 64),
    (3, 5, 100),
    (5, 13, 576),
    (7, 4, 31),
    (13, 3, 48),
]


@pytest.mark.parametrize(("m", "n", "k"), LINEAR_SHAPES)
@pytest.mark.parametrize("wide_weight", [False, True], ids=["words", "float32"])
def test_linear_agrees_with_float64_and_numpy_to_float32_rounding(
    core: Any, m: int, n: int, k: int, wide_weight: bool
) -> None:
    x, weight_words = random_words((m, k), 1, 1), random_words((n, k), 2, 1)
    weight = to_float64(weight_words).astype(np.float32) if wide_weight else weight_words
    bias = np.random.default_rng(3).standard_normal(n).astype(np.float32)
    exact = to_float64(x) @ to_float64(weight_words).T + bias
    size = np.abs(to_float64(x)) @ np.abs(to_float64(weight_words)).T + np.abs(bias)
    for module in (core, plain):
        out = np.empty((m, n), np.float32)
        module.linear(x, weight, bias, out, m, n, k)
        assert np.all(np.abs(out - exact) <= size * 2.0**-24 * (k / 16 + 8))
        words = np.empty((m, n), np.uint16)
        module.linear(x, weight, bias, words, m, n, k)
        assert words.tolist() == to_words(out).tolist()


@pytest.mark.parametrize(("m", "n", "k"), LINEAR_SHAPES)
@pytest.mark.parametrize("wide_x", [False, True], ids=["words", "float32"])
def test_linear_gives_a_row_the_same_bits_alone_among_others_and_on_any_instruction_set(
    core: Any, m: int, n: int, k: int, wide_x: bool
) -> None:
    x, weight = random_words((m, k), 1), random_words((n, k), 2)
    rows = to_float64(x).astype(np.float32) if wide_x else x
    together, alone, best = (np.empty((m, n), np.float32) for _ in range(3))
    core.linear(rows, weight, None, together, m, n, k)
    for row in range(m):
        core.linear(rows[row], weight, None, alone[row], 1, n, k)
    assert alone.tobytes() == together.tobytes()
    if core.isa() != "portable" or not wide_x:  # products of float32 are fused where FMA is
        used = core.isa()
        core.use_isa("avx2" if wide_x else "portable")
        core.linear(rows, weight, None, best, m, n, k)
        core.use_isa(used)
        assert best.tobytes() == together.tobytes()


def test_linear_lets_infinity_and_nan_through(core: Any) -> None:
    x = np.ones((1, 20), np.float32)
    weight = np.ones((4, 20), np.float32)
    weight[0, 3], weight[1, 19], weight[2, 0] = np.inf, np.nan, -np.inf
    for module in (core, plain):
        out = np.empty((1, 4), np.float32)
        module.linear(x, weight, None, out, 1, 4, 20)
        assert str(out.tolist()) == "[[inf, nan, -inf, 20.0]]"
        assert out.view(np.uint32)[0, 1] == 0x7FC00000


SHAPES = [  # B, N, K, S, L, H, start
    (1, 3, 1, 1, 40, 64, 17),
    (2, 4, 2, 5, 20, 16, 3),
    (1, 9, 3, 7, 7, 32, 0),
    (1, 2, 2, 1, 1, 16, 0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_agrees_with_float64(core: Any, shape: plain.AttentionShape) -> None:
    batch, heads, kv_heads, positions, capacity, width, start = shape
    q = random_words((batch, heads, positions, width), 1, 1)
    k = random_words((batch, kv_heads, capacity, width), 2, 1)
    v = random_words((batch, kv_heads, capacity, width), 3, 1)
    k[:, :, start + positions :] = v[:, :, start + positions :] = 0x7FC0  # NaN: never to be read
    exact = np.empty(q.shape)
    for b, head, row in np.ndindex(batch, heads, positions):
        seen = slice(0, start + row + 1)
        keys = to_float64(k[b, head * kv_heads // heads, seen])
        scores = keys @ to_float64(q[b, head, row]) * 0.25
        powers = np.exp(scores - scores.max())
        values = to_float64(v[b, head * kv_heads // heads, seen])
        exact[b, head, row] = powers / powers.sum() @ values
    for compiled in (True, False):
        out = np.empty_like(q)
        if compiled:
            core.attention(q, k, v, out, *shape, 0.25)
        else:
            plain.attention(q, k, v, out, shape, 0.25)
        assert np.allclose(to_float64(out), exact, rtol=2.0**-8, atol=2.0**-12)


def test_attention_gives_the_same_bits_on_any_instruction_set_with_fma(core: Any) -> None:
    if core.isa() == "portable":
        pytest.skip("products of probabilities and values are not fused there")
    q = random_words((2, 6, 13, 80), 1)
    k, v = random_words((2, 2, 40, 80), 2), random_words((2, 2, 40, 80), 3)
    out, expected = np.empty_like(q), np.empty_like(q)
    core.attention(q, k, v, out, 2, 6, 2, 13, 40, 80, 9, 0.2)
    used = core.isa()
    core.use_isa("avx2")
    core.attention(q, k, v, expected, 2, 6, 2, 13, 40, 80, 9, 0.2)
    core.use_isa(used)
    assert out.tobytes() == expected.tobytes()


def test_attention_decodes_the_bits_that_prefill_gives(core: Any) -> None:
    q = random_words((1, 6, 11, 32), 1)
    k, v = random_words((1, 2, 11, 32), 2), random_words((1, 2, 11, 32), 3)
    whole = np.empty_like(q)
    core.attention(q, k, v, whole, 1, 6, 2, 11, 11, 32, 0, 0.2)
    for position in range(11):
        one = np.ascontiguousarray(q[:, :, position : position + 1])
        out = np.empty_like(one)
        core.attention(one, k, v, out, 1, 6, 2, 1, 11, 32, position, 0.2)
        assert out.tolist() == whole[:, :, position : position + 1].tolist()


def test_odd_head_widths_are_left_to_numpy() -> None:
    q, k = random_words((1, 1, 2, 10), 1), random_words((1, 1, 2, 10), 2)
    out, expected = np.empty_like(q), np.empty_like(q)
    kernels.attention(q, k, k, out, (1, 1, 1, 2, 2, 10, 0), 0.3)
    plain.attention(q, k, k, expected, (1, 1, 1, 2, 2, 10, 0), 0.3)
    assert out.tolist() == expected.tolist()


WRONG_CALLS = [
    ("widen", (np.zeros(3, np.uint16), np.zeros(2, np.float32))),
    ("round_words", (np.zeros(3, np.float32), np.zeros(2, np.uint16))),
    ("add", (np.zeros(3, np.uint16), np.zeros(2, np.uint16), np.zeros(3, np.uint16))),
    ("lookup", (np.zeros(3, np.uint16), np.zeros(2, np.uint16), np.zeros(2, np.uint16))),
    ("fold", ([np.zeros(3, np.uint16)], np.zeros(2, np.uint16), False)),
    ("rms_norm", (np.zeros(3, np.uint16), np.zeros(2, np.float32), np.zeros(3, np.uint16), 0.1)),
    ("linear", (np.zeros(3, np.uint16), np.zeros(3, np.uint16), None, np.zeros(1), 1, 1, 4)),
    ("linear", (np.zeros(3, np.uint16), np.zeros(3, np.uint16), None, np.zeros(1), -1, 1, 4)),
]


@pytest.mark.parametrize(
    ("name", "args"), WRONG_CALLS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_buffers_of_the_wrong_size_are_refused_not_overrun(
    core: Any, name: str, args: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError, match=r"expected|must be >= 0"):
        getattr(core, name)(*args)


def test_strided_and_read_only_buffers_are_refused(core: Any) -> None:
    with pytest.raises((ValueError, BufferError)):
        core.widen(np.zeros(6, np.uint16)[::2], np.zeros(3, np.float32))
    out = np.zeros(3, np.float32)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        core.widen(np.zeros(3, np.uint16), out)


def test_without_the_extension_there_is_one_warning_and_numpy_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "meshtwin.chip.kernels._core", None)
    monkeypatch.delattr(kernels, "_core", raising=False)
    spec = importlib.util.find_spec("meshtwin.chip.kernels")
    assert spec is not None and spec.loader is not None
    fallback = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec.loader.exec_module(fallback)
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert "without its compiled core" in str(caught[0].message)
    assert not fallback.COMPILED
    assert fallback.layer_norm is plain.layer_norm
    product = np.empty((1, 1), np.float32)
    fallback.linear(
        np.ones((1, 3), np.float32), np.ones((1, 3), np.float32), None, product, 1, 1, 3
    )
    assert product.tolist() == [[3.0]]
    out = fallback.fold([np.array([1.0], np.float32), np.array([2.0], np.float32)])
    assert out.tolist() == [3.0]
