from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.memory.config import MemoryConfig
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
    with pytest.raises(ShapeError, match=r"dim -1 of b is 2 \(nearest: 3, as a, or 1\)"):
        chip.sub(x, chip.tensor(np.zeros(2)))
    with pytest.raises(DTypeError, match="add: float32 with int32"):
        chip.add(x, chip.tensor(np.zeros((2, 3), int)))
    with pytest.raises(DTypeError, match="div: a is int32"):
        chip.div(chip.tensor(np.ones(2, int)), chip.tensor(np.ones(2, int)))
    with pytest.raises(DTypeError, match="bitwise_and: a is float32"):
        chip.bitwise_and(x, x)
    with pytest.raises(DTypeError, match=r"add: b is a ndarray .expected a tensor or a number"):
        chip.add(x, np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="add: result is int32"):
        chip.add(x, x, dtype="int32")


def test_a_number_is_taken_in_the_format_of_the_tensor_beside_it() -> None:
    chip = Chip.open("p150")
    third, near = 1 / 3, 0.333984375  # the nearest bfloat16
    for length in (3, 40):  # numpy's way, and the compiled one
        x = chip.tensor(np.ones(length), "bfloat16")
        assert (
            chip.add(x, third).to_numpy().tolist()
            == chip.add(x, chip.full((length,), third)).to_numpy().tolist()
        )
        assert chip.mul(x, third, dtype="float32").to_numpy().tolist() == [near] * length
    wide = chip.mul(chip.tensor(np.ones(3)), third)
    assert wide.to_numpy().tolist() == [np.float32(third)] * 3


def test_integers_take_whole_numbers_only() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([1, 2]))
    assert chip.rsub(x, 5).to_numpy().tolist() == [4, 3]
    with pytest.raises(
        InvalidArgument, match=r"mul: b \(=2.6\) must be a whole number .* \(nearest: 3\)"
    ):
        chip.mul(x, 2.6)
    with pytest.raises(InvalidArgument, match=r"\(=-1\) .* with uint32 \(nearest: 0\)"):
        chip.add(chip.tensor(np.array([1], np.uint32)), -1)
    with pytest.raises(InvalidArgument, match=r"b \(=nan\)"):
        chip.add(x, np.nan)


def test_an_unknown_activation_is_refused_with_the_nearest_name() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.ones(2))
    with pytest.raises(
        InvalidArgument, match="add: unknown activation 'sillu': did you mean 'silu'"
    ):
        chip.add(x, x, activations=["sillu"])
    with pytest.raises(DTypeError, match="add: a is int32"):
        chip.add(chip.tensor(np.ones(2, int)), 1, activations=["relu"])


def test_an_activation_of_the_first_operand_is_the_op_itself_and_takes_one_dispatch() -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    gate, up = (chip.tensor(rng.standard_normal((4, 64)), "bfloat16") for _ in range(2))
    two = chip.mul(chip.silu(gate), up)
    apart_ps = chip.clock.now_ps
    one = chip.mul(gate, up, a_activations=["silu"])
    assert one.to_numpy().tolist() == two.to_numpy().tolist()
    assert chip.clock.now_ps - apart_ps < apart_ps


def test_an_op_of_the_vector_unit_takes_its_instructions() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.ones((32, 32)), "bfloat16", memory=MemoryConfig.L1)
    chip.div(x, x)
    work_ps = chip.clock.now_ps - chip.cost.dispatch_ps
    assert work_ps == pytest.approx((3 + 12) * 32 / 0.78 / 1.35e9 * 1e12, rel=1e-3)


def test_overflow_gives_infinity_without_a_warning() -> None:
    chip = Chip.open("p150")
    for dtype in (DType.FLOAT32, DType.BFLOAT16):
        big = chip.tensor(np.full((1, 3), 3e38, np.float32), dtype)
        assert chip.mul(big, big).to_numpy().tolist() == [[np.inf] * 3]
        assert chip.add(big, chip.tensor(np.full((1, 1), 3e38))).to_numpy().tolist() == [
            [np.inf] * 3
        ]
