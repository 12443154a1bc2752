"""The compiled loops against numpy's on any bits, on each instruction set that is here."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.formats import plain

from .conftest import WAYS, best_isa, compiled_loops

Array = npt.NDArray[Any]
ELEMENTS: dict[
    str, tuple[type[np.generic], type[np.generic]]
] = {  # name: type that goes in, type that comes out
    "widen": (np.uint16, np.float32),
    "round_words": (np.float32, np.uint16),
    "widen_half": (np.uint16, np.float32),
    "round_half": (np.float32, np.uint16),
    "widen_fp8": (np.uint8, np.float32),
    "round_fp8": (np.float32, np.uint8),
}
WIDTHS, BIASES, ROUNDINGS = (7, 3, 1), (127, 15), (plain.EVEN, plain.AWAY, plain.TWICE)
MANY = 10**7


@pytest.fixture(params=WAYS[1:], scope="module")
def compiled(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The compiled loops on one instruction set."""
    loops = compiled_loops(request.param)
    yield loops
    best_isa(loops)


def random_bits(kind: type[np.generic], count: int, seed: int) -> Array:
    """Half of them any bits, half with exponents near each other, which blocks make much of."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, count, np.uint32)
    if kind is np.float32:
        near = rng.integers(100, 132, count // 2, np.uint32) << 23
        bits[: count // 2] = bits[: count // 2] & np.uint32(0x807FFFFF) | near
        bits[::5] &= np.uint32(0xFFFF8000)  # ties
        return bits.view(np.float32)
    return (bits >> 16).astype(kind)


def bits_of(array: Array) -> bytes:
    return array.tobytes()


def same_elements(loops: Any, name: str, x: Array) -> None:
    outs = [np.empty(x.shape, ELEMENTS[name][1]) for _ in range(2)]
    getattr(loops, name)(x, outs[0])
    getattr(plain, name)(x, outs[1])
    assert bits_of(outs[0]) == bits_of(outs[1])


def same_blocks(loops: Any, x: Array, bits: int, bias: int, rounding: int) -> None:
    """Pack rows, and unpack them, and any bytes, both ways."""
    rows, length = x.shape
    row_bytes = -(-length // 16) * (1 + 2 * (bits + 1))
    packed = [np.empty((rows, row_bytes), np.uint8) for _ in range(2)]
    loops.pack_blocks(x, packed[0], length, bits, bias, rounding)
    plain.pack_blocks(x, packed[1], length, bits, bias, rounding)
    assert bits_of(packed[0]) == bits_of(packed[1])
    for stored in (packed[0], random_bits(np.uint8, rows * row_bytes, 9)):
        for kind in (np.float32, np.uint16):
            outs: list[Array] = [np.empty(x.shape, kind) for _ in range(2)]
            loops.unpack_blocks(stored, outs[0], length, bits, bias)
            plain.unpack_blocks(stored, outs[1], length, bits, bias)
            assert bits_of(outs[0]) == bits_of(outs[1])


@pytest.mark.parametrize("name", ELEMENTS)
@given(count=st.integers(0, 300), seed=st.integers(0, 99))
def test_each_conversion_gives_the_bits_of_numpys(
    compiled: Any, name: str, count: int, seed: int
) -> None:
    same_elements(compiled, name, random_bits(ELEMENTS[name][0], count, seed))


@given(
    shape=st.tuples(st.integers(0, 3), st.integers(0, 60) | st.just(1100)),
    kind=st.sampled_from([np.float32, np.uint16]),
    how=st.tuples(*map(st.sampled_from, (WIDTHS, BIASES, ROUNDINGS))),
    seed=st.integers(0, 99),
)
def test_blocks_have_the_bytes_of_numpys_and_come_back_alike(
    compiled: Any,
    shape: tuple[int, int],
    kind: type[np.generic],
    how: tuple[int, int, int],
    seed: int,
) -> None:
    x = random_bits(kind, shape[0] * shape[1], seed).reshape(shape)
    same_blocks(compiled, x, *how)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELEMENTS)
def test_ten_million_numbers_convert_to_the_bits_of_numpys(compiled: Any, name: str) -> None:
    same_elements(compiled, name, random_bits(ELEMENTS[name][0], MANY, 1))


@pytest.mark.slow
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("bias", BIASES)
def test_ten_million_numbers_are_packed_to_the_bytes_of_numpys(
    compiled: Any, bits: int, bias: int
) -> None:
    for rounding in ROUNDINGS:
        x = random_bits(np.float32, MANY // 3, rounding)[: MANY // 3 // 1040 * 1040]
        same_blocks(compiled, x.reshape(-1, 1040), bits, bias, rounding)


def test_results_beyond_the_caches_are_the_same_also_where_they_are_not_aligned(
    compiled: Any,
) -> None:
    words = random_bits(np.uint16, 3_000_000, 2)
    wanted = np.empty(words.size, np.float32)
    plain.widen(words, wanted)
    memory = np.empty(words.size + 1, np.float32)
    for start in (0, 1):
        out = memory[start : start + words.size]
        compiled.widen(words, out)
        assert bits_of(out) == bits_of(wanted)


def test_wrong_sizes_are_refused(compiled: Any) -> None:
    with pytest.raises(ValueError, match=r"bytes of out: 4 \(expected 8\)"):
        compiled.widen(np.zeros(2, np.uint16), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="bytes of blocks"):
        compiled.pack_blocks(np.zeros(16, np.float32), np.zeros(18, np.uint8), 16, 7, 127, 0)
    with pytest.raises(ValueError, match="magnitude_bits 7, 3 or 1"):
        compiled.unpack_blocks(np.zeros(17, np.uint8), np.zeros(16, np.float32), 16, 5, 127)
    with pytest.raises(ValueError, match="has no neon"):
        compiled.use_isa("neon")
    assert compiled.isa() in WAYS
