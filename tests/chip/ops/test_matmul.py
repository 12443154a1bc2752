import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip import kernels, special
from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import EXACT, ComputeConfig, Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, ShapeError
from meshtwin.chip.tensor import Tensor

from ..bits import Array, product

BF16_STEP = 2.0**-8  # half a unit in the last place, relative
FIDELITIES = list(Fidelity)
HIFI4 = ComputeConfig(Fidelity.HIFI4)

fidelities = pytest.mark.parametrize("fidelity", FIDELITIES, ids=str)


def put(chip: Chip, values: Array, dtype: DType | str = "bfloat16") -> Tensor:
    return chip.tensor(values, dtype)


def value(x: Tensor) -> Array:
    return x.to_float32().astype(float)


def both(a: Tensor, b: Tensor, chip: Chip, compute: ComputeConfig | None) -> list[Array]:
    """The product as matmul and as linear has it."""
    weight = chip.permute(b, (1, 0))
    return [
        chip.matmul(a, b, compute).to_float32(),
        chip.linear(a, weight, compute=compute).to_float32(),
    ]


@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from([DType.FLOAT32, DType.BFLOAT16]),
    st.booleans(),
)
def test_linear_agrees_with_float64(m: int, k: int, n: int, dtype: DType, biased: bool) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(m * k * n)
    x = chip.tensor(rng.standard_normal((2, m, k)), dtype)
    weight = chip.tensor(rng.standard_normal((n, k)), DType.BFLOAT16)
    bias = chip.tensor(rng.standard_normal(n), DType.BFLOAT16) if biased else None
    out = chip.linear(x, weight, bias, EXACT)
    exact = value(x) @ value(weight).T + (0 if bias is None else value(bias))
    size = np.abs(value(x)) @ np.abs(value(weight)).T + 4
    step = BF16_STEP if dtype is DType.BFLOAT16 else 0
    assert (out.shape, out.dtype) == ((2, m, n), dtype)
    assert np.all(np.abs(out.to_float32() - exact) <= step * np.abs(exact) + size * 2.0**-20)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((3, 5), (5, 2)), ((2, 1, 4, 8), (3, 8, 6)), ((4, 33, 7), (7, 40)), ((2, 0, 3), (3, 2))],
)
def test_matmul_agrees_with_float64(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], dtype: DType
) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    a = chip.tensor(rng.standard_normal(a_shape), dtype)
    b = chip.tensor(rng.standard_normal(b_shape), dtype)
    out = chip.matmul(a, b, EXACT)
    exact = np.matmul(value(a), value(b))
    assert (out.shape, out.dtype) == (exact.shape, dtype)
    assert np.allclose(out.to_float32(), exact, rtol=BF16_STEP, atol=1e-5)


@fidelities
@given(seed=st.integers(0, 2**32 - 1))
def test_a_product_is_that_of_its_phases_to_the_bit(fidelity: Fidelity, seed: int) -> None:
    """Integers of 8 bits (bfloat16 numbers): every sum is exact, so no order of adding matters."""
    rng, chip = np.random.default_rng(seed), Chip.open("p150")
    a, b = (put(chip, rng.integers(-255, 256, shape), "float32") for shape in ((3, 90), (90, 7)))
    a_words, b_words = (chip.typecast(x, "bfloat16") for x in (a, b))
    expected = product(fidelity, value(a), value(b))
    for out in both(a, b, chip, ComputeConfig(fidelity)):
        np.testing.assert_array_equal(out, expected)
    for out in both(a_words, b_words, chip, ComputeConfig(fidelity)):
        np.testing.assert_array_equal(out, value(put(chip, expected)))


@fidelities
def test_a_bias_is_added_whole_and_before_the_rounding(fidelity: Fidelity) -> None:
    chip = Chip.open("p150")
    x, weight = put(chip, np.ones((2, 40))), put(chip, np.ones((3, 40)))
    bias = put(chip, np.array([2.0**-10, 255 / 128, -40]), "float32")
    out = chip.linear(x, weight, bias, ComputeConfig(fidelity))
    np.testing.assert_array_equal(value(out)[0], [40, 42, 0])
    wide = chip.linear(chip.typecast(x, "float32"), weight, bias, ComputeConfig(fidelity))
    np.testing.assert_array_equal(value(wide)[1], [40 + 2.0**-10, 40 + 255 / 128, 0])


@fidelities
def test_overflow_is_infinite_and_nobody_is_warned(fidelity: Fidelity) -> None:
    chip = Chip.open("p150")
    x, weight = put(chip, np.full((1, 2), 2.0**64), "float32"), put(chip, np.full((1, 2), 2.0**64))
    bias = put(chip, np.array([-np.inf]))
    assert chip.linear(x, weight, None, ComputeConfig(fidelity)).to_float32() == np.inf
    assert np.isnan(chip.linear(x, weight, bias, ComputeConfig(fidelity)).to_float32())


def test_without_a_config_the_formats_choose() -> None:
    chip = Chip.open("p150")
    odd = 1 + 2.0**-7  # the last bit of bfloat16
    a, b = put(chip, np.full((1, 1), odd)), put(chip, np.full((1, 1), odd))
    wide = [put(chip, np.full((1, 1), 1 + 2.0**-10), "float32") for _ in range(2)]
    for out in both(a, b, chip, None):  # HiFi2: the activation lacks its last bit
        assert out[0, 0] == odd
    for out in both(a, b, chip, HIFI4):
        assert out[0, 0] == 1 + 2.0**-6
    for out in both(wide[0], wide[1], chip, None):  # HiFi4 of TF32: the weight lacks its last bit
        assert out[0, 0] == 1 + 2.0**-10


def test_hifi4_of_bfloat16_is_the_exact_product() -> None:
    rng, chip = np.random.default_rng(3), Chip.open("p150")
    a, b = put(chip, rng.standard_normal((5, 65))), put(chip, rng.standard_normal((65, 9)))
    for hifi4, exact in zip(both(a, b, chip, HIFI4), both(a, b, chip, EXACT), strict=True):
        np.testing.assert_array_equal(hifi4, exact)


def test_more_phases_are_nearer_to_the_truth_on_average() -> None:
    rng, chip = np.random.default_rng(1), Chip.open("p150")
    a = put(chip, rng.standard_normal((32, 256)))
    weight = put(chip, rng.standard_normal((64, 256)))
    exact = value(a) @ value(weight).T
    wide = chip.typecast(a, "float32")
    errors = {
        fidelity: np.abs(
            value(chip.linear(wide, weight, compute=ComputeConfig(fidelity))) - exact
        ).mean()
        for fidelity in FIDELITIES
    }
    lofi, hifi2, hifi3, hifi4, whole = (errors[fidelity] for fidelity in FIDELITIES)
    assert lofi > 4 * hifi2 > 16 * hifi3 > 16 * hifi4
    assert hifi4 == whole


@pytest.mark.skipif(not kernels.COMPILED, reason="numpy sums in BLAS's order")
def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    rng, chip = np.random.default_rng(2), Chip.open("p150")
    x, weight = rng.standard_normal((9, 100)), put(chip, rng.standard_normal((17, 100)))
    for fidelity in FIDELITIES:
        config = ComputeConfig(fidelity)
        together = chip.linear(put(chip, x), weight, compute=config).to_float32()
        alone = chip.linear(put(chip, x[4:5]), weight, compute=config).to_float32()
        np.testing.assert_array_equal(together[4:5], alone)


@pytest.mark.parametrize("name", ["matmul", "linear"])
def test_a_narrow_accumulator_loses_what_a_wide_one_keeps(name: str) -> None:
    chip = Chip.open("p150")
    row = np.zeros((1, 128))
    row[0, ::32] = [1, 2.0**-9, 2.0**-9, 2.0**-9]
    a, ones = put(chip, row, "float32"), put(chip, np.ones((128, 1)))

    def result(**changes: object) -> float:
        out = both(a, ones, chip, HIFI4.but(**changes))[name == "linear"]
        return float(out[0, 0])

    assert result() == 1 + 3 * 2.0**-9
    assert result(accumulate="bfloat16") == 1
    assert result(k_block=64) == 1 + 2.0**-8  # the first partial sum loses its last bit
    assert result(k_block=64, fp32_dest_acc=True) == 1 + 3 * 2.0**-9
    assert result(k_block=32, packer_l1_acc=True, rounding="packer") == 1 + 2.0**-9


def test_the_packer_rounds_ties_away_and_writes_no_minus_zero() -> None:
    chip = Chip.open("p150")
    a = put(chip, np.array([[1 + 2.0**-8], [-0.0]]), "float32")
    one = put(chip, np.ones((1, 1)))
    a_words = put(chip, np.array([[1.0, 2.0**-8], [-0.0, -0.0]]))
    ones = put(chip, np.ones((2, 1)))
    packed = HIFI4.but(rounding="packer")
    for host, packer in zip(
        both(a_words, ones, chip, HIFI4), both(a_words, ones, chip, packed), strict=True
    ):
        assert (host[0, 0], packer[0, 0]) == (1, 1 + 2.0**-7)
        assert not np.signbit(packer[1, 0])
    for out in both(a, one, chip, packed):  # float32 is not converted
        assert out[0, 0] == 1 + 2.0**-8


def test_special_numbers_are_numbers_of_the_chip() -> None:
    chip = Chip.open("p150")
    huge, tiny = 2.0**127, 2.0**-127
    a = put(chip, np.array([[np.inf, 0], [np.inf, 1], [huge, huge], [tiny, 0], [1, 2]]))
    b = put(chip, np.array([[0, 1], [1, -1]]))
    on_chip = HIFI4.but(specials="chip")
    expected = [[0, np.inf], [1, np.inf], [huge, 0], [0, 0], [2, -1]]
    for out in both(a, b, chip, on_chip):
        np.testing.assert_array_equal(out, expected)
        assert not np.signbit(out[out == 0]).any()
    for out in both(a, b, chip, HIFI4):
        assert np.isnan(out[0, 0])
        assert out[3, 1] in (0, tiny)  # products of words take denormals as zeros
    cancelling = put(chip, np.array([[np.inf, np.inf]]))
    for out in both(cancelling, put(chip, np.array([[1], [-1]])), chip, on_chip):
        assert out[0, 0] == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from(FIDELITIES))
def test_the_rules_of_special_numbers_leave_ordinary_ones_alone(
    seed: int, fidelity: Fidelity
) -> None:
    rng, chip = np.random.default_rng(seed), Chip.open("p150")
    a, b = put(chip, rng.standard_normal((4, 40))), put(chip, rng.standard_normal((40, 6)))
    config = ComputeConfig(fidelity)
    for plain, special_rules in zip(
        both(a, b, chip, config), both(a, b, chip, config.but(specials="chip")), strict=True
    ):
        np.testing.assert_array_equal(plain, special_rules)
    assert (np.abs(plain) > special.TINY).all()


def test_products_that_do_not_fit_are_refused() -> None:
    chip = Chip.open("p150")
    x, ids = chip.tensor(np.zeros((2, 3))), chip.tensor(np.zeros((3, 2), int))
    with pytest.raises(ShapeError, match=r"\(2, 3\) x \(2, 3\): 3 columns of a meet 2 rows of b"):
        chip.matmul(x, x)
    with pytest.raises(ShapeError, match="two dims or more"):
        chip.matmul(x, chip.tensor(np.zeros(3)))
    with pytest.raises(ShapeError, match="leading dims"):
        chip.matmul(chip.tensor(np.zeros((2, 2, 3))), chip.tensor(np.zeros((3, 3, 3))))
    with pytest.raises(DTypeError, match="b is int32"):
        chip.matmul(x, ids)
    with pytest.raises(ShapeError, match=r"expected x \[..., K\] and weight \[N, K\]"):
        chip.linear(x, chip.tensor(np.zeros((3, 2))))
    with pytest.raises(ShapeError, match=r"bias \(2,\) \(expected \(4,\)"):
        chip.linear(x, chip.tensor(np.zeros((4, 3))), chip.tensor(np.zeros(2)))


def test_the_work_counts_whole_tiles() -> None:
    chip = Chip.open("p150")
    for dtype in (DType.BFLOAT16, DType.FLOAT32):
        chip.linear(
            chip.tensor(np.zeros((1, 1, 576)), dtype), chip.tensor(np.zeros((96, 576)), dtype)
        )
    bf16, f32 = chip.recorder.records()
    assert bf16.flops == f32.flops == 2 * 576 * 96
    assert bf16.bytes == 2 * (32 * 576 + 96 * 576 + 32 * 96)
    assert f32.bytes == 2 * bf16.bytes


def test_time_goes_with_the_phases() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((16384, 16384))
    for fidelity in FIDELITIES:
        chip.matmul(x, x, ComputeConfig(fidelity))
    times = [record.sim_duration_ps for record in chip.recorder.records()]
    assert [record.bound for record in chip.recorder.records()] == ["compute"] * 5
    phase_ps = times[1] - times[0]
    assert [time - times[0] for time in times[1:]] == pytest.approx(
        [phase_ps, 2 * phase_ps, 3 * phase_ps, 3 * phase_ps], abs=3
    )
    tiles = 512 // 10 + 1, 512 // 11 + 1  # of the fullest core
    assert phase_ps == pytest.approx(tiles[0] * tiles[1] * 512 * 16 / 1.35e9 * 1e12, rel=1e-6)


@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize("dtype", ["bfp8_b", "bfp4_b", "bfp2_b"])
@pytest.mark.parametrize("activations", ["bfloat16", "float32"])
def test_packed_weights_give_the_bits_of_unpacked_ones(
    dtype: str, fidelity: Fidelity, activations: str
) -> None:
    chip, rng, compute = Chip.open("p150"), np.random.default_rng(0), ComputeConfig(fidelity)
    for rows, length, columns in (
        (1, 40, 33),
        (3, 576, 70),
        (8, 100, 17),
        (40, 64, 64),
        (1, 16, 1),
    ):
        x = chip.tensor(rng.standard_normal((rows, length)), activations)
        weight = chip.tensor(rng.standard_normal((columns, length)), dtype)
        bias = chip.tensor(rng.standard_normal(columns), "bfloat16")
        packed = chip.linear(x, weight, bias, compute)
        unpacked = chip.linear(x, chip.typecast(weight, "bfloat16"), bias, compute)
        assert np.array_equal(packed.to_numpy(), unpacked.to_numpy())
