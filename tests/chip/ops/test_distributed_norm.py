"""A norm of rows cut over chips is the norm of the whole rows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.tensor import Layout, Tensor

Norm = Callable[..., Tensor]
KINDS = st.sampled_from(["rms_norm", "layer_norm"])


@given(
    kind=KINDS,
    dtype=st.sampled_from([DType.FLOAT32, DType.BFLOAT16]),
    num_chips=st.integers(1, 5),
    width=st.integers(1, 40),
    rows=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_parts_side_by_side_are_the_norm_of_the_whole(
    kind: str, dtype: DType, num_chips: int, width: int, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = 1 + rng.standard_normal((1, 1, rows, num_chips * width))
    weight, bias = rng.standard_normal((2, num_chips * width))
    chip = Chip.open("p150")
    norm: Norm = getattr(chip, kind)
    whole = norm(chip.tensor(x, dtype), chip.tensor(weight), bias=chip.tensor(bias), eps=1e-3)

    chips = [Chip.open("p150", rank) for rank in range(num_chips)]
    parts = [
        [chip.tensor(part, given) for part, given in zip(cut, (dtype, None, None), strict=True)]
        for chip, *cut in zip(
            chips, *(np.split(a, num_chips, -1) for a in (x, weight, bias)), strict=True
        )
    ]
    stats = [
        getattr(chip, f"{kind}_pre_all_gather")(part[0], DType.FLOAT32)
        for chip, part in zip(chips, parts, strict=True)
    ]
    gathered = np.concatenate([part.to_numpy() for part in stats], axis=-1)
    outs = [
        getattr(chip, f"{kind}_post_all_gather")(
            part[0], chip.tensor(gathered), part[1], bias=part[2], eps=1e-3
        )
        for chip, part in zip(chips, parts, strict=True)
    ]
    joined = np.concatenate([out.to_numpy() for out in outs], axis=-1)
    step = 2.0**-7 if dtype is DType.BFLOAT16 else 1e-4
    assert joined.shape == x.shape
    assert np.allclose(joined, whole.to_float32(), rtol=step, atol=0.05 * step)


@pytest.mark.parametrize(("kind", "columns"), [("rms_norm", 32), ("layer_norm", 64)])
def test_statistics_are_a_tile_wide_each_and_bfloat16_unless_told(kind: str, columns: int) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.full((2, 40, 100), 0.5))
    stats = getattr(chip, f"{kind}_pre_all_gather")(x)
    assert (stats.shape, stats.dtype) == ((2, 40, columns), DType.BFLOAT16)
    assert stats.to_numpy()[0, 0, ::32].tolist() == [25.0, 50.0][: columns // 32]
    assert np.count_nonzero(stats.to_numpy()[0, 0]) == columns // 32


def test_what_does_not_fit_is_refused() -> None:
    chip = Chip.open("p150", rank=3)
    x, stats = chip.tensor(np.zeros((2, 8))), chip.tensor(np.zeros((2, 96)))
    assert chip.rms_norm_post_all_gather(x, stats).shape == (2, 8)
    with pytest.raises(ShapeError, match=r"chip 3, layer_norm_post_all_gather: stats \(2, 96\) "):
        chip.layer_norm_post_all_gather(x, stats)
    with pytest.raises(ShapeError, match=r"expected \(2, 32\) with the last dim times"):
        chip.rms_norm_post_all_gather(x, chip.tensor(np.zeros((3, 32))))
    with pytest.raises(ShapeError, match=r"weight \(7,\) \(expected 8 numbers"):
        chip.rms_norm_post_all_gather(x, stats, chip.tensor(np.zeros(7)))
    with pytest.raises(InvalidArgument, match=r"eps \(=-1\) must be >= 0"):
        chip.rms_norm_post_all_gather(x, stats, eps=-1)
    with pytest.raises(DTypeError, match="statistics as int32"):
        chip.rms_norm_pre_all_gather(x, "int32")
    with pytest.raises(ShapeError, match=r"x \(2, 0\) \(expected"):
        chip.layer_norm_pre_all_gather(chip.tensor(np.zeros((2, 0))))
    with pytest.raises(InvalidArgument, match="x is row_major"):
        chip.rms_norm_pre_all_gather(chip.tensor(np.zeros((2, 8)), layout=Layout.ROW_MAJOR))
