from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, ShapeError
from meshtwin.chip.tensor import Array, decode, encode

ORACLES: dict[str, Callable[[Array, Array], Array]] = {"add": np.add, "mul": np.multiply}

same_or_broadcast = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=40)


@given(
    st.sampled_from(sorted(ORACLES)),
    same_or_broadcast,
    st.booleans(),
    st.booleans(),
    st.integers(0),
)
def test_sums_and_products_broadcast_and_round_once(
    name: str, shapes: hnp.BroadcastableShapes, a_is_wide: bool, b_is_wide: bool, seed: int
) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(seed)
    formats = [DType.FLOAT32 if wide else DType.BFLOAT16 for wide in (a_is_wide, b_is_wide)]
    a, b = (
        chip.tensor(rng.standard_normal(shape), dtype)
        for shape, dtype in zip(shapes.input_shapes, formats, strict=True)
    )
    out = getattr(chip, name)(a, b)
    exact = ORACLES[name](a.to_float32(), b.to_float32())  # one float32 operation
    expected = decode(encode(exact, formats[0]), formats[0])
    assert (out.shape, out.dtype) == (shapes.result_shape, formats[0])
    assert out.to_numpy().tolist() == expected.tolist()


def test_integers_wrap_around() -> None:
    chip = Chip.open("p150")
    top = chip.tensor(np.array([2**31 - 1]))
    assert chip.add(top, chip.tensor(np.array([1]))).to_numpy().tolist() == [-(2**31)]
    assert chip.mul(top, top).to_numpy().tolist() == [1]


def test_shapes_and_formats_that_do_not_meet_are_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"mul: \(2, 3\) with \(2,\): each dim must be equal"):
        chip.mul(x, chip.tensor(np.zeros(2)))
    with pytest.raises(DTypeError, match="add: float32 with int32"):
        chip.add(x, chip.tensor(np.zeros((2, 3), int)))


def test_silu_of_every_bfloat16_number_is_the_nearest_but_for_double_rounding() -> None:
    chip = Chip.open("p150")
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    out = chip.silu(chip.tensor(every, DType.BFLOAT16)).to_float32()
    with np.errstate(all="ignore"):
        x = decode(every, DType.BFLOAT16).astype(np.float64)
        exact = x / (1 + np.exp(-x))
    finite = np.isfinite(exact) & (np.abs(exact) > 1e-37)
    assert np.all(np.abs(out[finite] - exact[finite]) <= np.abs(exact[finite]) * 2.0**-8)
    assert np.array_equal(np.isnan(out), np.isnan(exact))


def test_silu_in_float32_agrees_with_float64() -> None:
    chip = Chip.open("p150")
    x = np.concatenate([np.linspace(-200, 200, 1001), [np.inf, np.nan]]).astype(np.float32)
    out = chip.silu(chip.tensor(x)).to_float32()
    with np.errstate(all="ignore"):
        exact = x.astype(float) / (1 + np.exp(-x.astype(float)))
    assert np.allclose(out, exact, rtol=1e-6, atol=1e-30, equal_nan=True)


def test_overflow_gives_infinity_without_a_warning() -> None:
    chip = Chip.open("p150")
    for dtype in (DType.FLOAT32, DType.BFLOAT16):
        big = chip.tensor(np.full((1, 3), 3e38, np.float32), dtype)
        assert chip.mul(big, big).to_numpy().tolist() == [[np.inf] * 3]
        assert chip.add(big, chip.tensor(np.full((1, 1), 3e38))).to_numpy().tolist() == [
            [np.inf] * 3
        ]
