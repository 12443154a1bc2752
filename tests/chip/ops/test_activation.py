import math

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.tensor import decode


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


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_keeps_its_digits_far_below_zero(approximate: str) -> None:
    chip = Chip.open("p150")
    x = np.linspace(-9, 5, 141).astype(np.float32)
    out = chip.gelu(chip.tensor(x), approximate).to_float32()  # type: ignore[arg-type]
    exact = [0.5 * a * math.erfc(-a / math.sqrt(2)) for a in x.astype(float)]
    rtol, atol = (1e-7, 0) if approximate == "none" else (1e-3, 5e-4)
    assert np.allclose(out, exact, rtol=rtol, atol=atol)
    assert np.all(out[x < 0] < 0)


def test_another_form_of_gelu_is_refused() -> None:
    chip = Chip.open("p150")
    with pytest.raises(InvalidArgument, match=r"gelu: approximate .='tan'.: did you mean 'tanh'"):
        chip.gelu(chip.tensor(np.zeros(2)), "tan")  # type: ignore[arg-type]
