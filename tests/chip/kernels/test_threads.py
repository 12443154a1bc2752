"""Products on several threads: the same bits, however many."""

from collections.abc import Iterator

import numpy as np
import pytest

from meshtwin.chip import kernels
from meshtwin.chip.dtype import DType
from meshtwin.chip.formats.codec import encode
from meshtwin.chip.kernels import threads


@pytest.fixture(autouse=True)
def one_thread_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "LEAST", 64)
    yield
    kernels.set_threads(1)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16, DType.BFP8_B, DType.BFP4_B])
def test_any_number_of_threads_gives_the_same_bits(rows: int, dtype: DType) -> None:
    rng = np.random.default_rng(rows)
    length, columns = 96, 37
    words = DType.FLOAT32 if dtype is DType.FLOAT32 else DType.BFLOAT16
    x = encode(rng.standard_normal((rows, length)), words)
    weight = encode(rng.standard_normal((columns, length)), dtype)
    bias = rng.standard_normal(columns).astype(np.float32)
    found = []
    for count in (1, 2, 3, 16):
        kernels.set_threads(count)
        assert kernels.num_threads() == count
        out = np.empty((rows, columns), words.numpy)
        if dtype.block:
            bits = 8 if dtype is DType.BFP8_B else 4
            kernels.linear_block(x, weight, bits, bias, out, rows, columns, length)
        else:
            kernels.linear(x, weight, bias, out, rows, columns, length)
        found.append(out.tobytes())
    assert len(set(found)) == 1


def test_what_a_thread_raises_arrives() -> None:
    kernels.set_threads(2)
    with pytest.raises(ZeroDivisionError):
        threads.share_out(lambda start, stop: print(1 // (start - 5)), 10, 10_000)


def test_fewer_than_one_thread_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threads \(=0\) must be >= 1"):
        kernels.set_threads(0)
