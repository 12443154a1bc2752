import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.tensor import Array, Layout


def angles(positions: int, width: int) -> Array:
    """The angles of a Llama model with theta 10000, both halves alike as in Hugging Face."""
    rates = 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.tile(np.arange(positions)[:, None] * rates, 2)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("table_dtype", [DType.FLOAT32, DType.BFLOAT16])
def test_pairs_turn_as_complex_numbers_do(dtype: DType, table_dtype: DType) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal((2, 3, 5, 8)), dtype)
    turn = angles(5, 8)
    cos, sin = chip.tensor(np.cos(turn), table_dtype), chip.tensor(np.sin(turn), table_dtype)
    out = chip.rotary_embedding(x, cos, sin)
    x64 = x.to_float32().astype(float)
    pairs = (x64[..., :4] + 1j * x64[..., 4:]) * (cos.to_float32() + 1j * sin.to_float32())[:, :4]
    exact = np.concatenate([pairs.real, pairs.imag], axis=-1)
    assert (out.shape, out.dtype) == ((2, 3, 5, 8), dtype)
    assert np.allclose(out.to_float32(), exact, rtol=2.0**-8, atol=1e-6)


def test_tables_of_another_shape_and_odd_heads_are_refused() -> None:
    chip = Chip.open("p150")
    x, table = chip.tensor(np.zeros((1, 1, 2, 4))), chip.tensor(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=r"cos \(3, 4\), sin \(3, 4\) \(expected \(2, 4\) each"):
        chip.rotary_embedding(x, table, table)
    odd = chip.tensor(np.zeros((1, 1, 2, 3)))
    with pytest.raises(ShapeError, match="must be even, and no dim 0"):
        chip.rotary_embedding(odd, table, table)
    with pytest.raises(ShapeError, match="expected 4 dims"):
        chip.rotary_embedding(table, table, table)


def interleaved(x: Array) -> Array:
    """Columns of the two halves one after another: 0, H/2, 1, H/2 + 1, ..."""
    left, right = np.split(x, 2, axis=-1)
    return np.stack((left, right), axis=-1).reshape(x.shape)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("with_matrix", [False, True])
def test_both_conventions_are_one_turn_of_columns_in_another_order(
    dtype: DType, with_matrix: bool
) -> None:
    chip = Chip.open("p150")
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 64))
    turn = angles(5, 64)
    halves = chip.rotary_embedding(
        chip.tensor(x, dtype), chip.tensor(np.cos(turn)), chip.tensor(np.sin(turn))
    )
    turn = interleaved(turn)
    matrix = np.zeros((32, 32))
    matrix[range(1, 32, 2), range(0, 32, 2)], matrix[range(0, 32, 2), range(1, 32, 2)] = -1, 1
    pairs = chip.rotary_embedding_llama(
        chip.tensor(interleaved(x), dtype),
        chip.tensor(np.cos(turn)[None, None]),
        chip.tensor(np.sin(turn)[None, None]),
        chip.tensor(matrix[None, None], "bf16") if with_matrix else None,
    )
    assert np.array_equal(pairs.to_numpy(), interleaved(halves.to_numpy()))


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("name", ["rotary_embedding", "rotary_embedding_llama"])
def test_users_at_their_positions_turn_as_rows_of_a_sequence(name: str, dtype: DType) -> None:
    chip = Chip.open("p150")
    x = np.random.default_rng(0).standard_normal((1, 4, 3, 16))  # [1,B,N,H]
    turn = angles(4, 16)
    tables = [chip.tensor(function(turn)) for function in (np.cos, np.sin)]
    sequence = getattr(chip, name)(chip.tensor(x.swapaxes(1, 2), dtype), *tables)
    by_user = [chip.reshape(table, (1, 4, 1, 16)) for table in tables]
    users = getattr(chip, name)(chip.tensor(x, dtype), *by_user)
    assert np.array_equal(users.to_numpy(), sequence.to_numpy().swapaxes(1, 2))


def test_as_many_users_as_heads_are_still_users() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.ones((1, 2, 2, 2)), "bf16")
    cos = chip.tensor(np.array([1.0, 1.0, 0.0, 0.0]).reshape(1, 2, 1, 2))
    out = chip.rotary_embedding(x, cos, chip.tensor(np.zeros((1, 2, 1, 2))))
    assert out.to_numpy()[0, :, :, 0].tolist() == [[1, 1], [0, 0]]


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    chip = Chip.open("p150")
    table = chip.tensor(np.zeros((2, 16)))
    x = chip.tensor(np.zeros((1, 1, 2, 16)))
    with pytest.raises(ShapeError, match=r"trans_mat \(1, 1, 32, 32\) for x \(1, 1, 2, 16\)"):
        chip.rotary_embedding_llama(x, table, table, chip.tensor(np.zeros((1, 1, 32, 32))))
    with pytest.raises(InvalidArgument, match="cos is row_major"):
        rows = chip.to_layout(table, Layout.ROW_MAJOR)
        chip.rotary_embedding_llama(x, rows, table)
